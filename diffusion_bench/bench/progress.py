"""What a run tells whoever watches it."""

from __future__ import annotations

from typing import Literal

from diffusion_bench.backends.downloads import Fetching
from diffusion_bench.records import DeviceShare, Record, Request
from diffusion_bench.reports.schema import Cell, Limit, SharedCell

Kind = Literal[
    "fetching",
    "starting",
    "waiting",
    "ready",
    "skipped",
    "cell_started",
    "repeated",
    "round",
    "round_done",
    "cell",
    "heartbeat",
    "limit",
    "done",
]


class Progress(Record):
    """What just happened. `heartbeat` is nothing new, so that a watcher can look up.

    After a `round` of a cell more calls of it are to come; `cell` is what there is of it so far.
    After `round_done` every cell that is left has been visited `rounds_done` times, of the planned
    `rounds` or more. `visits_done` are those of all cells together: a cell that is done counts as
    its planned ones, and so does one that needs more than those.
    `starting` is a process that measures; once the first is up, models are `fetching`. `waiting` is
    for the device; the number of cells is not told before the first and the device are had.

    A sweep of several devices has a `share` and ends its cells with `shared` instead.

    `remaining_s` is `None` until a cell of every `estimate.family` has been timed.
    """

    kind: Kind
    num_cells: int
    num_done: int
    request: Request | None = None
    repeat: int = 0
    rounds: int = 1
    rounds_done: int = 0
    visits_done: int = 0
    cell: Cell | None = None
    limit: Limit | None = None
    share: DeviceShare | None = None
    shared: SharedCell | None = None
    remaining_s: float | None = None
    fetching: Fetching | None = None

    @property
    def bar(self) -> tuple[int, int]:
        """Return how much is done, and of how much: visits where there are rounds, else cells.

        Of a model that is fetched, MiB.
        """
        if self.fetching is not None:
            fetched = self.fetching.progress
            return round(fetched.done_mib), round(fetched.total_mib)
        if self.rounds == 1:
            return self.num_done, self.num_cells
        return self.visits_done, self.num_cells * self.rounds
