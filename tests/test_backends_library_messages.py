"""What is passed on of a library's own words."""

from __future__ import annotations

import pytest

from diffusion_bench.backends.library_messages import LONGEST, reason_of

SENTENCE = "There is no such file in the folder that was given"


def test_a_long_reason_ends_with_a_sentence_and_not_in_a_word() -> None:
    assert reason_of(ValueError(f"{SENTENCE}. " * 20)) == f"{SENTENCE}. " * 4 + f"{SENTENCE}."
    endless = reason_of(ValueError(f"{SENTENCE}, " * 20))
    assert len(endless) <= LONGEST
    assert endless.removesuffix(" ...").split()[-1] in SENTENCE.split()


def test_a_short_reason_is_its_first_line_and_one_without_words_is_its_kind() -> None:
    assert reason_of(ValueError(f"\n{SENTENCE}\nand more")) == SENTENCE
    assert reason_of(KeyError()) == "KeyError"


def point_to_the_trace() -> None:
    """Fail as diffusers does."""
    try:
        raise ConnectionError("offline mode is enabled")
    except ConnectionError as error:
        raise OSError("Pass 'x=False'. See the root cause in the stacktrace above.") from error


def test_where_a_library_points_to_its_trace_what_stands_there_is_said() -> None:
    with pytest.raises(OSError, match="stacktrace") as caught:
        point_to_the_trace()
    assert reason_of(caught.value) == "offline mode is enabled"
