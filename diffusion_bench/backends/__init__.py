"""Models behind one interface: bundled ones, folders, and the Hugging Face hub.

catalog.py      names and what is known of each before loading
images.py       text to image through a diffusers pipeline
engine.py       the loaded model, and the lock that lets one job at a time onto a device
"""
