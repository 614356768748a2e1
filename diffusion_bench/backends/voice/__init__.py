"""Voice cloning models behind one interface.

base.py         what a model is asked and what it gives back
"""
