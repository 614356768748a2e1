"""Sweeps: what to measure, how one cell is measured, and the process that measures it.

sweep.py      a TOML file of axes becomes a list of requests
measure.py    one cell: warm-up, timed repeats, peaks
worker.py     the process in which the model lives; it is told what to measure, line by line
runner.py     starts the worker, watches the machine, writes the report
"""
