"""The machine: what is in it, what it reads now, and what is wrong with it.

machine            what it is made of        sensors, nvml*   the GPUs
host, slow_host    processor and memory      patience         a driver that may hang
powercap           the processor's energy    sampler          readings over time
energy_counter     how often a GPU's moves   trace, energy    what readings add up to
matching           torch's GPUs and ours     state            at rest before, slowed during
amd, apple         other makers' GPUs        facts, doctor    advice
"""
