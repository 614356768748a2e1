"""The lexicon as it is packed, and how the net says words that are not in it."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
import torch
from machine_pace import piece_s, timed

import diffusion_bench.pronunciation as package
from diffusion_bench.pronunciation.letter_net import LetterNet, letter_indices, read_slots
from diffusion_bench.pronunciation.letters import (
    is_sayable,
    load_net,
    one_primary,
    say_letters,
    spell,
)
from diffusion_bench.pronunciation.lexicon import SYMBOLS, is_known, look_up, pack, symbols, words
from diffusion_bench.pronunciation.phones import VOWELS, read_arpabet
from diffusion_bench.training.letters.__main__ import train
from diffusion_bench.training.letters.data import batches, is_held_out, spoken_words
from diffusion_bench.training.letters.evaluate import evaluate
from diffusion_bench.training.letters.lexicon import read_cmudict

FOLDER = Path(package.__file__).parent
# The model card promises 6.6 % and 29.3 % on all 6,062 held-out words.
MOST_PHONE_ERRORS = 0.08
MOST_WORD_ERRORS = 0.34


def said(word: str) -> str:
    return " ".join(one.symbol for one in say_letters(word))


def test_the_lexicon_is_all_of_cmudict_with_its_stress() -> None:
    assert len(words()) == 135_166
    assert len(SYMBOLS) == 69
    assert symbols("hello") == ("HH", "AH0", "L", "OW1")
    assert symbols("read(2)") == ("R", "IY1", "D")
    assert is_known("don't")
    assert not is_known("xqzt")
    assert look_up("xqzt") is None


def test_every_entry_of_the_lexicon_can_be_said() -> None:
    for word in islice(words(), 0, None, 37):
        assert look_up(word), word


def test_data_and_weights_are_small_and_their_licence_is_beside_them() -> None:
    assert (FOLDER / "cmudict.xz").stat().st_size <= 1_200_000
    assert (FOLDER / "letters.safetensors").stat().st_size <= 1_000_000
    assert (
        "Redistribution and use in source and binary forms" in (FOLDER / "cmudict.md").read_text()
    )
    assert f"{len(words()):,}" in (FOLDER / "cmudict.md").read_text()


def test_the_lexicon_loads_in_a_moment() -> None:
    script = (
        "import time; from diffusion_bench.pronunciation.lexicon import is_known\n"
        "start = time.process_time(); is_known('a'); print(time.process_time() - start)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert float(done.stdout) < 0.6


def test_cmudict_is_read_without_its_comments_and_packs_the_same(tmp_path: Path) -> None:
    source = tmp_path / "cmudict.dict"
    source.write_text("# all of it\nb B IY1\na AH0 # article\na(2) EY1\n", encoding="utf-8")
    read = read_cmudict(source)
    assert read == {"b": ("B", "IY1"), "a": ("AH0",), "a(2)": ("EY1",)}
    assert pack(read) == pack(dict(reversed(read.items())))
    source.write_text("a\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"cmudict\.dict:1: the word 'a' has no phones"):
        read_cmudict(source)


def test_held_out_words_are_said_as_well_as_the_model_card_says() -> None:
    ways = spoken_words()
    held_out = [word for word in ways if is_held_out(word)]
    assert len(held_out) == 6_062
    sample = {word: ways[word] for word in held_out[::4]}
    errors = evaluate(load_net(), sample)
    assert errors.num_words > 1_500
    assert errors.phone_error_rate <= MOST_PHONE_ERRORS
    assert errors.word_error_rate <= MOST_WORD_ERRORS
    assert errors.word_error_rate < errors.stressed_word_error_rate


def test_an_untrained_net_says_almost_no_word() -> None:
    torch.manual_seed(0)
    ways = spoken_words()
    errors = evaluate(LetterNet(), {word: ways[word] for word in islice(ways, 200)})
    assert errors.word_error_rate > 0.95


@pytest.mark.parametrize(
    ("word", "phones"),
    [
        ("blorp", "b l ao r p"),
        ("snigglet", "s n ih g l ax t"),
        ("zibber", "z ih b er"),
        ("plankton", "p l ae ng k t ax n"),
    ],
)
def test_new_words_are_said_as_anyone_would(word: str, phones: str) -> None:
    assert said(word) == phones


def test_what_nobody_could_say_is_spelled_out() -> None:
    assert not is_sayable("xqzt")
    assert say_letters("xqzt") == spell("xqzt")
    assert said("xqz") == "eh k s k y uw z iy"
    assert not is_sayable("abcdfghjk")
    assert is_sayable("strengths")


def test_a_very_long_word_is_said_in_pieces_and_fast() -> None:
    load_net()
    phones, taken_s = timed(lambda: say_letters("abide" * 1000))
    assert taken_s < 40 * piece_s()
    assert len(phones) > 2_000


def test_a_word_takes_a_few_milliseconds() -> None:
    say_letters("warmup")
    new = [f"{a}o{b}im{c}er" for a in "bdfgklm" for b in "nprst" for c in "bdg"]
    _, taken_s = timed(lambda: [say_letters(word) for word in new])
    assert taken_s / len(new) < 0.15 * piece_s()


def test_a_word_has_one_primary_stress() -> None:
    assert [p.stress for p in one_primary(read_arpabet("AA1 B AA1 B AH0"))] == [2, 0, 1, 0, 0]
    assert [p.stress for p in one_primary(read_arpabet("AH0 B AA0"))] == [0, 0, 1]
    assert [p.stress for p in one_primary(read_arpabet("B AH0"))] == [0, 0]
    for word in ("blorptastic", "snigglet", "antidisestablish"):
        assert sum(p.stress == 1 for p in say_letters(word) if p.symbol in VOWELS) == 1


def test_slots_are_read_as_in_connectionist_temporal_classification() -> None:
    b, iy = SYMBOLS.index("B") + 1, SYMBOLS.index("IY1") + 1
    assert read_slots([0, b, b, 0, iy, 0]) == ["B", "IY1"]
    assert read_slots([b, 0, b]) == ["B", "B"]
    assert read_slots([0, 0]) == []


def test_batches_hold_words_of_one_length_and_every_word_once() -> None:
    chosen = ["a", "bb", "cc", "ddd", "ee"]
    cut = list(batches(chosen, 2, shuffle=None))
    assert sorted(word for batch in cut for word in batch) == sorted(chosen)
    assert all(len({len(word) for word in batch}) == 1 for batch in cut)
    assert max(map(len, cut)) == 2


def test_training_learns_a_few_words_by_heart(capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    ways = {word: said for word, said in islice(spoken_words().items(), 5_000, 5_016)}
    net = LetterNet(embedding=16, hidden=48, dropout=0.0)
    before = evaluate(net, ways).phone_error_rate
    train(net, ways, ways, epochs=60, seed=0)
    assert "epoch 60: loss" in capsys.readouterr().out
    assert evaluate(net, ways).phone_error_rate < 0.3 * before


def test_each_letter_has_two_slots() -> None:
    net = LetterNet()
    assert net(letter_indices(["abc", "xyz"])).shape == (2, 6, 70)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(0.48e6, rel=0.05)
