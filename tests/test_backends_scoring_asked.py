"""What a caption asks for, and whether a sight is that."""

from __future__ import annotations

import pytest

from diffusion_bench.backends.scoring.asked import Asked, Words, read_caption
from diffusion_bench.backends.scoring.sight import Seen, Sight, judge

WORDS = Words(
    objects=("cat", "dog", "horse", "astronaut"),
    colours=("red", "blue", "orange"),
    settings={"mars": "on mars", "sea": "in the sea"},
    numbers=("two", "three"),
    synonyms={"kitty": "cat", "kitties": "cat", "cats": "cat", "crimson": "red", "over": "above"},
)


@pytest.mark.parametrize(
    ("caption", "asked"),
    [
        ("a cat", Asked(objects=("cat",))),
        ("a Kitty on a crimson background", Asked(objects=("cat",), background="red")),
        ("cat on blue background", Asked(objects=("cat",), background="blue")),
        ("a blue cat", Asked(objects=("cat",))),
        ("three kitties in the sea", Asked(objects=("cat",), count=3, background="sea")),
        ("a dog left of a cat", Asked(objects=("dog", "cat"), relation="left of")),
        ("a dog over a cat", Asked(objects=("dog", "cat"), relation="above")),
        ("a dog and a cat on mars", Asked(objects=("dog", "cat"), background="mars")),
        (
            "an astronaut riding a horse on mars",
            Asked(objects=("astronaut", "horse"), relation="riding", background="mars"),
        ),
    ],
)
def test_a_caption_is_read_as_what_it_asks_for(caption: str, asked: Asked) -> None:
    assert read_caption(caption, WORDS) == asked


@pytest.mark.parametrize("caption", ["", "a zorp on a red background", "!!!"])
def test_a_caption_without_a_known_object_asks_for_nothing_that_can_be_judged(
    caption: str,
) -> None:
    assert read_caption(caption, WORDS) is None


def sight(*objects: tuple[str, float, float], background: str = "red") -> Sight:
    return Sight(
        objects=tuple(Seen(word=w, x=x, y=y, confidence=0.9) for w, x, y in objects),
        background=background,
    )


def test_the_surest_object_is_the_one_that_counts() -> None:
    asked = Asked(objects=("cat",), background="red")
    right = judge(asked, sight(("cat", 0.5, 0.5)))
    assert (right.objects, right.count, right.background, right.relation) == (
        True,
        True,
        True,
        None,
    )
    assert not judge(asked, sight(("dog", 0.5, 0.5), ("cat", 0.2, 0.2))).objects


def test_a_relation_is_right_only_with_both_objects_on_their_sides() -> None:
    asked = Asked(objects=("dog", "cat"), relation="left of")
    assert judge(asked, sight(("cat", 0.8, 0.5), ("dog", 0.2, 0.5))).relation
    assert not judge(asked, sight(("cat", 0.2, 0.5), ("dog", 0.8, 0.5))).relation
    above = judge(asked, sight(("cat", 0.5, 0.8), ("dog", 0.5, 0.2)))
    assert (above.objects, above.relation) == (True, False)
    wrong = judge(asked, sight(("horse", 0.8, 0.5), ("dog", 0.2, 0.5)))
    assert (wrong.objects, wrong.relation) == (False, False)
    assert judge(asked, sight(("dog", 0.5, 0.5))).relation is False


def test_riding_is_to_sit_above() -> None:
    asked = Asked(objects=("astronaut", "horse"), relation="riding")
    assert judge(asked, sight(("horse", 0.5, 0.7), ("astronaut", 0.5, 0.3))).relation
    assert not judge(asked, sight(("horse", 0.5, 0.3), ("astronaut", 0.5, 0.7))).relation


def test_a_count_is_right_when_so_many_are_sure_and_of_the_kind() -> None:
    asked = Asked(objects=("cat",), count=3)
    three = [("cat", 0.5, 0.2), ("cat", 0.2, 0.8), ("cat", 0.8, 0.8)]
    assert judge(asked, sight(*three)).count
    assert not judge(asked, sight(*three[:2])).count
    assert judge(asked, sight(*three)).objects
    mixed = judge(asked, sight(*three[:2], ("dog", 0.8, 0.8)))
    assert (mixed.objects, mixed.count) == (False, True)
