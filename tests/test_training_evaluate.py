"""The matcher that scores the bundled model: right drawings score 1, wrong ones do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_bench.training.drawing import save_grid
from diffusion_bench.training.pictogram.evaluate import (
    Asked,
    ask_pairs,
    ask_singles,
    nearest_colour,
    score,
)
from diffusion_bench.training.pictogram.scenes import (
    FONT_PATHS,
    LATTICE,
    Placed,
    Scene,
    draw_scene,
)
from diffusion_bench.training.pictogram.vocabulary import RELATIONS, load_vocabulary

SIDE = 64
pytestmark = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


def drawing(asked: Asked, words: tuple[str, ...] | None = None, noise: float = 0.0) -> np.ndarray:
    """Return what was asked, or other words in its place, with noise."""
    words = words or asked.words
    vocabulary = load_vocabulary()
    if asked.relation is None:
        placed = [Placed(words[0], 0.5, 0.5, vocabulary.sizes[asked.size])]
    else:
        dx, dy = RELATIONS[asked.relation]
        placed = [
            Placed(
                word,
                0.5 + 2 * LATTICE * sign * dx,
                0.5 + 2 * LATTICE * sign * dy,
                vocabulary.sizes["small"],
            )
            for word, sign in zip(words, (1, -1), strict=True)
        ]
    drawn = draw_scene(Scene("", vocabulary.colours[asked.colour], tuple(placed)), SIDE)
    rough = drawn + np.random.default_rng(0).normal(0, noise, drawn.shape)
    return rough.clip(0, 255).astype(np.uint8)


def test_every_object_is_asked_for_and_captions_agree_with_what_is_checked() -> None:
    asked = ask_singles(2, seed=1, sizes=("medium", "big", "small"))
    assert {wanted.words[0] for wanted in asked} == set(load_vocabulary().objects)
    assert {wanted.size for wanted in asked} == {"medium", "big", "small"}
    for wanted in [*asked, *ask_pairs(20, seed=2)]:
        assert all(word in wanted.caption for word in (*wanted.words, wanted.colour))
        assert (wanted.relation or "") in wanted.caption


@pytest.mark.parametrize("noise", [0.0, 25.0])
def test_right_drawings_score_one_even_when_rough(noise: float) -> None:
    asked = [*ask_singles(1, seed=1, sizes=("medium", "big", "small"))[::12], *ask_pairs(8, seed=3)]
    found = score("all", asked, np.stack([drawing(wanted, noise=noise) for wanted in asked]))
    assert (found.object_share, found.background_share, found.failed) == (1.0, 1.0, {})
    assert found.num_pictures == len(asked)


def test_a_wrong_object_is_counted_and_named() -> None:
    asked = Asked(caption="", colour="blue", words=("cat",))
    found = score("one", [asked], drawing(asked, words=("dog",))[None])
    assert (found.object_share, found.background_share) == (0.0, 1.0)
    assert found.failed == {"cat": 1}


def test_a_pair_on_swapped_sides_is_wrong() -> None:
    asked = Asked(caption="", colour="red", words=("cat", "tree"), relation="left of")
    assert score("two", [asked], drawing(asked)[None]).object_share == 1.0
    swapped = score("two", [asked], drawing(asked, words=("tree", "cat"))[None])
    assert swapped.object_share == 0.0
    assert swapped.failed == {"cat": 1, "tree": 1}


def test_a_wrong_background_is_counted() -> None:
    asked = Asked(caption="", colour="blue", words=("cat",))
    other = asked.model_copy(update={"colour": "green"})
    assert score("one", [asked], drawing(other)[None]).background_share == 0.0
    for colour in load_vocabulary().colours:
        assert nearest_colour(drawing(asked.model_copy(update={"colour": colour}))) == colour


def test_a_grid_holds_every_picture_in_order(tmp_path: Path) -> None:
    pictures = np.stack([np.full((4, 4, 3), shade, np.uint8) for shade in (10, 20, 30)])
    save_grid(pictures, tmp_path / "grid.png", columns=2, scale=2)
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (16, 16, 3)
    assert [int(grid[4, 4, 0]), int(grid[4, 12, 0]), int(grid[12, 4, 0])] == [10, 20, 30]
