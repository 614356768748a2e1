"""Sweeps: what to measure, how one cell is measured, and the process that measures it.

sweep       a TOML file of axes becomes a list of requests      estimate   how long it will take
measure     one cell: warm-up, timed calls, when to stop        worker     the process of the model
workers     one worker at a time, ended where it hangs          isolation  which cells get their own
setup       the device, the open report, the sampler            cell_run   one cell, row and all
cells       the row a cell becomes                              runner     a sweep from end to end
rounds      what visits of a cell add up to
limit       the largest resolution or batch that fits           progress   what a run tells
"""
