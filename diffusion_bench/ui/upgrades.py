"""What the tab *Tiers* does, without the page: values in, charts, tables and words out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_bench.charts.tiers.here import room_here
from diffusion_bench.charts.tiers.left_out import counted_words
from diffusion_bench.charts.tiers.measured import Findings, Here, findings_of
from diffusion_bench.charts.tiers.runnable import (
    SHOWN,
    Room,
    asked_workloads,
    runnable_on,
    usual_workloads,
)
from diffusion_bench.charts.tiers.steps import prices_of
from diffusion_bench.charts.tiers.study import Study, path_notes, price_lines, rests_on, study
from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.hardware.sensors import uuid_hash
from diffusion_bench.reports.digests import ReportDigest
from diffusion_bench.reports.index import Asked, ReportIndex
from diffusion_bench.reports.privacy import words_without_names
from diffusion_bench.tiers.cards import Card, find_card, known_cards, named_card
from diffusion_bench.tiers.path import PATH, UpgradePath, parse_path
from diffusion_bench.tiers.voice_cost import told_voices
from diffusion_bench.tiers.voice_workload import parse_voice_workload
from diffusion_bench.ui.figures import Chart, Table, to_table
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.report_files import PATIENCE_S, ReportFolder

ALL, CHOSEN, NONE = "all saved reports", "those chosen below", "none"
USES = (ALL, CHOSEN, NONE)
HERE = "the card of this machine"
MORE_S = 2.0  # of reading new reports between two lines; PATIENCE_S before the first answer
NOT_KEPT = "{} reports could not be read: the index that keeps what was read cannot be written."
MAX_WORKLOADS = 12
MAX_NAME = 100  # letters of a card's


class Question(NamedTuple):
    """What the page's fields hold."""

    path: str
    workloads: tuple[str, ...]
    cloud_per_hour: float | None = None
    per_kwh: float | None = None
    use: str = NONE
    names: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()


class View(NamedTuple):
    """What the page shows next; `None` leaves what is there."""

    status: str
    vram: Chart | None = None
    bars: Chart | None = None
    gains: Chart | None = None
    fits: Table | None = None
    keys: tuple[str, ...] = ()
    why: str = ""
    speech: Table | None = None


class Told(NamedTuple):
    """What reports say of the cards that are known, and how many of them could be taken in."""

    findings: Findings
    asked: Asked
    cards: tuple[Card, ...]


class Upgrades:
    """Answers for upgrade paths. `machine` tells what this machine is."""

    def __init__(
        self,
        folder: ReportFolder,
        index: ReportIndex,
        outbox: Outbox,
        machine: Callable[[], MachineInfo],
    ) -> None:
        self._folder = folder
        self._index = index
        self._outbox = outbox
        self._machine = machine

    def names(self) -> list[str]:
        """Return the newest reports of the folder."""
        return self._folder.newest()

    def views(self, question: Question, metric: str) -> Iterator[View]:
        """Answer at once from what is known, and again when all new reports were read."""
        told = self._told(question, PATIENCE_S)
        yield self._view(question, metric, told)
        while told.asked.unread:
            left = told.asked.unread
            yield View(f"Reading reports: {left} to go. What is shown rests on those read so far.")
            more = self._told(question, MORE_S)
            if more.asked.unread >= left:  # nothing more can be kept
                view = self._view(question, metric, told)
                yield view._replace(status=f"{NOT_KEPT.format(left)}\n{view.status}")
                return
            told = more
            if not told.asked.unread:
                yield self._view(question, metric, told)

    def bars(self, question: Question, metric: str) -> Chart:
        """Return the bars of another metric."""
        return bars_chart(self._study(question, self._told(question, PATIENCE_S)), metric)

    def why(self, question: Question, key: str) -> str:
        """Return what stands behind a bar, by one of `View.keys`."""
        from diffusion_bench.charts.tiers.why import why

        found = self._study(question, self._told(question, PATIENCE_S))
        return why(found.rows, key, found.cards)

    def room(self, question: Question, card: str) -> tuple[str, Chart]:
        """Return what a card can run, in words and as a chart; `HERE` is this machine's."""
        from diffusion_bench.charts.tiers.room import room_figure
        from diffusion_bench.charts.tiers.runnable import runnable_table

        found, note = self._room(card, self._told(question, PATIENCE_S))
        words = room_words(found)
        chart = Chart(room_figure(found), to_table(*runnable_table(found)))
        return f"{words} {note}".strip(), chart

    def page(self, question: Question, card: str) -> str:
        """Return the path of an HTML file with everything the tab shows."""
        from diffusion_bench.charts.tiers.page import tiers_html

        told = self._told(question, PATIENCE_S)
        found = self._study(question, told)
        room, note = self._room(card, told)
        lines = _rests_on(found, told.asked)
        if told.asked.unread:
            lines.append(f"{counted_words(told.asked.unread, 'report')} not read yet.")
        if note:
            lines.append(f"{room.name}: {note}.")
        return self._outbox.place("tiers.html", tiers_html(found, room, lines))

    def _study(self, question: Question, told: Told) -> Study:
        texts = question.workloads
        if len(texts) > MAX_WORKLOADS:
            raise ValueError(f"{len(texts)} workloads; at most {MAX_WORKLOADS} are shown at once")
        prices = prices_of(question.cloud_per_hour, question.per_kwh)
        path = parse_path(question.path, "the path")
        drawn, spoken = asked_workloads(texts)
        return study(path, drawn, told.findings, prices=prices, cards=told.cards, spoken=spoken)

    def _view(self, question: Question, metric: str, told: Told) -> View:
        from diffusion_bench.charts.tiers.bars import row_key
        from diffusion_bench.charts.tiers.gains import gains_figure, gains_table
        from diffusion_bench.charts.tiers.speech import speech_table
        from diffusion_bench.charts.tiers.vram import vram_figure, vram_numbers, vram_table
        from diffusion_bench.charts.tiers.why import fit_table, why

        found = self._study(question, told)
        vram = vram_numbers(found.path, found.workloads, found.cards)
        currency = found.path.currency
        gains = to_table(*gains_table(found.steps, currency))
        keys = tuple(row_key(row) for row in found.rows)
        return View(
            status="\n".join(status_lines(found, told.asked)),
            vram=Chart(vram_figure(vram), to_table(*vram_table(vram))),
            bars=bars_chart(found, metric),
            gains=Chart(gains_figure(found.steps, currency), gains),
            fits=to_table(*fit_table(found.rows)),
            keys=keys,
            why=why(found.rows, keys[0], found.cards) if keys else "",
            speech=to_table(*speech_table(found.speech)),
        )

    def _told(self, question: Question, patience_s: float) -> Told:
        """Return what the reports of a question say."""
        if question.use not in USES:
            raise ValueError(f"{question.use!r:.40} is no choice of reports")
        cards = cards_of(question.path)
        saved, uploads = [], [Path(upload) for upload in question.uploads]
        if question.use == ALL:
            saved = self._folder.paths()
        elif question.use == CHOSEN:
            saved = [self._folder.path(name) for name in question.names]
        if not saved and not uploads:
            return Told(Findings(), Asked(()), cards)
        asked = self._index.ask(saved, patience_s=patience_s)
        foreign = self._index.ask(uploads)
        digests = (*asked.digests, *map(ReportDigest.made_foreign, foreign.digests))
        asked = Asked(digests, asked.complaints + foreign.complaints, asked.unread)
        return Told(findings_of(digests, _here(self._machine()), cards), asked, cards)

    def _room(self, card: str, told: Told) -> tuple[Room, str]:
        if card != HERE:
            named, note = named_card(card[:MAX_NAME], told.cards)
            return runnable_on(named, told.findings), note or ""
        machine = self._machine()
        told_of = (told.findings, told.asked.digests)
        return room_here(machine, _here(machine), *told_of, cards=told.cards)


def shipped_text() -> str:
    """Return the text of the path that ships with this program."""
    return PATH.read_text(encoding="utf-8")


def cards_of(text: str) -> tuple[Card, ...]:
    """Return the cards that a path describes and the known ones; those of a text that is none too.

    What can be told without a path is told beside one that is wrong.
    """
    try:
        return parse_path(text, "the path").all_cards()
    except ValueError:
        return known_cards()


def check_path(text: str) -> str:
    """Return in one line what a text's path is; raise ValueError for a text that is none."""
    path = parse_path(text, "the path")
    counted, unknown = counted_words(len(path.tiers), "tier"), _unknown_cards(path)
    if unknown:
        reasons = "; ".join(unknown.values())
        return f"{counted}; of {', '.join(unknown)} nothing can be told: {reasons}"
    guessed = sum(tier.approximate for tier in path.tiers)
    said = f", {guessed} of their prices approximate: set your own" if guessed else ""
    own = f", {counted_words(len(path.cards), 'card')} of your own" if path.cards else ""
    return f"{counted}{own}, prices in {path.currency}{said}."


def _unknown_cards(path: UpgradePath) -> dict[str, str]:
    """Return the reason why each name of a path that means no card means none."""
    cards = path.all_cards()
    matches = {name: find_card(name, cards) for tier in path.tiers for name in tier.gpus}
    return {name: match.reason for name, match in matches.items() if match.reason}


def workload_choices() -> list[str]:
    """Return the workloads to choose from; others can be typed."""
    usual = [workload.name.removesuffix(" steps") for workload in usual_workloads()]
    spoken = [parse_voice_workload(name).name.removesuffix(" steps") for name in told_voices()]
    return list(dict.fromkeys([*SHOWN, *usual, *spoken]))


def card_choices() -> list[str]:
    """Return the cards to choose from, the one of this machine first."""
    return [HERE, *(card.name for card in known_cards())]


def bars_chart(found: Study, metric: str) -> Chart:
    """Return the bars of a metric, by one of `METRICS`."""
    from diffusion_bench.charts.tiers.bars import bars_numbers, bars_table
    from diffusion_bench.charts.tiers.evidence import bars_figure

    numbers = bars_numbers(
        found.rows,
        metric,
        currency=found.path.currency,
        prices=found.prices,
        cards=found.cards,
    )
    return Chart(bars_figure(numbers), to_table(*bars_table(numbers)))


def status_lines(found: Study, asked: Asked) -> list[str]:
    """Return what the answer rests on, what holds each step back, and what is paid."""
    lines = [*_rests_on(found, asked), *found.bottlenecks]
    lines += (f"Price of {line}" for line in price_lines(found.path))
    lengths = dict.fromkeys(row.workload.length_note for row in found.speech)
    notes = path_notes(found.path, found.cards)
    return [*lines, *notes, *(f"note: {note}" for note in lengths if note)]


def _rests_on(found: Study, asked: Asked) -> list[str]:
    lines = rests_on(found.findings, asked.digests, found.cards)
    lines += (f"Left out: {words_without_names(line)}" for line in asked.complaints[:3])
    if len(asked.complaints) > 3:
        lines.append(f"Left out: {len(asked.complaints) - 3} more files that are no reports.")
    return lines


def room_words(room: Room) -> str:
    """Return in a sentence what a card or machine can run."""
    fitting = [one.workload.model for one in room.runs if one.fit == "fits"]
    helped = [
        one.workload.model for one in room.runs if one.fit and one.fit.startswith(("fits w", "t"))
    ]
    parts = [f"{room.name} ({room.memory_gib:.3g} GiB) runs {_listed(fitting) or 'no model'}"]
    if helped:
        parts.append(f"with little room or a remedy {_listed(helped)}")
    return ", ".join(parts) + "."


def _listed(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _here(machine: MachineInfo) -> Here:
    hashes = frozenset(uuid_hash(gpu.uuid) for gpu in machine.gpus if gpu.uuid)
    return Here(hashes, machine.cpu, machine.cores_logical, machine.ram_mib)


def to_question(values: Sequence[Any]) -> Question:
    """Return the question of the page's fields, in the order of `Question`."""
    path, workloads, cloud, per_kwh, use, names, uploads = values
    return Question(
        path=path or "",
        workloads=tuple(workloads or ()),
        cloud_per_hour=cloud or None,
        per_kwh=per_kwh,
        use=use,
        names=tuple(names or ()),
        uploads=tuple(uploads or ()),
    )
