"""Make `audio/timbre.json` again: what timbre similarity is measured against, and how well it does.

    python -m diffusion_bench.training.echo.calibrate_timbre      10 minutes of one core

Speech is that of flite, espeak-ng and festival's ked, each voice turned into several speakers by
WORLD. The scale comes from background speakers; the errors and the calibration come from others,
made of voices and saying sentences that the background never had. Nothing is kept but the numbers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from torch import Tensor

from diffusion_bench.audio import timbre as shipped
from diffusion_bench.audio.timbre import TimbreEvidence, TimbreScale, mfcc_means
from diffusion_bench.pronunciation.lexicon import words
from diffusion_bench.training.echo import corpus
from diffusion_bench.training.echo.aligned import SAMPLE_RATE, Aligned
from diffusion_bench.training.echo.heldout import speak_festival
from diffusion_bench.training.echo.recordings import record
from diffusion_bench.training.echo.sentences import Sentences
from diffusion_bench.training.echo.speakers import Speaker, draw_speaker, put_together, take_apart

BACKGROUND = ("slt", "kal16", *(f"en-us+{v}" for v in ("f1", "f3", "f5", "m1", "m3", "m5", "m7")))
HELD_OUT = ("rms", "awb", "ked", *(f"en-us+{v}" for v in ("f2", "f4", "m2", "m4", "m6", "m8")))
SPEAKERS_A_VOICE = 6  # the voice itself and five made of it
CLIPS = 4
SENTENCES_A_CLIP = 2
TRIES = 20
SCALE = Path(shipped.__file__).with_suffix(".json")
BACKGROUND_SEED, HELD_OUT_SEED = 1, 2


@dataclasses.dataclass(frozen=True)
class Clip:
    """One clip: whose it is, and its (samples,) at 16 kHz, clean and as a microphone hears it."""

    speaker: str
    base: str
    clean: NDArray[np.float32]
    recorded: NDArray[np.float32]


def speak(text: str, base: str) -> Aligned:
    """Return the speech of one of the voices."""
    if base != "ked":
        return corpus.speak(text, base)
    samples = speak_festival(text)  # whose phones are not told
    return Aligned(text, samples, ("pau",), (len(samples) / SAMPLE_RATE,))


def make_clips(bases: tuple[str, ...], seed: int) -> Iterator[Clip]:
    """Yield `CLIPS` clips of each of `SPEAKERS_A_VOICE` speakers of each voice."""
    rng = np.random.default_rng(seed)
    sentences = Sentences([word for word in words() if word.isalpha()], seed=seed)
    for base in bases:
        for number in range(SPEAKERS_A_VOICE):
            drawn = draw_speaker(f"{base}/{number}", rng)
            speaker = dataclasses.replace(drawn, base=base) if number else None
            for _ in range(CLIPS):
                clean = np.concatenate(
                    [_said(sentences, base, speaker) for _ in range(SENTENCES_A_CLIP)]
                )
                yield Clip(drawn.name, base, _float(clean), _float(record(clean, rng)))


def _said(sentences: Sentences, base: str, speaker: Speaker | None) -> NDArray[np.int16]:
    for left in reversed(range(TRIES)):
        try:
            aligned = speak(sentences.draw(), base)
            break
        except ValueError:  # a phone of espeak-ng that has no name: another sentence
            if not left:
                raise
    if speaker is None:
        return np.asarray(np.clip(aligned.samples, -1, 1) * 32767, dtype=np.int16)
    return put_together(take_apart(aligned), speaker).samples


def _float(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    return np.asarray(samples / 32768, dtype=np.float32)


def calibrate(background: Iterable[Clip], held_out: Iterable[Clip]) -> TimbreScale:
    """Return the scale of the background's clean clips, tried on the held-out speakers."""
    known = torch.stack([_means(clip.clean) for clip in background])
    mean, deviation = known.mean(dim=0), known.std(dim=0)

    def placed(samples: NDArray[np.float32]) -> Tensor:
        return torch.nn.functional.normalize((_means(samples) - mean) / deviation, dim=0)

    clips = list(held_out)
    clean = torch.stack([placed(clip.clean) for clip in clips])
    recorded = torch.stack([placed(clip.recorded) for clip in clips])
    names = np.array([clip.speaker for clip in clips])
    # Each pair once; a clip is not compared with its own recording either.
    once = np.triu(np.ones((len(clips), len(clips)), dtype=bool), 1)
    same = once & (names[:, None] == names[None, :])
    different = once & ~same
    tables = [(clean @ one.T).numpy() for one in (clean, recorded)]
    (auc, eer), (auc_recorded, eer_recorded) = (
        _errors(table[same], table[different]) for table in tables
    )
    unlike = np.concatenate([table[different] for table in tables])
    return TimbreScale(
        mean=_rounded(mean.numpy()),
        deviation=_rounded(deviation.numpy()),
        different=_rounded(np.percentile(unlike, np.arange(101))),
        evidence=TimbreEvidence(
            speakers=len(set(names)),
            same_pairs=int(same.sum()),
            different_pairs=int(different.sum()),
            auc_clean=round(auc, 4),
            eer_clean=round(eer, 4),
            auc_recorded=round(auc_recorded, 4),
            eer_recorded=round(eer_recorded, 4),
        ),
    )


def _means(samples: NDArray[np.float32]) -> Tensor:
    means = mfcc_means(samples, SAMPLE_RATE)
    if means is None:
        raise ValueError("a clip without speech: a voice is missing on this machine")
    return means


def _errors(same: NDArray[np.float32], different: NDArray[np.float32]) -> tuple[float, float]:
    """Return the area under the ROC curve and the equal error rate."""
    same, different = np.sort(same), np.sort(different)
    auc = float(np.searchsorted(different, same).mean() / len(different))
    thresholds = np.concatenate([same, different])
    missed = np.searchsorted(same, thresholds) / len(same)
    accepted = 1 - np.searchsorted(different, thresholds) / len(different)
    closest = np.abs(missed - accepted).argmin()
    return auc, float(missed[closest] + accepted[closest]) / 2


def _rounded(values: NDArray[np.floating]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def main(
    out: Annotated[
        Path, typer.Option(help="The JSON to write; that which is shipped if not given.")
    ] = SCALE,
) -> None:
    """Measure timbre similarity again, write it and print its evidence: ten minutes."""
    torch.set_num_threads(1)
    scale = calibrate(make_clips(BACKGROUND, BACKGROUND_SEED), make_clips(HELD_OUT, HELD_OUT_SEED))
    out.write_text(scale.model_dump_json(indent=1) + "\n", encoding="utf-8")
    print(scale.evidence.model_dump_json(indent=1))


if __name__ == "__main__":
    typer.run(main)
