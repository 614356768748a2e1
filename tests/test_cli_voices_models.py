"""`clone` with Echo itself: tiny and of random weights, and the one that comes with the program."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from command_line import run
from fake_voices import write_wav
from tiny_echo import save_tiny_echo
from tiny_vocoders import save_hifi_gan
from warm_python import run_warm
from warm_workers import WarmStart

from diffusion_bench.audio.files import read_sound, write_sound
from diffusion_bench.audio.watermark.search import detect
from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.backends.model_facts import folder_revision
from diffusion_bench.backends.voice.recipes import Recipe, read_recipe
from diffusion_bench.backends.voice.vocoders import VOCODERS
from diffusion_bench.backends.voice.voices import bundled_names, find_voice
from diffusion_bench.cli import voice_options
from diffusion_bench.pronunciation import front_end
from diffusion_bench.records import VoiceRequest

ROOT = Path(__file__).parents[1]
TEXT = "The river was quiet that morning. A thin mist lay over the fields, and nobody spoke."
needs_bundled = pytest.mark.skipif(
    not (MODELS_FOLDER / "echo" / "model_index.json").is_file(), reason="Echo is not bundled yet"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_echo(tmp_path_factory.mktemp("echo"))


def clone(*arguments: object) -> int:
    return run("clone", "--device", "cpu", *arguments)


def test_the_sample_voices_that_the_options_name_are_bundled() -> None:
    assert {"ada", "ben"} <= set(bundled_names())
    for name in bundled_names():
        voice = find_voice(name, "echo")
        assert 3 <= voice.duration_s <= 15
        assert voice.transcript


def test_a_recipe_pins_the_weights_and_other_ones_are_told(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other, old, again = (tmp_path / f"{n}.wav" for n in ("first", "other", "old", "again"))
    assert clone("--model", tiny, "--steps", "1", "--text", "Good morning.", "--out", first) == 0
    recipe = read_recipe(first)
    assert recipe.model_revision == folder_revision(tiny)
    sound = read_sound(first)
    told = recipe.model_dump(mode="json")
    write_sound(
        other, sound.samples, sound.sample_rate, recipe=told | {"model_revision": "sha256:0"}
    )
    before = {name: told[name] for name in told if name not in ("model_revision", "missing")}
    write_sound(old, sound.samples, sound.sample_rate, recipe=before)
    said = {}
    for file in (first, other, old):
        capsys.readouterr()
        assert clone("--from", file, "--out", again) == 0
        assert read_recipe(again) == recipe  # of the weights that spoke, not of those it names
        assert again.read_bytes() == first.read_bytes()
        said[file] = "may differ" in capsys.readouterr().err
    assert said == {first: False, other: True, old: False}
    assert read_recipe(other).differences() == (
        f"model sha256:0 then, {recipe.model_revision} now",
    )


def test_a_recipe_names_the_weights_that_are_there_now(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "mine"))
    recipe = Recipe(request=VoiceRequest(text="Good morning.", model=str(folder))).pinned()
    assert recipe.differences() == ()
    (folder / "unet" / "config.json").write_text("{}")  # as a model that is trained on
    assert len(recipe.differences()) == 1


def test_a_text_that_is_read_otherwise_since_is_told(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(request=VoiceRequest(text="Dr Read read.", model=str(tiny))).pinned()
    old = recipe.model_copy(update={"phones_digest": None})  # of before it was kept
    assert recipe.phones_digest
    assert recipe.differences() == ()
    monkeypatch.setattr(front_end, "normalise", lambda text: "drive read read")
    assert recipe.differences() == ("its text was read as other phones then",)
    assert old.differences() == ()
    hub = Recipe(request=VoiceRequest(text="Dr Read read.", model="kyutai/pocket-tts"))
    assert hub.pinned().phones_digest is None


@pytest.mark.slow
def test_a_model_folder_speaks_and_another_process_makes_the_same_bytes(
    tiny: Path, tmp_path: Path, warm_start: WarmStart
) -> None:
    ben = find_voice("ben", "echo")
    recorded = write_wav(tmp_path / "ben.wav", ben.samples, ben.sample_rate)
    own = ("--reference", recorded, "--yes-i-have-consent")
    made = {"ddim": ("--voice", "ben"), "ddpm": ("--voice", "ben"), "recorded": own}
    here = {name: tmp_path / f"{name} here.wav" for name in made}
    there = {name: tmp_path / f"{name} there.wav" for name in made}
    for name, voice in made.items():
        sampler = "ddpm" if name == "ddpm" else "ddim"
        options = ("--model", tiny, "--sampler", sampler, "--steps", "2", *voice)
        assert clone(*options, "--text", TEXT, "--seed", "3", "--out", here[name]) == 0
    for name in made:
        told = ("--from", here[name], *(own if name == "recorded" else ()), "--out", there[name])
        apart = ("-m", "diffusion_bench", "clone", "--device", "cpu", *told)
        done = run_warm(warm_start, *apart, cwd=ROOT)
        assert (done.returncode, done.stdout) == (0, f"{there[name]}\n"), done.stderr
        assert done.stderr.count("seed 3, ") == 1
        assert here[name].read_bytes() == there[name].read_bytes(), name


def test_a_voice_saved_from_echo_speaks_as_its_recording_does(tiny: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.wav", tmp_path / "again.wav"
    options = ("--model", tiny, "--steps", "2", "--text", "The river was quiet.")
    assert clone(*options, "--voice", "ada", "--save-voice", "eve", "--out", first) == 0
    assert clone(*options, "--voice", "eve", "--out", again) == 0
    assert np.array_equal(soundfile.read(first)[0], soundfile.read(again)[0])


def test_more_steps_of_ddim_come_nearer_to_very_many(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--model", tiny, "--text", "Good morning.", "--out", tmp_path / "out.wav")
    found = []
    for steps in (2, 8):
        assert clone(*asked, "--steps", steps, "--against-steps", "24") == 0
        told = re.search(r"mel distance ([\d.]+) dB .* ([\d.]+) dB apart", capsys.readouterr().err)
        found.append([float(each) for each in told.groups()])
    (few, apart), (more, as_far) = found
    assert more < few / 2
    assert as_far == apart > 0


@needs_bundled
@pytest.mark.slow
def test_the_bundled_model_clones_a_recording_and_marks_what_it_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ben = find_voice("ben", "echo")
    reference = write_wav(tmp_path / "ben.wav", ben.samples, ben.sample_rate)
    out = tmp_path / "out.wav"
    told = ("--reference", reference, "--yes-i-have-consent")
    assert clone(*told, "--text", TEXT, "--out", out) == 0
    summary = capsys.readouterr().err.splitlines()
    assert [line for line in summary if line.startswith("warning")] == []
    assert float(re.search(r"timbre similarity \(MFCC\) ([-\d.]+)", summary[-1])[1]) > 0.3
    samples, sample_rate = soundfile.read(out, dtype="float32")
    assert 3 < len(samples) / sample_rate < 12
    assert detect(samples, sample_rate).found
    assert read_recipe(out).request.steps == 25


@needs_bundled
@pytest.mark.slow
def test_the_bundled_model_says_numbers_and_long_texts_chunk_by_chunk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join([TEXT] * 5) + " It cost $1,234.56 on 3 May 1984."
    assert clone("--text", text, "--steps", "1", "--out", tmp_path / "out.flac") == 0
    errors = capsys.readouterr().err
    assert re.search(r", [3-9] chunks, ", errors)
    assert "warning" not in errors


def test_the_help_names_every_vocoder_there_is() -> None:
    told = voice_options.Vocoder.__metadata__[0].help
    for name in ("native", "griffin-lim", *VOCODERS):
        assert re.search(rf"\b{name}\b(?!-)", told), name


@pytest.mark.parametrize("name", sorted(VOCODERS.keys() - {"echo"}))
def test_a_vocoder_without_weights_is_one_line_and_no_file(
    name: str, tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    options = ("--model", tiny, "--steps", "1", "--text", "Good morning.")
    assert clone(*options, "--vocoder", name, "--out", out) == 2
    said = capsys.readouterr()
    assert re.fullmatch(rf"error: vocoder '{name}' is not on this machine [^\n]+\n", said.err)
    assert not out.exists()


def test_a_vocoder_of_other_spectrograms_speaks_and_says_whose_sound_it_heard(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_hifi_gan(tmp_path / "hifi-gan")
    native, other, again = (tmp_path / f"{name}.wav" for name in ("native", "other", "again"))
    options = ("--model", tiny, "--steps", "1", "--text", "Good morning, all of you.")
    assert clone(*options, "--out", native) == 0
    assert "reads other spectrograms" not in capsys.readouterr().err
    assert clone(*options, "--vocoder", folder, "--out", other) == 0
    told = capsys.readouterr().err
    assert "it says again the sound of 'echo'" in told
    assert len(soundfile.read(other)[0]) == len(soundfile.read(native)[0])
    assert read_recipe(other).request.vocoder == str(folder)
    assert clone("--from", other, "--out", again) == 0
    assert again.read_bytes() == other.read_bytes()
