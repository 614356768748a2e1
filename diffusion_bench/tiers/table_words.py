"""What published tables say of precision and software, in whose words ever.

They are read here once, for the fit, for `predict --rows` and for published evidence. What may be
told of neither is refused: a rate of something else is worse than none.
"""

from __future__ import annotations

import re

from diffusion_bench.records import PrecisionName
from diffusion_bench.tiers.workload import Software

VALUES: dict[str, PrecisionName] = {
    "fp16": "fp16",
    "float16": "fp16",
    "half": "fp16",
    "bf16": "bf16",
    "bfloat16": "bf16",
    "fp32": "fp32",
    "float32": "fp32",
}
# The first word that is a precision, and what may be said beside it.
PRECISION = re.compile(
    rf"(?:torch\.)?(?P<value>{'|'.join(VALUES)})"
    r"(?: precision|/bf16|/fp16|/tf32| mixed| autocast| amp| \(.*\))*"
)
QUANTISED = (
    r"\bu?int[48]|\bfp[48]|\bfloat[48]|\b[48][\s-]?bit|\bnf4|nvfp4|\bmxfp|\bgguf|\bawq\b|svdq"
    r"|nunchaku|\bw\d+a\d+|\bbnb\b|bitsandbytes|quanti[sz]|quant=(?!none)"
)
# What changes the work or the traffic in a way that nothing here counts, or is software of another
# kind than any that was fitted.
UNCOUNTED_WORDS = (
    r"offload|fbcache|teacache|deepcache|\btome\b|token merging|tiny vae|taesd|tiny autoencoder"
    r"|consistency decoder|medvram|lowvram|controlnet|ip-?adapter|precomputed|(?:no|without) t5"
    r"|\bparallel|pipefusion|\bulysses|\bring\b|multi-?gpu|\b[2-9]\s?(?:x\s?)?gpus\b"
    r"|\blora\b|refiner|hires|img2img|inpaint|upscal|\bsage|directml|openvino|vulkan|\bncnn\b"
    rf"|\bggml\b|stable-diffusion\.cpp|{QUANTISED}"
)
UNCOUNTED = re.compile(UNCOUNTED_WORDS, re.IGNORECASE)
COMPILED = re.compile(r"compil|inductor", re.IGNORECASE)
# One of those words that is said not to be so: "no medvram/lowvram", "compile=False".
_WORD = rf"(?:{UNCOUNTED_WORDS}|compil|inductor)\w*"
NEGATED = re.compile(
    rf"\b(?:no|not|non|without|w/o)[\s-]+(?:(?:torch|cpu|model|sequential)[\s._-]*)*{_WORD}"
    rf"(?:\s*(?:/|and|or|nor)\s*{_WORD})*"
    rf"|\buncompiled|{_WORD}\s*(?:[=:]?\s*(?:false|off|none|disabled)|=\s*0(?![.\d]))\b",
    re.IGNORECASE,
)
ENGINE = re.compile(
    r"tensorrt|\btrt\b|aitemplate|\bait\b|oneflow|stable.?fast|onnx|\bolive\b|nvfuser",
    re.IGNORECASE,
)
PLAIN_ATTENTION = re.compile(r"(vanilla|plain|math) attention", re.IGNORECASE)
NO_XFORMERS = re.compile(
    r"(no|without|w/o) xformers|xformers\s*[=:]?\s*(false|off|none|disabled)\b", re.IGNORECASE
)
TORCH_1 = re.compile(r"torch[\s=v-]*1\.", re.IGNORECASE)  # has no fused attention of its own
OTHERS_FUSED = re.compile(r"xformers|flash", re.IGNORECASE)
FUSED_ANYWAY = re.compile(r"torch[\s=v-]*2|\bsdpa?\b", re.IGNORECASE)  # torch's own, from 2 on
WEB_UI = re.compile(
    r"a1111|auto1111|automatic1111|sd\.?next|vladmandic|forge|web[\s-]?ui", re.IGNORECASE
)


def precision_named(text: str) -> PrecisionName:
    """Return the precision a table's words begin with; raise ValueError for a quantised one."""
    words = text.strip().casefold()
    found = PRECISION.fullmatch(words)
    if not found or re.search(QUANTISED, words):
        said = f"precision {text!r}" if words else "no precision"
        raise ValueError(f"{said}; known: fp32, bf16, fp16")
    return VALUES[found["value"]]


def software_named(backend: str, variant: str) -> Software:
    """Return what a table's words say of the software; raise ValueError for what is not counted."""
    words = f"{backend} {variant}"
    meant = NEGATED.sub(" ", words)
    uncounted = UNCOUNTED.search(meant)
    if uncounted:
        raise ValueError(
            f"{uncounted[0]!r} changes the work, or how it is done: that is not counted"
        )
    web_ui = bool(WEB_UI.search(words))
    if ENGINE.search(meant):
        return Software(name="engine", web_ui=web_ui)
    if COMPILED.search(meant):
        return Software(name="compiled", web_ui=web_ui)
    unfused = NO_XFORMERS.search(words) or (
        TORCH_1.search(words) and not OTHERS_FUSED.search(words)
    )
    plain = PLAIN_ATTENTION.search(words) or (unfused and not FUSED_ANYWAY.search(words))
    return Software(name="plain attention" if plain else "eager", web_ui=web_ui)
