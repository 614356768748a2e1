"""As many of a stream as can be kept, evenly apart."""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")


class EvenChoice(Generic[T]):
    """Of what is added all or, since it was too much, every second, fourth, eighth; the newest too.

    At most `keep` and the newest are held. `count` is how many were added.
    """

    def __init__(self, keep: int) -> None:
        self.count = 0
        self._keep = keep
        self._stride = 1
        self._even: list[T] = []
        self._newest: list[T] = []

    def add(self, one: T) -> None:
        """Take in the next one."""
        is_kept = self.count % self._stride == 0
        self.count += 1
        self._newest = [] if is_kept else [one]
        if not is_kept:
            return
        self._even.append(one)
        if len(self._even) > self._keep:
            if len(self._even) % 2 == 0:
                self._newest = [one]
            del self._even[1::2]
            self._stride *= 2

    def kept(self) -> list[T]:
        """Return what is held, in the order in which it came."""
        return [*self._even, *self._newest]
