"""Memory that is capped for real: running out is a result, and the edge of what fits is found."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fakes import make_cell, make_header
from simulated_card import Card, OnCard, open_bench
from warm_workers import WarmStart

from diffusion_bench.bench.limit import SearchFailed, _bases, _fits, _search_one, run_limit, search
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.bench.worker_messages import Event, Failed, Measured
from diffusion_bench.bench.workers import Workers
from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.read import read_report

pytestmark = pytest.mark.usefixtures("warm_workers")

LIMIT_S = 120.0
# Beside the loaded model: 64 pixels and 16 pictures take about 110 MiB, 128 take 240, 192 take 560.
ROOM_MIB = 175.0


def tries(values: range, largest: int | None) -> tuple[list[int], tuple[int | None, int | None]]:
    """Search where all up to `largest` fits; return what was tried and what was found."""
    looking = search(values)
    tried = [next(looking)]
    while True:
        try:
            tried.append(looking.send(largest is not None and tried[-1] <= largest))
        except StopIteration as edge:
            return tried, edge.value


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 64, 100])
def test_every_edge_is_found_and_nothing_is_tried_twice(count: int) -> None:
    values = range(64, 64 * (count + 1), 64)
    for fitting in range(count + 1):
        largest = values[fitting - 1] if fitting else None
        tried, edge = tries(values, largest)
        assert edge == (largest, values[fitting] if fitting < count else None)
        assert len(set(tried)) == len(tried)
        assert len(tried) <= 2 * math.log2(fitting + 1) + 2, (fitting, tried)
        # Both sides of the edge were really tried.
        assert set(edge) - {None} <= set(tried)


class TooSlow(OnCard):
    """Workers of which no call ends in time."""

    def events(self, time_limit_s: float) -> Iterator[Event | None]:
        yield Failed(status="timeout", message="no call or loading ended within 1800 s")


def test_what_takes_too_long_does_not_fit_a_gpu_and_is_only_slow_on_a_processor() -> None:
    request = ImageRequest(prompt="a cat", steps=2)
    card = Card()
    bench = open_bench(card, request)._replace(workers=TooSlow(card))
    told = list(_search_one(bench, request, "batch", (0, 1), 0))
    assert [one.cell.status for one in told if one.cell is not None] == ["timeout"]
    (limit,) = (one.limit for one in told if one.limit is not None)
    assert (limit.largest_fit, limit.smallest_misfit) == (None, 1)
    on_processor = bench._replace(header=make_header(cells=[request]))
    with pytest.raises(SearchFailed, match="batch 1 timeout: no call"):
        list(_search_one(on_processor, request, "batch", (0, 1), 0))


@pytest.mark.parametrize(("used_mib", "fits"), [(12_000.0, True), (12_400.0, False)])
def test_what_spilled_into_the_hosts_memory_does_not_fit(used_mib: float, fits: bool) -> None:
    cell = make_cell(nvml_used_mib=used_mib)
    card = SimpleNamespace(header=make_header(gpu="NVIDIA L4", memory_mib=12_282.0))
    assert _fits(cell, card) is fits
    assert not _fits(make_cell(status="oom"), card)


def test_with_guidance_a_limit_is_another_than_without() -> None:
    """It draws two pictures at a time; by how much it guides costs no memory."""
    text = 'name = "x"\n[axes]\nguidance_scale = [1.0, 3.0, 7.5]\nsteps = [20]\n'
    bases = _bases(parse_sweep(text), "batch")
    assert [(one.guidance_scale, one.steps) for one in bases] == [(1.0, 2), (3.0, 2)]


@pytest.fixture(scope="module")
def taken_mib(own_cache: None, warm_workers: WarmStart) -> float:
    """Return the memory of a worker that has drawn one small picture, as RLIMIT_DATA counts it."""
    with Workers("cpu") as workers:
        request = ImageRequest(prompt="a cat", steps=1)
        *_, last = workers.measure(request, Effort(warmups=1, repeats=1), LIMIT_S)
        assert isinstance(last, Measured)
        status = Path(f"/proc/{workers.pid}/status").read_text()
    found = re.search(r"VmData:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux caps memory")
def test_the_largest_resolution_that_fits_is_found_and_the_next_one_is_seen_not_to(
    taken_mib: float, tmp_path: Path
) -> None:
    cap_bytes = int(taken_mib + ROOM_MIB) * 2**20
    sweep = parse_sweep(
        f'name = "edge"\nemulated_memory = {cap_bytes}\nmeasured_steps = 2\n[stop]\n[axes]\n'
        'sampler = ["ddim", "ddpm"]\nsteps = [1, 50]\nresolution = [64, 512]\nbatch = [16]'
    )
    path = tmp_path / "edge.jsonl"
    events = list(run_limit(sweep, path, "resolution", device="cpu"))
    report = read_report(path)
    (limit,) = report.limits
    assert (limit.axis, limit.largest_fit, limit.smallest_misfit) == ("resolution", 64, 128)
    statuses = {cell.request.width: cell.status for cell in report.cells}
    assert statuses == {64: "ok", 128: "oom", 192: "oom"}
    for cell in report.cells:
        assert "emulated" in cell.labels
        if cell.status == "oom":  # a result: where, and for what
            assert cell.stage in ("denoising", "decoder")
            assert cell.asked_mib is not None
            assert 1 <= cell.asked_mib < 1000
            assert not cell.samples
    assert len(report.cells) == 3
    assert report.header.plan.emulated_memory_mib == cap_bytes / 2**20
    assert {cell.request.batch for cell in report.cells} == {16}
    assert [event.limit for event in events if event.kind == "limit"] == [limit]
    assert (events[-1].kind, events[-1].num_done, events[-1].num_cells) == ("done", 1, 1)
    assert not report.notes
