"""Speech with its phones: what flite and espeak-ng say, and when.

flite (permissive licence) prints each phone with its end. espeak-ng (GPL, at training time only)
tells them through its library's events. Both come out as `Aligned`, at 16 kHz.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torchaudio.functional import resample

from diffusion_bench.pronunciation.phones import merge

SAMPLE_RATE = 16_000
FLITE_VOICES = ("slt", "rms", "awb", "kal16")


@dataclass(frozen=True)
class Aligned:
    """One sentence: (samples,) float32 at 16 kHz, its phones, and the second each ends at."""

    text: str
    samples: NDArray[np.float32]
    phones: tuple[str, ...]
    ends_s: tuple[float, ...]


def speak_flite(text: str, voice: str) -> Aligned:
    """Return flite's speech; needs the program `flite` (Debian: flite)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice, "-t", text, "-psdur", "-o", str(path)]
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        samples, rate = soundfile.read(path, dtype="float32")
    if rate != SAMPLE_RATE:
        raise ValueError(f"flite's voice {voice} has {rate} Hz, not {SAMPLE_RATE}")
    pairs = [item.rpartition(":") for item in told.split() if ":" in item]
    return _merge(text, samples, [(phone, float(end)) for phone, _, end in pairs])


def _merge(text: str, samples: NDArray[np.float32], timed: list[tuple[str, float]]) -> Aligned:
    """Bring rare phones to the common ones; pauses in a row become one."""
    phones: list[str] = []
    ends: list[float] = []
    start = 0.0
    for phone, end in timed:
        parts = merge(phone)
        for index, part in enumerate(parts, 1):
            if part == "pau" and phones and phones[-1] == "pau":
                ends[-1] = end
                continue
            phones.append(part)
            ends.append(start + (end - start) * index / len(parts))
        start = end
    return Aligned(text, samples, tuple(phones), tuple(ends))


# What espeak-ng's American English says, in IPA, to flite's names. Longest first when read.
IPA = {
    "aɪə": ("ay", "ax"), "aɪɚ": ("ay", "er"), "oːɹ": ("ao", "r"), "ɔːɹ": ("ao", "r"),
    "ɑːɹ": ("aa", "r"), "ɛɹ": ("eh", "r"), "ɪɹ": ("ih", "r"), "ʊɹ": ("uh", "r"),
    "aɪ": ("ay",), "aʊ": ("aw",), "eɪ": ("ey",), "oʊ": ("ow",), "ɔɪ": ("oy",), "tʃ": ("ch",),
    "dʒ": ("jh",), "iː": ("iy",), "uː": ("uw",), "ɑː": ("aa",), "ɔː": ("ao",), "ɜː": ("er",),
    "əl": ("ax", "l"), "n̩": ("ax", "n"), "iə": ("iy", "ax"), "ææ": ("ae",), "aː": ("aa",),
    "oː": ("ao",),
    "æ": ("ae",), "ɐ": ("ax",), "ə": ("ax",), "ɚ": ("er",), "ɛ": ("eh",), "ɪ": ("ih",),
    "i": ("iy",), "ʊ": ("uh",), "u": ("uw",), "ʌ": ("ah",), "ɔ": ("ao",), "ɑ": ("aa",),
    "ᵻ": ("ih",), "o": ("ow",), "a": ("ae",), "e": ("eh",),
    "b": ("b",), "d": ("d",), "f": ("f",), "ɡ": ("g",), "g": ("g",), "h": ("hh",), "j": ("y",),
    "k": ("k",), "l": ("l",), "m": ("m",), "n": ("n",), "ŋ": ("ng",), "p": ("p",), "ɹ": ("r",),
    "r": ("r",), "s": ("s",), "ʃ": ("sh",), "t": ("t",), "ɾ": ("t",), "θ": ("th",), "ð": ("dh",),
    "v": ("v",), "w": ("w",), "z": ("z",), "ʒ": ("zh",), "ʔ": ("t",), "ɬ": ("l",),
    "_": ("pau",), "_:": ("pau",), "_!": ("pau",), "": ("pau",), "pau": ("pau",),
}  # fmt: skip
STRESS = str.maketrans("", "", "ˈˌ ̩ʲ")


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """`espeak_EVENT` of espeak-ng/speak_lib.h."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event)
)
SYNCHRONOUS, PHONEME_EVENTS, PHONEME_IPA, UTF8 = 2, 1, 2, 1
LIST_ENDS, PHONEME, END = 0, 7, 5


@cache
def _espeak() -> tuple[ctypes.CDLL, int]:
    found = ctypes.util.find_library("espeak-ng")
    if found is None:
        raise ValueError("training wants libespeak-ng (Debian: libespeak-ng1 espeak-ng-data)")
    library = ctypes.CDLL(found)
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, None, PHONEME_EVENTS | PHONEME_IPA)
    return library, rate


def speak_espeak(text: str, voice: str) -> Aligned:
    """Return espeak-ng's speech in a voice such as "en-us+f2"; ValueError for an unknown phone."""
    wave, starts, rate = _hear_espeak(text, voice)
    samples = resample(torch.from_numpy(wave), rate, SAMPLE_RATE).numpy()
    ends = [start for _, start in starts[1:]] + [len(wave)]
    timed: list[tuple[str, float]] = [("pau", starts[0][1] / rate)] if starts[0][1] else []
    for (symbol, start), end in zip(starts, ends, strict=True):
        phones = IPA.get(symbol.translate(STRESS).strip("̩"))
        if phones is None:
            raise ValueError(f"espeak-ng said {symbol!r}, which has no name here")
        step = (end - start) / rate / len(phones)
        if step > 0:
            timed += [(p, start / rate + step * (i + 1)) for i, p in enumerate(phones)]
    return _merge(text, samples, timed)


def _hear_espeak(text: str, voice: str) -> tuple[NDArray[np.float32], list[tuple[str, int]], int]:
    """Return espeak-ng's samples, each phone with the sample it starts at, and the rate in Hz."""
    library, rate = _espeak()
    pieces: list[NDArray[np.int16]] = []
    starts: list[tuple[str, int]] = []

    def heard(wave: Any, count: int, events: Any) -> int:
        if count and wave:
            pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != LIST_ENDS:
            if events[index].type == PHONEME:
                event = events[index]
                starts.append((event.id.string.decode("utf-8"), event.sample))
            index += 1
        return 0

    keep = _CALLBACK(heard)
    library.espeak_SetSynthCallback(keep)
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice!r}")
    data = text.encode()
    library.espeak_Synth(data, len(data) + 1, 0, 0, 0, UTF8, None, None)
    wave = np.concatenate(pieces).astype(np.float32) / np.float32(32768)
    return wave, starts, rate
