"""Judges with weights: similarity by a speaker encoder, word and character errors by a recogniser.

Figures of different judges are not comparable. SIM of the literature is that of a WavLM-large with
an ECAPA head, which transformers has not; ours is WavLM's x-vectors. `clone --judge` asks both.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any, NamedTuple, Self

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.resampling import resample
from diffusion_bench.backends.network_files import NetworkRepository, folder_of, repository_of
from diffusion_bench.backends.voice.loading import load_whole, loading
from diffusion_bench.pronunciation.normalise import normalise

RATE = 16_000
SPEAKER_MODEL = "microsoft/wavlm-base-plus-sv"
SPEECH_MODEL = "openai/whisper-tiny.en"
LEAST_SPEAKER_S, MOST_SPEAKER_S = 0.5, 30.0  # attention grows by the square of the length
WHISPER_WINDOW_S = 30.0

Samples = NDArray[np.float32]


class SpeakerJudge:
    """WavLM's x-vectors (Chen et al. 2022, arXiv 2110.13900), compared by cosine."""

    def __init__(self, model: Any, features: Any, *, device: str) -> None:
        self._model = model
        self._features = features
        self._device = device

    @classmethod
    def load(cls, location: str = SPEAKER_MODEL, *, device: str = "cpu") -> Self:
        """Load from a folder or the hub; raises `ModelUnavailable` without its weights."""
        from transformers import Wav2Vec2FeatureExtractor, WavLMForXVector

        with loading(f"speaker encoder {location!r}"):
            folder = str(folder_of(_repository(location, "speaker encoder")))
            features = Wav2Vec2FeatureExtractor.from_pretrained(folder)
            model = load_whole(WavLMForXVector, folder, pickles=True)
        return cls(model.to(device), features, device=device)

    @torch.inference_mode()
    def embed(self, samples: Samples, sample_rate: int) -> Tensor:
        """Return the x-vector of a recording (samples,), of length 1; ValueError under 0.5 s.

        Of a longer one it is that of the first 30 s.
        """
        if len(samples) < LEAST_SPEAKER_S * sample_rate:
            raise ValueError(f"a speaker is told from {LEAST_SPEAKER_S:g} s of speech or more")
        wave = _at_rate(samples[: round(MOST_SPEAKER_S * sample_rate)], sample_rate)
        inputs = self._features(wave.numpy(), sampling_rate=RATE, return_tensors="pt")
        # One recording, nothing padded: no mask is needed.
        values = inputs["input_values"].to(self._device)
        vector: Tensor = self._model(values).embeddings[0]
        return torch.nn.functional.normalize(vector, dim=0).cpu()

    def similarity(
        self, samples: Samples, sample_rate: int, other: Samples, other_rate: int
    ) -> float:
        """Return the cosine of the x-vectors of two recordings: -1 to 1."""
        return float(self.embed(samples, sample_rate) @ self.embed(other, other_rate))


class RecognitionErrors(NamedTuple):
    """Errors of a transcript against its text, as shares of the text's words and characters."""

    word_error_rate: float
    character_error_rate: float
    heard: str


class SpeechJudge:
    """Whisper (Radford et al. 2022, arXiv 2212.04356), and how far what it hears is from a text."""

    def __init__(self, model: Any, processor: Any, *, device: str) -> None:
        self._model = model
        self._processor = processor
        self._device = device

    @classmethod
    def load(cls, location: str = SPEECH_MODEL, *, device: str = "cpu") -> Self:
        """Load from a folder or the hub; raises `ModelUnavailable` without its weights."""
        from transformers import WhisperForConditionalGeneration, WhisperProcessor

        with loading(f"recogniser {location!r}"):
            folder = str(folder_of(_repository(location, "recogniser")))
            processor = WhisperProcessor.from_pretrained(folder)
            model = load_whole(WhisperForConditionalGeneration, folder, pickles=True)
        return cls(model.to(device), processor, device=device)

    @torch.inference_mode()
    def transcribe(self, samples: Samples, sample_rate: int) -> str:
        """Return what is heard in a recording (samples,), up to 30 s at a time, cut at pauses."""
        wave = _at_rate(samples, sample_rate)
        heard = []
        for piece in _cut_at_pauses(wave):
            inputs = self._processor(
                piece.numpy(), sampling_rate=RATE, return_tensors="pt", return_attention_mask=True
            )
            ids = self._model.generate(**inputs.to(self._device), do_sample=False)
            heard += self._processor.batch_decode(ids, skip_special_tokens=True)
        return " ".join(piece.strip() for piece in heard).strip()

    def errors(self, samples: Samples, sample_rate: int, text: str) -> RecognitionErrors:
        """Return how far what is heard is from an English text, numbers and signs read out.

        ValueError for a text without a word.
        """
        heard = self.transcribe(samples, sample_rate)
        return recognition_errors(normalise(heard), normalise(text))._replace(heard=heard)


class Judgement(NamedTuple):
    """What the judges make of one candidate; `None` where one of them cannot tell."""

    similarity: float | None
    errors: RecognitionErrors | None


class Judges(NamedTuple):
    """Both judges, loaded."""

    speaker: SpeakerJudge
    listener: SpeechJudge

    @classmethod
    def load(cls, *, device: str = "cpu") -> Self:
        """Load both from the hub, or its cache; raises `ModelUnavailable` without their weights."""
        return cls(
            SpeakerJudge.load(SPEAKER_MODEL, device=device),
            SpeechJudge.load(SPEECH_MODEL, device=device),
        )

    def judge(
        self, samples: Samples, sample_rate: int, text: str, reference: Reference | None
    ) -> Judgement:
        """Judge speech (samples,) that should say an English `text` in the voice of `reference`.

        Too little sound, no reference, a text without an English word: `None`.
        """
        if len(samples) < LEAST_SPEAKER_S * sample_rate:
            return Judgement(None, None)
        similarity = None
        if reference is not None and reference.duration_s >= LEAST_SPEAKER_S:
            similarity = self.speaker.similarity(
                samples, sample_rate, reference.samples, reference.sample_rate
            )
        has_words = bool(normalised(normalise(text)))
        errors = self.listener.errors(samples, sample_rate, text) if has_words else None
        return Judgement(similarity, errors)


def repositories() -> list[NetworkRepository]:
    """Return where the judges' weights lie."""
    return [_repository(SPEAKER_MODEL, "speaker encoder"), _repository(SPEECH_MODEL, "recogniser")]


def _repository(location: str, kind: str) -> NetworkRepository:
    return repository_of(location, pickles=True, kind=kind)


def recognition_errors(heard: str, text: str) -> RecognitionErrors:
    """Return word and character error rates of a transcript, case and punctuation left out.

    Numbers in digits are not read out: compare texts that are written in words.
    """
    wanted, got = normalised(text).split(), normalised(heard).split()
    if not wanted:
        raise ValueError(f"there is no word in {text!r}")
    letters, got_letters = list(" ".join(wanted)), list(" ".join(got))
    distance = torchaudio.functional.edit_distance
    return RecognitionErrors(
        word_error_rate=distance(wanted, got) / len(wanted),
        character_error_rate=distance(letters, got_letters) / len(letters),
        heard=heard,
    )


def normalised(text: str) -> str:
    """Return a text's words in lower case, apostrophes within them kept, one blank between."""
    folded = unicodedata.normalize("NFKC", text).replace("\u2019", "'").casefold()
    return " ".join(re.findall(r"\w+(?:'\w+)*", folded))


def _at_rate(samples: Samples, sample_rate: int) -> Tensor:
    if samples.ndim != 1 or not len(samples) or not np.isfinite(samples).all():
        raise ValueError("a recording to judge has one channel of finite samples")
    wave = torch.as_tensor(samples, dtype=torch.float32)
    return wave if sample_rate == RATE else resample(wave, sample_rate, RATE)


def _cut_at_pauses(wave: Tensor) -> list[Tensor]:
    """Return a recording (samples,) in pieces that Whisper hears whole.

    Each ends in the quietest tenth of a second of its last five. A rest too short for a word is
    left out: Whisper makes words up where it is given next to nothing.
    """
    window, tenth = int(WHISPER_WINDOW_S * RATE), RATE // 10
    pieces = []
    while len(wave) > window:
        late = wave[window - 50 * tenth : window].reshape(50, tenth)
        cut = window - 50 * tenth + int(late.square().mean(dim=1).argmin()) * tenth + tenth // 2
        pieces.append(wave[:cut])
        wave = wave[cut:]
    return [*pieces, wave] if len(wave) >= RATE // 2 or not pieces else pieces
