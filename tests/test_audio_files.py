"""Sound files: what is written comes back, and what is no sound is told in one line."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from diffusion_bench.audio import files
from diffusion_bench.audio.files import WRITABLE, read_recipe, read_sound, write_sound

RATE = 24000
RECIPE = {"text": 'He said: "Räder", 話す. Recipe: none.', "seed": 7, "steps": [1, 2.5, None]}
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def tone(seconds=1.0, rate=RATE, hertz=440.0):
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("f4")


def refused(path, **how):
    """Return the complaint about a file, which is one line that names it without its folder."""
    with pytest.raises(ValueError, match=r"\w") as caught:
        read_sound(path, **how)
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    assert str(path.parent) not in line
    return line


@pytest.mark.parametrize("suffix", WRITABLE)
@pytest.mark.parametrize("rate", [16000, 24000, 44100])
def test_what_is_written_comes_back(tmp_path, suffix, rate):
    path = tmp_path / f"a{suffix}"
    write_sound(path, tone(rate=rate), rate)
    sound = read_sound(path)
    assert sound.sample_rate == rate
    assert sound.samples.dtype == np.float32
    # mp3 pads; ours are shifted by no more than its declared delay, which libsndfile removes.
    assert abs(len(sound.samples) - rate) < 0.05 * rate
    length = min(len(sound.samples), rate)
    error = sound.samples[:length] - tone(rate=rate)[:length]
    assert np.sqrt(np.mean(error[2000:-2000] ** 2)) < (0.02 if suffix in (".ogg", ".mp3") else 1e-4)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [*WRITABLE, ".WAV"])
@pytest.mark.parametrize("length", [10, 3001, 300_000])
def test_a_recipe_of_any_length_comes_back(tmp_path, suffix, length):
    path = tmp_path / f"a{suffix}"
    recipe = RECIPE | {"long": "é" * length}
    write_sound(path, tone(), RATE, recipe=recipe)
    assert read_recipe(path) == recipe
    assert len(read_sound(path).samples) == pytest.approx(RATE, rel=0.05)


@pytest.mark.parametrize("suffix", WRITABLE)
def test_other_tools_read_that_it_is_ai_generated(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_sound(path, tone(), RATE, recipe=RECIPE)
    with sf.SoundFile(path) as file:
        assert file.title == "AI-generated speech"
        assert file.comment.startswith("AI-generated speech, not a recording of a person.")
    assert b"Diffusion Bench" in path.read_bytes() or suffix == ".mp3"  # LAME puts its own name


def test_the_size_of_a_wav_file_is_the_one_it_states(tmp_path):
    path = tmp_path / "a.wav"
    for extra in ("", "x"):  # chunks of even and odd length
        write_sound(path, tone(), RATE, recipe={"a": extra})
        content = path.read_bytes()
        assert struct.unpack("<I", content[4:8])[0] == len(content) - 8
        assert len(content) % 2 == 0


def test_a_file_without_a_recipe_says_nothing_of_where_it_came_from(tmp_path):
    for suffix in WRITABLE:
        path = tmp_path / f"a{suffix}"
        write_sound(path, tone(), RATE)
        assert read_recipe(path) is None
        assert b"AI-generated" not in path.read_bytes()
    sf.write(tmp_path / "other.flac", tone(), RATE)
    assert read_recipe(tmp_path / "other.flac") is None


@pytest.mark.parametrize("text", ["{", "[1]", "[" * 100_000, "nothing"])
def test_a_damaged_recipe_is_told(tmp_path, text):
    path = tmp_path / "a.flac"
    with sf.SoundFile(path, "w", RATE, 1) as file:
        file.comment = files.STATEMENT + files.RECIPE + text
        file.write(tone())
    with pytest.raises(ValueError, match=r"^a\.flac: its recipe is damaged$"):
        read_recipe(path)


def test_the_recipe_of_what_is_no_sound_is_refused(tmp_path):
    (tmp_path / "a.wav").write_text("text " * 100)
    for path in (tmp_path / "a.wav", tmp_path / "none.wav", tmp_path):
        with pytest.raises(ValueError, match=path.name):
            read_recipe(path)


@pytest.mark.parametrize("where", [12, 20, 40, 44, 48_044, 48_050, 48_060, 48_100])
def test_a_wav_file_cut_anywhere_is_read_or_refused(tmp_path, where):
    path = tmp_path / "a.wav"
    write_sound(path, tone(), RATE, recipe=RECIPE)
    path.write_bytes(path.read_bytes()[:where])
    if where < 44:  # within what says that this is sound
        with pytest.raises(ValueError, match=r"^a\.wav: not a sound file"):
            read_recipe(path)
    else:
        assert read_recipe(path) is None


@pytest.mark.parametrize("rate", [4000, 8000, 11025, 48000, 96000, 192000])
def test_any_sample_rate_and_stereo_are_read_as_mono(tmp_path, rate):
    path = tmp_path / "a.wav"
    left, right = tone(rate=rate), 0.5 * tone(rate=rate, hertz=300)
    sf.write(path, np.stack([left, right], 1), rate, subtype="FLOAT")
    sound = read_sound(path)
    assert sound.sample_rate == rate
    np.testing.assert_allclose(sound.samples, (left + right) / 2, atol=1e-6)


@pytest.mark.parametrize("gain", [-1.0, -0.9])
def test_channels_that_cancel_each_other_are_no_silence(tmp_path, gain):
    path = tmp_path / "a.wav"
    sf.write(path, np.stack([tone(), gain * tone()], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_sound(path).samples, tone(), atol=1e-6)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_kind_of_sample_is_read(tmp_path, subtype):
    path = tmp_path / "a.wav"
    sf.write(path, tone(), RATE, subtype=subtype)
    np.testing.assert_allclose(read_sound(path).samples, tone(), atol=0.01)


def test_a_file_whose_suffix_lies_is_read_by_its_content(tmp_path):
    sf.write(tmp_path / "a.flac", tone(), RATE)
    os.rename(tmp_path / "a.flac", tmp_path / "a.m4a")
    assert len(read_sound(tmp_path / "a.m4a").samples) == RATE


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3", ".txt", ""])
@pytest.mark.parametrize(
    "content", [b"hello, this is text\n" * 200, b"\0" * 5000, b"RIFF\xff\xff\xff\xffWAVE", b"\xff"]
)
def test_what_is_no_sound_is_refused(tmp_path, suffix, content):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert "not a sound file" in refused(path) or "there is no sound" in refused(path)


def test_what_is_no_file_is_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "none.wav")
    (tmp_path / "folder.wav").mkdir()
    assert "not a file" in refused(tmp_path / "folder.wav")
    (tmp_path / "empty.wav").write_bytes(b"")
    assert "is empty" in refused(tmp_path / "empty.wav")
    sf.write(tmp_path / "header.wav", np.zeros(0), RATE)
    assert "no sound in the file" in refused(tmp_path / "header.wav")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
def test_a_sound_written_to_a_link_is_written_where_it_leads(tmp_path):
    target, link = tmp_path / "target.wav", tmp_path / "link.wav"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_sound(link, np.zeros(RATE, np.float32), RATE)
    assert link.is_symlink()
    assert len(read_sound(target).samples) == RATE


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names are POSIX")
def test_a_pipe_that_nobody_writes_to_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert "not a file" in refused(tmp_path / "pipe.wav")


@pytest.mark.parametrize("suffix", WRITABLE)
def test_a_truncated_file_gives_what_is_there_or_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    whole = tone(4) + np.random.default_rng(0).normal(0, 0.01, 4 * RATE).astype(np.float32)
    write_sound(path, whole, RATE)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    if suffix == ".flac":
        assert "damaged or was cut off" in refused(path)
        return
    samples = read_sound(path).samples
    assert 0.2 * 4 * RATE < len(samples) < 0.7 * 4 * RATE
    np.testing.assert_allclose(samples[3000:8000], whole[3000:8000], atol=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers_are_refused(tmp_path, value):
    samples = tone()
    samples[100] = value
    sf.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    assert "not numbers" in refused(tmp_path / "a.wav")
    with pytest.raises(ValueError, match="not numbers"):
        write_sound(tmp_path / "b.wav", samples, RATE)
    assert not (tmp_path / "b.wav").exists()


@pytest.mark.parametrize("suffix", [".wav", ".mp3"])
def test_ten_minutes_are_refused_without_being_decoded(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"a{suffix}"
    write_sound(path, np.zeros(600 * 8000, np.float32), 8000)
    read = []
    whole = sf.SoundFile.read
    monkeypatch.setattr(
        sf.SoundFile, "read", lambda self, n=-1, *a, **k: read.append(n) or whole(self, n, *a, **k)
    )
    assert refused(path).endswith("600 s long; at most 300 s are taken")
    assert read == []
    assert len(read_sound(path, max_s=601).samples) == pytest.approx(600 * 8000, rel=0.01)


def test_a_rate_no_sound_has_and_too_many_channels_are_refused(tmp_path):
    for rate in (1, 3999, 500_000):
        sf.write(tmp_path / "a.wav", tone(), rate)
        assert f"{rate} Hz; sample rates of 4000 to 384000 Hz" in refused(tmp_path / "a.wav")
    sf.write(tmp_path / "b.wav", np.zeros((10, 17)), RATE)
    assert "17 channels; at most 16" in refused(tmp_path / "b.wav")


@pytest.fixture
def no_decoding(monkeypatch):
    def decode(*_, **__):
        raise AssertionError("it was decoded")

    monkeypatch.setattr(sf.SoundFile, "read", decode)


@pytest.mark.usefixtures("no_decoding")
def test_a_small_file_of_very_much_sound_is_refused_by_its_header(tmp_path):
    """300 s of silence in eight channels at 384 kHz are 3.7 GB of samples in a small flac."""
    path = tmp_path / "a.flac"
    with sf.SoundFile(path, "w", 384_000, 8, subtype="PCM_16") as file:
        for _ in range(39):
            file.write(np.zeros((384_000, 8), np.int16))
    assert path.stat().st_size < 2**20
    assert refused(path).endswith("39 s long; at most 37.5 s are taken at 384000 Hz")


@pytest.mark.parametrize("suffix", [*WRITABLE, "24.wav"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_read_in_blocks_is_the_file_read_at_once(tmp_path, suffix, channels, monkeypatch):
    path = tmp_path / f"a{suffix}"
    noise = np.random.default_rng(0).normal(0, 0.1, (3 * RATE, channels))
    sf.write(path, noise, RATE, subtype="PCM_24" if suffix == "24.wav" else None)
    with sf.SoundFile(path) as file:
        whole = file.read(4 * RATE, dtype="float32", always_2d=True).mean(axis=1)
    monkeypatch.setattr(files, "BLOCK", 1000)
    assert np.array_equal(read_sound(path).samples, whole)


def test_no_more_than_a_block_of_all_channels_is_held(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    sf.write(path, np.zeros((3 * files.BLOCK + 7, 4)), RATE)
    frames = []
    read = sf.SoundFile.read
    monkeypatch.setattr(
        sf.SoundFile, "read", lambda self, n=-1, *a, **k: frames.append(n) or read(self, n, *a, **k)
    )
    assert len(read_sound(path).samples) == 3 * files.BLOCK + 7
    assert max(frames) == files.BLOCK


@needs_ffmpeg
@pytest.mark.usefixtures("no_decoding")
def test_ffmpeg_stops_where_there_is_too_much_sound(tmp_path):
    path = tmp_path / "a.mka"
    sf.write(tmp_path / "a.flac", np.zeros((5 * RATE, 8), np.int16), RATE)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.flac", "-c", "copy", path]
    subprocess.run(command, check=True)
    assert refused(path, max_s=1).endswith("at most 1 s of two channels at 48000 Hz are taken")


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".m4a", ".webm", ".aac"])
def test_other_formats_go_through_ffmpeg(tmp_path, suffix):
    path = tmp_path / f"-a b{suffix}"
    sf.write(tmp_path / "a.wav", np.stack([tone(2), tone(2)], 1), RATE)
    command = ["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", f"file:{path}"]
    subprocess.run(command, check=True)
    sound = read_sound(path)
    duration_s = len(sound.samples) / sound.sample_rate
    assert duration_s == pytest.approx(2, abs=0.15)
    assert np.sqrt(np.mean(sound.samples**2)) == pytest.approx(0.4 / np.sqrt(2), rel=0.1)
    assert "at most 1 s are taken" in refused(path, max_s=1)


@needs_ffmpeg
@pytest.mark.parametrize("suffix", [".m4a"])
def test_ffmpeg_reads_nothing_but_the_file(tmp_path, suffix):
    sf.write(tmp_path / "secret.wav", tone(), RATE)
    playlist = "#EXTM3U\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"
    for text in (playlist, "ffconcat version 1.0\nfile secret.wav\n"):
        (tmp_path / f"a{suffix}").write_text(text)
        assert "ffmpeg finds no sound" in refused(tmp_path / f"a{suffix}")


def test_without_ffmpeg_it_is_said_that_it_is_needed(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A ")
    assert ".m4a needs ffmpeg, which is not installed" in refused(tmp_path / "a.m4a")


def test_samples_beyond_full_scale_are_scaled_not_clipped(tmp_path):
    write_sound(tmp_path / "a.flac", tone() * 5, RATE)
    samples = read_sound(tmp_path / "a.flac").samples
    np.testing.assert_allclose(samples, tone() / 0.4, atol=1e-3)


def test_equal_arguments_give_equal_files(tmp_path):
    for suffix in (".wav", ".flac", ".mp3"):  # an ogg stream has a number drawn at random
        for name in "ab":
            write_sound(tmp_path / f"{name}{suffix}", tone(), RATE, recipe=RECIPE)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize(
    ("name", "samples", "rate", "complaint"),
    [
        ("a.xyz", tone(), RATE, r"cannot write \.xyz; use \.wav, \.flac, \.ogg, \.mp3"),
        ("a", tone(), RATE, "cannot write it; use"),
        ("a.mp3", tone(), 96000, r"\.mp3 has no 96000 Hz, only 8000, "),
        ("a.wav", tone()[:0], RATE, r"no mono sound to write; got an array of shape \(0,\)"),
        ("a.wav", tone().reshape(2, -1), RATE, r"no mono sound to write"),
        ("a.ogg", tone(), 0, "a.ogg: cannot write 0 Hz"),
        ("a.flac", tone(), 200_000, "a.flac: cannot write 200000 Hz"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, samples, rate, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        write_sound(tmp_path / name, samples, rate)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_missing_or_closed_is_told(tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    if os.access(closed, os.W_OK):  # root may write everywhere, but not in here
        closed = Path("/proc/self")
    for path in (tmp_path / "none" / "a.wav", closed / "a.wav"):
        with pytest.raises(ValueError, match=r"^cannot write .*a\.wav: ") as caught:
            write_sound(path, tone(), RATE)
        assert "\n" not in str(caught.value)


def test_what_does_not_tell_its_length_is_refused_once_it_has_been_too_long(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    write_sound(path, tone(3.0), RATE)
    monkeypatch.setattr(sf.SoundFile, "frames", property(lambda _: 2**62))
    assert len(read_sound(path, max_s=3.0).samples) == 3 * RATE
    assert "at most 2 s are taken" in refused(path, max_s=2.0)
