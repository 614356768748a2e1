"""Durations and memory as people type them."""

from __future__ import annotations

import pytest

from diffusion_bench.cli.amounts import memory_bytes, peak_words, seconds
from diffusion_bench.records import Memory


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90s", 90),
        ("10m", 600),
        (" 10 min ", 600),
        ("1.5h", 5400),
        ("2H", 7200),
        ("0.5", 0.5),
    ],
)
def test_a_duration_is_read_with_its_unit(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "0", "0s", "-3s", "3 d", "1e3", "ten", "5m5m", "nan"])
def test_what_is_no_duration_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no duration; say it as 90s, 10m or 1\.5h"):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("12GiB", 12 * 2**30), ("8000MB", 8_000_000_000), (" 512 MiB ", 2**29), ("1048576", 2**20)],
)
def test_an_amount_of_memory_is_read_with_its_unit(text: str, expected: int) -> None:
    assert memory_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1GiB", "12 elephants", "1,5GiB", "12GiB or so", "nan", "inf", "9" * 5000]
)
def test_what_is_no_amount_of_memory_is_refused_with_one_that_is(text: str) -> None:
    with pytest.raises(ValueError, match="is no amount of memory; say it as 12GiB") as caught:
        memory_bytes(text)
    assert len(str(caught.value)) < 100


def test_the_peak_is_the_gpus_where_there_is_one() -> None:
    both = Memory(torch_allocated_mib=100.0, rss_mib=900.0)
    assert peak_words(both) == "peak GPU memory 100 MiB"
    assert peak_words(Memory(rss_mib=900.0)) == "peak resident set 900 MiB"
    assert peak_words(Memory()) == "peak memory unknown"
