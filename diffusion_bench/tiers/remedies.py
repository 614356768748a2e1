"""Ways to need less of a card's memory: what each saves, what it costs, and who measured that."""

from __future__ import annotations

from collections.abc import Iterable

from diffusion_bench.records import Record


class Remedy(Record):
    """A way to need less memory. `slower`: the call's time over what it was without.

    What offloaded weights take to cross the bus comes on top of it, see `remedy_price.py`.
    """

    saves: str
    price: str
    slower: float
    source: str


SDXL_BLOG = "HF blog, simple_sdxl_optimizations.md (SDXL, 4 pictures, A100 40GB)"
QUANTIZATION_BLOG = "HF blog, diffusers-quantization.md (FLUX.1-dev, H100)"
REMEDIES: dict[str, Remedy] = {
    "attention slicing": Remedy(
        saves="half of the attention's scores; nothing where attention is fused",
        price="about 10 percent",
        slower=1.1,
        source="diffusers docs, optimization/fp16.mdx",
    ),
    "VAE slicing": Remedy(
        saves="decodes one picture at a time",
        price="nothing measurable: 11.2 s, and 11.4 s without",
        slower=1.0,
        source=SDXL_BLOG,
    ),
    "VAE tiling": Remedy(
        saves="decodes pictures larger than a tile in tiles that overlap by a quarter",
        price="the overlap: up to 1.8 times the decoder's time",
        slower=1.05,
        source="our estimate, from the overlap",
    ),
    "model offload": Remedy(
        saves="only the network at work is on the card; the rest is in the machine's memory",
        price="every network crosses the bus once a generation: 16.1 s, and 11.4 s without",
        slower=1.0,
        source=SDXL_BLOG,
    ),
    "sequential offload": Remedy(
        saves="only the layer at work is on the card",
        price="every layer crosses the bus at every step: 67 s, and 11.4 s without",
        slower=1.0,
        source=SDXL_BLOG,
    ),
    "8-bit weights": Remedy(
        saves="linear layers of the denoiser and the text encoders at 1.07 bytes a parameter",
        price="15 s, and 12 s without; pictures change a little",
        slower=1.25,
        source=QUANTIZATION_BLOG,
    ),
    "4-bit weights": Remedy(
        saves="linear layers of the denoiser and the text encoders at 0.77 bytes a parameter",
        price="12 s, as without, on a fast card; pictures change",
        slower=1.0,
        source=QUANTIZATION_BLOG,
    ),
}
# GiB after loading: 17.0 (8-bit, torchao) and 12.3 (4-bit, quanto), 0.39 of them not quantised.
QUANTISED_BYTES = {"8-bit weights": 1.07, "4-bit weights": 0.77}
OFFLOADS = frozenset({"model offload", "sequential offload"})
CHANGES = {"8-bit weights": 1, "4-bit weights": 2}  # pictures, the second more; others do not


def changes_of(names: Iterable[str]) -> int:
    """Return how much remedies change pictures: 0 not at all, 1 a little, 2 more."""
    return max((CHANGES.get(name, 0) for name in names), default=0)
