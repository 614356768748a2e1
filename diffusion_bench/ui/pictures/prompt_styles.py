"""Styles: words that are put around a prompt, from a list in a TOML file."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from diffusion_bench.backends.catalog import unknown_words
from diffusion_bench.records import Record

NO_STYLE = "None"
PLACE = "{prompt}"


class PromptStyle(Record):
    """What a style makes of a prompt, and what it keeps out."""

    prompt: str
    negative_prompt: str = ""


@cache
def prompt_styles() -> dict[str, PromptStyle]:
    """Return the styles by name."""
    text = (Path(__file__).parent / "prompt_styles.toml").read_text(encoding="utf-8")
    return {name: PromptStyle(**row) for name, row in tomllib.loads(text).items()}


def styles_for(model: str) -> list[str]:
    """Return the names of the styles whose words a model knows, `NO_STYLE` first."""
    known = (
        name
        for name, style in prompt_styles().items()
        if not unknown_words(model, f"{style.prompt.replace(PLACE, '')} {style.negative_prompt}")
    )
    return [NO_STYLE, *known]


def styled(name: str | None, prompt: str, negative_prompt: str) -> tuple[str, str]:
    """Return the prompts in a style; raise ValueError for an unknown one."""
    if name in (None, "", NO_STYLE) or not prompt.strip():
        return prompt, negative_prompt
    if name not in prompt_styles():
        raise ValueError(f"unknown style {name!r:.60}; known: {', '.join(prompt_styles())}")
    style = prompt_styles()[name]
    negative = ", ".join(filter(None, (negative_prompt.strip(), style.negative_prompt)))
    return style.prompt.replace(PLACE, prompt.strip()), negative
