"""Sound on disk: any usual file in, mono samples out; and out with a recipe, marked as generated.

libsndfile reads wav, flac, ogg (Vorbis, Opus), mp3 and a few more. What it does not know, as a
telephone's m4a or a browser's webm, goes through ffmpeg where that is installed.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile as sf
from numpy.typing import NDArray

from diffusion_bench.audio.wav_comment import read_comment, with_comment
from diffusion_bench.whole_file import write_whole

MAX_S = 300.0  # of a recording that is read, if the caller sets no other limit
LOWEST_RATE, HIGHEST_RATE = 4000, 384_000  # Hz
HIGHEST_WRITTEN = 192_000
# Hz. Of more samples a second, fewer seconds are read: a small file of silence may hold gigabytes.
FULL_LENGTH_RATE = 48_000
MOST_CHANNELS = 16
# Of the channels' energy, what remains of it in their mean where one is another upside down, as of
# a balanced microphone in a stereo socket. Of 16 channels that share nothing 0.06 remains.
CANCELLED = 0.01
FFMPEG_S = 120.0  # a file that takes longer is refused

# Suffix to libsndfile's format, its subtype, and the sample rates in Hz it is limited to.
MPEG_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
FORMATS: dict[str, tuple[str, str, tuple[int, ...]]] = {
    ".wav": ("WAV", "PCM_16", ()),
    ".flac": ("FLAC", "PCM_16", ()),
    ".ogg": ("OGG", "VORBIS", ()),
    ".mp3": ("MP3", "MPEG_LAYER_III", MPEG_RATES),
}
WRITABLE = tuple(FORMATS)

# Suffix to ffmpeg's demuxer. It is named, not guessed from the content, since some that ffmpeg
# would guess (playlists) read other files and addresses.
DEMUXERS = {
    ".m4a": "mov", ".mp4": "mov", ".mov": "mov", ".3gp": "mov", ".aac": "aac", ".amr": "amr",
    ".webm": "matroska", ".mka": "matroska", ".mkv": "matroska", ".wma": "asf", ".ac3": "ac3",
}  # fmt: skip

TITLE = "AI-generated speech"
SOFTWARE = "Diffusion Bench"
STATEMENT = "AI-generated speech, not a recording of a person."
RECIPE = " Recipe: "

# Frames that are decoded at once, since all channels of all may not fit into memory, or written,
# since libsndfile's Vorbis encoder takes its stack from those.
BLOCK = 65_536

Samples = NDArray[np.float32]


class Sound(NamedTuple):
    """Mono float32 `samples`, nominally in -1 to 1, and their rate in Hz."""

    samples: Samples
    sample_rate: int


def read_sound(path: Path, *, max_s: float = MAX_S) -> Sound:
    """Return a file as mono: the mean of its channels, at its own sample rate.

    Where the channels cancel each other it is the loudest of them. A file that was cut off gives
    what is there where its format can be read so far. Raises ValueError, in one line, for what is
    no sound, holds none, or is longer than `max_s` seconds, before all of it is decoded; above
    48 kHz, for more samples than that long has at 48 kHz. That line names the file and not its
    folder: of what a visitor uploads, it is the server's.
    """
    name = path.name or str(path)
    if not path.exists():
        raise ValueError(f"{name}: there is no such file")
    if not path.is_file():
        raise ValueError(f"{name}: not a file")
    if path.stat().st_size == 0:
        raise ValueError(f"{name}: the file is empty")
    try:
        sound = _decode(path, name, max_s)
    except sf.LibsndfileError:
        sound = _decode(io.BytesIO(_through_ffmpeg(path, max_s)), name, max_s)
    except OSError as error:
        raise ValueError(f"{name}: cannot be read: {error.strerror or error}") from None
    return sound


def write_sound(
    path: Path,
    samples: Samples,
    sample_rate: int,
    *,
    recipe: Mapping[str, Any] | None = None,
) -> None:
    """Write mono samples; the suffix decides the format; the file is whole or not there.

    With a recipe (what can be JSON), the file says that it is AI-generated and carries the recipe
    for `read_recipe`. The same arguments give the same sound; samples beyond -1 to 1 are scaled
    down together. Raises ValueError, in one line, for a suffix, samples or a rate that cannot be
    written, and where the disk does not take the file.
    """
    _check_format(path, samples, sample_rate)
    peak = float(np.abs(samples).max())
    write_whole(path, _encode(path, samples / max(peak, 1.0), sample_rate, recipe))


def read_recipe(path: Path) -> dict[str, Any] | None:
    """Return the recipe that `write_sound` put into a file, or `None` if it carries none.

    Decodes no sound. Raises ValueError, in one line, for a file that cannot be read as sound or
    whose recipe is damaged.
    """
    if not path.is_file():
        raise ValueError(f"{path.name}: there is no such file")
    try:
        with sf.SoundFile(path) as file:
            comment = file.comment or (read_comment(path) if file.format == "WAV" else "")
    except sf.LibsndfileError:
        raise ValueError(f"{path.name}: not a sound file that can carry a recipe") from None
    statement, found, text = comment.partition(RECIPE)
    if not found or not statement.startswith(STATEMENT):
        return None
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError):
        recipe = None
    if not isinstance(recipe, dict):
        raise ValueError(f"{path.name}: its recipe is damaged")
    return recipe


def _decode(source: Path | io.BytesIO, name: str, max_s: float) -> Sound:
    with _OneWay(source) as file:
        rate = file.samplerate
        if not LOWEST_RATE <= rate <= HIGHEST_RATE:
            raise ValueError(
                f"{name}: {rate} Hz; sample rates of {LOWEST_RATE} to {HIGHEST_RATE} Hz are read"
            )
        if file.channels > MOST_CHANNELS:
            raise ValueError(
                f"{name}: {file.channels} channels; at most {MOST_CHANNELS} are mixed to one"
            )
        most = round(max_s * min(rate, FULL_LENGTH_RATE))
        # Not trusted: a damaged header may claim any length, and some formats have none.
        if most < file.frames < 2**40:
            raise _too_long(name, file.frames, rate, most)
        try:
            samples = _mono(file, most + 1)
        except sf.LibsndfileError:
            raise ValueError(f"{name}: the file is damaged or was cut off") from None
    if len(samples) > most:
        raise _too_long(name, len(samples), rate, most)
    if len(samples) == 0:
        raise ValueError(f"{name}: there is no sound in the file")
    if not np.isfinite(samples).all():
        raise ValueError(f"{name}: has samples that are not numbers (NaN or infinite)")
    return Sound(samples, rate)


class _OneWay(sf.SoundFile):
    """A file that is read from front to end.

    soundfile seeks after every read of one that can: an mp3 then begins anew and misses what the
    frames before have left for it.
    """

    def seekable(self) -> bool:
        return False


def _mono(file: sf.SoundFile, most: int) -> Samples:
    """Return up to `most` frames of a file, their channels mixed."""
    mixed = [np.zeros(0, np.float32)]
    while most > 0:
        block = file.read(min(BLOCK, most), dtype="float32", always_2d=True)
        if not len(block):
            break
        mixed.append(mix(block))
        most -= len(block)
    return np.concatenate(mixed)


def mix(block: Samples) -> Samples:
    """Return the mean of (samples, channels), the loudest where they cancel each other."""
    mean: Samples = block.mean(axis=1, dtype=np.float32)
    energy = np.square(block, dtype=np.float64).mean(axis=0)
    if np.square(mean, dtype=np.float64).mean() < CANCELLED * energy.mean():
        return np.ascontiguousarray(block[:, energy.argmax()])
    return mean


def _too_long(name: str, frames: int, rate: int, most: int) -> ValueError:
    where = f" at {rate} Hz" if rate > FULL_LENGTH_RATE else ""
    return ValueError(
        f"{name}: {frames / rate:.0f} s long; at most {most / rate:g} s are taken{where}"
    )


def _through_ffmpeg(path: Path, max_s: float) -> bytes:
    """Return a file as wav, a little more than `max_s` of it at most.

    Raises ValueError for more than two channels of that length have at 48 kHz.
    """
    demuxer = DEMUXERS.get(path.suffix.lower())
    if demuxer is None:
        raise ValueError(
            f"{path.name}: not a sound file; wav, flac, ogg and mp3 are read, and with ffmpeg "
            f"{', '.join(sorted(suffix[1:] for suffix in DEMUXERS))}"
        )
    program = shutil.which("ffmpeg")
    if program is None:
        raise ValueError(
            f"{path.name}: {path.suffix} needs ffmpeg, which is not installed; wav, flac, ogg and "
            "mp3 are read without it"
        )
    command = [program, "-v", "error", "-nostdin", "-protocol_whitelist", "file,pipe"]
    command += ["-f", demuxer, "-i", f"file:{path.resolve()}", "-t", f"{max_s + 1:g}", "-vn"]
    most = round((max_s + 2) * FULL_LENGTH_RATE * 2 * 4)  # bytes; of a header, too
    command += ["-map_metadata", "-1", "-c:a", "pcm_f32le", "-fs", str(most), "-f", "wav", "pipe:1"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=FFMPEG_S, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{path.name}: ffmpeg took longer than {FFMPEG_S:g} s") from None
    if done.returncode or not done.stdout:
        raise ValueError(f"{path.name}: ffmpeg finds no sound in it that it can read")
    if len(done.stdout) >= most:  # it stopped there
        raise ValueError(
            f"{path.name}: too much sound; at most {max_s:g} s of two channels at "
            f"{FULL_LENGTH_RATE} Hz are taken"
        )
    return done.stdout


def _check_format(path: Path, samples: Samples, sample_rate: int) -> None:
    name = path.name
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"{name}: cannot write {path.suffix or 'it'}; use {', '.join(WRITABLE)}")
    rates = FORMATS[path.suffix.lower()][2]
    if rates and sample_rate not in rates:
        known = ", ".join(map(str, rates))
        raise ValueError(f"{name}: {path.suffix} has no {sample_rate} Hz, only {known} Hz")
    if not LOWEST_RATE <= sample_rate <= HIGHEST_WRITTEN:  # libsndfile crashes far outside
        raise ValueError(
            f"{name}: cannot write {sample_rate} Hz, only {LOWEST_RATE} to {HIGHEST_WRITTEN} Hz"
        )
    if samples.ndim != 1 or len(samples) == 0:
        raise ValueError(f"{name}: no mono sound to write; got an array of shape {samples.shape}")
    if not np.isfinite(samples).all():
        raise ValueError(f"{name}: has samples that are not numbers (NaN or infinite)")


def _encode(
    path: Path, samples: Samples, sample_rate: int, recipe: Mapping[str, Any] | None
) -> bytes:
    kind, subtype, _ = FORMATS[path.suffix.lower()]
    buffer = io.BytesIO()
    comment = "" if recipe is None else STATEMENT + RECIPE + _compact(recipe)
    try:
        with sf.SoundFile(
            buffer, "w", sample_rate, channels=1, format=kind, subtype=subtype
        ) as file:
            if comment and kind != "WAV":
                file.title, file.software, file.comment = TITLE, SOFTWARE, comment
            for start in range(0, len(samples), BLOCK):
                file.write(samples[start : start + BLOCK])
    except sf.LibsndfileError as error:
        raise ValueError(f"{path.name}: cannot write {sample_rate} Hz: {error}") from None
    content = buffer.getvalue()
    return (
        with_comment(content, comment, title=TITLE, software=SOFTWARE)
        if comment and kind == "WAV"
        else content
    )


def _compact(recipe: Mapping[str, Any]) -> str:
    return json.dumps(recipe, separators=(",", ":"), allow_nan=False)
