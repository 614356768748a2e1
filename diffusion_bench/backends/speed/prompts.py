"""Embeddings of recent prompts, kept so that the text encoder need not run again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

MAX_PROMPTS = 32
MAX_BYTES = 256 * 2**20  # FLUX.1's embeddings of one prompt are 4 MiB


class PromptCache:
    """What a pipeline's own `encode_prompt` returned, by all that it was given.

    The least recently used goes first when there are too many, or too large ones.
    """

    def __init__(self, *, max_prompts: int = MAX_PROMPTS, max_bytes: int = MAX_BYTES) -> None:
        self._max_prompts = max_prompts
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """Return the memory that the embeddings take."""
        return sum(_bytes(value) for value in self._kept.values())

    @contextmanager
    def serving(self, pipeline: Any) -> Iterator[None]:
        """Answer for a pipeline's `encode_prompt` inside the `with` block."""
        encode: Callable[..., Any] = pipeline.encode_prompt

        def encode_prompt(*given: Any, **named: Any) -> Any:
            key = _key(type(pipeline).__name__, given, named)
            if key is None:
                return encode(*given, **named)
            if key not in self._kept:
                self._keep(key, encode(*given, **named))
            self._kept.move_to_end(key)
            return self._kept[key]

        pipeline.encode_prompt = encode_prompt
        try:
            yield
        finally:
            del pipeline.encode_prompt
            self._shrink()

    def _keep(self, key: str, embeddings: Any) -> None:
        self._kept[key] = embeddings

    def _shrink(self) -> None:
        while self._kept and (
            len(self._kept) > self._max_prompts or self.size_bytes > self._max_bytes
        ):
            self._kept.popitem(last=False)


def _key(name: str, given: tuple[Any, ...], named: dict[str, Any]) -> str | None:
    """Return the arguments as text; `None` if some are tensors or objects, which have no value."""
    values = [*given, *(part for item in sorted(named.items()) for part in item)]
    return repr((name, len(given), values)) if all(map(_is_plain, values)) else None


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    plain = (str, int, float, bool, torch.device, torch.dtype)
    return value is None or isinstance(value, plain)


def _bytes(value: Any) -> int:
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
