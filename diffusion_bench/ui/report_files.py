"""The reports folder as the page sees it: names out, reports in; a name is never a path."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from diffusion_bench.reports.index import ReportIndex
from diffusion_bench.reports.privacy import words_without_names
from diffusion_bench.reports.read import parse_report, path_text, read_bytes, read_report
from diffusion_bench.reports.schema import Report

REMEMBERED = 32  # parsed reports kept while their files stay the same
MAX_LISTED = 200  # reports to choose from, the newest
PATIENCE_S = 1.0  # of reading reports that the index does not know yet
NO_NAME = "sweep"


class Opened(NamedTuple):
    """The reports that could be read, and a line for each that could not.

    `uploaded` says of each report whether it came from outside the folder.
    """

    reports: tuple[Report, ...]
    complaints: tuple[str, ...]
    uploaded: tuple[bool, ...] = ()


class ReportFolder:
    """The reports of one folder, which need not exist yet. `index` spares reading them again."""

    def __init__(self, folder: Path, index: ReportIndex | None = None) -> None:
        self._folder = folder
        self.index = index or ReportIndex(None)
        self._given: set[Path] = set()  # to sweeps, which write no file before it is their turn
        self._giving = threading.Lock()

    def names(self) -> list[str]:
        """Return the names of the report files, newest first, but those that are no text.

        A browser has no way to show or to name such a file.
        """
        paths = sorted(self.paths(), key=_modified_ns, reverse=True)
        return [path.name for path in paths if path_text(path.name) == path.name]

    def newest(self) -> list[str]:
        """Return the names to choose from: a list of thousands would be of no use."""
        return self.names()[:MAX_LISTED]

    def paths(self) -> list[Path]:
        """Return the report files, in no order: there may be thousands."""
        if not self._folder.is_dir():
            return []
        return [path for path in self._folder.glob("*.jsonl") if path.is_file()]

    def path(self, name: str) -> Path:
        """Return the file of a name; raise ValueError for one that is not in the folder."""
        here = os.path.basename(name) == name and name.endswith(".jsonl")
        if not here or not os.path.isfile(self._folder / name):
            raise ValueError(f"there is no report {name!r:.80} in the reports folder")
        return self._folder / name

    def new_path(self, sweep_name: str, utc: str) -> Path:
        """Return where a new report goes: `<sweep>-<time>.jsonl`; the folder is made.

        No path is given twice: the second of a name ends in -2.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^A-Za-z0-9._-]+", "-", sweep_name).strip(".-")[:60] or NO_NAME
        stem = f"{safe}-{re.sub(r'[^0-9TZ]', '', utc)}"
        path, number = self._folder / f"{stem}.jsonl", 1
        with self._giving:
            while path in self._given or path.exists():
                number += 1
                path = self._folder / f"{stem}-{number}.jsonl"
            self._given.add(path)
        return path

    def read(self, name: str) -> Report:
        """Return the report of that name; one that has not changed is not read again."""
        return read_cached(self.path(name))

    def unfinished(self) -> list[str]:
        """Return the names of reports that lack some of their plan's cells, newest first.

        Where thousands are new to the index, those of the older ones come with a later call.
        """
        found = self.index.ask(self.paths(), patience_s=PATIENCE_S, with_cells=False).digests
        lacking = {digest.source for digest in found if digest.unfinished}
        return [name for name in self.names() if name in lacking]

    def measured_with(self, cpu: str) -> list[Report]:
        """Return the newest reports of machines with that processor, as many as are remembered."""
        found = self.index.ask(self.paths(), patience_s=PATIENCE_S, with_cells=False).digests
        theirs = {digest.source for digest in found if digest.cpu == cpu}
        names = [name for name in self.names() if name in theirs]
        return list(open_reports(self, names[:REMEMBERED], []).reports)


def read_cached(path: Path) -> Report:
    """Return the report in a file, from memory while size and time of the file are the same."""
    stat = path.stat()
    version, newest = (stat.st_mtime_ns, stat.st_size), _newest(path)
    report = newest.get(version)
    if report is None:
        report = read_report(path)
        newest.clear()
        newest[version] = report
    return report


def open_reports(folder: ReportFolder, names: Sequence[str], uploads: Sequence[str]) -> Opened:
    """Open reports of the folder by name and uploaded files by path; a bad one stops no other.

    Raises ValueError for more than `REMEMBERED`: a hundred small ones are drawn for a minute.
    """
    if (count := len(names) + len(uploads)) > REMEMBERED:
        raise ValueError(
            f"{count} reports; the page opens {REMEMBERED} at once, and the command compare more"
        )
    reports, complaints, uploaded = [], [], []
    for name in names:
        try:
            reports.append(folder.read(name))
            uploaded.append(False)
        except (ValueError, OSError) as error:
            complaints.append(words_without_names(str(error)))
    for upload in uploads:
        try:
            # An upload's own name, not the folder that Gradio put it in.
            reports.append(parse_report(read_bytes(Path(upload)), Path(upload).name))
            uploaded.append(True)
        except (ValueError, OSError) as error:
            complaints.append(words_without_names(str(error)))
    return Opened(tuple(reports), tuple(complaints), tuple(uploaded))


@lru_cache(maxsize=REMEMBERED)
def _newest(path: Path) -> dict[tuple[int, int], Report]:
    """Return what is remembered of a file: its last version, since a sweep has one a cell."""
    return {}


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:  # removed since it was listed
        return 0
