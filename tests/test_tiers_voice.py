"""Speech on cards that are not here: its cost, its words, its time and its memory."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from diffusion_bench.backends.voice.catalog import voice_catalog
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.memory import CONTEXT_MIB, MIB
from diffusion_bench.tiers.predict import predict
from diffusion_bench.tiers.voice_cost import chunk_cost, told_voices, voice_counts, voice_name
from diffusion_bench.tiers.voice_predict import need_of_voice, predict_voice
from diffusion_bench.tiers.voice_workload import (
    chunks_of,
    is_voice_workload,
    parse_voice_workload,
)
from diffusion_bench.tiers.workload import parse_workload

TI, BIG = find_card("RTX 4070 Ti").card, find_card("RTX 4090").card
LONGCAT_FILE_BYTES = 5_679_831_348  # model.safetensors in fp32, as published


def stages(model: str = "echo", **changes):
    asked = {"seconds": 5.76, "batch": 1, "precision": "fp32", "steps": 10, "guided": False}
    return {stage.stage: stage for stage in chunk_cost(model, **(asked | changes))}


def total(stage, field: str = "flops") -> float:
    return sum(getattr(row, field) for row in stage.operators)


def predicted(text: str, card=TI):
    return predict_voice(card, parse_voice_workload(text))


def test_the_parameters_are_those_of_the_published_weights():
    params = {name: row.parts["denoising step"].params for name, row in voice_counts().items()}
    assert params["tortoise"] == 292_334_380
    assert params["vibevoice"] / 1e6 == pytest.approx(123, abs=0.5)
    longcat = sum(part.params for part in voice_counts()["longcat"].parts.values())
    assert longcat * 4 == pytest.approx(LONGCAT_FILE_BYTES, rel=1e-4)


def test_a_voice_model_is_found_in_capitals_too():
    assert voice_name("Echo") == "echo"
    assert is_voice_workload("LongCat 10s")


def test_every_counted_model_is_in_the_catalog_with_its_steps_and_guidance():
    for name, row in voice_counts().items():
        entry = voice_catalog()[name]
        assert (row.steps, row.guided) == (entry.steps, entry.guidance_scale > 1)
        assert row.chunk_chars == entry.max_chars
        assert voice_name(entry.location) == (None if name == "echo" else name)


def test_the_work_of_a_step_grows_with_the_seconds_and_its_launches_do_not():
    short, long = stages(seconds=3.84)["denoising step"], stages(seconds=7.68)["denoising step"]
    convolutions = [
        next(row.flops for row in stage.operators if row.operator == "convolution")
        for stage in (short, long)
    ]
    assert convolutions[1] == 2 * convolutions[0]
    assert total(long, "launches") == total(short, "launches") == 128


def test_guidance_is_twice_the_work_at_once_in_echo_and_twice_the_calls_in_longcat():
    plain, guided = stages()["denoising step"], stages(guided=True)["denoising step"]
    assert total(guided) == pytest.approx(2 * total(plain))
    assert (plain.calls, guided.calls) == (10, 10)
    plain, guided = (stages("longcat", guided=on)["denoising step"] for on in (False, True))
    assert total(guided) == total(plain)
    assert (plain.calls, guided.calls) == (10, 20)


def test_candidates_share_the_prior_and_not_the_vocoder():
    one, four = stages(), stages(batch=4)
    assert total(four["prior"]) == total(one["prior"])
    assert total(four["vocoder"]) == pytest.approx(4 * total(one["vocoder"]))


def test_longcat_denoises_its_recording_too_and_decodes_the_speech_alone():
    with_recording = voice_counts()["longcat"]
    assert with_recording.reference_s == 5
    seconds = 10 * 2048 / 24_000
    step, vocoder = (stages("longcat", seconds=seconds)[s] for s in ("denoising step", "vocoder"))
    lines = with_recording.stages["denoising step"]["32"].single.operators["attention"]
    frames = 10 + 59  # 58.6 of the recording
    assert step.operators[0].flops == lines.flops.at(frames, 1)
    decoded = with_recording.stages["vocoder"]["32"].single.operators["convolution"]
    assert decoded.flops.at(10, 1) in [row.flops for row in vocoder.operators]


def test_a_text_is_as_long_as_the_model_takes_to_say_it():
    assert parse_voice_workload("echo 160chars").seconds == 10
    assert parse_voice_workload("echo 160chars b2 fp16 50 steps").name == (
        "echo 10s b2 fp16 50 steps"
    )
    assert parse_voice_workload("echo") == parse_voice_workload("echo 10s b1 fp32 25")
    assert parse_voice_workload("longcat").guided


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("echo loud", "'loud' in workload 'echo loud' is unknown; say it as"),
        ("echo 10s 100chars", "says its length twice, 10s and 100chars"),
        ("echo 10s 20s", "says its length twice"),
        ("echo 25 50", "says its steps twice, 25 and 50"),
        ("tortoise 100chars", "say how many seconds"),
        ("echo 0chars", "1 to 20000 characters"),
        ("nobody 10s", "known: echo, longcat, tortoise, vibevoice"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(text, words):
    with pytest.raises(ValueError, match=words):
        parse_voice_workload(text)


@pytest.mark.parametrize("text", ["echo 0s", "echo 9999s", "echo b0", "echo 0 steps"])
def test_amounts_outside_of_their_limits_are_refused(text):
    with pytest.raises(ValidationError):
        parse_voice_workload(text)


def test_speech_is_told_from_pictures_by_its_model():
    assert is_voice_workload("echo 10s")
    assert is_voice_workload("meituan-longcat/LongCat-AudioDiT-1B")
    assert not is_voice_workload("sd15 512x512")
    assert not is_voice_workload("")


def test_a_long_text_is_said_in_chunks_and_takes_their_time():
    whole, four = parse_voice_workload("echo 15s"), parse_voice_workload("echo 60s")
    assert (chunks_of(whole), chunks_of(four)) == (1, 4)
    assert predict_voice(TI, four).seconds == pytest.approx(4 * predict_voice(TI, whole).seconds)


def test_a_small_model_waits_for_the_processor_and_a_large_one_for_the_card():
    assert predicted("echo").limit == "processor"
    assert predicted("echo").seconds == pytest.approx(predicted("echo", BIG).seconds, rel=0.01)
    large = "longcat 9s b16 fp16"
    assert predicted(large).limit == "bandwidth"  # most of its operators are elementwise
    assert predicted(large, BIG).seconds < 0.7 * predicted(large).seconds


def test_the_real_time_factor_counts_all_candidates():
    one = predicted("echo 8s b4")
    assert one.real_time_factor == pytest.approx(one.seconds / 32)
    assert one.real_time_factor_low < one.real_time_factor < one.real_time_factor_high


def test_the_interval_of_speech_is_wider_than_that_of_pictures_and_says_why():
    speech, picture = predicted("echo"), predict(TI, parse_workload("sd15"))
    wide, usual = (one.seconds_high / one.seconds_low for one in (speech, picture))
    assert wide > 1.5 * usual
    assert speech.kind == "predicted"
    assert "no measured speech has checked it" in speech.basis


def test_what_is_not_counted_in_full_is_not_told():
    assert told_voices() == ("echo", "longcat")
    for name in ("tortoise", "vibevoice"):
        with pytest.raises(ValueError, match=f"of {name} only the diffusion is counted, not"):
            predicted(f"{name} 10s")


def test_a_card_without_bf16_is_not_asked_for_it():
    with pytest.raises(ValueError, match="has no bf16"):
        predicted("echo bf16", find_card("RTX 2080 Ti").card)


def test_memory_holds_all_weights_and_the_vocoders_stay_in_fp32():
    full, half = (need_of_voice(parse_voice_workload(f"echo 1s {p}")) for p in ("fp32", "fp16"))
    parts = voice_counts()["echo"].parts
    saved = sum(part.params for name, part in parts.items() if name != "vocoder") * 2 / MIB
    # The peak is the vocoder's, which is the same in both.
    assert full.peak_mib - half.peak_mib == pytest.approx(saved)
    assert full.low_mib > CONTEXT_MIB + sum(part.params for part in parts.values()) * 4 / MIB
    assert full.low_mib < full.peak_mib < full.high_mib


def test_longcats_autoencoder_follows_fp16_and_not_bf16():
    widths = {p: stages("longcat", precision=p)["vocoder"].width for p in ("fp32", "fp16", "bf16")}
    assert widths == {"fp32": "32", "fp16": "16", "bf16": "32"}


def test_a_card_too_small_is_told_so():
    small = TI.model_copy(update={"usable_mib": 4096})
    assert predicted("longcat fp32", small).fit == "does not fit"
    assert predicted("echo", small).fit == "fits"
