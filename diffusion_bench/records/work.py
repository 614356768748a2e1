"""What can be asked for, a picture or speech, where a sweep or a report holds either."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Discriminator, Tag

from diffusion_bench.records.image import ImageRequest
from diffusion_bench.records.voice import VoiceRequest


def _kind(request: Any) -> str:
    """Return which request a value is: only speech has a text."""
    if isinstance(request, dict):
        return "voice" if "text" in request else "image"
    return "voice" if isinstance(request, VoiceRequest) else "image"


Request = Annotated[
    Annotated[ImageRequest, Tag("image")] | Annotated[VoiceRequest, Tag("voice")],
    Discriminator(_kind),
]
