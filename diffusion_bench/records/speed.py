"""How a model is run: what changes its pace and its memory, and hardly what it draws."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, PlainSerializer, model_validator

from diffusion_bench.records.base import Record

AUTO: Literal["auto"] = "auto"
PLAIN = "plain"


class Speed(Record):
    """How a pipeline is run. The defaults are diffusers' own.

    attention      "sdpa" is torch's fused kernel, "plain" the formula, "sliced" a head at a time
    guidance       both passes of a step in one batch, or one after the other for less memory
    compute        "bf16": the networks of an fp32 model run in it; the sampler stays in fp32.
                   "bf16 products": only convolutions and linear layers do, all between is fp32
    channels_last  convolutions see the channels of a pixel next to each other
    packed         weights laid out once as oneDNN's kernels read them, instead of in every call
    keep_prompts   the embeddings of recent prompts are kept
    keep_keys      keys and values of the prompt are computed in the first step and kept for a call
    vae            pictures of a batch decoded one by one, or each in overlapping tiles
    traced         the denoiser's operations as TorchScript records them, no Python between them
    threads        all that torch has, or one: a small network may lose more by waiting than gain
    compile        the denoiser by torch.compile, on a GPU with its kernels recorded as a CUDA graph
    offload        networks, or single layers, are on the card only while they run
    inference_mode torch's, or only `no_grad`
    """

    attention: Literal["sdpa", "plain", "sliced"] = "sdpa"
    guidance: Literal["batched", "split"] = "batched"
    compute: Literal["as asked", "bf16", "bf16 products"] = "as asked"
    channels_last: bool = False
    packed: bool = False
    keep_prompts: bool = False
    keep_keys: bool = False
    vae: Literal["whole", "sliced", "tiled"] = "whole"
    traced: bool = False
    threads: Literal["all", "one"] = "all"
    compile: Literal["off", "on", "cuda graphs"] = "off"
    offload: Literal["none", "model", "sequential"] = "none"
    inference_mode: bool = True

    @model_validator(mode="after")
    def _options_that_bear_each_other(self) -> Self:
        if self.compile != "off":
            for unfit in ("packed", "keep_keys", "traced"):
                if getattr(self, unfit):
                    raise ValueError(f"compile does what {unfit} does in its own way; leave it out")
            if self.offload != "none":
                raise ValueError("compile and offload exclude each other; leave out one")
        if self.traced:
            if self.packed or self.keep_keys:
                unfit = "packed" if self.packed else "keep_keys"
                raise ValueError(f"what traced records cannot hold {unfit}; leave out one")
            if self.offload != "none":
                raise ValueError("traced and offload exclude each other; leave out one")
        return self

    @property
    def is_built_first(self) -> bool:
        """Return whether the first call of a shape compiles or records before it runs."""
        return self.traced or self.compile != "off"

    def __str__(self) -> str:
        """Return the words that `parse_speed` reads, "plain" for the defaults."""
        words = [word for word, (name, value) in WORDS.items() if getattr(self, name) == value]
        return ", ".join(words) or PLAIN


# What a person types: each word sets one option. In the order in which they are written.
WORDS: dict[str, tuple[str, str | bool]] = {
    "bf16": ("compute", "bf16"),
    "bf16-products": ("compute", "bf16 products"),
    "packed": ("packed", True),
    "channels-last": ("channels_last", True),
    "prompts": ("keep_prompts", True),
    "keys": ("keep_keys", True),
    "traced": ("traced", True),
    "one-thread": ("threads", "one"),
    "compile": ("compile", "on"),
    "cuda-graphs": ("compile", "cuda graphs"),
    "plain-attention": ("attention", "plain"),
    "sliced-attention": ("attention", "sliced"),
    "split-guidance": ("guidance", "split"),
    "sliced-vae": ("vae", "sliced"),
    "tiled-vae": ("vae", "tiled"),
    "model-offload": ("offload", "model"),
    "sequential-offload": ("offload", "sequential"),
    "no-grad": ("inference_mode", False),
}


def parse_speed(text: str) -> Speed | Literal["auto"]:
    """Return the speed of "auto", "plain" or words such as "bf16, packed".

    Raises ValueError for a word that is none, and for two that exclude each other.
    """
    words = [word for word in re.split(r"[,\s]+", text.strip()) if word]
    if words == [AUTO]:
        return AUTO
    if words == [PLAIN]:
        return Speed()
    options: dict[str, str | bool] = {}
    for word in words:
        if word not in WORDS:
            raise ValueError(
                f"unknown speed {word!r:.60}; say auto, plain or some of {', '.join(WORDS)}"
            )
        name, value = WORDS[word]
        if options.setdefault(name, value) != value:
            raise ValueError(f"speed {text!r:.120}: only one value of {name} at a time")
    if not words:
        raise ValueError(f"the speed is empty; say auto, plain or some of {', '.join(WORDS)}")
    return Speed.model_validate(options)


def _from_words(value: Any) -> Any:
    return parse_speed(value) if isinstance(value, str) else value


# A speed as requests and sweeps have it. In JSON it is its words.
AskedSpeed = Annotated[
    Speed | Literal["auto"],
    BeforeValidator(_from_words),
    PlainSerializer(str, return_type=str, when_used="json"),
]
