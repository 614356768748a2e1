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
        self._newest: list[T] = []  # one, once there is any

    def add(self, one: T) -> None:
        """Take in the next one."""
        if self.count % self._stride == 0:
            self._even.append(one)
            if len(self._even) > self._keep:
                del self._even[1::2]
                self._stride *= 2
        self.count += 1
        self._newest = [one]

    def kept(self) -> list[T]:
        """Return what is held, in the order in which it came."""
        is_even = (self.count - 1) % self._stride == 0
        return [*self._even, *([] if is_even else self._newest)]
