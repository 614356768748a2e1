"""How well the scorer sees, on scenes it was not taught: `python -m ...training.scorer.measure`."""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated

import torch
import typer
from PIL import Image

from diffusion_bench.backends.scoring.asked import read_caption, words_of
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.scorers import scorer_folder
from diffusion_bench.backends.scoring.sight import Verdict, judge, see
from diffusion_bench.training.picturebook.scenes import Scene, draw_scene
from diffusion_bench.training.scorer.train import scenes_of

HELD_OUT = "held out"  # a stream of scenes that nothing is trained on
DISTRACTORS = 32


def main(
    count: Annotated[int, typer.Option(help="Scenes to draw.")] = 1000,
    side: Annotated[int, typer.Option(help="Pixels of a scene's side.")] = 128,
) -> None:
    """Print, by kind of scene, how often the scorer sees in a true drawing what it shows."""
    torch.set_num_threads(max(1, torch.get_num_threads()))
    scorer = ClipScorer.load(device="cpu")
    scenes = scenes_of(0, count, stream=HELD_OUT)
    images = [Image.fromarray(draw_scene(scene, side)) for scene in scenes]
    typer.echo("| scenes | n | objects | relation | count | background |")
    typer.echo("|---|--:|--:|--:|--:|--:|")
    for kind, verdicts in _verdicts(scorer, scenes, images).items():
        typer.echo(f"| {kind} | {len(verdicts)} | {' | '.join(_shares(verdicts))} |")
    typer.echo(
        f"own caption first of {DISTRACTORS}: {caption_accuracy(scorer, scenes, images):.1%}"
    )


def _verdicts(
    scorer: ClipScorer, scenes: list[Scene], images: list[Image.Image]
) -> dict[str, list[Verdict]]:
    words = words_of(scorer_folder() / "vocabulary.json")
    of_kind: dict[str, list[Verdict]] = defaultdict(list)
    for scene, sight in zip(scenes, see(scorer, images), strict=True):
        asked = read_caption(scene.caption, words)
        if asked is None:
            raise ValueError(f"the vocabulary cannot read the caption {scene.caption!r}")
        of_kind[scene.kind].append(judge(asked, sight))
    return dict(sorted(of_kind.items()))


def _shares(verdicts: list[Verdict]) -> list[str]:
    cells = []
    for name in ("objects", "relation", "count", "background"):
        told = [value for v in verdicts if (value := getattr(v, name)) is not None]
        cells.append(f"{sum(told) / len(told):.1%}" if told else "")
    return cells


def caption_accuracy(scorer: ClipScorer, scenes: list[Scene], images: list[Image.Image]) -> float:
    """Return how often a picture's own caption scores best among those of 31 other pictures."""
    pictures = scorer.features(images)
    captions = scorer.caption_features([scene.caption for scene in scenes])
    own = []
    for start in range(0, len(images) - DISTRACTORS + 1, DISTRACTORS):
        cut = slice(start, start + DISTRACTORS)
        cosines = pictures[cut] @ captions[cut].T
        own.append(cosines.argmax(dim=1) == torch.arange(DISTRACTORS))
    return float(torch.cat(own).float().mean())


if __name__ == "__main__":
    typer.run(main)
