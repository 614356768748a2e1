"""What a scorer brings to compare with: true pictures' features, and captions nobody trained on."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from diffusion_bench.backends.scoring.distance import LEAST_PICTURES, Moments

REFERENCE, CAPTIONS = "reference.safetensors", "captions.txt"
MAX_CAPTION = 2000  # characters, as of a prompt


def save_reference(folder: Path, moments: Moments, captions: list[str]) -> None:
    """Write the moments of true pictures in fp32, and a caption a line, beside a scorer."""
    if any("\n" in caption or not caption.strip() for caption in captions):
        raise ValueError("a caption is one line, and not an empty one")
    tensors = {"mean": moments.mean.float(), "covariance": moments.covariance.float()}
    save_file(tensors, folder / REFERENCE, metadata={"count": str(moments.count)})
    (folder / REFERENCE).chmod(0o644)
    (folder / CAPTIONS).write_text("\n".join(captions) + "\n", encoding="utf-8")


def load_reference(folder: Path, width: int) -> Moments | None:
    """Return the moments beside a scorer of features of that width; `None` where there are none.

    Raises ValueError, in one line, for a file that holds something else.
    """
    path = folder / REFERENCE
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            mean, covariance = (file.get_tensor(n).double() for n in ("mean", "covariance"))
            count = int((file.metadata() or {})["count"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ValueError(f"{REFERENCE} of the scorer cannot be read: {error!s:.200}") from error
    fits = mean.shape == (width,) and covariance.shape == (width, width)
    whole = bool(torch.isfinite(mean).all() and torch.isfinite(covariance).all())
    if not fits or not whole or count < LEAST_PICTURES:
        raise ValueError(f"{REFERENCE} does not belong to the scorer beside it")
    return Moments(mean, (covariance + covariance.T) / 2, count)


def load_captions(folder: Path) -> tuple[str, ...]:
    """Return the held-out captions beside a scorer, none where there is no list of them."""
    try:
        text = (folder / CAPTIONS).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{CAPTIONS} of the scorer cannot be read: {error!s:.200}") from error
    return tuple(line[:MAX_CAPTION] for line in text.splitlines() if line.strip())
