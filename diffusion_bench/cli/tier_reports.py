"""Reports for the commands about what to buy: named, in folders, thousands of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from diffusion_bench.cli.telling import tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusion_bench.charts.tiers.measured import Findings, Here
    from diffusion_bench.charts.tiers.runnable import Room
    from diffusion_bench.hardware.machine import MachineInfo
    from diffusion_bench.reports.digests import ReportDigest
    from diffusion_bench.reports.index import Asked
    from diffusion_bench.tiers.cards import Card
    from diffusion_bench.tiers.voice_workload import VoiceWorkload
    from diffusion_bench.tiers.workload import Workload

NAMED_COMPLAINTS = 3
HERE = "here"


class Told(NamedTuple):
    """What reports say: of cards, and each of them in figures; `here` is the machine at hand."""

    findings: Findings
    digests: tuple[ReportDigest, ...]
    here: Here


def read_reports(
    paths: Sequence[Path], cards: Sequence[Card], *, patience_s: float | None = None
) -> Told:
    """Return what reports say; what is left out of them, or left for later, goes to stderr.

    Raises ValueError where one of a few files that were named is no report.
    """
    from diffusion_bench.charts.tiers.left_out import left_out_of, left_out_words
    from diffusion_bench.charts.tiers.measured import Findings, Here, findings_of

    if not paths:
        return Told(Findings(), (), Here())
    digests, here = ask(paths, patience_s=patience_s).digests, this_machine()[1]
    without = left_out_words(left_out_of(digests, cards))
    if without:
        tell(f"note: {without}")
    return Told(findings_of(digests, here, cards), digests, here)


def room_of(
    card: str,
    told: Told,
    cards: Sequence[Card],
    workloads: Sequence[Workload] = (),
    spoken: Sequence[VoiceWorkload] = (),
) -> Room:
    """Return what a card can run, by its name, or by "here" the one of this machine.

    A machine without a GPU runs on its processor. Raises ValueError for an unknown name, and for
    speech on what is no known card.
    """
    from diffusion_bench.charts.tiers.speech import speech_on
    from diffusion_bench.tiers.cards import find_card

    room = _pictures_room(card, told, cards, workloads)
    if not spoken:
        return room
    found = find_card(room.name, cards).card
    if found is None:
        raise ValueError(f"speech is predicted for known GPUs only, not for {room.name}")
    rows = tuple(speech_on(found, workload) for workload in spoken)
    return room._replace(speech=rows, runs=room.runs if workloads else ())


def _pictures_room(
    card: str, told: Told, cards: Sequence[Card], workloads: Sequence[Workload]
) -> Room:
    from diffusion_bench.charts.tiers.here import room_here
    from diffusion_bench.charts.tiers.runnable import runnable_on
    from diffusion_bench.tiers.cards import named_card

    if card.strip().casefold() == HERE:
        machine, here = this_machine()
        room, note = room_here(
            machine, here, told.findings, told.digests, cards=cards, workloads=workloads
        )
    else:
        named, assumed = named_card(card, cards)
        note = assumed or ""
        room = runnable_on(named, told.findings, workloads=workloads)
    if note:
        tell(f"note: {note}")
    return room


def ask(paths: Sequence[Path], *, patience_s: float | None) -> Asked:
    """Return the digests of reports, through the index that all commands and the page share."""
    from diffusion_bench.backends.device import cached_file
    from diffusion_bench.reports.index import INDEX_NAME, ReportIndex

    files = files_of(paths)
    asked = ReportIndex(cached_file(INDEX_NAME)).ask(files, patience_s=patience_s)
    if asked.complaints and len(files) == len(paths) <= NAMED_COMPLAINTS:
        raise ValueError(asked.complaints[0])
    for line in asked.complaints[:NAMED_COMPLAINTS]:
        tell(f"note: left out: {line}")
    if len(asked.complaints) > NAMED_COMPLAINTS:
        more = len(asked.complaints) - NAMED_COMPLAINTS
        tell(f"note: {more} more files are no reports and were left out")
    if asked.unread:
        tell(
            f"note: {asked.unread} of {len(files)} reports are not read yet; run it again to "
            "read more, or all at once with --patience 0"
        )
    return asked


def files_of(paths: Sequence[Path]) -> list[Path]:
    """Return the files named, and those in the folders named; ValueError for an empty folder."""
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = sorted(path.glob("*.jsonl"))
        if not inside:
            raise ValueError(f"{path}: no report (*.jsonl) is in this folder")
        files += inside
    return files


def this_machine() -> tuple[MachineInfo, Here]:
    """Return what the machine is made of, and what reports know it by."""
    from contextlib import closing

    from diffusion_bench.charts.tiers.measured import Here
    from diffusion_bench.hardware.machine import describe_machine
    from diffusion_bench.hardware.sensors import open_sensor, uuid_hash

    with closing(open_sensor()) as sensor:
        machine = describe_machine(sensor)
    hashes = frozenset(uuid_hash(gpu.uuid) for gpu in machine.gpus if gpu.uuid)
    return machine, Here(hashes, machine.cpu, machine.cores_logical, machine.ram_mib)
