"""A card that falls off the bus amid a sweep: it ends, and goes on where it was after a reboot."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from nvml_fake import build_stub, run_with_stub
from simulated_card import UUID, Card, open_bench
from warm_workers import WarmStart

from diffusion_bench.bench import limit, lost_cards
from diffusion_bench.bench.lost_cards import CardLost, while_there
from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.setup import Bench
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import GPU_IS_LOST, GpuInfo, NoGpu
from diffusion_bench.records import GpuReading
from diffusion_bench.reports.read import read_report

HERE, OTHER = "GPU-11111111-0000-4000-8000-000000000000", "GPU-22222222-0000-4000-8000-000000000000"
CARDS = tuple(GpuInfo(index=i, name=f"RTX {i}", uuid=uuid) for i, uuid in enumerate((HERE, OTHER)))
FELL_OFF = f"{GPU_IS_LOST}: it fell off the bus; reboot"

SWEEP_LIMIT_S = 300  # on a busy machine
# A sweep on a processor whose worker says that it is the compiled library's first card.
SWEEP = """
import os, tempfile
from pathlib import Path
os.environ["DIFFUSION_BENCH_CACHE"] = tempfile.mkdtemp()
from diffusion_bench.bench import workers
from diffusion_bench.bench.lost_cards import CardLost
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.hardware.sensors import GPU_IS_LOST

def ready(self):
    return self._ready.model_copy(update={{"gpu_uuid": open_sensor().cards()[0].uuid}})

workers.Workers.ready = property(ready)
sweep = parse_sweep('name = "small"\\nrepeats = 2\\n[axes]\\nsteps = [2, 3]\\nsampler = ["ddim"]')
answer = []
try:
    for progress in run_sweep(sweep, Path({path!r}), device="cpu", resume={resume}):
        answer.append(progress.kind)
        if {lose} and progress.num_done == 1 and progress.kind == "cell_started":
            stub().nvmlStubError(b"*", 0, 0, 15)
except CardLost as error:
    answer.append(str(error))
"""


class Falling(NoGpu):
    """Two cards; those in `lost` say that they are."""

    def __init__(self, lost: Iterator[set[int]]) -> None:
        super().__init__("")
        self.reason = None
        self._lost = lost

    def read(self) -> tuple[GpuReading, ...]:
        gone = next(self._lost)
        return tuple(
            GpuReading(index=card.index, missing={"power_w": FELL_OFF} if i in gone else {})
            for i, card in enumerate(CARDS)
        )


def passed(looks: list[set[int]], uuids: list[str | None]) -> int:
    """Return how many events pass, a look before each."""
    sampler = Sampler(Falling(iter(looks)))
    count = 0

    def events() -> Iterator[Progress]:
        for _ in range(2):
            sampler.look()
            yield Progress(kind="heartbeat", num_cells=1, num_done=0)

    for _ in while_there(events(), sampler, CARDS, uuids, rest=lambda seconds: None):
        count += 1
    return count


def test_a_card_that_is_lost_twice_in_a_row_ends_the_run_with_what_to_do() -> None:
    with pytest.raises(CardLost) as caught:
        passed([{0}, {0}], [HERE])
    told = str(caught.value)
    assert told.startswith("GPU 0 RTX 0 is lost while it is measured on: it fell off the bus. ")
    assert told.endswith("reboot, then finish it with --resume")


@pytest.mark.parametrize(
    ("looks", "uuids"),
    [
        ([{0}, set(), set()], [HERE]),  # a hiccup
        ([{1}, {1}], [HERE]),  # another card, on which nothing is measured
        ([{0, 1}, {0, 1}], [None]),  # a sweep of the processor
    ],
)
def test_what_is_no_loss_of_a_card_in_use_ends_nothing(
    looks: list[set[int]], uuids: list[str | None]
) -> None:
    assert passed(looks, uuids) == 2


HICCUP = """
from diffusion_bench.bench.lost_cards import CardLost, while_there
from diffusion_bench.bench.progress import Progress
from diffusion_bench.hardware.nvml import NvmlSensor
from diffusion_bench.hardware.sampler import Sampler

now_s = 0.0
sensor = NvmlSensor(clock=lambda: now_s)
cards = sensor.cards()
sampler = Sampler(sensor, clock=lambda: now_s)
stub().nvmlStubError(b"*", 0, 0, {code})
sampler.look()
stub().nvmlStubError(b"*", 0, 0, {later})

def rest(seconds):
    global now_s
    now_s += seconds

events = iter([Progress(kind="heartbeat", num_cells=1, num_done=0)])
try:
    seen = list(while_there(events, sampler, cards, [cards[0].uuid], rest=rest))
    answer = seen[0].kind, sampler.latest().gpus[0].power_w
except CardLost as error:
    answer = str(error)
"""


@pytest.mark.parametrize("code", [15, 999])
def test_a_card_is_lost_once_the_driver_was_asked_for_it_anew(tmp_path: Path, code: int) -> None:
    """A sensor remembers for seconds that a card is lost: a look soon after proves nothing."""
    stub = build_stub(tmp_path)
    assert run_with_stub(stub, HICCUP.format(code=code, later=0)) == ["heartbeat", 150]
    assert "is lost while" in run_with_stub(stub, HICCUP.format(code=code, later=code))


class CardGone(Card):
    """A card that says at every look that it fell off the bus."""

    def read(self) -> tuple[GpuReading, ...]:
        return (GpuReading(index=0, uuid=UUID, missing={"power_w": FELL_OFF}),)


def test_a_search_for_a_limit_is_not_to_be_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts a new report: `--find-limit` takes no `--resume`."""
    sweep = parse_sweep('name = "small"\n[axes]\nsteps = [2]\nsampler = ["ddim"]')

    def opened(*_: object, **__: object) -> Generator[Progress, None, Bench]:
        yield from ()
        return open_bench(CardGone(), *sweep.requests())

    monkeypatch.setattr(limit, "open_bench", opened)
    monkeypatch.setattr(lost_cards, "LOOK_AGAIN_S", 0.0)
    with pytest.raises(CardLost, match=r"saved: reboot, then search anew$"):
        list(limit.run_limit(sweep, Path("unwritten.jsonl"), "batch"))


def test_one_of_several_cards_in_use_is_enough() -> None:
    with pytest.raises(CardLost, match="GPU 1 RTX 1"):
        passed([{1}, {1}], [HERE, OTHER])


def test_a_sweep_whose_card_falls_off_the_bus_keeps_its_cells_and_is_finished_later(
    tmp_path: Path, warm_start: WarmStart
) -> None:
    """Through the compiled library; the worker, on the processor, does not notice the card."""
    stub, path = build_stub(tmp_path), tmp_path / "report.jsonl"

    def run(*, resume: bool, lose: bool) -> str:
        code = warm_start.program() + SWEEP.format(path=str(path), resume=resume, lose=lose)
        return run_with_stub(stub, code, limit_s=SWEEP_LIMIT_S)[-1]

    assert "GPU 0 NVIDIA GeForce RTX 4090 is lost" in run(resume=False, lose=True)
    assert [cell.request.steps for cell in read_report(path).cells] == [2]
    assert run(resume=True, lose=False) == "done"
    assert sorted(cell.request.steps for cell in read_report(path).cells) == [2, 3]
    assert {cell.status for cell in read_report(path).cells} == {"ok"}
