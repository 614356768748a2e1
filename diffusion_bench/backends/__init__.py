"""Models behind one interface: bundled ones, folders, and the Hugging Face hub.

catalog.py      image models by name, and what is known of each before loading
images.py       text to image through a diffusers pipeline
voice/          voice cloning: what a model is asked, long texts, names, the hub's models
echo/           the bundled voice model's networks and pipeline
tortoise/       Tortoise TTS with a native diffusion decoder
engine.py       the loaded model, and the lock that lets one job at a time onto a device
"""

import getpass
import os
import tempfile

# diffusers imports torch's compiler, which names a folder after the user and fails where the
# system has no name for one, as in a container that runs as some number.
try:
    getpass.getuser()
except (OSError, KeyError, ImportError):
    os.environ.setdefault(
        "TORCHINDUCTOR_CACHE_DIR",
        os.path.join(tempfile.gettempdir(), f"torchinductor_{os.getuid()}"),
    )
