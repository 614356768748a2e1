"""The machine: what is in it, what it reads now, and what is wrong with it.

machine          what it is made of         sensors, nvml   the GPUs
host             processor and memory       sampler         readings over time
trace            what readings add up to    state           at rest before, slowed during
powercap         the processor's energy     facts, doctor   advice
"""
