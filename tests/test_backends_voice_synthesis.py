"""A text in a voice, with a model that really makes sound: order, times, doubts, refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from fake_voices import (
    LETTER_S,
    RATE,
    FakeVoiceModel,
    StreamingFake,
    make_entry,
    make_reference,
    pitch_of,
)

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice import synthesis
from diffusion_bench.backends.voice.base import Utterance, VoiceState
from diffusion_bench.backends.voice.doubts import expected_duration_s
from diffusion_bench.backends.voice.ranking import rank_candidates
from diffusion_bench.backends.voice.synthesis import VoiceBackend, ends_sentence
from diffusion_bench.records import Cancelled, Speech, VoiceRequest, VoiceStep

LONG = "One bird sang in the old tree. Two more came to listen. A third one flew away again."


def ask(text: str = LONG, **settings: object) -> VoiceRequest:
    return VoiceRequest(**{"text": text, "steps": 3, **settings})


def backend_of(model: FakeVoiceModel) -> VoiceBackend:
    return VoiceBackend(model, model=model.entry.name, device="cpu", precision="fp32")


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> FakeVoiceModel:
    """Return a model whose clock is the backend's."""
    model = FakeVoiceModel()
    monkeypatch.setattr(synthesis, "time", model.clock)
    return model


def speak(model: FakeVoiceModel, **settings: object) -> Speech:
    return backend_of(model).generate(ask(**settings), make_reference(150))


def test_a_long_text_is_said_in_order_in_one_voice(model: FakeVoiceModel) -> None:
    speech = speak(model)
    assert " ".join(model.spoken) == LONG
    assert speech.num_chunks == len(model.spoken) > 1
    assert model.encoded == 1
    assert set(model.seeds) == {0}
    samples = speech.candidate(0)
    assert pitch_of(samples) == pytest.approx(150, rel=0.02)
    letters = sum(letter.isalnum() for letter in LONG)
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    loud_s = (np.abs(frames).max(axis=1) > 0.05).mean() * len(samples) / RATE
    assert loud_s == pytest.approx(letters * LETTER_S, rel=0.05)


def test_the_voice_is_the_one_that_was_given(model: FakeVoiceModel) -> None:
    for pitch_hz in (110, 220):
        speech = backend_of(model).generate(ask(), make_reference(pitch_hz))
        assert pitch_of(speech.candidate(0)) == pytest.approx(pitch_hz, rel=0.02)
    state = backend_of(model).encode(make_reference(180))
    encoded = model.encoded
    speech = backend_of(model).generate(ask(), state)
    assert pitch_of(speech.candidate(0)) == pytest.approx(180, rel=0.02)
    assert model.encoded == encoded
    assert speech.stages.voice_encoder_s == 0


def test_the_same_seed_gives_the_same_audio_and_another_seed_another(
    model: FakeVoiceModel,
) -> None:
    first, again, other = (speak(model, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first.audio, again.audio)
    assert not np.array_equal(first.audio, other.audio)


def test_what_can_be_heard_on_the_way_is_the_whole(model: FakeVoiceModel) -> None:
    for batch in (1, 3):
        model.uneven = batch > 1
        pieces: list[np.ndarray] = []
        speech = backend_of(model).generate(
            ask(batch=batch), make_reference(), on_audio=pieces.append
        )
        assert len(pieces) == speech.num_chunks
        assert all(piece.dtype == np.float32 and len(piece) == batch for piece in pieces)
        assert np.array_equal(np.concatenate(pieces, axis=1), speech.audio)


@pytest.mark.parametrize("batch", [1, 3])
def test_a_stream_is_heard_piece_by_piece_and_is_what_the_whole_would_be(batch: int) -> None:
    whole, stream = FakeVoiceModel(), StreamingFake()
    whole.uneven = stream.uneven = batch > 1
    pieces: list[np.ndarray] = []
    made: list[int] = []  # pieces of the model when each was heard

    def hear(piece: np.ndarray) -> None:
        pieces.append(piece)
        made.append(stream.given)

    streamed = backend_of(stream).generate(ask(batch=batch), make_reference(), on_audio=hear)
    expected = backend_of(whole).generate(ask(batch=batch), make_reference())

    assert np.array_equal(streamed.audio, expected.audio)
    assert streamed.lengths == expected.lengths
    assert np.array_equal(np.concatenate(pieces, axis=1), streamed.audio)
    assert made[0] == 1
    assert len(pieces) > 2 * streamed.num_chunks


def test_the_first_sound_of_a_stream_is_its_first_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    model = StreamingFake()
    monkeypatch.setattr(synthesis, "time", model.clock)
    # The voice, the text, what is in no stage, the vocoder's 2 s, and one step.
    assert speak(model, text="One bird.").first_audio_s == pytest.approx(1 + 0.25 + 0.125 + 2 + 0.5)


def test_a_listener_who_leaves_ends_the_stream() -> None:
    model = StreamingFake()

    def leave(piece: np.ndarray) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        backend_of(model).generate(ask(), make_reference(), on_audio=leave)
    assert (model.given, model.closed) == (1, True)


def test_candidates_of_different_length_sound_as_each_would_alone(model: FakeVoiceModel) -> None:
    model.uneven = True
    together = speak(model, batch=2, seed=5)
    assert together.lengths[0] < together.lengths[1] == together.audio.shape[1]
    assert not together.audio[0, together.lengths[0] :].any()
    alone = speak(model, seed=5)
    assert np.array_equal(together.candidate(0), alone.candidate(0))
    assert together.audio_s == pytest.approx(sum(together.lengths) / 2 / RATE)


def test_each_stage_gets_its_time_and_the_six_add_up(model: FakeVoiceModel) -> None:
    speech = speak(model, steps=3)
    chunks = speech.num_chunks
    stages = speech.stages.model_dump()
    assert stages == {
        "text_s": pytest.approx(0.25 * chunks),
        "voice_encoder_s": pytest.approx(1),
        "prior_s": 0,
        "denoising_s": pytest.approx(1.5 * chunks),
        "vocoder_s": pytest.approx(2 * chunks),
        "other_s": pytest.approx(0.125 * chunks),
    }
    assert sum(stages.values()) == pytest.approx(speech.wall_s)
    assert speech.step_s == (0.5,) * 3 * chunks
    # The voice and the first chunk: the others are still to come.
    assert speech.first_audio_s == pytest.approx(1 + 0.25 + 1.5 + 2 + 0.125)
    assert speech.real_time_factor == pytest.approx(speech.wall_s / speech.audio_s)


def test_memory_is_measured_or_its_absence_explained(model: FakeVoiceModel) -> None:
    memory = speak(model).memory
    given = memory.model_dump(exclude={"missing"})
    assert {name for name, value in given.items() if value is None} == set(memory.missing)


def test_steps_are_told_chunk_by_chunk(model: FakeVoiceModel) -> None:
    steps: list[VoiceStep] = []
    speech = backend_of(model).generate(ask(steps=2), make_reference(), steps.append)
    chunks = speech.num_chunks
    assert [(step.chunk, step.index) for step in steps] == [
        (chunk, index) for chunk in range(chunks) for index in range(2)
    ]
    assert {(step.num_chunks, step.num_steps) for step in steps} == {(chunks, 2)}
    elapsed = [step.elapsed_s for step in steps]
    assert elapsed == sorted(elapsed)


def test_cancelling_ends_within_the_step_and_the_model_goes_on_afterwards(
    model: FakeVoiceModel,
) -> None:
    seen: list[VoiceStep] = []

    def cancel(step: VoiceStep) -> None:
        seen.append(step)
        if step.chunk == 1:
            raise Cancelled

    backend = backend_of(model)
    with pytest.raises(Cancelled):
        backend.generate(ask(steps=3), make_reference(), cancel)
    assert len(seen) == 4
    assert len(model.spoken) == 2
    assert backend.stage == "denoising"
    assert backend.generate(ask(), make_reference()).num_chunks > 1


def test_mels_lie_where_their_sound_lies(model: FakeVoiceModel) -> None:
    speech = speak(model, batch=2)
    assert len(speech.mels) == 2
    assert loud_share_where_its_mel_is_loud(speech) > 0.3


def loud_share_where_its_mel_is_loud(speech: Speech) -> float:
    """Return the share of loud frames of the first candidate, whose mel lies where they do."""
    mel, samples = speech.mels[0], speech.candidate(0)
    assert mel.shape == (4, -(-len(samples) // 160))
    frames = np.pad(samples, (0, mel.shape[1] * 160 - len(samples))).reshape(-1, 160)
    log_power = np.log(np.square(frames).mean(axis=1) + 1e-8)
    loud = log_power > -8
    assert np.corrcoef(mel[0] > -8, loud)[0, 1] > 0.9
    return float(loud.mean())


def change(
    model: FakeVoiceModel,
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[[int, Utterance], Utterance],
) -> None:
    """Let a model say what `how` makes of each chunk, which it gets with its number from 0."""
    speak_chunk = model.speak
    monkeypatch.setattr(model, "speak", lambda *asked: how(len(model.spoken), speak_chunk(*asked)))


@pytest.mark.parametrize("passed_over", [(0,), (1,), (2,), (0, 1), (0, 2), (1, 2)])
def test_chunks_that_a_model_passes_over_shift_no_mel(
    model: FakeVoiceModel, monkeypatch: pytest.MonkeyPatch, passed_over: tuple[int, ...]
) -> None:
    """As Echo does with a paragraph in another script: a pause, and no mel."""

    def pause(index: int, spoken: Utterance) -> Utterance:
        if index not in passed_over:
            return spoken
        return replace(spoken, audio=torch.zeros_like(spoken.audio), mel=None)

    change(model, monkeypatch, pause)
    speech = speak(model, batch=2)
    assert speech.num_chunks == 3
    assert len(speech.mels) == 2
    assert loud_share_where_its_mel_is_loud(speech) > 0.1


def test_a_model_without_mels_gives_none(
    model: FakeVoiceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    change(model, monkeypatch, lambda _, spoken: replace(spoken, mel=None))
    assert speak(model).mels == ()


def mute(*candidates: int) -> Callable[[int, Utterance], Utterance]:
    """Return what leaves those candidates without a sample, as CSM and Dia may."""

    def without(_: int, spoken: Utterance) -> Utterance:
        lengths = tuple(
            0 if index in candidates else length for index, length in enumerate(spoken.lengths)
        )
        audio = spoken.audio[:, : max(lengths)].clone()
        for index, length in enumerate(lengths):
            audio[index, length:] = 0
        return replace(spoken, audio=audio, lengths=lengths, mel=None)

    return without


@pytest.mark.parametrize("text", ["Three short words.", LONG])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_model_that_says_nothing_is_told_in_one_line(
    model: FakeVoiceModel, monkeypatch: pytest.MonkeyPatch, text: str, batch: int
) -> None:
    change(model, monkeypatch, mute(0, 1))
    with pytest.raises(ValueError, match=r"^echo said nothing to this text in this voice: try"):
        speak(model, text=text, batch=batch)


@pytest.mark.parametrize("text", ["Three short words.", LONG])
def test_a_candidate_that_said_nothing_is_left_out_and_the_others_are_kept(
    model: FakeVoiceModel, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    alone = speak(model, text=text, seed=1)
    model.spoken.clear()
    change(model, monkeypatch, mute(0))
    speech = speak(model, text=text, batch=2)
    assert "candidate 1 of 2 said nothing and is left out: try another seed" in speech.warnings
    assert not any("candidate 2 of 2" in warning for warning in speech.warnings)
    ranked = rank_candidates(speech, make_reference(150), lambda *_: 0.5)
    assert [one.index for one in ranked] == [1]
    assert len(ranked[0].audio) == len(alone.candidate(0))


def test_a_chunk_that_is_not_said_leaves_the_others(
    model: FakeVoiceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing = mute(0)
    change(model, monkeypatch, lambda at, spoken: nothing(at, spoken) if at == 1 else spoken)
    speech = speak(model)
    assert "chunk 2 of 3 came out silent" in speech.warnings
    assert pitch_of(speech.candidate(0)) == pytest.approx(150, rel=0.02)


def test_one_chunk_keeps_the_mel_that_the_model_drew(model: FakeVoiceModel) -> None:
    speech = speak(model, text="Three short words.")
    assert speech.mels[0].shape == (4, speech.audio.shape[1] // 160)


@pytest.mark.parametrize(
    ("settings", "facts", "reference", "message"),
    [
        ({"sampler": "unipc"}, {}, make_reference(), "echo does not take the sampler unipc; "),
        ({}, {}, make_reference(duration_s=0.2), "the reference is 0.2 s long; echo needs 3 s"),
        ({}, {}, make_reference(duration_s=2.96), "the reference is 2.96 s long; echo needs 3 s"),
        ({}, {"needs_transcript": True}, make_reference(), "needs the transcript of the reference"),
        ({}, {"needs_transcript": True}, make_reference(transcript=" "), "needs the transcript"),
        (
            {},
            {"needs_transcript": True},
            make_reference(duration_s=16, transcript="All of it."),
            "echo takes 3 to 15 s of reference with its transcript; this one lasts 16.0 s",
        ),
        ({}, {}, Reference(np.zeros(4 * RATE, np.float32), RATE), "the reference is silent"),
        ({}, {}, Reference(np.full(4 * RATE, np.nan, np.float32), RATE), "silent or damaged"),
        ({}, {}, VoiceState("pocket", {"x": torch.ones(1)}), "encoded by pocket .* to echo"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_before_any_work(
    settings: dict, facts: dict, reference: Reference | VoiceState, message: str
) -> None:
    model = FakeVoiceModel(make_entry(**facts))
    with pytest.raises(ValueError, match=message) as refusal:
        backend_of(model).generate(ask(**settings), reference)
    assert "\n" not in str(refusal.value)
    assert model.encoded == 0
    assert model.spoken == []


def test_a_transcript_that_is_needed_and_given_is_enough() -> None:
    model = FakeVoiceModel(make_entry(needs_transcript=True))
    backend_of(model).generate(ask(), make_reference(transcript="what was said"))
    assert model.encoded == 1


@pytest.mark.parametrize(
    ("text", "speed", "warning"),
    [
        ("Yes.", 1.0, "a text of 1 word: short ones are often said badly"),
        ("Three short words here.", 1.0, None),
        ("Three short words are here.", 0.5, None),
    ],
)
def test_short_texts_are_a_warning_and_plausible_ones_are_not(
    model: FakeVoiceModel, text: str, speed: float, warning: str | None
) -> None:
    assert speak(model, text=text, speed=speed).warnings == ((warning,) if warning else ())


def test_what_is_said_by_more_letters_than_written_is_expected_to_take_longer() -> None:
    written, spoken = "$1,234,567 for 25% of it", "one million two hundred thirty four thousand"
    entry = make_entry(letter_s=0.06)
    assert expected_duration_s(written, 1.0, entry) > expected_duration_s(spoken, 1.0, entry)
    assert expected_duration_s(spoken, 2.0, entry) == pytest.approx(len(spoken) * 0.06 / 2)
    assert expected_duration_s("Yes, indeed.", 1.0, entry) is None
    chinese = expected_duration_s("河水很平静。" * 10, 1.0, make_entry())
    assert chinese == pytest.approx(50 * 0.21, rel=0.02)


@pytest.mark.parametrize("kept", [1.0, 2 / 3])
def test_words_may_be_missing_where_a_third_of_them_is_and_not_where_none_is(kept: float) -> None:
    text = "The river is quiet in the morning and it is loud after the rain."
    model = FakeVoiceModel(make_entry(max_chars=280, letter_s=LETTER_S))
    said = text.split()[: round(len(text.split()) * kept)]
    speak_all = model.speak

    def speak_some(chunk: str, *rest: Any) -> Utterance:
        return speak_all(" ".join(said), *rest)

    model.speak = speak_some  # type: ignore[method-assign]
    told = [line for line in speak(model, text=text).warnings if "missing" in line]
    assert len(told) == (kept < 1)


FOREIGN = "Guten Tag, wie geht es Ihnen? Я люблю тебя. 你好"


def test_what_an_english_model_leaves_out_is_named_and_no_other_models() -> None:
    english = speak(FakeVoiceModel(make_entry(english_only=True, max_chars=280)), text=FOREIGN)
    assert english.warnings[0] == "not said: Я люблю тебя, 你好 (echo speaks English only)"
    other = speak(FakeVoiceModel(make_entry(max_chars=280)), text=FOREIGN)
    assert not any("not said" in warning for warning in other.warnings)


def test_a_pause_for_a_foreign_chunk_is_no_silent_chunk(model: FakeVoiceModel) -> None:
    entry = make_entry(english_only=True, max_chars=40)
    russian = "Я люблю тебя и твою сестру тоже."
    silent = FakeVoiceModel(entry)
    letters = silent._letters
    silent._letters = lambda text, *rest: letters(text, *rest) * text.isascii()  # type: ignore[method-assign]
    warnings = speak(silent, text=f"One bird sang in the old dark tree. {russian}").warnings
    assert warnings == (f"not said: {russian[:-1]} (echo speaks English only)",)


def test_a_chunk_that_stops_early_repeats_itself_or_is_silent_is_named(
    model: FakeVoiceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths = {0: 0.3, 1: 2.5, 2: 0.0}
    letters = model._letters

    def odd(text: str, *rest: object) -> np.ndarray:
        samples = letters(text, *rest)
        share = lengths[len(model.spoken) - 1]
        if not share:
            return np.zeros_like(samples)
        return np.resize(samples[3200:-3200], round(len(samples) * share))

    monkeypatch.setattr(model, "_letters", odd)
    short, long, silent = speak(model, text=LONG).warnings
    assert short.startswith("chunk 1 of 3 lasts ")
    assert short.endswith("expected: words may be missing")
    assert long.startswith("chunk 2 of 3 lasts ")
    assert long.endswith("expected: words may be repeated")
    assert silent == "chunk 3 of 3 came out silent"


def test_more_of_a_reference_than_the_model_uses_is_a_warning(model: FakeVoiceModel) -> None:
    speech = backend_of(model).generate(ask(), make_reference(duration_s=20))
    assert speech.warnings == ("the reference is 20 s long; echo uses 15 s of it",)


def longest_silence_s(samples: np.ndarray) -> float:
    loud = np.flatnonzero(np.abs(samples) > 0.001)
    return float(np.diff(loud).max()) / RATE


def test_a_pause_is_made_where_a_sentence_ends_and_none_within(model: FakeVoiceModel) -> None:
    sentences = speak(
        model, text="One bird sang in the old dark tree. Two more came to listen there."
    )
    assert sentences.num_chunks == 2
    assert longest_silence_s(sentences.candidate(0)) > 0.2
    clauses = speak(
        model, text="One bird sang in the old dark tree, two more came to listen there."
    )
    assert clauses.num_chunks == 2
    assert longest_silence_s(clauses.candidate(0)) < 0.2


def test_the_mark_of_a_sentence_is_found_behind_what_may_follow_it() -> None:
    assert all(map(ends_sentence, ("It ends.", "Does it?", 'He said: "Yes!"', "And so on… ")))
    assert all(map(ends_sentence, ("到家了。", "好吗？", "他说：“好！”", "天亮了； ")))
    assert not any(map(ends_sentence, ("it goes on,", "and on", "on;", "so: ", "河水，", "他说：")))
