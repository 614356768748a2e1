"""The charts of the tab Tiers and of `tiers`: numbers, then a figure, then a table."""
