from __future__ import annotations

import pytest
from huggingface_hub import constants

from diffusion_bench.backends.voice.catalog import voice_catalog
from diffusion_bench.records import VoiceRequest
from diffusion_bench.ui.voice.limits import (
    MAX_SHARED_TEXT,
    SHARED_VOICE_LIMITS,
    VOCODERS,
    check_voice_is_here,
    check_voice_limits,
    check_voice_model,
    check_voice_name,
)


def test_a_visitor_gets_the_models_of_the_list_only(tmp_path):
    assert [check_voice_model(name, shared=True).name for name in voice_catalog()] == list(
        voice_catalog()
    )
    for other in (str(tmp_path), "some/body", "../echo", ""):
        with pytest.raises(ValueError, match="of its list only: echo"):
            check_voice_model(other, shared=True)


def test_the_owner_is_told_of_an_unknown_model():
    with pytest.raises(ValueError, match="unknown voice model 'nowhere'"):
        check_voice_model("nowhere", shared=False)


def test_what_is_at_the_limit_is_let_through_and_what_is_over_it_is_not():
    most = VoiceRequest(text="a" * MAX_SHARED_TEXT, **SHARED_VOICE_LIMITS)

    check_voice_limits(most)
    for name, limit in SHARED_VOICE_LIMITS.items():
        with pytest.raises(
            ValueError, match=f"{name} {limit + 1} is too much .*; the most is {limit}"
        ):
            check_voice_limits(most.model_copy(update={name: limit + 1}))
    with pytest.raises(ValueError, match="a text of 601 characters"):
        check_voice_limits(most.model_copy(update={"text": "a" * (MAX_SHARED_TEXT + 1)}))


def test_voices_that_the_owner_saved_are_not_for_visitors():
    check_voice_name("ada")
    check_voice_limits(VoiceRequest(text="Hello.", voice="reference:0123456789abcdef"))
    with pytest.raises(ValueError, match="sample voices only: ada"):
        check_voice_name("eve")
    with pytest.raises(ValueError, match="sample voices only"):
        check_voice_limits(VoiceRequest(text="Hello.", voice="eve"))


@pytest.mark.parametrize("vocoder", ["some/body", "/srv/models", "vocos", "../echo"])
def test_a_visitor_gets_the_vocoders_that_need_no_hub_and_no_folder(vocoder):
    request = VoiceRequest(text="Hello.")

    for offered in VOCODERS:
        check_voice_limits(request.model_copy(update={"vocoder": offered}))
    with pytest.raises(ValueError, match="of its list only: native, griffin-lim, echo"):
        check_voice_limits(request.model_copy(update={"vocoder": vocoder}))


def test_a_model_is_for_visitors_once_its_weights_are_here(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    check_voice_is_here(voice_catalog()["echo"])
    csm = voice_catalog()["csm"]
    with pytest.raises(
        ValueError, match=r"CSM .* is not on this machine, and guests cannot fetch it"
    ):
        check_voice_is_here(csm)

    place = tmp_path / f"models--{csm.location.replace('/', '--')}"
    for path, content in (("refs/main", "0123"), ("snapshots/0123/model.safetensors", "")):
        (place / path).parent.mkdir(parents=True)
        (place / path).write_text(content)

    check_voice_is_here(csm)
