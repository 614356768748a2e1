"""What the scorer sees, off weights set by hand; what it has beside it; who has no eyes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from tiny_scorer import CAPTIONS, save_tiny_clip, save_tiny_scorer

from diffusion_bench.backends.scoring.asked import Words, words_of
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.distance import Moments
from diffusion_bench.backends.scoring.reference import (
    load_captions,
    load_reference,
    save_reference,
)
from diffusion_bench.backends.scoring.sight import can_see, see

BLANK = Image.new("RGB", (64, 64), "white")


class Sure(ClipScorer):
    """A scorer whose states are told, so that what the reader makes of them is known by hand."""

    told: torch.Tensor

    def states(self, images: object) -> torch.Tensor:
        return self.told


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Sure:
    """Return a scorer whose reader's first states are the logits of the first classes."""
    found = Sure.load(str(save_tiny_scorer(tmp_path_factory.mktemp("scorer"))), device="cpu")
    assert isinstance(found, Sure)
    words = words_of(found.folder / "vocabulary.json")
    objects, backgrounds = 1 + len(words.objects), len(words.colours) + len(words.settings)
    weights = {
        "objects.weight": torch.eye(objects, 128),
        "objects.bias": torch.full((objects,), -30.0).index_fill(0, torch.arange(8), 0.0),
        "backgrounds.weight": torch.eye(backgrounds, 128),
        "backgrounds.bias": torch.zeros(backgrounds),
    }
    save_file(weights, found.folder / "reader.safetensors")
    return found


def states(*there: tuple[int, int, float], background: int = 0) -> torch.Tensor:
    """Return states (1, 65, 128): patch, class and logit of each object; nothing elsewhere."""
    made = torch.zeros(1, 65, 128)
    made[0, 0, background] = 9.0
    made[0, 1:, 0] = 9.0
    for patch, kind, logit in there:
        made[0, 1 + patch, 0] = 0.0
        made[0, 1 + patch, kind] = logit
    return made


def words(scorer: ClipScorer) -> Words:
    return words_of(scorer.folder / "vocabulary.json")


def test_an_object_is_seen_where_its_patch_is_and_the_surest_first(scorer: Sure) -> None:
    scorer.told = states((0, 2, 6.0), (8 * 3 + 5, 1, 9.0), background=1)
    (sight,) = see(scorer, [BLANK])
    known = words(scorer)
    assert [seen.word for seen in sight.objects] == [known.objects[0], known.objects[1]]
    assert (sight.objects[0].x, sight.objects[0].y) == (6 / 8, 4 / 8)
    assert (sight.objects[1].x, sight.objects[1].y) == (1 / 8, 1 / 8)
    assert sight.objects[0].confidence > sight.objects[1].confidence > 0.9
    assert sight.background == known.colours[1]


def test_one_object_across_two_patches_is_one_object(scorer: Sure) -> None:
    scorer.told = states((27, 3, 9.0), (28, 3, 7.0), (30, 3, 8.0))
    (sight,) = see(scorer, [BLANK])
    assert len(sight.objects) == 2


def test_a_background_after_the_colours_is_a_setting_and_nothing_is_seen_in_nothing(
    scorer: Sure,
) -> None:
    known = words(scorer)
    scorer.told = states(background=len(known.colours) + 2)
    (sight,) = see(scorer, [BLANK])
    assert sight.background == list(known.settings)[2]
    assert all(seen.confidence < 0.5 for seen in sight.objects)


def test_a_clip_without_a_reader_cannot_see_and_says_so(tmp_path: Path) -> None:
    blind = ClipScorer.load(str(save_tiny_clip(tmp_path)), device="cpu")
    assert not can_see(blind)
    with pytest.raises(ValueError, match="has no reader"):
        see(blind, [BLANK])


def test_what_lies_beside_a_scorer_is_read_back_as_it_was_written(scorer: Sure) -> None:
    assert can_see(scorer)
    assert load_captions(scorer.folder) == tuple(CAPTIONS)
    found = load_reference(scorer.folder, 128)
    assert found is not None
    assert found.count == 300
    assert found.covariance.shape == (128, 128)


def test_a_folder_without_captions_and_reference_has_none(tmp_path: Path) -> None:
    assert load_captions(tmp_path) == ()
    assert load_reference(tmp_path, 4) is None


@pytest.mark.parametrize(
    "spoil", ["rubbish", "another width", "not finite", "no count", "no covariance"]
)
def test_a_hostile_reference_is_refused_in_one_line(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "reference.safetensors"
    mean, covariance = torch.zeros(4), torch.eye(4)
    if spoil == "not finite":
        covariance[0, 0] = float("nan")
    tensors = {"mean": mean, "covariance": covariance}
    if spoil == "no covariance":
        del tensors["covariance"]
    save_file(tensors, path, metadata=None if spoil == "no count" else {"count": "9"})
    if spoil == "rubbish":
        path.write_bytes(b"\xff" * 99)
    with pytest.raises(ValueError, match=r"reference\.safetensors") as refused:
        load_reference(tmp_path, 5 if spoil == "another width" else 4)
    assert "\n" not in str(refused.value)


def test_captions_that_are_no_lines_are_not_written_and_text_that_is_none_is_refused(
    tmp_path: Path,
) -> None:
    moments = Moments.of(torch.eye(3))
    with pytest.raises(ValueError, match="one line"):
        save_reference(tmp_path, moments, ["a cat\na dog"])
    (tmp_path / "captions.txt").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(ValueError, match=r"captions\.txt"):
        load_captions(tmp_path)
