"""Hostile reports: each is read, or refused in one short line; none is a traceback or a flood.

A seeded fuzzer mutates real reports. What is accepted goes through everything that is done with a
report: statistics, comparison, exports, the doctor. A short run is a default test, the whole one is
`python -m pytest -m slow tests/test_reports_hostile.py`.
"""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import make_cell, make_header, make_quality, make_report, make_sweep_cells, make_trace
from pydantic import TypeAdapter
from test_cli_comparing import spoken
from test_reports_shared import report as report_of_two

from diffusion_bench.charts.held_back import in_words
from diffusion_bench.charts.page import CHARTS
from diffusion_bench.charts.trace import trace_numbers, trace_table
from diffusion_bench.records import MachineState, Request, SpeedProbe
from diffusion_bench.reports.digests import digest_of
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.export import to_csv, to_rows
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.read import UnreadableReport, parse_report
from diffusion_bench.reports.schema import (
    Energy,
    Extrapolation,
    Report,
    Sustained,
    Visit,
)
from diffusion_bench.reports.stage_readings import cut_trace
from diffusion_bench.reports.store import to_line

LONGEST_MESSAGE = 400
SLOWEST_CASE_S = 10.0  # of a file below a mebibyte, or of each; the machine may be busy
PEAK_MIB = 1536

# Ready-made JSON, since Python writes none of the worse ones.
NASTY = [
    *("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1e308", "-1e308", "5e-324", "1e-300"),
    *("0", "-0.0", "-1", "1", "2", "1e9", "1e15", "9" * 30, "9" * 400, "9" * 5000, "1e5", "0.1"),
    *("null", "true", "false", '""', '"\\ud800"', '"\\u0000"', '"=1+1"', '"\\u001b[2J"', "[]"),
    *("{}", "[[[[[[]]]]]]", '{"a":{"b":{}}}', "[null]", '[1,"a",{}]', '{"\\n\\u001b":1}'),
    *(
        '"' + "x" * 5000 + '"',
        "[" * 150 + "]" * 150,
        "[" * 3000 + "]" * 3000,
        "[" + "0," * 999 + "0]",
    ),
    *('"ok"', '"oom"', '"cuda:0"', '"cuda:99999"', '"ddpm"', '"2026-01-02T03:04:05Z"', "1000"),
]


def originals() -> list[Report]:
    """Return reports that together hold every kind of line and field."""
    cells = make_sweep_cells(gpu="NVIDIA L4")[:7]
    long = make_cell(wall_s=(1.0, 1.1, 0.9, 1.0, 1.2), steps=60, step_s=[0.01] * 10)
    rich = long.model_copy(
        update={
            "order": 7,
            "extrapolation": Extrapolation(measured_steps=10, rule="ten steps"),
            "labels": ("extrapolated", "throttled"),
            "before": MachineState(cpu_percent=5.0, gpu_power_limit_w=72.0),
            "energy": Energy(
                total_j=50.0, window_s=5.2, method="counter", idle_power_w=1.0, net_j=44.8
            ),
            "throttle_share": {"thermal": 0.5},
            "sustained": Sustained(at_s=(0.0, 1.0), wall_s=(1.0, 1.1)),
            "trace": make_trace(2, gpu="NVIDIA L4"),
            "quality": make_quality(),
            "visits": (Visit(started_utc="2026-01-02T03:04:06Z", calls=5),),
            "machine_speed": (
                SpeedProbe(work="some blocks", before_s=(0.003, 0.002), after_s=(0.004,)),
            ),
        }
    )
    report = make_report(*cells, rich, gpu="NVIDIA L4", repeats=5)
    small = make_report(make_cell(), make_cell(steps=7, status="oom", message="no room"))
    return [
        report.model_copy(update={"fits": fit_lines(report.cells)}),
        small,
        make_report(spoken(30, denoising_s=3.0)),
        report_of_two(),
    ]


def lines_of(report: Report) -> list[bytes]:
    return [to_line(record) for record in (report.header, *report.measured, *report.fits)]


def places(value: Any, found: list[tuple[Any, Any]] | None = None) -> list[tuple[Any, Any]]:
    """Return every container of a JSON value with each of its keys."""
    found = [] if found is None else found
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(pairs):
        found.append((value, key))
        if isinstance(inner, dict | list):
            places(inner, found)
    return found


REQUESTS: TypeAdapter[Request] = TypeAdapter(Request)
MARK = "\ue000nasty\ue000"


def another_value(line: bytes, rng: random.Random) -> bytes:
    """Put something nasty in one place or in several."""
    raw = json.loads(line)
    for _ in range(rng.choice((1, 1, 1, 3))):
        container, key = rng.choice(places(raw))
        container[key] = MARK
    return filled(raw, rng)


def another_number(line: bytes, rng: random.Random) -> bytes:
    """Scale or flip one number, and leave the rest in order."""
    raw = json.loads(line)
    numbers = [
        (container, key)
        for container, key in places(raw)
        if isinstance(container[key], int | float) and not isinstance(container[key], bool)
    ]
    if numbers:
        container, key = rng.choice(numbers)
        container[key] *= rng.choice((-1, 0, 10, 1e-9, 1e9, 1e18, 1e-200, 1e200))
    return json.dumps(raw).encode() + b"\n"


def another_key(line: bytes, rng: random.Random) -> bytes:
    """Drop, add or rename a key, or give it twice."""
    raw = json.loads(line)
    dicts = [(c, k) for c, k in places(raw) if isinstance(c, dict)]
    container, key = rng.choice(dicts)
    how = rng.randrange(3)
    if how == 0:
        del container[key]
    elif how == 1:
        container[f"{key}\x1b\n" * rng.choice((1, 500))] = MARK
    else:
        text = json.dumps(raw).encode()
        name = json.dumps(key).encode()
        return text.replace(name, name + b":" + rng.choice(NASTY).encode() + b"," + name, 1) + b"\n"
    return filled(raw, rng)


def repeated_items(line: bytes, rng: random.Random) -> bytes:
    """Make one list long, or empty."""
    raw = json.loads(line)
    lists = [(c, k) for c, k in places(raw) if isinstance(c[k], list)]
    if lists:
        container, key = rng.choice(lists)
        container[key] = (container[key] or [MARK]) * rng.choice((0, 2, 100, 2000))
    return filled(raw, rng)


def flipped_bytes(line: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, with control characters and broken UTF-8 among them."""
    data = bytearray(line)
    for _ in range(rng.choice((1, 3, 30))):
        data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), 0, 0xFF, 0xC3, 10, 34))
    return bytes(data)


def cut_line(line: bytes, rng: random.Random) -> bytes:
    """Tear the line off, with or without its end."""
    return line[: rng.randrange(len(line))] + rng.choice((b"", b"\n", b"\x00" * 50, b"\r\n"))


def filled(raw: Any, rng: random.Random) -> bytes:
    text = json.dumps(raw, ensure_ascii=False)
    mark = json.dumps(MARK, ensure_ascii=False)
    return re.sub(mark, lambda _: rng.choice(NASTY), text).encode() + b"\n"


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    another_value,
    another_number,
    another_key,
    repeated_items,
    flipped_bytes,
    cut_line,
)


def own_ids(lines: list[bytes]) -> list[bytes]:
    """Return the lines with the ids that their requests have now, so that more of them pass."""
    try:
        header = parse_report(lines[0], "header").header
    except UnreadableReport:
        return lines
    fixed = [lines[0]]
    for line in lines[1:]:
        try:
            raw = json.loads(line)
            request, share = REQUESTS.validate_python(raw["request"]), raw.get("share")
            named = header.shared_id(request, share) if share else header.cell_id(request)
            raw["cell_id"] = named
            fixed.append(json.dumps(raw).encode() + b"\n")
        except (ValueError, KeyError, TypeError, RecursionError):
            fixed.append(line)
    return fixed


def hostile_file(reports: list[list[bytes]], rng: random.Random) -> bytes:
    lines = list(rng.choice(reports))
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(lines))
        try:
            lines[place] = rng.choice(MUTATIONS)(lines[place], rng)
        except (ValueError, TypeError, IndexError, RecursionError, OverflowError):
            continue  # an earlier mutation left no JSON to mutate
    if rng.random() < 0.2:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
    if rng.random() < 0.5:
        lines = own_ids(lines)
    return b"".join(lines)


def use(report: Report, other: Report) -> None:
    """Do with a report all that is done with one."""
    both = [report, other]
    to_rows(both, tariff=0.3, explain=in_words)
    to_csv(both, tariff=0.3)
    to_markdown(both, tariff=0.3)
    for whole in overall(both) + overall(both[::-1]):
        whole.words()
    assert examine_report(report)
    digest_of(report)
    for chart in CHARTS:
        chart.table(chart.numbers(both))
    for cell in report.cells:
        trace_table(trace_numbers(cell), cut_trace(cell, report.header))


def fuzz(cases: int, seed: int) -> tuple[int, int]:
    """Return how many of the hostile files were read, and how many refused."""
    rng, real = random.Random(seed), originals()
    sound = [lines_of(report) for report in real]
    read = 0
    for case in range(cases):
        data = hostile_file(sound, rng)
        began = time.perf_counter()
        try:
            report = parse_report(data, "evil.jsonl")
        except UnreadableReport as refused:
            message = str(refused)
            assert message.startswith("evil.jsonl: "), (case, message)
            assert len(message) < LONGEST_MESSAGE, (case, message)
            assert message.isprintable(), (case, message)
        else:
            read += 1
            use(report, real[0])
        slowest_s = SLOWEST_CASE_S * max(1.0, len(data) / 2**20)
        assert time.perf_counter() - began < slowest_s, case
    return read, cases - read


def test_hostile_reports_are_read_or_refused_in_one_line():
    read, refused = fuzz(300, seed=1)
    assert min(read, refused) > 60  # else the fuzzer no longer reaches one of the two


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_ten_thousand_hostile_reports_are_read_or_refused_in_one_line():
    read, refused = fuzz(10_000, seed=2)
    assert min(read, refused) > 1000


def test_the_reports_that_are_mutated_are_sound_themselves():
    for report in originals():
        data = b"".join(lines_of(report))
        assert parse_report(data, report.source).model_copy(update={"written": ()}) == report
        use(report, report)


HUGE = {
    "a header of 200 MiB": "HEADER[:-2] + b',' + b' ' * (200 * MIB) + b'}' + NEWLINE",
    "one string": "HEADER + CELL[:-2] + b',\"x\":\"' + b'x' * (200 * MIB) + b'\"}' + NEWLINE",
    "a torn line": "HEADER + b'{' * (200 * MIB)",
    "wrong steps": "HEADER + CELL.replace(STEPS, STEPS + b'[],' * 1_100_000) + NEWLINE",
    "wrong steps of 30 MiB": "HEADER + CELL.replace(STEPS, STEPS + b'\"a\",' * 7_000_000)",
    "lines": "HEADER + b'{\\n' * (100 * MIB)",
    "damaged lines": "HEADER + b'{\\n' * 90_000 + CELL",
    "many keys": "HEADER + b'{' + b','.join(b'\"%d\":1' % i for i in range(1_000_000)) + b'}\\n'",
}

CHILD = """
import resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, ({peak} * 2**20, {peak} * 2**20))
from diffusion_bench.reports.read import UnreadableReport, parse_report
MIB, NEWLINE, STEPS = 2**20, b"\\n", b'"step_s":['
HEADER, CELL = sys.stdin.buffer.read().splitlines(keepends=True)
data = {expression}
began = time.perf_counter()
try:
    report = parse_report(data, "evil.jsonl")
    print("read", len(report.cells), len(report.notes))
except UnreadableReport as refused:
    assert len(str(refused)) < {longest} and str(refused).isprintable()
    print(refused)
print(time.perf_counter() - began)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limit is Linux's")
@pytest.mark.parametrize("expression", HUGE.values(), ids=HUGE)
def test_a_huge_file_is_answered_within_a_bound_of_memory_and_time(expression):
    code = CHILD.format(peak=PEAK_MIB, expression=expression, longest=LONGEST_MESSAGE)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        input=to_line(make_header()) + to_line(make_cell()),
        capture_output=True,
        timeout=120,
        cwd=Path(__file__).parents[1],
    )
    assert ended.returncode == 0, ended.stderr.decode()[-500:]
    said, seconds = ended.stdout.decode().splitlines()
    assert said.startswith(("evil.jsonl: ", "read "))
    assert float(seconds) < 60
