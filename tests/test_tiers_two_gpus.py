"""Two GPUs are three answers, and memory does not pool."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from diffusion_bench.tiers.two_gpus import Job, SplitModel, one_batch, one_model, two_jobs


def split(**given: object) -> SplitModel:
    values = {
        "alone_s": (4.0, 4.0),
        "calls": 10,
        "crossing_mib": 0.0,
        "needed_mib": 20_000.0,
        "beside_mib": 2000.0,
        "memory_mib": (12_000.0, 12_000.0),
    }
    return SplitModel.model_validate(values | given)


def job(seconds: float, ram_gib: float = 0.0) -> Job:
    return Job(seconds=seconds, ram_gib=ram_gib)


def takes(seconds: Callable[[int], float], most: int = 1000) -> Callable[[int], Job | None]:
    """Return a card that holds at most so many pictures at once."""
    return lambda n: job(seconds(n)) if n <= most else None


def test_two_jobs_add_up_images_an_hour_and_save_no_time() -> None:
    found = two_jobs(job(4.0), job(2.0), batch=2)
    assert found.images_per_hour == pytest.approx(3600 * (2 / 4 + 2 / 2))
    assert found.seconds == 2.0
    assert found.speedup == pytest.approx(1.5)


def test_weights_of_two_jobs_wait_in_the_same_ram() -> None:
    assert two_jobs(job(4.0, 30), job(4.0, 30), batch=1, room_gib=60).images_per_hour == 1800
    jobs = two_jobs(job(4.0, 30), job(4.0, 32.9), batch=1, room_gib=38.4)
    shares = one_batch(lambda _: job(4.0, 30), lambda _: job(4.0, 32.9), batch=2, room_gib=38.4)
    for short in (jobs, shares):
        assert (short.seconds, short.images_per_hour) == (None, None)
        assert "63 GiB" in (short.reason or "")
        assert "38" in (short.reason or "")


def test_a_batch_is_split_where_it_ends_soonest() -> None:
    found = one_batch(takes(lambda n: 3.0 * n), takes(lambda n: 1.0 * n), batch=8)
    assert found.share == (2, 6)
    assert found.seconds == 6.0
    assert found.speedup == pytest.approx(8 / 6)
    equal = one_batch(takes(lambda n: 1.0 + n), takes(lambda n: 1.0 + n), batch=4)
    assert equal.share == (2, 2)
    assert equal.speedup == pytest.approx(5 / 3)  # what each does once is done twice


def test_no_card_gets_a_share_that_it_does_not_hold() -> None:
    slow, fast = takes(lambda n: 3.0 * n), takes(lambda n: 1.0 * n, most=5)
    found = one_batch(slow, fast, batch=8)
    assert (found.share, found.seconds) == ((3, 5), 9.0)
    assert found.speedup == pytest.approx(24 / 9)  # the slow card alone, since the fast one cannot
    both = one_batch(takes(lambda n: 3.0 * n, most=3), fast, batch=8)
    assert (both.share, both.speedup) == ((3, 5), None)
    none = one_batch(takes(lambda n: 3.0 * n, most=2), fast, batch=8)
    assert none.seconds is None
    assert "no split of it fits" in (none.reason or "")
    assert two_jobs(slow(8), fast(8), batch=8).reason == "it does not fit each of the two cards"


def test_remedies_of_either_card_are_named_once() -> None:
    offloaded = Job(seconds=4.0, remedies=("model offload",))
    both = Job(seconds=4.0, remedies=("VAE slicing", "model offload"))
    found = two_jobs(offloaded, both, batch=1)
    assert found.remedies == ("model offload", "VAE slicing")
    assert "with model offload and VAE slicing, " in found.words


def test_one_picture_cannot_be_split() -> None:
    found = one_batch(takes(lambda n: 1.0), takes(lambda n: 1.0), batch=1)
    assert found.seconds is None
    assert "one picture" in (found.reason or "")


def test_a_model_is_split_only_where_it_fits_neither_card_but_both() -> None:
    found = one_model(split(), batch=1)
    assert found.seconds == pytest.approx(4.0)  # one card works while the other waits
    fits_one = one_model(split(memory_mib=(24_000.0, 12_000.0)), batch=1)
    assert fits_one.seconds is None
    assert "fits one card" in (fits_one.reason or "")
    too_large = one_model(split(needed_mib=23_000.0), batch=1)  # 24,000 together, activations twice
    assert "does not fit the two" in (too_large.reason or "")


def test_as_much_of_a_model_as_fits_lies_on_the_faster_card_whichever_is_named_first() -> None:
    unequal = split(alone_s=(2.0, 6.0), memory_mib=(14_000.0, 12_000.0))
    swapped = split(alone_s=(6.0, 2.0), memory_mib=(12_000.0, 14_000.0))
    part = 12_000 / 18_000
    for pair in (unequal, swapped):
        assert one_model(pair, batch=1).seconds == pytest.approx(part * 2 + (1 - part) * 6)


def test_crossing_from_card_to_card_costs_time() -> None:
    crossing = one_model(split(crossing_mib=500.0), batch=1)
    assert crossing.seconds == pytest.approx(4.0 + 10 * 500 / 10_000)


@pytest.mark.parametrize("batch", [2, 3, 5, 8, 31])
def test_the_split_that_is_found_is_the_best_of_all(batch: int) -> None:
    def first(n: int) -> float:
        return 0.3 + 0.11 * n**0.9

    def second(n: int) -> float:
        return 0.1 + 0.29 * n

    found = one_batch(takes(first), takes(second), batch)
    best = min(max(first(n), second(batch - n)) for n in range(1, batch))
    assert found.seconds == pytest.approx(best)
    assert found.share is not None
    assert sum(found.share) == batch
