"""A driver that may hang, asked in a thread of its own: whoever asks waits a second and no more.

A call into a driver cannot be broken off. Its thread stays behind until it returns, new questions
are answered with the reason at once, and the first one after that goes through again.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

from diffusion_bench.hardware.sensors import HANGS, GpuInfo, HungDriver, NoGpu, Sensor
from diffusion_bench.records import GpuReading

LIMIT_S = 1.0  # a look at a healthy card takes milliseconds
OPEN_LIMIT_S = 30.0  # starting a driver that keeps nothing loaded takes seconds a card

KNOWN = ("name", "uuid", "memory_total_mib", "power_scope", "energy_update_s", "parent_index")

Answer = TypeVar("Answer")


class Silence(RuntimeError):
    """The driver has not answered in time."""


class Question:
    """A question on its way to the driver's thread, and what comes back.

    A queue and a flag: a `Future` would make a lock, a condition and its waiters each time.
    """

    __slots__ = ("_answer", "_ask", "given_up")

    def __init__(self, ask: Callable[[], Any]) -> None:
        self._ask = ask
        self._answer: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self.given_up = False

    def answer(self) -> None:
        """Ask, in the driver's thread."""
        try:
            self._answer.put((self._ask(), None))
        # Raised again where the question was asked: a thread that ended of it would be told as a
        # driver that hangs.
        except Exception as error:  # noqa: BLE001
            self._answer.put((None, error))

    def wait(self, limit_s: float) -> Any:
        """Return the answer or raise what the question raised; `Empty` where it took too long."""
        answer, error = self._answer.get(timeout=limit_s)
        if error is not None:
            raise error
        return answer


class PatientSensor:
    """Another sensor, whose every question waits no longer than `limit_s`.

    `open_sensor` makes the other one, in the thread that will ask it. A driver that is silent then
    for `open_limit_s` gives a sensor without GPUs that says so: see `opened`.
    """

    def __init__(
        self,
        open_sensor: Callable[[], Sensor],
        *,
        limit_s: float = LIMIT_S,
        open_limit_s: float = OPEN_LIMIT_S,
    ) -> None:
        self._limit_s = limit_s
        self._questions: SimpleQueue[Question | None] = SimpleQueue()
        self._asked_at_s: float | None = None  # of the question that the thread is at
        self._sensor: Sensor = NoGpu("")
        self._closed = False
        threading.Thread(target=self._answer, name="gpu-driver", daemon=True).start()
        try:
            self._sensor, self._cards = self._ask(lambda: _open(open_sensor), open_limit_s)
        except Silence as silence:
            self._sensor, self._cards = HungDriver(str(silence)), ()

    def opened(self) -> Sensor:
        """Return this sensor, or the one that says why there are no GPUs: it needs no thread."""
        if self._sensor.reason is None:
            return self
        self.close()
        return self._sensor

    @property
    def reason(self) -> str | None:
        """Return why there are no GPUs, else `None`."""
        return self._sensor.reason

    def read(self) -> tuple[GpuReading, ...]:
        """Return one reading a GPU; of a silent driver, readings that say why they are empty."""
        try:
            return self._ask(self._sensor.read, self._limit_s)
        except Silence as silence:
            return tuple(_empty(card, str(silence)) for card in self._cards)

    def cards(self) -> tuple[GpuInfo, ...]:
        """Return what does not change about each GPU; as last heard, of a silent driver."""
        with contextlib.suppress(Silence):
            self._cards = self._ask(self._sensor.cards, self._limit_s)
        return self._cards

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        """Return how many other programs compute on a GPU, or `None` and why it cannot tell."""
        try:
            return self._ask(
                lambda: self._sensor.other_processes(gpu_index, own_pids), self._limit_s
            )
        except Silence as silence:
            return None, str(silence)

    def close(self) -> None:
        """Let go of the driver, or leave it where it hangs. Closing twice is fine."""
        if self._closed:
            return
        with contextlib.suppress(Silence):
            self._ask(self._sensor.close, self._limit_s)
        self._closed = True
        self._questions.put(None)

    def _ask(self, question: Callable[[], Answer], limit_s: float) -> Answer:
        """Return the answer, or raise what the question raised, or `Silence`."""
        if self._closed:
            raise Silence("the sensor is closed")
        asked_at_s, now_s = self._asked_at_s, time.monotonic()
        if asked_at_s is not None and now_s - asked_at_s > self._limit_s:
            raise Silence(_silent(now_s - asked_at_s))
        asked = Question(question)
        self._questions.put(asked)
        try:
            answer: Answer = asked.wait(limit_s)
        except Empty:
            asked.given_up = True  # where it has not begun, it never will
            raise Silence(_silent(time.monotonic() - now_s)) from None
        return answer

    def _answer(self) -> None:
        while (asked := self._questions.get()) is not None:
            if asked.given_up:
                continue
            self._asked_at_s = time.monotonic()
            asked.answer()
            self._asked_at_s = None


def _open(open_sensor: Callable[[], Sensor]) -> tuple[Sensor, tuple[GpuInfo, ...]]:
    sensor = open_sensor()
    return sensor, sensor.cards()


def _silent(seconds: float) -> str:
    return f"{HANGS}: it has not answered for {seconds:.1f} s"


def _empty(card: GpuInfo, reason: str) -> GpuReading:
    """Return a reading with what is known of the card, and the reason for all else."""
    known = {name: value for name in KNOWN if (value := getattr(card, name)) is not None}
    other = GpuReading.model_fields.keys() - known.keys() - {"index", "parent_index", "missing"}
    return GpuReading(index=card.index, **known, missing=dict.fromkeys(sorted(other), reason))
