"""Each verdict once, from a scripted driver through the real sensor, sampler and cell.

The driver is the compiled stand-in for NVML. What it tells goes through `open_sensor`, `Sampler`,
`look_before` and `measured_cell` into a report line and back, and only then is judged.
"""

from __future__ import annotations

import json
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from fakes import make_cell, make_header, make_report, make_trace
from nvml_fake import build_stub, run_with_stub

from diffusion_bench.bench.cells import Watched, failed_cell, find_gpu, measured_cell
from diffusion_bench.bench.measure import Measurement, Timed
from diffusion_bench.bench.worker_messages import Failed
from diffusion_bench.charts import held_back as rules
from diffusion_bench.charts.held_back import HeldBack, held_back, in_words
from diffusion_bench.charts.reached import Reached, rate
from diffusion_bench.hardware.state import look_before
from diffusion_bench.records import ImageRequest, Memory, Reading, Speed, Stages
from diffusion_bench.reports import timed_readings
from diffusion_bench.reports.schema import Ceiling, Cell, Report
from diffusion_bench.reports.store import to_line

SCRIPT = """
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.records import HostReading

class Rested:
    def read(self, process=None):
        return HostReading(cpu_percent=1.0)

clock = [0.0]
sampler = Sampler(open_sensor(), clock=lambda: clock[0], host=Rested())
for tick in range(60):
    sampler.look()
    stub().nvmlStubAdvanceMs(100)
    clock[0] += 0.1
answer = [reading.model_dump(mode="json") for reading in sampler.history()]
"""
IDLE_S, STEPS = 1.0, 4
THERMAL, CAP, BRAKE, SLOWDOWN = "0x20", "0x4", "0x80", "0x8"
RTX_4090 = "NVIDIA GeForce RTX 4090|24564|290"
RTX_3060 = "NVIDIA GeForce RTX 3060|12288|120"
BANDWIDTH = "memory-bandwidth-bound"
# Models and sizes whose step on that card is, by the counts, mostly what the name says.
ARITHMETIC = {"model": "sdxl", "width": 1024, "height": 1024, "batch": 4, "precision": "fp16"}
TRAFFIC = {"model": "sdxl", "width": 128, "height": 128, "precision": "fp16"}
LAUNCHES = {"model": "sd15", "width": 256, "height": 256, "precision": "fp16"}


@pytest.fixture(scope="module")
def stub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stub(tmp_path_factory.mktemp("nvml"))


def report_of(
    readings: list[Any], request: ImageRequest, step_s: float, others: int = 0
) -> tuple[Cell, Report]:
    """Return a cell of calls one after the other, as the runner would write it, and its report."""
    looks = tuple(Reading.model_validate(reading) for reading in readings)
    card = looks[0].gpus[0]
    header = make_header(cells=[request], gpu=card.name, memory_mib=card.memory_total_mib)
    idle = tuple(look for look in looks if look.at_s <= IDLE_S)
    call_s = STEPS * step_s
    starts = [IDLE_S + call_s * index for index in range(int(4.5 / call_s))]
    stages = Stages(text_encoder_s=0.0, denoising_s=call_s, decoder_s=0.0, other_s=0.0)
    timed = partial(Timed, wall_s=call_s, stages=stages, step_s=(step_s,) * STEPS)
    measurement = Measurement(
        warmup_s=(1.0,),
        timed=tuple(timed(start_s=start, end_s=start + call_s) for start in starts),
        stop_reason="stable",
        memory=Memory(),
    )
    watched = Watched(
        header=header,
        order=0,
        started_utc="2026-01-02T03:04:05Z",
        before=look_before(idle, find_gpu(idle, card.uuid), (others, ""), None),
        idle=idle,
        during=tuple(look for look in looks if look.at_s >= IDLE_S),
        gpu_uuid=card.uuid,
    )
    cell = measured_cell(
        request, watched, measurement, loaded=None, attention=None, first_of_shape=True
    )
    read = Cell.model_validate_json(to_line(cell))
    return read, Report(header=header, cells=(read,))


@cache
def watched_by(stub: Path, *driver: tuple[str, str]) -> str:
    """Return six seconds of readings as JSON, of a driver that is asked once for all tests."""
    return json.dumps(run_with_stub(stub, SCRIPT, clock="manual", **dict(driver)))


def judge(
    stub: Path,
    shape: dict[str, Any],
    step_s: float,
    *,
    others: int = 0,
    memory: Memory | None = None,
    **driver: str,
) -> HeldBack:
    readings = json.loads(watched_by(stub, *driver.items()))
    # A card at rest before the cell: the stub has one load for all time.
    for reading in readings:
        if reading["at_s"] <= IDLE_S:
            reading["gpus"][0]["utilization_percent"] = 0.0
    request = ImageRequest(prompt="a cat", steps=STEPS, guidance_scale=5, **shape)
    cell, report = report_of(readings, request, step_s, others)
    if memory:
        cell = cell.model_copy(update={"memory": memory})
    return held_back(cell, report)


CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "compute_rule": (
        "compute-bound",
        {"shape": ARITHMETIC, "step_s": 0.75, "gpus": RTX_4090, "busy": "97"},
        "arithmetic takes 2.5 times as long",
    ),
    "traffic_rule": (
        "memory-bandwidth-bound",
        {"shape": TRAFFIC, "step_s": 0.09, "gpus": RTX_3060, "busy": "95"},
        "memory traffic takes",
    ),
    "launch_rule": (
        "launch-bound (CPU)",
        {"shape": LAUNCHES, "step_s": 0.04, "gpus": RTX_4090, "busy": "31"},
        "the GPU was busy in 31 % of the time, and launching a step's 888 kernels",
    ),
    "power_rule": (
        "power-limited",
        {
            "shape": ARITHMETIC,
            "step_s": 0.75,
            "gpus": RTX_4090,
            "busy": "97",
            "reasons": CAP,
            "limit": "300",
        },
        "lowered the clocks in 100% of the readings; it drew 290 W of 300 W allowed",
    ),
    "heat_rule": (
        "thermally throttled",
        {
            "shape": ARITHMETIC,
            "step_s": 0.75,
            "gpus": RTX_4090,
            "busy": "97",
            "reasons": THERMAL,
        },
        "100% (sw_thermal) of the readings; up to 55 °C",
    ),
    "contended_rule": (
        "contended",
        {"shape": ARITHMETIC, "step_s": 0.75, "gpus": RTX_4090, "busy": "97", "others": 2},
        "2 other programs were on the GPU before the cell",
    ),
    "slowdown_rule": (
        "cannot tell",
        {
            "shape": ARITHMETIC,
            "step_s": 0.75,
            "gpus": RTX_4090,
            "busy": "97",
            "reasons": SLOWDOWN,
        },
        "does not say whether for heat or power",
    ),
}


@pytest.mark.parametrize("rule", CASES)
def test_each_verdict_is_reached_through_a_driver_that_shows_its_cause(
    stub: Path, rule: str
) -> None:
    verdict, scene, words = CASES[rule]
    found = judge(stub, **scene)
    assert found.verdict == verdict, found.evidence
    assert words in found.evidence


@pytest.mark.parametrize("rule", [name for name in CASES if hasattr(rules, name)])
def test_without_its_rule_a_verdict_is_another(
    stub: Path, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no rule stands in another's shadow, and each test above guards one."""
    verdict, scene, words = CASES[rule]
    left = tuple(one for one in rules.RULES if one.__name__ != rule)
    assert len(left) == len(rules.RULES) - 1
    monkeypatch.setattr(rules, "RULES", left)
    found = judge(stub, **scene)
    assert (found.verdict, words in found.evidence) != (verdict, True)


def test_a_power_brake_is_a_power_limit_and_heat_comes_before_it(stub: Path) -> None:
    busy = {"gpus": RTX_4090, "busy": "97"}
    assert judge(stub, ARITHMETIC, 0.75, reasons=BRAKE, **busy).verdict == "power-limited"
    both = hex(int(BRAKE, 16) | int(THERMAL, 16))
    assert judge(stub, ARITHMETIC, 0.75, reasons=both, **busy).verdict == "thermally throttled"


def test_a_driver_without_reasons_at_the_limit_is_power_limited_and_below_it_not(
    stub: Path,
) -> None:
    silent = "nvmlDeviceGetCurrentClocksEventReasons=3;nvmlDeviceGetCurrentClocksThrottleReasons=3"
    scene = partial(judge, stub, ARITHMETIC, 0.75, gpus=RTX_4090, busy="97", errors=silent)
    assert scene(limit="295").verdict == "power-limited"
    assert scene(limit="310").verdict == "compute-bound"
    # One that can tell its reasons and tells none is believed, however near the limit.
    told = judge(stub, ARITHMETIC, 0.75, gpus=RTX_4090, busy="97", limit="295")
    assert told.verdict == "compute-bound"


def test_power_and_load_are_of_the_timed_calls_not_of_what_is_sustained_after_them(
    stub: Path,
) -> None:
    driver = {"gpus": RTX_4090, "busy": "97"}
    readings = json.loads(watched_by(stub, *driver.items()))
    request = ImageRequest.model_validate({"prompt": "a cat", **ARITHMETIC})
    cell, report = report_of(readings, request, 0.75)
    (gpu,) = cell.trace.gpus
    later = [cell.trace.at_s[-1] + 60.0 * minute for minute in range(1, 30)]
    told = {
        name: (*values, *[half] * len(later))
        for name, values in gpu
        if isinstance(values, tuple) and len(values) == len(cell.trace.at_s)
        for half in [values[-1] / 2 if values[-1] is not None else None]
    }
    sustained = cell.trace.model_copy(
        update={
            "at_s": (*cell.trace.at_s, *later),
            "gpus": (gpu.model_copy(update=told),),
        }
    )
    longer = cell.model_copy(update={"trace": sustained})
    assert timed_readings.power_w(longer, report) == pytest.approx(
        timed_readings.power_w(cell, report), rel=0.01
    )
    assert timed_readings._timed(longer, sustained.gpus[0].utilization_percent)[-1] == 97


def test_a_card_that_waits_for_something_else_than_launches_cannot_be_told(stub: Path) -> None:
    found = judge(stub, ARITHMETIC, 0.75, gpus=RTX_4090, busy="31")
    assert found.verdict == "cannot tell"
    assert "something else kept it waiting" in found.evidence


def test_a_step_far_slower_than_its_work_explains_cannot_be_told(stub: Path) -> None:
    found = judge(stub, TRAFFIC, 0.4, gpus=RTX_3060, busy="95")
    assert found.verdict == "cannot tell"
    assert "a step takes 5." in found.evidence


@pytest.mark.parametrize(
    ("retries", "used_mib", "verdict"),
    [
        (14, 11980.0, "memory pressure"),
        (14, 6000.0, "cannot tell"),
        (14, None, "cannot tell"),
        (0, 11980.0, "cannot tell"),
    ],
)
def test_time_that_nothing_else_explains_is_memory_pressure_where_the_allocator_ran_short(
    stub: Path, retries: int, used_mib: float | None, verdict: str
) -> None:
    memory = Memory(nvml_used_mib=used_mib, alloc_retries=retries)
    for shape, step_s, busy, nothing in (
        (TRAFFIC, 0.4, "95", "no counter says why"),
        (ARITHMETIC, 0.75, "31", "something else kept it waiting"),
    ):
        found = judge(stub, shape, step_s, memory=memory, gpus=RTX_3060, busy=busy)
        assert found.verdict == verdict, found.evidence
        assert (nothing in found.evidence) is (retries == 0)
        assert ("refused memory 14 times in one call" in found.evidence) is (retries == 14)
        assert ("; peak 11980 of 12288 MiB" in found.evidence) is (verdict == "memory pressure")


def test_retries_are_no_verdict_on_a_step_that_its_work_explains(stub: Path) -> None:
    short = Memory(nvml_used_mib=24500, alloc_retries=1)
    found = judge(stub, ARITHMETIC, 0.75, memory=short, gpus=RTX_4090, busy="97")
    assert found.verdict == "compute-bound"


def test_a_driver_without_utilisation_is_said_where_it_would_decide(stub: Path) -> None:
    silent = "nvmlDeviceGetUtilizationRates=3"
    found = judge(stub, LAUNCHES, 0.04, gpus=RTX_4090, errors=silent)
    assert "the driver told no utilisation" in found.evidence
    # Where launches cannot be it, the work decides all the same.
    assert judge(stub, ARITHMETIC, 0.75, gpus=RTX_4090, errors=silent).verdict == "compute-bound"


def test_out_of_memory_says_where_and_how_much_was_asked() -> None:
    request = ImageRequest(prompt="a cat")
    header = make_header(cells=[request])
    watched = Watched(
        header=header,
        order=0,
        started_utc="2026-01-02T03:04:05Z",
        before=look_before((), None, (None, ""), None),
        idle=(),
        during=(),
        gpu_uuid=None,
    )
    failure = Failed(status="oom", message="no", stage="decoder", asked_mib=2048.0)
    cell = failed_cell(request, watched, failure)
    report = Report(header=header, cells=(cell,))
    assert in_words(cell, report) == (
        "out of memory",
        "memory ran out in the stage 'decoder', asking for 2048 MiB more",
    )
    crashed = cell.model_copy(update={"status": "crashed"})
    assert in_words(crashed, report) == (
        "cannot tell",
        "the cell is crashed and has no timed call",
    )


def on_processor(step_s: float, gflops: float, copy_gbs: float, **request: Any) -> HeldBack:
    """Return the verdict on a cell of the bundled model, under a ceiling."""
    cell = make_cell(step_s=(step_s,) * 2, steps=2, **request)
    ceiling = Ceiling(gflops=gflops, copy_gbs=copy_gbs)
    cell = cell.model_copy(update={"ceiling": ceiling})
    return held_back(cell, make_report(cell))


def test_a_processor_is_judged_by_what_it_reached_in_two_short_tests(
    counted: tuple[float, float],
) -> None:
    flops, moved = counted
    step_s = 0.01
    gflops, gbs = flops / step_s / 1e9, moved / step_s / 1e9
    near = partial(on_processor, step_s)
    assert near(gflops / 0.8, gbs / 0.3).verdict == "compute-bound"
    assert near(gflops / 0.3, gbs / 0.8).verdict == "memory-bandwidth-bound"
    neither = near(gflops / 0.3, gbs / 0.3)
    assert (neither.verdict, "near neither limit" in neither.evidence) == ("cannot tell", True)
    cached = near(gflops / 0.3, gbs / 3)
    assert (cached.verdict, "caches served them" in cached.evidence) == ("cannot tell", True)
    assert near(gflops / 0.8, gbs / 3).verdict == "compute-bound"
    disturbed = near(gflops / 1.5, gbs / 0.3)
    assert (disturbed.verdict, "disturbed" in disturbed.evidence) == ("cannot tell", True)


@pytest.fixture
def counted() -> tuple[float, float]:
    """Return FLOPs and bytes of a step of the bundled model, as they are counted."""
    from diffusion_bench.charts.reached import reached

    cell = make_cell(step_s=(1.0,) * 2, steps=2)
    cell = cell.model_copy(update={"ceiling": Ceiling(gflops=1.0, copy_gbs=1.0)})
    point, why = reached(cell, make_report(cell))
    assert point, why
    return point.flops, point.bytes_moved


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"model": "nobody/counted"}, "no counts of model"),
        ({"precision": "bf16"}, "32-bit values only"),
        ({"speed": "bf16-products"}, "not counted for speed 'bf16-products'"),
        ({"speed": "model-offload"}, "not counted for speed 'model-offload'"),
        ({"speed": "auto"}, "is not in the report"),
    ],
)
def test_work_that_nobody_counted_is_said(request_: dict[str, Any], words: str) -> None:
    found = on_processor(0.01, 1.0, 1.0, **request_)
    assert found.verdict == "cannot tell"
    assert words in found.evidence


def test_a_way_to_run_that_changes_no_work_is_judged_like_the_plain_one() -> None:
    plain = on_processor(0.01, 20.0, 5.0)
    assert on_processor(0.01, 20.0, 5.0, speed=Speed(packed=True)) == plain
    cell = make_cell(step_s=(0.01,) * 2, steps=2, speed="auto")
    ran = {"speed": "packed", "ceiling": Ceiling(gflops=20.0, copy_gbs=5.0)}
    cell = cell.model_copy(update=ran)
    assert held_back(cell, make_report(cell)) == plain, "what auto chose is in the cell"


def test_a_report_without_a_test_of_the_processor_says_so() -> None:
    cell = make_cell()
    found = held_back(cell, make_report(cell))
    assert "was not measured with this report" in found.evidence


def test_a_cell_on_battery_is_not_judged_by_its_work() -> None:
    cell = make_cell().model_copy(update={"labels": ("on battery",)})
    assert "ran on battery" in held_back(cell, make_report(cell)).evidence


def test_what_others_did_to_a_cell_goes_before_what_the_card_did() -> None:
    busy = {"labels": ("contended", "throttled"), "throttle_share": {"hw_thermal": 0.5}}
    cell = make_cell().model_copy(update=busy)
    assert held_back(cell, make_report(cell)).verdict == "contended"
    alone = cell.model_copy(update={"labels": ("throttled",)})
    assert held_back(alone, make_report(alone)).verdict == "thermally throttled"


def test_heat_is_told_with_the_highest_temperature_and_one_look_of_it_is_no_verdict() -> None:
    card = {"gpu": "NVIDIA L4"}
    hot = {"throttle_share": {"hw_thermal": 0.06}}
    cell = make_cell(trace=make_trace(**card)).model_copy(update=hot)
    found = held_back(cell, make_report(cell, **card))
    assert found.verdict == "thermally throttled"
    assert found.evidence.endswith("; up to 65 °C")
    once = cell.model_copy(update={"throttle_share": {"hw_thermal": 0.05}})
    assert held_back(once, make_report(once, **card)).verdict != "thermally throttled"


def test_a_card_that_nobody_listed_is_named(stub: Path) -> None:
    found = judge(stub, ARITHMETIC, 0.75, gpus="NVIDIA Nonesuch 9000|24564|290", busy="97")
    assert found.verdict == "cannot tell"
    assert "Nonesuch 9000" in found.evidence


@pytest.mark.parametrize(
    ("arithmetic_s", "verdict"),
    [(1.3, "compute-bound"), (1.2, "cannot tell"), (0.9, "cannot tell"), (0.7, BANDWIDTH)],
)
def test_arithmetic_and_traffic_that_take_about_as_long_are_not_told_apart(
    arithmetic_s: float, verdict: str
) -> None:
    point = Reached(
        flops=1e12,
        bytes_moved=1e11,
        launches=100.0,
        step_s=1.5,
        peak_flops=1e12,
        bandwidth=1e11,
        arithmetic_s=arithmetic_s,
        traffic_s=1.0,
        bound_s=1.4,
        host_s=0.1,
        limits_from="test",
    )
    found = rules._by_card(point)
    assert found.verdict == verdict
    assert ("too near to tell them apart" in found.evidence) is (verdict == "cannot tell")


def test_evidence_has_no_exponent_where_a_step_takes_seconds_or_a_card_moves_terabytes(
    stub: Path,
) -> None:
    found = judge(stub, ARITHMETIC, 1.1, gpus=RTX_4090, busy="31")
    assert "of 1100 ms: something else" in found.evidence
    assert rate(3.35e12, "B") == "3350 GB/s"
