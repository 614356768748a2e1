"""Noise schedules and samplers, configured for the model at hand."""
