"""Voices by name: saved, found again, refused where they mean nothing, and never outside."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from at_once import told_at_once
from fake_voices import RATE, make_reference
from safetensors.torch import save_file

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice import voices
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.backends.voice.catalog import find_voice_model, voice_catalog
from diffusion_bench.backends.voice.hub import refuse_foreign
from diffusion_bench.backends.voice.voice_files import VoiceUnavailable
from diffusion_bench.backends.voice.voices import (
    UnknownVoice,
    check_free,
    check_name,
    delete_voice,
    find_voice,
    list_voices,
    save_voice,
    unlisted_voices,
    voices_folder,
)
from diffusion_bench.whole_file import NotWritten

STATE = VoiceState(
    "echo", {"embedding": torch.arange(6.0).reshape(2, 3).T, "count": torch.tensor(7)}, {"f0": "98"}
)


@pytest.fixture
def sample_voices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that stands in for the bundled voices, with one of them, `ida`."""
    import soundfile

    folder = tmp_path / "bundled"
    folder.mkdir()
    soundfile.write(folder / "ida.flac", make_reference(200).samples, RATE)
    about = {"title": "Ida", "licence": "CC0", "transcript": "Hello.", "made_by": "a synthesizer"}
    (folder / "ida.json").write_text(json.dumps(about), encoding="utf-8")
    monkeypatch.setattr(voices, "BUNDLED_FOLDER", folder)
    return folder


def test_a_saved_voice_is_found_again_as_it_was() -> None:
    path = save_voice("mum", STATE)
    assert path.parent == voices_folder()
    found = find_voice("mum", "echo")
    assert isinstance(found, VoiceState)
    assert (found.model, found.facts) == (STATE.model, STATE.facts)
    assert found.tensors.keys() == STATE.tensors.keys()
    for name, tensor in STATE.tensors.items():
        assert torch.equal(found.tensors[name], tensor)


def test_a_voice_that_was_saved_before_files_named_the_weights_is_found() -> None:
    save_voice("mum", replace(STATE, weights="sha256:0"))
    found = find_voice("mum", "echo")
    assert isinstance(found, VoiceState)
    assert found.weights == "sha256:0"
    about = '{"kind": "state", "created_utc": "2026-01-01T00:00:00Z", "model": "echo"}'
    save_file(
        {"embedding": torch.zeros(3)},
        voices_folder() / "old.safetensors",
        {"diffusion_bench": about},
    )
    found = find_voice("old", "echo")
    assert isinstance(found, VoiceState)
    assert found.weights is None


def test_a_saved_recording_serves_every_model() -> None:
    reference = make_reference(transcript="what was said")
    save_voice("dad", reference)
    for model in ("echo", "pocket"):
        found = find_voice("dad", model)
        assert isinstance(found, Reference)
        assert np.array_equal(found.samples, reference.samples)
        assert (found.sample_rate, found.transcript) == (RATE, "what was said")


def test_a_voice_of_another_model_is_refused_with_both_names() -> None:
    save_voice("mum", STATE)
    with pytest.raises(VoiceUnavailable, match=r"'mum' was encoded by echo .* nothing to pocket"):
        find_voice("mum", "pocket")


def test_a_voice_of_a_model_in_the_home_folder_is_found_however_the_model_is_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    save_voice("mum", VoiceState(f"{tmp_path}/echo", STATE.tensors))
    for model in ("~/echo", f"{tmp_path}/echo"):
        assert find_voice("mum", model).model == model
    with pytest.raises(VoiceUnavailable, match="means nothing to ~/other"):
        find_voice("mum", "~/other")


TORTOISES = [name for name, entry in voice_catalog().items() if entry.family == "tortoise"]


@pytest.mark.parametrize("encoder", TORTOISES)
@pytest.mark.parametrize("speaker", [*TORTOISES, "jbetker/tortoise-tts-v2"])
def test_a_voice_serves_every_preset_of_the_weights_that_encoded_it(
    encoder: str, speaker: str
) -> None:
    save_voice("mum", VoiceState(encoder, STATE.tensors))
    found = find_voice("mum", speaker)
    assert isinstance(found, VoiceState)
    refuse_foreign(find_voice_model(speaker), found)
    refuse_foreign(find_voice_model(speaker), VoiceState(encoder, STATE.tensors))


@pytest.mark.parametrize("speaker", ["echo", "vibevoice-7b", "vibevoice"])
def test_weights_of_another_kind_or_place_are_another_model(speaker: str) -> None:
    encoder = "tortoise" if speaker == "echo" else ({"vibevoice", "vibevoice-7b"} - {speaker}).pop()
    save_voice("mum", VoiceState(encoder, STATE.tensors))
    with pytest.raises(VoiceUnavailable, match=f"encoded by {encoder} .* nothing to {speaker}"):
        find_voice("mum", speaker)
    with pytest.raises(ValueError, match=f"encoded by {encoder} .* nothing to {speaker}"):
        refuse_foreign(find_voice_model(speaker), VoiceState(encoder, STATE.tensors))


def test_voices_are_listed_with_what_they_are_for(sample_voices: Path) -> None:
    save_voice("mum", STATE)
    save_voice("dad", make_reference())
    (voices_folder() / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    ida, dad, mum = list_voices()
    assert (ida.name, ida.source, ida.title, ida.licence) == ("ida", "bundled", "Ida", "CC0")
    assert (dad.name, dad.source, dad.model, dad.title) == ("dad", "saved", None, "a recording")
    assert (mum.name, mum.source, mum.model) == ("mum", "saved", "echo")
    assert mum.created_utc.endswith("Z")


def test_a_bundled_voice_is_a_recording_and_its_name_is_not_to_be_taken(
    sample_voices: Path,
) -> None:
    voice = find_voice("ida", "any model")
    assert voice.duration_s == 4
    assert voice.transcript == "Hello."
    assert voice.samples.dtype == np.float32
    with pytest.raises(ValueError, match="'ida' is bundled; choose another name"):
        save_voice("ida", STATE)


def test_a_missing_bundled_voice_is_said_with_what_there_is(sample_voices: Path) -> None:
    save_voice("mum", STATE)
    with pytest.raises(UnknownVoice, match="unknown voice 'ada'; bundled: ida; saved: mum"):
        find_voice("ada", "echo")
    (sample_voices / "ida.flac").write_bytes(b"not flac")
    with pytest.raises(VoiceUnavailable, match="bundled voice 'ida' is damaged"):
        find_voice("ida", "echo")
    (sample_voices / "ida.flac").unlink()
    with pytest.raises(UnknownVoice, match="bundled: none in this installation; saved: mum"):
        find_voice("ida", "echo")


def test_a_taken_name_is_kept_unless_it_is_to_be_replaced() -> None:
    save_voice("mum", STATE)
    with pytest.raises(ValueError, match="there is a saved voice 'mum' already"):
        save_voice("mum", make_reference())
    assert isinstance(find_voice("mum", "echo"), VoiceState)
    save_voice("mum", make_reference(), replace=True)
    assert isinstance(find_voice("mum", "echo"), Reference)


SAVE_ONE = """
import sys
import torch
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.backends.voice.voices import save_voice
state = VoiceState("echo", {"embedding": torch.full((256,), float(sys.argv[1]))}, {})
print("up", flush=True)
sys.stdin.readline()
try:
    save_voice("mum", state)
    print("saved")
except ValueError as error:
    print(error)
"""


def test_of_two_that_save_a_voice_under_one_name_at_once_one_is_refused() -> None:
    told = told_at_once(SAVE_ONE, "12")
    assert told.count("saved") == 1
    assert any("there is a saved voice 'mum' already" in words for words in told)
    kept = find_voice("mum", "echo")
    assert isinstance(kept, VoiceState)
    assert kept.tensors["embedding"][0] == 1 + told.index("saved")


def test_a_voice_that_could_not_be_saved_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DIFFUSION_BENCH_VOICES", str(tmp_path / "file"))
    for use in (check_free, lambda name: save_voice(name, STATE, replace=True)):
        with pytest.raises(NotWritten, match=r"^cannot make the folder .*file: File exists$"):
            use("mum")


@pytest.mark.skipif(os.name != "posix", reason="its home folder is asked of the system")
def test_without_a_home_folder_there_are_the_bundled_voices(
    sample_voices: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIFFUSION_BENCH_VOICES")
    for name in ("HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda number: {}[number])
    assert [voice.name for voice in list_voices()] == ["ida"]
    with pytest.raises(ValueError, match="no home folder; DIFFUSION_BENCH_VOICES names one"):
        save_voice("mum", STATE)


def test_a_saved_voice_that_cannot_be_read_is_told_of_with_the_reason() -> None:
    save_voice("mum", STATE)
    (voices_folder() / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    (voices_folder() / "loop.safetensors").symlink_to("loop.safetensors")
    loop, torn = unlisted_voices()
    assert loop == "loop.safetensors cannot be read: Too many levels of symbolic links"
    assert torn.startswith("torn.safetensors cannot be read: ")


def test_voices_are_listed_without_torch() -> None:
    save_voice("mum", STATE)
    script = (
        "import sys; from diffusion_bench.backends.voice.voices import list_voices;"
        "print([v.name for v in list_voices() if v.source == 'saved'], 'torch' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.split("\n")[0] == "['mum'] False"


def test_a_deleted_voice_is_gone_and_cannot_be_deleted_again() -> None:
    save_voice("mum", STATE)
    delete_voice("mum")
    assert list(voices_folder().iterdir()) == []
    for refused in (lambda: find_voice("mum", "echo"), lambda: delete_voice("mum")):
        with pytest.raises(UnknownVoice, match="unknown voice 'mum'"):
            refused()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../mum", "a/b", "a\\b", "/etc/passwd", "C:mum", "mum\0", "mum\n", "Mum",
     "-mum", "mum.safetensors", "con", "com1", "m" * 41, "mu m", "mūm", "~", "%2e"],
)  # fmt: skip
def test_a_name_that_could_lead_elsewhere_is_refused_everywhere(name: str, tmp_path: Path) -> None:
    for use in (
        check_name,
        lambda name: save_voice(name, STATE),
        lambda name: find_voice(name, "echo"),
        delete_voice,
    ):
        with pytest.raises(ValueError, match=r"voice name .* cannot be used: 1 to 40 of a-z"):
            use(name)
    assert not voices_folder().exists() or list(voices_folder().iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot be read"),
        (b"not safetensors at all", "cannot be read"),
        (b"\xff" * 64, "cannot be read"),
    ],
)
def test_a_damaged_file_is_one_line(content: bytes, reason: str) -> None:
    voices_folder().mkdir(exist_ok=True)
    (voices_folder() / "mum.safetensors").write_bytes(content)
    with pytest.raises(VoiceUnavailable, match=reason) as refusal:
        find_voice("mum", "echo")
    assert "\n" not in str(refusal.value)


def test_a_file_of_something_else_is_not_taken_for_a_voice() -> None:
    from safetensors.torch import save_file

    voices_folder().mkdir(exist_ok=True)
    path = voices_folder() / "mum.safetensors"
    for metadata, reason in (
        (None, "is no voice of Diffusion Bench"),
        ({"format": "pt"}, "is no voice of Diffusion Bench"),
        ({"diffusion_bench": "{}"}, "is damaged"),
        ({"diffusion_bench": '{"kind": "recording", "created_utc": "now"}'}, "no recording"),
    ):
        save_file({"x": torch.ones(2)}, path, metadata)
        with pytest.raises(VoiceUnavailable, match=reason):
            find_voice("mum", "echo")


def test_the_folder_is_the_users_own_and_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DIFFUSION_BENCH_VOICES")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert tmp_path in voices_folder().parents or sys.platform == "win32"
    monkeypatch.setenv("DIFFUSION_BENCH_VOICES", str(tmp_path / "mine"))
    path = save_voice("mum", STATE)
    assert path == tmp_path / "mine" / "mum.safetensors"
    if os.name == "posix":
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_only_voices_that_can_be_named_are_listed_and_of_the_others_it_is_told_why(
    sample_voices: Path,
) -> None:
    """A file may have been copied here, or saved before a sample voice took its name."""
    mum = save_voice("mum", STATE)
    for name in ("Mum's", "ida"):
        (mum.parent / f"{name}.safetensors").write_bytes(mum.read_bytes())
    assert [voice.name for voice in list_voices()] == ["ida", "mum"]
    cased, taken = unlisted_voices()
    assert cased.startswith("Mum's.safetensors: voice name \"Mum's\" cannot be used")
    assert taken.startswith("ida.safetensors: voice 'ida' is bundled; choose another name")
