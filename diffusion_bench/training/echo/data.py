"""The corpus in memory: what the networks are trained on, drawn by a step's own generator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.pronunciation.front_end import phonemes
from diffusion_bench.pronunciation.phones import MARKS, PHONES

SETTINGS = MelSettings()
WORLD_FRAME_S = 0.005


@dataclass(frozen=True)
class Spoken:
    """One utterance. `phones`: (4, phones) of symbol, stress, word start and mark.

    `durations`: (phones,) float frames, summing to those of `mel` (80, frames) float16; `recorded`
    is the mel of what a microphone would give. `f0_hz`: (frames,), 0 where unvoiced. `samples`:
    int16.
    """

    speaker: int
    phones: Tensor
    durations: Tensor
    mel: Tensor
    recorded: Tensor
    f0_hz: Tensor
    samples: NDArray[np.int16]


@dataclass(frozen=True)
class Corpus:
    """All utterances, those of each speaker, and each speaker's targets (speakers, 6)."""

    utterances: list[Spoken]
    of_speaker: list[list[int]]
    targets: Tensor
    bases: list[str]


def load_corpus(folder: Path, *, numbers: Collection[int] | None = None) -> Corpus:
    """Return the speakers of those numbers, or all, that are in a folder, in that order."""
    made = (path for path in folder.glob("s*.npz") if ".part" not in path.name)
    by_number = {int(path.stem[1:]): path for path in made}
    paths = [by_number[one] for one in sorted(by_number) if numbers is None or one in numbers]
    utterances: list[Spoken] = []
    of_speaker, targets, bases = [], [], []
    for speaker, path in enumerate(paths):
        with np.load(path) as held:
            spoken = _speaker(dict(held), speaker)
            targets.append(torch.from_numpy(held["targets"]))
            bases.append(str(held["base"]))
        of_speaker.append(list(range(len(utterances), len(utterances) + len(spoken))))
        utterances += spoken
    return Corpus(utterances, of_speaker, torch.stack(targets), bases)


def _speaker(held: dict[str, NDArray[np.generic]], speaker: int) -> list[Spoken]:
    spoken = []
    starts = np.concatenate([[0], np.cumsum(held["lengths"])])
    f0_starts = np.concatenate([[0], np.cumsum(held["f0_lengths"])])
    phone_start = 0
    for index, text in enumerate(held["texts"]):
        cut = slice(starts[index], starts[index + 1])
        samples = np.asarray(held["samples"][cut], dtype=np.int16)
        symbols = str(held["phones"][index]).split()
        ends = np.asarray(held["ends_s"][phone_start : phone_start + len(symbols)], dtype=float)
        phone_start += len(symbols)
        f0_hz = np.asarray(held["f0_hz"][f0_starts[index] : f0_starts[index + 1]], dtype=float)
        mel = mel_of(samples)
        spoken.append(
            Spoken(
                speaker=speaker,
                phones=torch.tensor(annotate(symbols, str(text)), dtype=torch.int16),
                durations=durations(ends, mel.shape[-1]),
                mel=mel.half(),
                recorded=mel_of(np.asarray(held["recorded"][cut], dtype=np.int16)).half(),
                f0_hz=frame_pitch(f0_hz, mel.shape[-1]),
                samples=samples,
            )
        )
    return spoken


def mel_of(samples: NDArray[np.int16]) -> Tensor:
    """Return the (80, frames) log mel of int16 samples."""
    return log_mel(torch.from_numpy(samples.astype(np.float32) / 32768), SETTINGS)[0]


def durations(ends_s: NDArray[np.float64], frames: int) -> Tensor:
    """Return how long each phone is, in frames and parts of them; the last takes what is left."""
    edges = np.minimum(ends_s / SETTINGS.hop_s, frames)
    edges[-1] = frames
    return torch.from_numpy(np.diff(np.maximum.accumulate(edges), prepend=0)).float()


def frame_pitch(f0_hz: NDArray[np.float64], frames: int) -> Tensor:
    """Return WORLD's pitch at the middle of each mel frame."""
    at = np.round(np.arange(frames) * SETTINGS.hop_s / WORLD_FRAME_S).astype(int)
    return torch.from_numpy(f0_hz[np.minimum(at, len(f0_hz) - 1)]).float()


def annotate(symbols: list[str], text: str) -> list[list[int]]:
    """Return symbol, stress, word start and mark of each spoken phone.

    The synthesizer says the symbols; our front end, which will speak later, tells the rest. Where
    the two differ, a phone has no stress and the mark of its neighbours.
    """
    told = phonemes(text)
    stress, starts = [0] * len(symbols), [0] * len(symbols)
    marks = [-1] * len(symbols)
    matcher = SequenceMatcher(None, symbols, [phone.symbol for phone in told], autojunk=False)
    for tag, first, last, told_first, told_last in matcher.get_opcodes():
        if tag not in ("equal", "replace") or last - first != told_last - told_first:
            continue
        for offset in range(last - first):
            phone = told[told_first + offset]
            stress[first + offset] = phone.stress
            starts[first + offset] = int(phone.word_start)
            marks[first + offset] = phone.mark_index
    known = [mark for mark in marks if mark >= 0]
    last_mark = known[-1] if known else MARKS.index(".")
    for index in reversed(range(len(marks))):
        last_mark = marks[index] = marks[index] if marks[index] >= 0 else last_mark
    indices = [PHONES.index(symbol) for symbol in symbols]
    return [indices, stress, starts, marks]
