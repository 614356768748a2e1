"""Charts, one a file: `x_numbers` finds the figures, `x_figure` draws, `x_table` lists them.

Those of the tab *Tiers* are in `tiers/`.
"""
