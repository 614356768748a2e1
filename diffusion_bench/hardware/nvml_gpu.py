"""One NVIDIA GPU as NVML shows it: what it told, what it refused for good, whether it is lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pynvml

from diffusion_bench.hardware.energy_counter import STANDS
from diffusion_bench.hardware.nvml_errors import ANSWERLESS, LOST, NOT_SUPPORTED, UNKNOWN, why
from diffusion_bench.hardware.nvml_questions import (
    CARD,
    FIXED,
    INSTANCE,
    LIVE,
    MODULE,
    PROCESSES,
    REFUSALS,
    SELDOM,
    UNIFIED,
    Handle,
    Question,
    Ways,
    as_text,
)
from diffusion_bench.hardware.sensors import GPU_IS_LOST, LOST_AGAIN_S, GpuInfo
from diffusion_bench.records import GpuReading, trusted

UPDATE = "energy_update_s"  # found by watching the counter, not by asking
SELDOM_S = 1.0

OTHER_CARD = f"{GPU_IS_LOST}: another one is in its place"
NO_SHARE = "the driver does not tell what a program holds; Windows' driver model (WDDM) never does"

Answers = tuple[dict[str, Any], dict[str, str]]  # by field, and the reason for each without one


class Plan(NamedTuple):
    """What of a table of questions is still to be asked, so that a look need not find it out.

    `settled` are fields with the way that answered before, `open` those that no way has answered
    yet, `missing` those that none will, with the reason.
    """

    settled: tuple[tuple[str, str, Question], ...]
    open: tuple[tuple[str, Ways], ...]
    missing: dict[str, str]


class NvmlGpu:
    """A GPU, or one MIG instance of the card `parent_index`, which `find` gets the handle of."""

    def __init__(
        self,
        index: int,
        find: Callable[[], Handle],
        *,
        parent_index: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.index = index
        self.parent_index = parent_index
        self.lost: str | None = None
        self.handle: Handle = None
        self._find = find
        self._clock = clock
        self._asked_at_s = clock()  # for a lost GPU
        self._seldom: Answers = {}, {}
        self._seldom_at_s: float | None = None
        self._refused: dict[tuple[str, str], str] = {}
        self._chosen: dict[str, str] = {}
        self._plans: dict[int, Plan] = {}  # by the identity of the table, until a way is settled
        self._missing: dict[str, str] = {}  # one for all readings that lack the same
        self._missing_of: tuple[object, ...] = ()  # what that was put together from
        try:
            self.handle = find()
        except pynvml.NVMLError as error:
            self.lost = why(error)
            if self.lost == UNKNOWN:  # off the bus there may be no handle, and no other error
                self.lost = f"{GPU_IS_LOST}: {UNKNOWN} when it is asked for"
        self._fixed, self._fixed_missing = self._ask_all(FIXED)
        self.note_update_period(None)

    def note_update_period(self, seconds: float | None) -> None:
        """Take down how often the energy counter moves, `None` where it stood."""
        missing = {name: why for name, why in self._fixed_missing.items() if name != UPDATE}
        self._fixed_missing = missing | ({UPDATE: STANDS} if seconds is None else {})
        if seconds is not None:
            self._fixed[UPDATE] = seconds

    def read(self) -> GpuReading:
        """Return what the GPU tells now."""
        if self.lost:
            self._look_for_it()
        live, missing = self._ask_all(MODULE if self._counts_module() else LIVE)
        seldom = self._ask_seldom()
        return trusted(
            GpuReading,
            index=self.index,
            parent_index=self.parent_index,
            **self._fixed,
            **live,
            **seldom[0],
            missing=self._all_missing(missing, seldom),
        )

    def _all_missing(self, live: dict[str, str], seldom: Answers) -> dict[str, str]:
        """Return the reason for each field without an answer, put together when that changes."""
        parts = (self._fixed_missing, live, seldom)
        if parts == self._missing_of:  # at once where they are the very same
            return self._missing
        self._missing_of = parts
        missing = {**self._fixed_missing, **live, **seldom[1]}
        if "energy_j" in missing:
            missing[UPDATE] = missing["energy_j"]
        if any(process.memory_mib is None for process in seldom[0].get("processes", ())):
            missing["processes.memory_mib"] = NO_SHARE
        if missing != self._missing:
            self._missing = missing
        return self._missing

    def energy_j(self) -> float | None:
        """Return the energy counter, or `None`."""
        counted: float | None = self._ask("energy_j", LIVE["energy_j"])[0]
        return counted

    def info(self, driver: str | None, no_driver: str | None) -> GpuInfo:
        """Return what does not change, with the power limit as it is now."""
        reading = self.read()
        card, card_missing = self._ask_each(CARD)
        shared = GpuInfo.model_fields.keys() & GpuReading.model_fields.keys() - {"missing"}
        missing = {name: reason for name, reason in reading.missing.items() if name in shared}
        way = self._chosen.get("memory_used_mib")
        if way is None:
            missing["unified_memory"] = reading.missing["memory_used_mib"]
        return GpuInfo(
            driver=driver,
            unified_memory=None if way is None else way == UNIFIED,
            methods={
                name: way for name, way in self._chosen.items() if len(LIVE.get(name, ())) > 1
            },
            missing=missing | card_missing | ({"driver": no_driver} if no_driver else {}),
            **{name: getattr(reading, name) for name in shared},
            **card,
        )

    def ask_pids(self, kind: str) -> tuple[set[int] | None, str]:
        """Return the processes that use the GPU for `compute` or `graphics`, or the reason."""
        return self._ask(kind, PROCESSES[kind])

    def _counts_module(self) -> bool:
        return self._fixed.get("power_scope") == "module"

    def _look_for_it(self) -> None:
        """Ask for a lost GPU again, now and then; it is the same only if its UUID is."""
        now_s = self._clock()
        if now_s - self._asked_at_s < LOST_AGAIN_S:
            return
        self._asked_at_s = now_s
        try:
            handle = self._find()
            uuid = as_text(pynvml.nvmlDeviceGetUUID(handle))
        except (pynvml.NVMLError, UnicodeDecodeError):
            return
        if self._fixed.get("uuid") not in (None, uuid):
            self.lost = OTHER_CARD
            return
        self.handle, self.lost = handle, None
        self._seldom_at_s = None  # what was told of the lost one is a second old at most
        if "uuid" not in self._fixed:
            self._fixed, self._fixed_missing = self._ask_all(FIXED)
            self.note_update_period(None)

    def _ask_seldom(self) -> Answers:
        """Return the answers of the last second, or fresh ones."""
        now_s = self._clock()
        if self.lost or self._seldom_at_s is None or now_s - self._seldom_at_s >= SELDOM_S:
            self._seldom = self._ask_each(SELDOM)
            self._seldom_at_s = now_s
        return self._seldom

    def _ask_all(self, fields: Mapping[str, Ways]) -> Answers:
        """Ask for each field, and notice when the GPU is lost."""
        answers, missing = self._ask_each(fields)
        # One unknown error is a field's trouble (WSL 2); nothing but errors is a lost GPU.
        if not self.lost and not answers and UNKNOWN in missing.values():
            lost = f"{GPU_IS_LOST}: {UNKNOWN} to every question"
            self._note_lost(lost)
            missing = dict.fromkeys(missing, lost)
        return answers, missing

    def _ask_each(self, fields: Mapping[str, Ways]) -> Answers:
        """Return the answers, and for each field without one the reason."""
        plan = self._plan_of(fields)
        answers: dict[str, Any] = {}
        missing = plan.missing  # itself where nothing is added: see `_all_missing`
        for name, way, question in () if self.lost else plan.settled:
            try:
                answers[name] = question(self.handle)
            except ANSWERLESS as error:
                missing = missing | {name: self._note_refusal(name, way, error)}
                if self.lost:
                    break
        for name, ways in plan.open:
            answer, reason = self._ask(name, ways)
            if answer is None:
                missing = missing | {name: reason}
            else:
                answers[name] = answer
        if self.lost:
            missing = dict.fromkeys(fields.keys() - answers.keys(), self.lost) | plan.missing
        return answers, missing

    def _plan_of(self, fields: Mapping[str, Ways]) -> Plan:
        plan = self._plans.get(id(fields))  # the tables are there for good
        if plan is None:
            plan = self._plans[id(fields)] = self._make_plan(fields)
        return plan

    def _make_plan(self, fields: Mapping[str, Ways]) -> Plan:
        settled: list[tuple[str, str, Question]] = []
        unsettled: list[tuple[str, Ways]] = []
        missing: dict[str, str] = {}
        for name, ways in fields.items():
            usable = [(way, question) for way, question in ways if self._may_use(name, way)]
            told = (self._refused.get((name, way)) for way, _ in usable)
            refused = [reason for reason in told if reason]
            if self.parent_index is not None and name not in INSTANCE:
                missing[name] = f"instances of MIG share it; see GPU {self.parent_index}"
            elif len(refused) == len(usable):
                missing[name] = refused[-1]
            elif name in self._chosen:
                settled.append((name, *usable[0]))
            else:
                unsettled.append((name, ways))
        return Plan(tuple(settled), tuple(unsettled), missing)

    def _ask(self, name: str, ways: Ways) -> tuple[Any, str]:
        """Return the answer of the first way that has one, or `None` and the reason.

        The way that answered first stays: a figure does not change its meaning during a run.
        """
        reason = ""
        for way, question in ways:
            if self.lost:
                return None, self.lost
            if not self._may_use(name, way):
                continue
            told = self._refused.get((name, way), "")
            if told:
                reason = told
                continue
            try:
                answer = question(self.handle)
            except ANSWERLESS as error:
                reason = self._note_refusal(name, way, error)
            else:
                if name not in self._chosen:
                    self._chosen[name] = way
                    self._plans.clear()
                return answer, ""
        return None, reason

    def _may_use(self, name: str, way: str) -> bool:
        """Return whether a way may be gone.

        Only the one that answered before, and the host's memory only where NVML has no such figure:
        chips that share the host's memory answer both of NVML's questions with "not supported"
        (leptonai/gpud, issue 1170); a card of its own memory does not.
        """
        if self._chosen.get(name, way) != way:
            return False
        if way != UNIFIED:
            return True
        refused = [why for (field, _), why in self._refused.items() if field == name]
        return refused == [NOT_SUPPORTED, NOT_SUPPORTED]

    def _note_refusal(
        self, name: str, way: str, error: pynvml.NVMLError | UnicodeDecodeError
    ) -> str:
        """Remember what an error means for later looks, and return it in words."""
        code = None if isinstance(error, UnicodeDecodeError) else error.value
        reason = why(error)
        if code is None or code in REFUSALS:
            self._refused[name, way] = reason
            self._plans.clear()
        elif code in LOST:
            self._note_lost(reason)
        return reason

    def _note_lost(self, reason: str) -> None:
        self.lost = reason
        self._asked_at_s = self._clock()
