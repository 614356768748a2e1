from __future__ import annotations

import numpy as np

from diffusion_bench.charts.mel_pictures import LONGEST, mel_pictures, residual_pictures
from diffusion_bench.charts.spectrogram import DB_OF_LOG, RANGE_DB

BINS, FRAMES = 8, 20


def pixels(picture) -> np.ndarray:
    return np.asarray(picture, dtype=int)


def test_low_sounds_are_at_the_bottom_and_loud_ones_bright():
    mel = np.full((BINS, FRAMES), -20.0)
    mel[0] = 0.0  # the lowest bin is the loudest

    drawn = pixels(mel_pictures([mel], loudest=0.0)[0])

    assert drawn.shape == (2 * BINS, 2 * FRAMES, 3)
    assert tuple(drawn[-1, 0]) == (253, 231, 37)  # Viridis at its end
    assert tuple(drawn[0, 0]) == (68, 1, 84)  # and at its beginning


def test_pictures_of_one_scale_show_which_is_louder():
    half = RANGE_DB / 2 / DB_OF_LOG
    loud, soft = np.zeros((BINS, FRAMES)), np.full((BINS, FRAMES), -half)

    first, second, far = mel_pictures([loud, soft, loud - 99], loudest=0.0)

    assert pixels(first).sum() > pixels(second).sum() > pixels(far).sum()
    assert tuple(pixels(second)[0, 0]) == (33, 145, 140) or abs(pixels(second)[0, 0, 1] - 145) < 3


def test_no_change_is_white_more_is_red_and_less_is_blue():
    residual = np.zeros((BINS, FRAMES))
    residual[:, 1], residual[:, 2] = 1.5, -1.5

    drawn = pixels(residual_pictures([residual])[0])
    none, more, less = drawn[0, 0], drawn[0, 2], drawn[0, 4]

    assert none.min() > 240
    assert more[0] > more[2] + 50
    assert less[2] > less[0] + 50


def test_what_is_out_of_range_is_drawn_at_its_end():
    beyond, at_end = residual_pictures([np.full((4, 4), 99.0), np.full((4, 4), 1.5)])

    assert np.array_equal(pixels(beyond), pixels(at_end))


def test_a_long_sentence_is_drawn_closer():
    drawn = mel_pictures([np.zeros((BINS, LONGEST))], loudest=0.0)[0]

    assert drawn.size == (LONGEST, 2 * BINS)
