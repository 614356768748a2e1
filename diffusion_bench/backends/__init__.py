"""Models behind one interface: bundled ones, folders, and the Hugging Face hub.

catalog.py      image models by name, and what is known of each before loading
images.py       text to image through a diffusers pipeline
voice/          voice cloning: what a model is asked, long texts, names, the hub's models
echo/           the bundled voice model's networks and pipeline
tortoise/       Tortoise TTS with a native diffusion decoder
engine.py       the loaded model, and the lock that lets one job at a time onto a device
"""
