"""How much work Tortoise is given: the original's four presets."""

from __future__ import annotations

from diffusion_bench.records import Record, VoiceRequest

# The original's k of `eps = (1 + k) conditioned - k unconditioned`, as a guidance scale 1 + k.
GUIDANCE_SCALE = 3.0


class Preset(Record):
    """Code sequences drawn to choose the best from, denoising steps, and whether to guide."""

    samples: int
    steps: int
    guided: bool

    def of(self, request: VoiceRequest) -> VoiceRequest:
        """Return the request with this preset's steps and guidance, and the full first noise."""
        scale = GUIDANCE_SCALE if self.guided else 1.0
        return request.model_copy(
            update={"steps": self.steps, "guidance_scale": scale, "temperature": 1.0}
        )


PRESETS = {
    "ultra_fast": Preset(samples=16, steps=30, guided=False),
    "fast": Preset(samples=96, steps=80, guided=True),
    "standard": Preset(samples=256, steps=200, guided=True),
    "high_quality": Preset(samples=256, steps=400, guided=True),
}
DEFAULT_PRESET = "fast"


def find_preset(name: str) -> Preset:
    """Return the preset of that name; raise ValueError for another."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}")
    return PRESETS[name]
