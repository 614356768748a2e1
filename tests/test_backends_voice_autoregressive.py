"""CSM, Dia and SpeechT5 on tiny random weights: load, clone, tell, stop, repeat, refuse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_torch
from safetensors.torch import save_file as save_torch
from tiny_voices_ar import hum, save_tiny_csm, save_tiny_dia, save_tiny_speecht5

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.voice import csm, dia, speecht5
from diffusion_bench.backends.voice.base import Utterance, VoiceEntry, VoiceModel, VoiceState
from diffusion_bench.backends.voice.catalog import voice_catalog
from diffusion_bench.records import Cancelled, VoiceRequest

TEXT = "Hello."


@dataclass
class Loaded:
    """A model with a voice, its settings, and how it is loaded again."""

    model: Any
    state: VoiceState
    settings: dict[str, Any]
    load: Callable[..., Any]
    entry: VoiceEntry

    def request(self, **settings: Any) -> VoiceRequest:
        return VoiceRequest(text=TEXT, sampler="native", **{**self.settings, **settings})

    def speak(self, on_step: Any = lambda index, total: None, **settings: Any) -> Utterance:
        return self.model.speak(TEXT, self.state, self.request(**settings), on_step)


def in_folder(entry: VoiceEntry, folder: Path, *companions: Path) -> VoiceEntry:
    return entry.model_copy(
        update={
            "source": "folder",
            "location": str(folder),
            "companions": tuple(str(one) for one in companions),
        }
    )


@pytest.fixture(scope="module")
def x_vector() -> np.ndarray:
    return np.random.default_rng(0).normal(size=512).astype(np.float32)


@pytest.fixture(scope="module")
def loaded_csm(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    entry = in_folder(voice_catalog()["csm"], save_tiny_csm(tmp_path_factory.mktemp("csm")))
    model = csm.Csm.load(entry, device="cpu", precision="fp32")
    settings = {"temperature": 0.9}
    return Loaded(model, model.encode_voice(hum()), settings, csm.Csm.load, entry)


@pytest.fixture(scope="module")
def loaded_dia(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    entry = in_folder(voice_catalog()["dia"], *save_tiny_dia(tmp_path_factory.mktemp("dia")))
    model = dia.Dia.load(entry, device="cpu", precision="fp32")
    settings = {"temperature": 1.8, "guidance_scale": 3.0}
    return Loaded(model, model.encode_voice(hum()), settings, dia.Dia.load, entry)


@pytest.fixture(scope="module")
def loaded_speecht5(tmp_path_factory: pytest.TempPathFactory, x_vector: np.ndarray) -> Loaded:
    folder = tmp_path_factory.mktemp("speecht5")
    np.save(folder / "voice.npy", x_vector)
    entry = in_folder(voice_catalog()["speecht5"], *save_tiny_speecht5(folder))
    model = speecht5.SpeechT5.load(entry, device="cpu", precision="fp32")
    state = model.read_voice(folder / "voice.npy")
    return Loaded(model, state, {}, speecht5.SpeechT5.load, entry)


@pytest.fixture(params=["csm", "dia", "speecht5"])
def loaded(request: pytest.FixtureRequest) -> Loaded:
    """Return each of the three in turn."""
    return request.getfixturevalue(f"loaded_{request.param}")


@pytest.fixture(params=["csm", "dia"])
def cloning(request: pytest.FixtureRequest) -> Loaded:
    """Return those that clone a recording."""
    return request.getfixturevalue(f"loaded_{request.param}")


def test_it_speaks_in_a_voice_and_says_where_the_time_went(loaded: Loaded) -> None:
    assert isinstance(loaded.model, VoiceModel)
    said = loaded.speak()
    assert said.audio.dtype == torch.float32
    assert said.audio.shape == (1, said.lengths[0])
    assert said.lengths[0] > 0.2 * loaded.entry.sample_rate
    assert said.audio.isfinite().all()
    assert said.audio.abs().max() <= 1
    assert said.prior_s == pytest.approx(sum(said.step_s))
    assert min(said.text_s, said.prior_s, said.vocoder_s) > 0
    assert said.denoising_s == 0


def test_each_step_is_told_once_with_no_promise_of_how_many(loaded: Loaded) -> None:
    told: list[tuple[int, int]] = []
    said = loaded.speak(lambda index, total: told.append((index, total)))
    assert told == [(index, 0) for index in range(len(said.step_s))]
    assert len(told) > 10


def test_the_callback_stops_it_in_the_middle_and_it_speaks_again_after(loaded: Loaded) -> None:
    before = loaded.speak()
    told = []

    def stop(index: int, _: int) -> None:
        told.append(index)
        if index >= 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        loaded.speak(stop)
    assert told == [0, 1, 2, 3]
    assert torch.equal(loaded.speak().audio, before.audio)


def test_a_seed_repeats_itself_and_another_does_not(loaded: Loaded) -> None:
    first, again, other = (loaded.speak(seed=seed).audio for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)


def test_torchs_own_generator_is_put_back_even_after_a_stop(loaded: Loaded) -> None:
    def stop(*_: int) -> None:
        raise Cancelled

    torch.manual_seed(1)
    before = torch.get_rng_state()
    loaded.speak()
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(Cancelled):
        loaded.speak(stop)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_candidate_of_a_batch_sounds_as_it_would_alone(loaded: Loaded) -> None:
    both = loaded.speak(seed=3, batch=2)
    for index, length in enumerate(both.lengths):
        alone = loaded.speak(seed=3 + index)
        assert alone.lengths == (length,)
        assert torch.equal(both.audio[index, :length], alone.audio[0])
        assert not both.audio[index, length:].any()


def test_it_depends_on_the_voice(cloning: Loaded) -> None:
    other = hum()
    noise = np.random.default_rng(0).normal(0, 0.2, len(other.samples)).astype(np.float32)
    state = cloning.model.encode_voice(replace(other, samples=noise))
    said = cloning.model.speak(TEXT, state, cloning.request(), lambda *_: None)
    assert not torch.equal(said.audio, cloning.speak().audio)


def test_a_recording_at_any_rate_is_brought_to_the_models(cloning: Loaded) -> None:
    state = cloning.model.encode_voice(hum(sample_rate=48_000))
    frames = cloning.state.tensors["codes"].shape[1]
    assert abs(state.tensors["codes"].shape[1] - frames) <= 1


def test_lower_precision_speaks_as_well(loaded: Loaded) -> None:
    model = loaded.load(loaded.entry, device="cpu", precision="bf16")
    state = loaded.state
    if loaded.entry.takes == "recording":
        state = model.encode_voice(hum())
    said = model.speak(TEXT, state, loaded.request(), lambda *_: None)
    assert said.audio.dtype == torch.float32
    assert said.audio.isfinite().all()
    assert said.lengths[0] > 0


def test_a_missing_transcript_is_refused_in_one_line(cloning: Loaded) -> None:
    for words in (None, "  "):
        with pytest.raises(ValueError, match=r"^\w+ needs the transcript of the reference: .+$"):
            cloning.model.encode_voice(replace(hum(), transcript=words))


@pytest.mark.parametrize("duration_s", [0.5, 31])
def test_a_reference_too_short_or_too_long_for_its_transcript_is_refused(
    cloning: Loaded, duration_s: float
) -> None:
    with pytest.raises(ValueError, match=rf"1 to \d+ s of reference.*lasts {duration_s:.1f} s"):
        cloning.model.encode_voice(hum(duration_s, sample_rate=8000))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sampler": "ddim"}, "does not take the sampler ddim; it takes native"),
        ({"speed": 1.5}, "leave the speed at 1"),
        ({"vocoder": "griffin-lim"}, "has its own vocoder"),
    ],
)
def test_settings_it_has_not_are_refused(
    loaded: Loaded, settings: dict[str, Any], message: str
) -> None:
    request = VoiceRequest(text=TEXT, **{"sampler": "native", **loaded.settings, **settings})
    with pytest.raises(ValueError, match=message):
        loaded.model.speak(TEXT, loaded.state, request, lambda *_: None)


def test_guidance_is_refused_where_there_is_none(
    loaded_csm: Loaded, loaded_speecht5: Loaded
) -> None:
    for one in (loaded_csm, loaded_speecht5):
        with pytest.raises(ValueError, match="has no guidance; leave its scale at 1"):
            one.speak(guidance_scale=2.0)


def test_a_voice_of_another_model_is_refused(loaded: Loaded) -> None:
    with pytest.raises(ValueError, match="encoded by echo and means nothing to"):
        loaded.model.speak(
            TEXT, replace(loaded.state, model="echo"), loaded.request(), lambda *_: None
        )


def test_weights_that_are_nowhere_are_one_line(loaded: Loaded) -> None:
    entry = loaded.entry.model_copy(update={"source": "hub", "location": "nobody/nothing"})
    with pytest.raises(ModelUnavailable) as caught:
        loaded.load(entry, device="cpu", precision="fp32")
    line = str(caught.value)
    assert len(line.splitlines()) == 1
    assert f"voice model '{entry.name}' is not on this machine" in line
    assert ("huggingface.co/nobody/nothing" in line) is entry.gated


def without_weights(folder: str, copy: Path) -> Path:
    """Copy a model's folder without its weights."""
    copy.mkdir()
    for file in Path(folder).iterdir():
        if file.is_file() and file.suffix != ".safetensors":
            (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_weights_in_pickles_are_not_read(cloning: Loaded, tmp_path: Path) -> None:
    folder = without_weights(cloning.entry.location, tmp_path / "copy")
    torch.save({}, folder / "pytorch_model.bin")
    entry = cloning.entry.model_copy(update={"location": str(folder)})
    with pytest.raises(ModelUnavailable, match=r"cannot be loaded: .*model\.safetensors"):
        cloning.load(entry, device="cpu", precision="fp32")


def test_speecht5_is_read_as_it_is_published_and_runs_nothing(
    loaded_speecht5: Loaded, tmp_path: Path
) -> None:
    """Its repositories have had no safetensors (open-webui#18878)."""
    places = (loaded_speecht5.entry.location, *loaded_speecht5.entry.companions)
    folders = [without_weights(place, tmp_path / str(at)) for at, place in enumerate(places)]
    for place, folder in zip(places, folders, strict=True):
        weights = load_torch(Path(place) / "model.safetensors")
        torch.save(weights, folder / "pytorch_model.bin")
    entry = in_folder(voice_catalog()["speecht5"], *folders)
    model = loaded_speecht5.load(entry, device="cpu", precision="fp32")
    said = model.speak(TEXT, loaded_speecht5.state, loaded_speecht5.request(), lambda *_: None)
    torch.testing.assert_close(said.mel, loaded_speecht5.speak().mel)
    torch.save({"a": Path("b")}, folders[0] / "pytorch_model.bin")
    with pytest.raises(ModelUnavailable, match=r"cannot be loaded: "):
        loaded_speecht5.load(entry, device="cpu", precision="fp32")


@pytest.mark.parametrize("seed", [1, 7])
def test_csm_goes_on_from_codes_as_it_would_from_the_recording(
    loaded_csm: Loaded, seed: int
) -> None:
    model, processor = loaded_csm.model._model, loaded_csm.model._processor
    part = {"type": "text", "text": "Hm hm."}
    heard = {"type": "audio", "audio": hum().samples}
    turns = [
        {"role": "0", "content": [part, heard]},
        {"role": "0", "content": [{"type": "text", "text": TEXT}]},
    ]
    inputs = processor.apply_chat_template(turns, tokenize=True, return_dict=True)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(seed)
        theirs = model.generate(
            **inputs,
            output_audio=True,
            do_sample=True,
            temperature=0.9,
            depth_decoder_do_sample=True,
            depth_decoder_temperature=0.9,
            max_new_tokens=loaded_csm.model._most_frames(TEXT, inputs["input_ids"].shape[1]),
        )[0]
    assert torch.equal(loaded_csm.speak(seed=seed).audio[0], theirs.clamp(-1, 1))


def test_the_likeliest_tokens_need_no_seed(cloning: Loaded) -> None:
    first, other = (cloning.speak(seed=seed, temperature=0).audio for seed in (1, 2))
    assert torch.equal(first, other)


def test_dia_refuses_temperatures_that_transformers_would_raise(loaded_dia: Loaded) -> None:
    with pytest.raises(ValueError, match=r"temperatures from 1 to 2.* usual one is 1\.8"):
        loaded_dia.speak(temperature=0.5)


def test_a_frame_of_csm_is_one_step(loaded_csm: Loaded) -> None:
    for seed in range(3):
        said = loaded_csm.speak(seed=seed)
        # The one that ends it is no sound.
        frames = len(said.step_s) - (said.warnings == ())
        assert said.lengths == (1920 * frames,)


def test_a_frame_of_dia_is_one_step(loaded_dia: Loaded) -> None:
    said = loaded_dia.speak()
    assert said.warnings == ("dia did not end by itself and was stopped",)
    positions = loaded_dia.model._model.config.decoder_config.max_position_embeddings
    assert len(said.step_s) == positions - loaded_dia.state.tensors["mask"].shape[1]


def test_dias_guidance_changes_what_is_said(loaded_dia: Loaded) -> None:
    assert not torch.equal(loaded_dia.speak(guidance_scale=1).audio, loaded_dia.speak().audio)


def test_dia_gives_out_nothing_of_the_reference(loaded_dia: Loaded) -> None:
    said = loaded_dia.speak()
    frames = len(said.step_s)
    # Nine codebooks are delayed by up to 15 frames: those come before the last is whole.
    assert 0 < said.lengths[0] <= 512 * frames
    assert said.lengths[0] >= 512 * (frames - 16)


def test_dia_and_csm_say_when_a_reference_leaves_no_room(cloning: Loaded) -> None:
    state = cloning.model.encode_voice(hum(1.2 if cloning.entry.name == "csm" else 2.4))
    said = replace(state, facts={"transcript": "la " * 400})
    with pytest.raises(ValueError, match="no room for the reference"):
        cloning.model.speak(TEXT, said, cloning.request(), lambda *_: None)


def test_dia_refuses_room_for_less_than_one_whole_frame(
    loaded_dia: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its codec has no code for what is not whole: an error, and on a GPU the end of the app."""
    positions = loaded_dia.model._model.config.decoder_config
    heard = loaded_dia.state.tensors["mask"].shape[1]
    for room in (2, 15):
        monkeypatch.setattr(positions, "max_position_embeddings", heard + room)
        with pytest.raises(ValueError, match="no room for the reference"):
            loaded_dia.speak()
    monkeypatch.setattr(positions, "max_position_embeddings", heard + 17)
    assert loaded_dia.speak().lengths == (512,)


def test_a_model_that_does_not_end_is_stopped_and_it_is_said(loaded_speecht5: Loaded) -> None:
    said = loaded_speecht5.speak()
    assert said.warnings == ("speecht5 did not end by itself and was stopped",)
    assert said.mel is not None
    assert said.mel.shape == (1, 8, 2 * len(said.step_s))


def test_speecht5_ends_by_itself_without_a_warning(
    loaded_speecht5: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias = loaded_speecht5.model._model.speech_decoder_postnet.prob_out.bias
    monkeypatch.setattr(bias, "data", torch.full_like(bias, 5))
    said = loaded_speecht5.speak()
    assert (said.warnings, len(said.step_s)) == ((), 1)


def test_speecht5_says_that_it_clones_no_recording(loaded_speecht5: Loaded) -> None:
    with pytest.raises(ValueError, match=r"cannot clone a recording: .*SpeechBrain.* of 512 numb"):
        loaded_speecht5.model.encode_voice(hum())


def test_speecht5_reads_numbers_out_and_refuses_more_than_it_takes(
    loaded_speecht5: Loaded,
) -> None:
    model = loaded_speecht5.model
    assert torch.equal(model._ids("42"), model._ids("forty two"))
    with pytest.raises(ValueError, match=r"takes 120 characters at once.*has 20\d"):
        model.speak("ab " * 67, loaded_speecht5.state, loaded_speecht5.request(), lambda *_: None)


def test_an_x_vector_is_the_same_from_either_kind_of_file(
    tmp_path: Path, x_vector: np.ndarray
) -> None:
    np.save(tmp_path / "a.npy", x_vector[None].astype(np.float64))
    np.save(tmp_path / "swapped.npy", x_vector.astype(">f4"))
    save_file({"x": x_vector}, tmp_path / "a.safetensors")
    for name in ("a.npy", "swapped.npy", "a.safetensors"):
        read = speecht5.read_x_vector(tmp_path / name)
        assert torch.equal(read, torch.from_numpy(x_vector))
    halves = torch.from_numpy(x_vector).bfloat16()
    save_torch({"x": halves}, tmp_path / "half.safetensors")
    assert torch.equal(speecht5.read_x_vector(tmp_path / "half.safetensors"), halves.float())


def bad_x_vectors(folder: Path, x_vector: np.ndarray) -> dict[str, str]:
    """Return, by the name of a file written to the folder, what is to be said of it."""
    np.save(folder / "short.npy", x_vector[:192])
    np.save(folder / "whole.npy", np.arange(512))
    np.save(folder / "zero.npy", 0 * x_vector)
    np.save(folder / "broken.npy", x_vector * np.nan)
    np.save(folder / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    save_file({"a": x_vector, "b": x_vector}, folder / "two.safetensors")
    (folder / "text.npy").write_text("hello", encoding="utf-8")
    (folder / "text.safetensors").write_text("hello there, this is text", encoding="utf-8")
    (folder / "empty.npy").write_bytes(b"")
    with (folder / "boast.npy").open("wb") as file:  # says that it holds more than any memory does
        told = {"descr": "<f8", "fortran_order": False, "shape": (10**15,)}
        np.lib.format.write_array_header_1_0(file, told)
    with (folder / "archive.npy").open("wb") as file:
        np.savez(file, x_vector)
    (folder / "torn.npy").write_bytes(b"PK\3\4 and no archive")
    header = b"{'descr': '<f4', 'shape': (512,"  # never closed
    start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
    (folder / "open.npy").write_bytes(start + header)
    shaped, unread = "should hold one x-vector of 512 numbers", "is no .npy or .safetensors file"
    return {
        "short.npy": shaped,
        "whole.npy": shaped,
        "two.safetensors": shaped,
        "zero.npy": "is no voice",
        "broken.npy": "is no voice",
        "pickle.npy": unread,
        "text.npy": unread,
        "text.safetensors": unread,
        "empty.npy": unread,
        "boast.npy": unread,
        "archive.npy": unread,
        "torn.npy": unread,
        "open.npy": unread,
        "nowhere.npy": unread,
    }


def test_a_file_that_is_no_x_vector_is_one_line(tmp_path: Path, x_vector: np.ndarray) -> None:
    for name, message in bad_x_vectors(tmp_path, x_vector).items():
        with pytest.raises(ValueError, match=message) as caught:
            speecht5.read_x_vector(tmp_path / name)
        assert str(caught.value).count(name) == 1
        assert "\n" not in str(caught.value)


def test_a_checkpoint_of_the_family_for_another_task_is_refused(
    loaded_speecht5: Loaded, tmp_path: Path
) -> None:
    weights = load_file(Path(loaded_speecht5.entry.location) / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "speech_decoder_postnet" not in name}
    for file in Path(loaded_speecht5.entry.location).iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    entry = loaded_speecht5.entry.model_copy(update={"location": str(tmp_path)})
    with pytest.raises(ModelUnavailable, match=r"lacks \d+ weights of SpeechT5ForTextToSpeech"):
        loaded_speecht5.load(entry, device="cpu", precision="fp32")
