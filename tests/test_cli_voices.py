"""`clone` and `voices` from options to files, with a model that really makes sound."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import fake_voices
import numpy as np
import pytest
import soundfile
import torch
from command_line import complaint, run
from fake_voices import RATE, FakeVoiceModel, make_reference, pitch_of, write_wav

from diffusion_bench.audio.files import write_sound
from diffusion_bench.audio.watermark.search import detect
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.backends.voice.recipes import read_recipe
from diffusion_bench.backends.voice.voices import find_voice, list_voices, save_voice
from diffusion_bench.cli import cloning

TEXT = "Three short words. And then a few more of them to fill a second chunk."
CONSENT = "--yes-i-have-consent"


@pytest.fixture(autouse=True)
def model(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> FakeVoiceModel:
    return fake_voices.install_world(monkeypatch, tmp_path_factory.mktemp("bundled"))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "secret name.wav", make_reference(120).samples)


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clone(*arguments: object) -> int:
    return run("clone", "--device", "cpu", "--steps", "2", *arguments)


def heard(path: Path) -> np.ndarray:
    samples, sample_rate = soundfile.read(path, dtype="float32")
    assert sample_rate == RATE
    return samples


def test_a_recording_says_a_text(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: FakeVoiceModel
) -> None:
    out = tmp_path / "out.wav"
    assert clone("--reference", reference, "--text", TEXT, "--out", out, CONSENT) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert pitch_of(heard(out)) == pytest.approx(120, rel=0.03)
    assert " ".join(model.spoken) == TEXT
    # One line after the warnings: no bar is drawn into a pipe, and the recording is named nowhere.
    assert re.fullmatch(
        r"(?:warning: [^\n]+\n)*"
        r"seed 0, [\d.]+ s of speech, 3 chunks, [\d.]+ s on cpu, real-time factor [\d.]+, "
        r"first audio after [\d.]+ s, text [\d.]+ s, voice encoder [\d.]+ s, prior [\d.]+ s, "
        r"denoising [\d.]+ s, vocoder [\d.]+ s, other [\d.]+ s, peak .*, "
        r"timbre similarity \(MFCC\) [-\d.]+, pitch [-+][\d.]+ semitones"
        r"(, [\d.]+ syllables/s.*)?\n",
        said.err,
    )
    assert "secret" not in said.out + said.err
    assert b"secret" not in out.read_bytes()


def test_a_sample_voice_needs_no_consent_and_is_the_default(tmp_path: Path) -> None:
    named, default = tmp_path / "named.wav", tmp_path / "default.wav"
    assert clone("--voice", "ada", "--text", TEXT, "--out", named) == 0
    assert clone("--text", TEXT, "--out", default) == 0
    assert named.read_bytes() == default.read_bytes()
    assert pitch_of(heard(named)) == pytest.approx(200, rel=0.03)
    assert read_recipe(named).request.voice == "ada"


def test_without_consent_one_line_says_why_and_what_to_add(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: FakeVoiceModel
) -> None:
    out = tmp_path / "out.wav"
    assert clone("--reference", reference, "--text", TEXT, "--out", out) == 2
    line = complaint(capsys)
    assert "belongs to the person" in line
    assert "add --yes-i-have-consent" in line
    assert not out.exists()
    assert model.loaded == []


def test_what_is_written_is_marked_and_can_be_left_unmarked(tmp_path: Path) -> None:
    long = " ".join([TEXT] * 3)
    marked, bare = tmp_path / "marked.wav", tmp_path / "bare.wav"
    assert clone("--text", long, "--out", marked) == 0
    assert clone("--text", long, "--out", bare, "--no-watermark") == 0
    assert detect(heard(marked), RATE).found
    assert not detect(heard(bare), RATE).found
    assert (read_recipe(marked).watermark, read_recipe(bare).watermark) == (True, False)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3"])
def test_a_recipe_makes_the_same_bytes_again(
    suffix: str, reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / f"first.{suffix}", tmp_path / f"again.{suffix}"
    options = ("--text", TEXT, "--seed", "7", "--sampler", "ddpm", "--speed", "1.5")
    assert clone(*options, "--out", first) == 0
    assert run("clone", "--from", first, "--out", again, "--device", "cpu") == 0
    assert first.read_bytes() == again.read_bytes()
    assert clone(*options, "--reference", reference, CONSENT, "--out", first) == 0
    assert run("clone", "--from", first, "--reference", reference, CONSENT, "--out", again) == 0
    assert first.read_bytes() == again.read_bytes()
    assert capsys.readouterr().err.count("seed 7, ") == 4


def test_a_recipe_wants_the_same_voice(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloned, sample = tmp_path / "cloned.wav", tmp_path / "sample.wav"
    clone("--reference", reference, CONSENT, "--text", TEXT, "--out", cloned)
    clone("--text", TEXT, "--out", sample)
    other = write_wav(tmp_path / "other.wav", make_reference(130).samples)
    capsys.readouterr()
    for file, options, line in (
        (cloned, (), "was made from a recording, which is not in it: add --reference"),
        (cloned, ("--voice", "ada"), "was made from a recording"),
        (cloned, ("--reference", reference), "add --yes-i-have-consent"),
        (cloned, ("--reference", other, CONSENT), "was made from another recording"),
        (sample, ("--reference", other, CONSENT), "was made with --voice ada: leave yours out"),
        (sample, ("--seed", "3"), "--from says that itself: leave out --seed"),
        (sample, ("--text", "Other."), "--from says that itself: leave out --text"),
        (other, (), "carries no recipe"),
        (tmp_path / "no.wav", (), "no.wav"),
    ):
        assert run("clone", "--from", file, *options, "--out", tmp_path / "again.wav") == 2
        assert line in complaint(capsys)


@pytest.mark.parametrize("kind", ["as a recording", "as encoded"])
def test_a_saved_voice_that_has_changed_is_refused_and_the_same_one_repeats_the_bytes(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def save(pitch_hz: float) -> None:
        recording = make_reference(pitch_hz)
        encoded = VoiceState("echo", {"pitch_hz": torch.tensor(pitch_hz)}, {"heard": "pitch"})
        save_voice("mum", recording if kind == "as a recording" else encoded, replace=True)

    first, again = tmp_path / "first.wav", tmp_path / "again.wav"
    save(120)
    assert clone("--voice", "mum", "--text", TEXT, "--out", first) == 0
    save(130)
    capsys.readouterr()
    assert run("clone", "--from", first, "--out", again) == 2
    assert "error: the voice 'mum' has changed: it was " in complaint(capsys)
    assert not again.exists()
    save(120)
    assert run("clone", "--from", first, "--out", again) == 0
    assert first.read_bytes() == again.read_bytes()


def test_a_transcript_that_is_read_along_is_part_of_the_recipe(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.wav", tmp_path / "again.wav"
    options = ("--reference", reference, CONSENT)
    words = ("--transcript", "What was said.")
    assert clone(*options, *words, "--model", "needy", "--text", TEXT, "--out", first) == 0
    assert read_recipe(first).transcript == "What was said."
    assert run("clone", "--from", first, *options, "--out", again) == 0
    assert first.read_bytes() == again.read_bytes()
    capsys.readouterr()
    other = ("--transcript", "Something else.")
    assert run("clone", "--from", first, *options, *other, "--out", again) == 2
    assert "another transcript of 'reference:" in complaint(capsys)
    # A model that reads none along keeps none.
    assert clone(*options, *words, "--text", TEXT, "--out", first) == 0
    assert read_recipe(first).transcript is None


def test_words_can_be_given_to_a_saved_recording_and_not_to_what_was_encoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A voice that was saved for a model that reads no words serves one that does."""
    first, again = tmp_path / "first.wav", tmp_path / "again.wav"
    save_voice("mum", make_reference(120))
    save_voice("eve", VoiceState("needy", {"pitch_hz": torch.tensor(120.0)}))
    words = ("--transcript", "What was said.", "--model", "needy", "--text", TEXT)
    assert clone("--voice", "mum", *words, "--out", first) == 0
    assert read_recipe(first).transcript == "What was said."
    assert run("clone", "--from", first, "--out", again) == 0
    assert first.read_bytes() == again.read_bytes()
    capsys.readouterr()
    assert clone("--voice", "eve", *words, "--out", again) == 2
    assert "the voice 'eve' was saved encoded: leave the transcript out" in complaint(capsys)
    save_voice("mum", VoiceState("needy", {"pitch_hz": torch.tensor(120.0)}), replace=True)
    assert run("clone", "--from", first, "--out", again) == 2
    assert "the voice 'mum' has changed" in complaint(capsys)


def test_a_recipe_of_before_voices_were_pinned_speaks_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, old, again = (tmp_path / f"{name}.wav" for name in ("first", "old", "again"))
    assert clone("--text", TEXT, "--out", first) == 0
    told = read_recipe(first).model_dump(mode="json", exclude={"voice_digest", "transcript"})
    write_sound(old, heard(first), RATE, recipe=told)
    capsys.readouterr()
    assert run("clone", "--from", old, "--out", again) == 0
    assert "warning: old.wav does not say which ada spoke then" in capsys.readouterr().err


def test_candidates_are_written_the_likest_first_each_with_its_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    assert clone("--text", TEXT, "--candidates", "3", "--seed", "5", "--out", out) == 0
    said = capsys.readouterr()
    paths = [tmp_path / name for name in ("out.wav", "out-2.wav", "out-3.wav")]
    assert said.out.split() == [str(path) for path in paths]
    scores = [float(score) for score in re.search(
        r"timbre similarity \(MFCC\) ([-\d. /]+), ", said.err
    )[1].split(" / ")]  # fmt: skip
    assert scores == sorted(scores, reverse=True)
    recipes = [read_recipe(path) for path in paths]
    assert sorted(recipe.candidate for recipe in recipes) == [0, 1, 2]
    assert {(recipe.request.seed, recipe.request.batch) for recipe in recipes} == {(5, 3)}
    again = tmp_path / "again.wav"
    for path in paths:
        assert run("clone", "--from", path, "--out", again) == 0
        assert again.read_bytes() == path.read_bytes()


def test_the_options_reach_the_request_and_the_model_gives_the_rest(tmp_path: Path) -> None:
    out = tmp_path / "out.wav"
    options = (
        *("--sampler", "ddim", "--guidance", "1.5", "--temperature", "0.7", "--eta", "0.25"),
        *("--speed", "1.25", "--seed", "3", "--precision", "bf16", "--vocoder", "griffin-lim"),
    )
    assert clone(*options, "--text", "Hello there, you.", "--out", out) == 0
    assert read_recipe(out).request.model_dump() == {
        "text": "Hello there, you.",
        "voice": "ada",
        "model": "echo",
        "sampler": "ddim",
        "eta": 0.25,
        "steps": 2,
        "guidance_scale": 1.5,
        "temperature": 0.7,
        "speed": 1.25,
        "batch": 1,
        "precision": "bf16",
        "vocoder": "griffin-lim",
        "seed": 3,
    }
    assert run("clone", "--text", "Hello there, you.", "--out", out) == 0
    request = read_recipe(out).request
    assert (request.steps, request.sampler, request.temperature) == (4, "ddim", 1.0)


def test_a_model_of_x_vectors_takes_their_file_as_the_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vector, out, again = tmp_path / "x.npy", tmp_path / "out.wav", tmp_path / "again.wav"
    np.save(vector, np.full(512, 140.0, np.float32))
    options = ("--model", "numbers", "--text", TEXT, "--out", out)
    assert clone("--reference", vector, CONSENT, *options) == 0
    assert pitch_of(heard(out)) == pytest.approx(140, rel=0.03)
    assert run("clone", "--from", out, "--reference", vector, CONSENT, "--out", again) == 0
    assert again.read_bytes() == out.read_bytes()
    capsys.readouterr()
    assert run("clone", "--from", out, "--out", again) == 2
    assert "out.wav was made from an x-vector, which is not in it" in complaint(capsys)
    assert clone("--voice", "ada", *options) == 2
    assert "numbers clones no recording; it takes a file of an x-vector" in complaint(capsys)


def test_a_seed_picked_by_chance_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.wav", tmp_path / "again.wav"
    assert clone("--text", TEXT, "--seed", "-1", "--out", first) == 0
    seed = re.search(r"^seed (\d+), ", capsys.readouterr().err, re.MULTILINE)[1]
    assert clone("--text", TEXT, "--seed", seed, "--out", again) == 0
    assert first.read_bytes() == again.read_bytes()


def test_a_text_comes_from_a_file_too(tmp_path: Path, model: FakeVoiceModel) -> None:
    file = tmp_path / "text.txt"
    file.write_text("\ufeffBonjour, déjà vu.\n", encoding="utf-8")
    assert clone("--text-file", file, "--out", tmp_path / "out.wav") == 0
    assert model.spoken == ["Bonjour, déjà vu."]


def test_a_text_from_a_standard_input_that_is_closed_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], empty_folder: Path
) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python has it after `<&-`
    told = complaint(capsys, "clone", "--text-file", "-")
    assert told == "error: --text-file -: the standard input is closed\n"
    assert list(empty_folder.iterdir()) == []


def test_a_saved_voice_speaks_without_its_recording(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "first.wav", tmp_path / "again.wav"
    options = ("--reference", reference, CONSENT, "--text", TEXT, "--save-voice", "mum")
    assert clone(*options, "--out", first) == 0
    reference.unlink()
    assert clone("--voice", "mum", "--text", TEXT, "--out", again) == 0
    assert np.array_equal(heard(first), heard(again))
    assert [voice.name for voice in list_voices()] == ["ada", "mum"]
    capsys.readouterr()
    assert run("voices") == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0] == "ada: bundled"
    assert re.fullmatch(r"mum: saved, for echo, saved \d{4}-.*Z", listed[1])
    assert run("clone", "--voice", "mum", "--model", "needy", "--text", TEXT) == 2
    assert "'mum' was encoded by echo and means nothing to needy" in complaint(capsys)
    assert run("voices", "--delete", "mum") == 0
    assert [voice.name for voice in list_voices()] == ["ada"]


def test_a_name_that_is_taken_is_refused_before_any_work(
    reference: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], model: FakeVoiceModel
) -> None:
    options = ("--reference", reference, CONSENT, "--text", TEXT, "--out", tmp_path / "out.wav")
    for name, line in (("ada", "is bundled"), ("../x", "cannot be used")):
        assert clone(*options, "--save-voice", name) == 2
        assert line in complaint(capsys)
    assert model.loaded == []


BAD_TEXTS = [
    ("", "the text has no word to say"),
    (" \n\t ", "the text has no word to say"),
    ("🙂🎉👩‍👩‍👧", "the text has no word to say"),
    ("...!?", "the text has no word to say"),
    ("a" * 20_001, "the text has 20001 characters; at most 20000 are said at once: split it"),
]


@pytest.mark.parametrize(("text", "line"), BAD_TEXTS)
def test_a_text_that_cannot_be_said_is_one_line(
    text: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clone("--text", text, "--out", tmp_path / "out.wav") == 2
    assert line in complaint(capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_twenty_thousand_characters_are_spoken(tmp_path: Path, model: FakeVoiceModel) -> None:
    text = ("A bird sat in a tree and sang. " * 700)[:20_000].strip()
    out = tmp_path / "out.flac"
    assert clone("--text", text, "--speed", "2", "--no-watermark", "--out", out) == 0
    assert " ".join(model.spoken) == text
    assert soundfile.info(out).duration > 450


def loud(duration_s: float) -> np.ndarray:
    return make_reference(120, duration_s).samples


def test_references_that_cannot_be_used_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], model: FakeVoiceModel
) -> None:
    renamed = tmp_path / "renamed.wav"
    renamed.write_text("This is no sound at all, it is text.\n" * 50, encoding="utf-8")
    empty = tmp_path / "empty.wav"
    empty.write_bytes(b"")
    bad = {
        renamed: "not a sound file",
        empty: "the file is empty",
        write_wav(tmp_path / "silent.wav", np.zeros(5 * RATE)): "silent",
        write_wav(tmp_path / "short.wav", loud(0.2)): "0.2 s",
        write_wav(tmp_path / "ten minutes.wav", np.tile(loud(10), 60)): "600 s long; at most 300 s",
        tmp_path / "missing.wav": "there is no such file",
        tmp_path: "not a file",
    }
    for path, line in bad.items():
        out = tmp_path / "out.wav"
        assert clone("--reference", path, CONSENT, "--text", TEXT, "--out", out) == 2, path
        assert line in complaint(capsys)
        assert not out.exists()
    assert model.loaded == []


def test_odd_references_that_can_be_used_are_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clipped = np.clip(loud(5) * 40, -1, 1)
    stereo = np.repeat(np.repeat(loud(5), 6)[:, None], 2, axis=1)  # 96 kHz, by repetition
    for path in (
        write_wav(tmp_path / "clipped.wav", clipped),
        write_wav(tmp_path / "stereo.wav", stereo, 6 * RATE),
        write_wav(tmp_path / "a minute.wav", np.tile(loud(10), 6)),
    ):
        out = tmp_path / "out.wav"
        assert clone("--reference", path, CONSENT, "--text", TEXT, "--out", out) == 0, path
        errors = capsys.readouterr().err
        assert "Traceback" not in errors
        assert heard(out).any()
        if "stereo" not in path.name:
            assert errors.startswith("warning: "), path


MISTAKES = [
    (("--text", "Hi there you.", "--text-file", "x"), "by --text or by --text-file, one of them"),
    ((), "by --text or by --text-file, one of them"),
    (("--text-file", "nowhere.txt"), "--text-file nowhere.txt: No such file"),
    (("--text", TEXT, "--out", "out.png"), "--out out.png does not end in one of .wav"),
    (("--text", TEXT, "--out", "nowhere/out.wav"), "there is no folder nowhere"),
    (("--text", TEXT, "--voice", "zoe"), "unknown voice 'zoe'; bundled: ada; saved: none"),
    (("--text", TEXT, "--voice", "../ada"), "voice name '../ada' cannot be used"),
    (("--text", TEXT, "--voice", "ada", "--reference", "x.wav"), "leave one of them out"),
    (("--text", TEXT, "--transcript", "Hello."), "a transcript is given and no reference"),
    (("--text", TEXT, "--model", "nope"), "unknown voice model 'nope'"),
    (("--text", TEXT, "--sampler", "euler"), "--sampler: Input should be 'ddim'"),
    (("--text", TEXT, "--sampler", "unipc"), "echo does not take the sampler unipc"),
    (("--text", TEXT, "--sampler", "ddpm", "--eta", "1"), "eta belongs to ddim"),
    (
        ("--text", TEXT, "--candidates", "99"),
        "--candidates: Input should be less than or equal to 16",
    ),
    (("--text", TEXT, "--model", "needy"), "needy needs the transcript of the reference"),
    (("--text", TEXT, "--batch", "x.csv"), "--batch says that itself: leave out --text"),
]


@pytest.mark.parametrize(("arguments", "line"), MISTAKES)
def test_a_mistake_is_one_line_before_the_model_is_loaded(
    arguments: tuple[str, ...],
    line: str,
    capsys: pytest.CaptureFixture[str],
    model: FakeVoiceModel,
    empty_folder: Path,
) -> None:
    assert run("clone", *arguments) == 2
    assert line in complaint(capsys)
    assert model.loaded == []
    assert list(empty_folder.iterdir()) == []


def test_the_reference_is_never_written_over(
    reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = reference.read_bytes()
    assert clone("--reference", reference, CONSENT, "--text", TEXT, "--out", reference) == 2
    assert "is the reference itself" in complaint(capsys)
    assert reference.read_bytes() == before


def test_a_bundled_voice_may_be_saved_as_another(tmp_path: Path) -> None:
    assert clone("--text", TEXT, "--save-voice", "eve", "--out", tmp_path / "out.wav") == 0
    assert find_voice("eve", "echo").model == "echo"


def test_what_is_spoken_again_is_never_written_over_the_speech_itself(
    empty_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --out too: `clone` writes speech.wav, and that is what is most often repeated."""
    assert clone("--text", TEXT) == 0
    speech = empty_folder / "speech.wav"
    before = speech.read_bytes()
    capsys.readouterr()
    for options in ((), ("--out", "speech.wav"), ("--out", speech)):
        assert run("clone", "--from", "speech.wav", *options, "--device", "cpu") == 2
        assert "speech.wav is the speech itself; write to another file" in complaint(capsys)
    assert list(empty_folder.iterdir()) == [speech]
    assert speech.read_bytes() == before


def test_more_candidates_than_there_can_be_are_refused_before_their_files_are_named(
    empty_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A billion of them would fill the memory with names."""
    named: list[int] = []

    def few(out: Path, count: int) -> tuple[Path, ...]:
        named.append(count)
        return (out,)

    monkeypatch.setattr(cloning, "candidate_files", few)
    (empty_folder / "lines.csv").write_text("text,out\nOne word.,one.wav\n", encoding="utf-8")
    for options in (("--text", TEXT), ("--batch", "lines.csv")):
        assert clone(*options, "--candidates", "1000000000") == 2
        assert "--candidates: Input should be less than or equal to 16" in complaint(capsys)
    assert named == []
