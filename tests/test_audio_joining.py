"""Joined chunks: no click, no dip, no bump, and nothing of the speech lost."""

from __future__ import annotations

import numpy as np
import pytest

from diffusion_bench.audio.joining import Joiner, equal_power_rise, speech_span

RATE = 24_000
FADE = round(0.08 * RATE)


def tone(hz: float, seconds: float, *, phase: float = 0.0, quiet_s: float = 0.0) -> np.ndarray:
    """Return a tone that is cut off at its edges, or swells out of quiet and back into it."""
    at_s = np.arange(round(seconds * RATE)) / RATE
    samples = 0.5 * np.sin(2 * np.pi * hz * at_s + phase)
    if quiet_s:
        samples *= np.clip(np.minimum(at_s, seconds - at_s) / 0.02, 0, 1) ** 2
    return np.pad(samples, round(quiet_s * RATE)).astype(np.float32)


def join(
    *chunks: np.ndarray, ends_sentence: bool = False, **settings: float
) -> tuple[np.ndarray, Joiner]:
    joiner = Joiner(RATE, **settings)
    pieces = [
        joiner.add(chunk, ends_sentence=ends_sentence, last=index == len(chunks) - 1)
        for index, chunk in enumerate(chunks)
    ]
    return np.concatenate(pieces), joiner


def roughness(samples: np.ndarray) -> float:
    """Return the largest second difference: a click is one, a tone's are small."""
    return float(np.abs(np.diff(samples, 2)).max())


@pytest.mark.parametrize("ends_sentence", [False, True])
@pytest.mark.parametrize("quiet_s", [0.0, 0.3])
def test_chunks_that_end_in_the_middle_of_a_wave_are_joined_without_a_click(
    ends_sentence: bool, quiet_s: float
) -> None:
    chunks = [tone(200 + 40 * k, 0.5, phase=1.3 * k, quiet_s=quiet_s) for k in range(4)]
    clicking = roughness(np.concatenate([tone(200, 0.5), tone(240, 0.5, phase=1.3)]))
    smooth = max(roughness(tone(320, 0.5)), 0.005)  # the latter: a fade of 5 ms
    assert clicking > 20 * smooth  # what is measured would be seen
    joined, _ = join(*chunks, ends_sentence=ends_sentence)
    assert roughness(joined) <= smooth * 1.15


def test_a_cross_fade_keeps_the_power_of_chunks_that_are_not_in_phase() -> None:
    noise = np.random.default_rng(3).normal(0, 0.1, (2, 400, RATE // 2)).astype(np.float32)
    power = np.mean([np.square(join(one, two)[0]) for one, two in zip(*noise, strict=True)], axis=0)
    middle = RATE // 2 - FADE
    frames = power[middle - FADE : middle + 2 * FADE].reshape(-1, FADE // 8).mean(axis=1)
    assert np.abs(10 * np.log10(frames / 0.01)).max() < 0.25


def test_the_two_gains_of_a_fade_add_up_in_power() -> None:
    rise = equal_power_rise(1001)
    assert np.square(rise) + np.square(rise[::-1]) == pytest.approx(np.ones(1001), abs=1e-6)
    assert np.all(np.diff(rise) > 0)


def test_a_pause_follows_a_sentence_and_no_quiet_of_the_chunks_adds_to_it() -> None:
    chunks = [tone(200, 0.5, quiet_s=1.0), tone(300, 0.5, quiet_s=1.0)]
    joined, _ = join(*chunks, ends_sentence=True, pause_s=0.25)
    loud = np.flatnonzero(np.abs(joined) > 0.05)
    # The pause, and the margins at both sides of it.
    assert np.diff(loud).max() / RATE == pytest.approx(0.25 + 2 * 0.03, abs=0.025)


def test_all_of_the_speech_is_kept_and_only_quiet_is_cut() -> None:
    chunks = [tone(200, 0.4, quiet_s=0.5) for _ in range(3)]
    joined, _ = join(*chunks)
    loud = (np.abs(joined) > 0.4).sum()
    assert loud == pytest.approx(3 * (np.abs(chunks[0]) > 0.4).sum(), rel=0.01)
    assert len(joined) < sum(map(len, chunks)) - 4 * 0.35 * RATE


def test_the_outer_edges_stay_and_start_and_end_in_silence() -> None:
    chunk = tone(200, 0.5, phase=1.5)
    joined, joiner = join(chunk)
    assert len(joined) == len(chunk)
    assert abs(joined[0]) < 0.02
    assert abs(joined[-1]) < 0.02
    edge = round(0.005 * RATE)
    assert np.array_equal(joined[edge:-edge], chunk[edge:-edge])
    assert (joiner.placements[0].first, joiner.placements[0].stop) == (0, len(chunk))


def test_placements_say_where_a_chunk_went() -> None:
    chunks = [tone(200, 0.3, quiet_s=0.3), tone(260, 0.3, quiet_s=0.2), tone(330, 0.2)]
    joined, joiner = join(*chunks)
    for chunk, place in zip(chunks, joiner.placements, strict=True):
        inner = slice(FADE, -FADE)  # apart from what is faded
        kept = chunk[place.first : place.stop]
        there = joined[place.at : place.at + len(kept)]
        assert np.array_equal(there[inner], kept[inner])


def test_a_chunk_shorter_than_a_fade_is_placed_where_it_is_heard() -> None:
    joined, joiner = join(tone(200, 0.3), tone(260, 0.1), tone(330, 0.3))
    last = joiner.placements[-1]
    assert last.at + last.stop - last.first == len(joined)
    short = joiner.placements[1]
    middle = slice(short.at + 1190, short.at + 1210)  # where its two fades meet
    assert joined[middle] == pytest.approx(tone(260, 0.1)[1190:1210], abs=0.02)


def test_what_is_returned_at_once_is_never_taken_back() -> None:
    chunks = [tone(200, 0.5), tone(240, 0.5), tone(280, 0.5)]
    joiner = Joiner(RATE)
    first = joiner.add(chunks[0], ends_sentence=False, last=False)
    assert len(first) == len(chunks[0]) - FADE  # held back: what may be faded
    second = joiner.add(chunks[1], ends_sentence=True, last=False)
    assert len(second) == len(chunks[1]) + round(0.2 * RATE)  # a pause settles all
    whole, _ = join(chunks[0])
    edge = round(0.005 * RATE)
    assert np.array_equal(first, whole[: len(first)])
    assert np.array_equal(second[FADE:-edge][:100], chunks[1][FADE : FADE + 100])


@pytest.mark.parametrize("length", [0, 1, 2, 30, FADE, FADE + 1, 3 * FADE])
@pytest.mark.parametrize("ends_sentence", [False, True])
def test_chunks_of_any_length_are_joined(length: int, ends_sentence: bool) -> None:
    odd = tone(200, 1.0)[:length]
    for chunks in ([odd], [odd, odd, odd], [tone(200, 0.5), odd, tone(300, 0.5)]):
        joined, joiner = join(*chunks, ends_sentence=ends_sentence)
        assert np.isfinite(joined).all()
        assert np.abs(joined).max(initial=0) <= 0.5 * np.sqrt(2) + 1e-6
        assert len(joiner.placements) == len(chunks)
        assert joined.dtype == np.float32


def test_a_silent_chunk_keeps_its_length() -> None:
    silence = np.zeros(RATE, np.float32)
    assert speech_span(silence, RATE) == (0, RATE)
    assert len(join(silence, silence, ends_sentence=True)[0]) == 2 * RATE + round(0.2 * RATE)


@pytest.mark.parametrize("fade_s", [0.0, 0.04, 0.2])
def test_a_fade_that_would_be_heard_is_refused(fade_s: float) -> None:
    with pytest.raises(ValueError, match=r"0\.05 to 0\.15 s are allowed"):
        Joiner(RATE, fade_s=fade_s)


def grown(chunks: list[np.ndarray], sizes: np.random.Generator, *, ends_sentence: bool) -> tuple:
    """Join chunks that come in pieces; return the result and how much of it came early."""
    joiner = Joiner(RATE)
    given, early = [], 0
    for index, chunk in enumerate(chunks):
        place = {"ends_sentence": ends_sentence, "last": index == len(chunks) - 1}
        heard = 0
        while heard < len(chunk):
            heard += int(sizes.integers(1, RATE // 4))
            given.append(joiner.grow(chunk[:heard], **place))
            early += len(given[-1])
        given.append(joiner.add(chunk, **place))
    return np.concatenate(given), early


def uneven_speech(rng: np.random.Generator, loudest: float) -> np.ndarray:
    """Return quiet, a loud beginning, then pauses, whispers and up to `loudest`, and quiet."""
    parts = [tone(200, 0.6)]
    for level in rng.choice([0.0, 0.004, 0.02, 1.0, loudest], int(rng.integers(0, 5))):
        parts.append(np.float32(level) * tone(rng.uniform(90, 900), rng.uniform(0.05, 0.4)))
    quiet = np.zeros(int(rng.integers(0, RATE // 2)), np.float32)
    return np.concatenate([quiet, *parts, quiet])


@pytest.mark.parametrize("ends_sentence", [False, True])
@pytest.mark.parametrize(("count", "loudest"), [(3, 1.0), (1, 1.9)])
def test_a_chunk_in_pieces_is_joined_as_the_whole_and_heard_early(
    count: int, loudest: float, ends_sentence: bool
) -> None:
    for seed in range(30):
        rng = np.random.default_rng(seed)
        chunks = [uneven_speech(rng, loudest) for _ in range(count)]
        whole, _ = join(*chunks, ends_sentence=ends_sentence)
        pieces, early = grown(chunks, rng, ends_sentence=ends_sentence)
        assert np.array_equal(pieces, whole)
        assert early > 0.4 * len(whole)


def test_a_growing_chunk_that_falls_silent_waits_with_its_quiet() -> None:
    joiner = Joiner(RATE)
    speech = tone(200, 0.5)
    so_far = np.concatenate([speech, np.zeros(RATE, np.float32)])
    early = joiner.grow(so_far, ends_sentence=True, last=False)
    # The quiet may be the end, and would be cut then.
    assert len(early) <= len(speech) + RATE * 0.03
    ended = joiner.add(so_far, ends_sentence=True, last=False)
    assert len(early) + len(ended) == pytest.approx(RATE * (0.5 + 0.03 + 0.2), abs=RATE * 0.01)
