"""What of a prompt is more than a model's text encoders can read: pipelines cut it off unsaid."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from diffusion_bench.backends.pipeline_calls import parameters_of

ENDS = ("", "_2", "_3", "_4")  # of the names of a pipeline's tokenizers and text encoders
ROOM = "max_sequence_length"  # an argument: tokens of encoders that could read more
LONGEST = 300  # characters of a prompt that are shown


def cut_off(model: str, pipeline: Any, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a pipeline cuts off the prompts of a call, a sentence for each cut.

    `arguments` are those of the call. Encoders that cut at the same place share a sentence; one
    that reads all, beside them, is no reason to keep quiet.
    """
    told, readers = [], _readers(pipeline, arguments)
    for prompt in dict.fromkeys([*arguments["prompt"], *arguments.get("negative_prompt", ())]):
        before = _said_before(pipeline) if prompt in arguments["prompt"] else ""
        lost = [_lost(reader, prompt, most, before) for reader, most in readers]
        for (room, words), count in Counter(each for each in lost if each[1]).items():
            who = model if count == len(lost) else f"{count} of {model}'s {len(lost)} text encoders"
            shown = " ".join(words.split())
            if len(shown) > LONGEST:  # not at a space: Chinese has none
                shown = f"{shown[: LONGEST - 4].rstrip()} ..."
            told.append(f"{room} tokens of a prompt is all that {who} can read; cut off: {shown}")
    return tuple(told)


def _readers(pipeline: Any, arguments: Mapping[str, Any]) -> list[tuple[Any, int]]:
    """Return the tokenizers of a pipeline's text encoders, and the most tokens of each."""
    asked = arguments.get(ROOM)
    if asked is None and ROOM in (known := parameters_of(type(pipeline))):
        asked = known[ROOM].default
    found = []
    for end in ENDS:
        tokenizer = getattr(pipeline, f"tokenizer{end}", None)
        if tokenizer is not None and getattr(pipeline, f"text_encoder{end}", None) is not None:
            own = tokenizer.model_max_length
            found.append((tokenizer, min(own, asked) if isinstance(asked, int) else own))
    return found


def _said_before(pipeline: Any) -> str:
    """Return what a pipeline puts before each prompt, and before no negative one: Lumina 2's."""
    if not type(pipeline).__name__.startswith("Lumina2"):
        return ""
    return f"{pipeline.system_prompt} <Prompt Start> "


def _lost(tokenizer: Any, prompt: str, most: int, before: str) -> tuple[int, str]:
    """Return how many tokens of a prompt there is room for, and what of it comes after them.

    The words `before` it take of that room.
    """
    taken = len(tokenizer(before, add_special_tokens=False).input_ids)
    room = max(most - tokenizer.num_special_tokens_to_add() - taken, 0)
    tokens = tokenizer(prompt, add_special_tokens=False).input_ids
    return room, tokenizer.decode(tokens[room:]).strip()
