from __future__ import annotations

import pytest
from fake_voices import RATE, make_reference

from diffusion_bench.audio.speech_measures import judge_speech
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.backends.voice.recipes import Recipe
from diffusion_bench.records import MAX_TEXT, VoiceRequest, VoiceStep
from diffusion_bench.ui.voice.words import (
    candidate_label,
    measures_table,
    recipe_line,
    seed_words,
    step_line,
    text_line,
)


def step(**fields):
    return VoiceStep(
        **{"chunk": 0, "num_chunks": 1, "index": 4, "num_steps": 10, "elapsed_s": 5.0, **fields}
    )


def test_a_text_that_nobody_could_have_said_is_counted_only(monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.voice.words.split_to_hear", pytest.fail)

    line = text_line("A" * (MAX_TEXT + 1), find_voice_model("echo"))

    assert line == "20001 characters; at most 20000 are said."


def test_a_text_is_counted_in_characters_and_chunks():
    echo, small = find_voice_model("echo"), find_voice_model("echo").model_copy
    assert text_line("Good morning.", echo) == "13 characters, 1 chunk, about 1 s of speech."
    three = "The first is here. The second is here. The third is here."
    assert "3 chunks" in text_line(three, small(update={"max_chars": 22}))
    assert text_line("  🙂", echo) == "Write what is to be said."
    chinese = find_voice_model("longcat").model_copy(update={"max_chars": 120})
    told = text_line("河水很平静。" * 10, chinese)
    assert told == "60 characters, 2 chunks, about 11 s of speech."


def test_figures_are_counted_as_they_are_said_while_one_types():
    figures = "Call 555-0199: 1,234,567 units at $98.76 each, 45.67% off, 2026."
    seconds = float(text_line(figures, find_voice_model("echo")).split("about ")[1].split()[0])
    assert seconds >= 9


def test_a_text_that_echo_cannot_say_is_told_while_one_types():
    told = text_line("Я люблю тебя", find_voice_model("echo"))
    assert told == "The text has no English word to say; write some, as in 'Hello there.'"
    assert "about" in text_line("Я люблю тебя", find_voice_model("longcat"))


def test_a_step_says_how_long_all_chunks_will_take_yet():
    assert step_line(step()) == "Step 5 of 10, about 5 s left."
    assert step_line(step(num_chunks=2)) == "Chunk 1 of 2, step 5 of 10, about 15 s left."
    assert step_line(step(num_steps=0)) == "Step 5."


def test_pitch_and_pace_stand_beside_those_of_the_reference():
    low, high = make_reference(110), make_reference(220)

    table = measures_table(judge_speech(high.samples, RATE, reference=low))

    pitch = next(line for line in table.splitlines() if "pitch" in line).split(" | ")
    assert [float(cell) for cell in pitch[1:3]] == pytest.approx([220, 110], rel=0.03)
    assert pitch[3].startswith("+12.0 semitones")
    assert "1.00 times as fast" in table


def test_the_best_that_can_be_said_of_likeness_is_more_than_99_percent():
    same = make_reference(110)

    table = measures_table(judge_speech(same.samples, RATE, reference=same))

    assert "+0.0 semitones" in table
    slightly = judge_speech(same.samples, RATE, reference=same)
    slightly = slightly.model_copy(update={"pitch_semitones": -0.04})
    assert "+0.0 semitones" in measures_table(slightly)
    assert "above 99 % of pairs of different speakers" in table
    assert "100" not in next(line for line in table.splitlines() if "timbre" in line)


def test_without_a_reference_or_a_sound_nothing_is_made_up():
    table = measures_table(judge_speech(make_reference(110).samples, RATE))

    assert "semitones" not in table
    assert "None" not in table
    assert measures_table(None) == ""


def test_a_candidate_that_cannot_be_compared_is_named_by_its_seed():
    samples = make_reference().samples

    recipe = Recipe(request=VoiceRequest(text="So be it.", seed=5, batch=3), candidate=2)
    assert candidate_label(Candidate(2, samples, None), recipe) == "seed 7"
    assert candidate_label(Candidate(2, samples, 0.876), recipe) == "seed 7, similarity 0.88"


@pytest.mark.parametrize("model", ["tortoise", "tortoise-ultra-fast", "a-model-of-elsewhere"])
def test_a_candidate_is_not_named_by_a_seed_that_did_not_make_it(model):
    fields = {"text": "So be it.", "model": model, "sampler": "ddpm", "seed": 5}
    recipe = Recipe(request=VoiceRequest(**fields, batch=3), candidate=2)
    label = candidate_label(Candidate(2, make_reference().samples, 0.5), recipe)
    assert label == "seed 5, candidate 3 of 3, similarity 0.50"
    assert "seed 5, candidate 3 of 3, from" in recipe_line(recipe)
    alone = Recipe(request=VoiceRequest(**fields))
    assert seed_words(alone) == "seed 5"


@pytest.mark.parametrize(
    ("model", "source"),
    [
        ("speecht5", "an x-vector"),
        ("csm", "a recording"),
        ("a-model-of-elsewhere", "a recording or an x-vector"),
    ],
)
def test_a_file_tells_what_kind_of_voice_it_was_made_from(model, source):
    fields = {"text": "So be it.", "model": model, "sampler": "native"}
    own = Recipe(request=VoiceRequest(**fields, voice="reference:0123456789abcdef"))
    assert recipe_line(own).endswith(f", from {source}")
    named = Recipe(request=VoiceRequest(**fields, voice="ada"))
    assert recipe_line(named).endswith(", from voice ada")
