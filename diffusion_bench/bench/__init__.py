"""Sweeps: what to measure, how one cell is measured, and the process that measures it.

axes, sweep      a TOML file of axes becomes a list of requests
estimate         how long it will take
setup            the worker, the device, the open report (header), the sampler
fetching         the models that are not here
workers          one worker at a time, ended where it hangs
worker           the process of the model, and what it says (worker_process, worker_messages)
measure          one cell: warm-up, timed calls, when to stop (kept_calls: those that are sustained)
isolation        which cells get a process of their own
cell_run, cells  one cell, row and all; rounds: what visits of it add up to
runner           a sweep from end to end; progress, wording: what it tells
limit            the largest resolution or batch that fits
shared           the same on several devices at once (crew, sharing, shared_run, shared_cells)
"""
