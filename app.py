"""Start the web app: `python app.py` is `diffusion-bench app`, with the same options."""

from __future__ import annotations

import os
import sys

from diffusion_bench.__main__ import main

if __name__ == "__main__":
    # A Hugging Face Space forwards requests from outside the container, so loopback would be deaf.
    on_space = ["--host", "0.0.0.0"] if "SPACE_ID" in os.environ else []
    main(["app", *on_space, *sys.argv[1:]])
