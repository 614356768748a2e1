"""How the voice model is trained: sentences, new speakers, recordings, alignment, losses.

flite, espeak-ng and pyworld are wanted by the training only; tests that need one skip without it.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
import typer

from diffusion_bench.audio.pitch import voice_pitch
from diffusion_bench.backends.echo.pipeline import EchoPipeline
from diffusion_bench.backends.echo.vocoder import MelVocoder
from diffusion_bench.pronunciation.phones import MARKS, PHONES
from diffusion_bench.training.echo.aligned import IPA, Aligned, _merge, speak_espeak
from diffusion_bench.training.echo.data import (
    SETTINGS,
    Corpus,
    Spoken,
    annotate,
    durations,
    frame_pitch,
    load_corpus,
    mel_of,
)
from diffusion_bench.training.echo.export import assemble, export, restored_acoustic
from diffusion_bench.training.echo.pictures import main as draw_pictures
from diffusion_bench.training.echo.recordings import record
from diffusion_bench.training.echo.sentences import TEMPLATES, WORDS, Sentences
from diffusion_bench.training.echo.train_acoustic import (
    REFINEMENT,
    Acoustic,
    acoustic_losses,
    draw,
    noise_schedule,
    pitch_facts,
    timbre_loss,
    train_acoustic,
)
from diffusion_bench.training.echo.train_vocoder import train_vocoder, vocoder_loss
from diffusion_bench.training.loop import Schedule, restore
from diffusion_bench.training.optimisers import is_hidden_matrix

RATE = 16_000
needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")


def buzz(hz: float, seconds: float = 2.0) -> np.ndarray:
    at = np.arange(int(RATE * seconds)) / RATE
    wave = sum(np.cos(2 * np.pi * hz * k * at) / k for k in range(1, 20))
    return (3000 * wave).astype(np.int16)


def utterance(speaker: int, hz: float, seconds: float) -> Spoken:
    samples = buzz(hz, seconds)
    mel = mel_of(samples)
    frames = mel.shape[-1]
    symbols = ["pau", "dh", "ax", "r", "ih", "v", "er", "pau"]
    ends = np.linspace(0, seconds, len(symbols) + 1)[1:]
    return Spoken(
        speaker=speaker,
        phones=torch.tensor(annotate(symbols, "The river."), dtype=torch.int16),
        durations=durations(ends, frames),
        mel=mel.half(),
        recorded=(mel - 0.5).half(),
        f0_hz=torch.full((frames,), hz),
        samples=samples,
    )


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    spoken = [utterance(s, 110.0 + 60 * s, 1.4 + 0.1 * i) for s in range(2) for i in range(3)]
    targets = torch.tensor([[0.1, 0.0, 0.2, -0.3, 0.0, 0.1], [0.5, 0.2, -0.2, 0.3, 0.1, 0.0]])
    return Corpus(spoken, [[0, 1, 2], [3, 4, 5]], targets, ["slt", "rms"])


# Sentences


def test_sentences_follow_from_the_seed_and_leave_no_blank():
    first, again, other = (Sentences(["azure"], seed) for seed in (3, 3, 4))
    drawn = [first.draw() for _ in range(200)]
    assert drawn == [again.draw() for _ in range(200)]
    assert drawn != [other.draw() for _ in range(200)]
    assert not any("{" in text for text in drawn)
    assert all(text[0].isupper() for text in drawn)
    assert any("azure" in text.lower() for text in drawn)


def test_every_word_of_a_template_has_a_list():
    import re

    kinds = {kind for text in TEMPLATES for kind in re.findall(r"\{(\w+)\}", text)}
    assert kinds == set(WORDS)


# Alignment


def test_phones_in_a_row_end_where_the_synthesizer_says():
    aligned = _merge("x", np.zeros(10, np.float32), [("pau", 0.1), ("pau", 0.2), ("el", 0.4)])
    assert aligned.phones == ("pau", "ax", "l")
    assert aligned.ends_s == pytest.approx((0.2, 0.3, 0.4))


def test_every_name_of_espeak_s_phones_is_one_of_ours():
    assert {phone for phones in IPA.values() for phone in phones} <= set(PHONES)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="no espeak-ng")
def test_every_phone_that_espeak_says_in_a_measured_sentence_has_a_name():
    """Half an hour of measuring ended at "stories", whose vowel had none."""
    from diffusion_bench.training.echo.heldout import SENTENCES

    for text in SENTENCES:
        assert speak_espeak(text, "en-us+f2").phones


def test_phones_are_as_long_as_they_are_not_whole_frames_and_none_of_them_is_lost():
    ends = np.array([0.016, 0.017, 0.4, 1.0])
    found = durations(ends, 63)
    assert found.sum() == 63
    assert found.tolist()[:2] == pytest.approx([1, 1 / 16])
    assert (found >= 0).all()


def test_stress_and_marks_come_from_our_front_end_where_the_two_agree():
    symbols, stress, starts, marks = annotate(["pau", "hh", "ax", "l", "ow", "pau"], "Hello?")
    assert [PHONES[index] for index in symbols] == ["pau", "hh", "ax", "l", "ow", "pau"]
    assert stress == [0, 0, 0, 0, 1, 0]
    assert starts == [0, 1, 0, 0, 0, 0]
    assert {MARKS[mark] for mark in marks} == {"?"}


def test_a_synthesizer_that_says_something_else_loses_its_stress_and_no_phone():
    symbols, stress, _, marks = annotate(["pau", "zh", "oy", "zh", "pau"], "Hello.")
    assert len(symbols) == len(stress) == len(marks) == 5
    assert sum(stress) == 0


def test_pitch_is_read_at_the_middle_of_each_frame():
    f0_hz = np.arange(100, dtype=float)  # every 5 ms
    found = frame_pitch(f0_hz, 20)
    assert found[0] == 0
    assert found[10] == 32  # at 160 ms


# Recordings


def test_a_recording_is_as_long_as_the_speech_and_follows_from_its_seed():
    samples = buzz(140.0)
    made = [record(samples, np.random.default_rng(seed)) for seed in range(12)]
    assert {len(one) for one in made} == {len(samples)}
    assert np.array_equal(made[5], record(samples, np.random.default_rng(5)))
    assert not np.array_equal(made[5], made[6])


def test_a_recorded_voice_keeps_its_pitch():
    samples = buzz(140.0)
    for seed in range(8):
        wave = torch.from_numpy(record(samples, np.random.default_rng(seed)).astype(np.float32))
        median_hz, _, _ = voice_pitch(wave / 32768, RATE)
        assert median_hz == pytest.approx(140.0, rel=0.02)


# Speakers


def test_world_makes_the_speaker_that_was_asked_for():
    pytest.importorskip("pyworld")
    from diffusion_bench.training.echo.speakers import draw_speaker, put_together, take_apart

    wave = buzz(120.0).astype(np.float32) / 32768
    parts = take_apart(Aligned("x", wave, ("pau", "aa"), (0.5, 2.0)))
    speaker = replace(draw_speaker("s", np.random.default_rng(1)), pitch_hz=180.0, rate=1.25)
    made = put_together(parts, speaker)
    assert len(made.samples) == pytest.approx(len(wave) / 1.25, rel=0.01)
    assert made.ends_s == pytest.approx((0.4, 1.6))
    median_hz, _, _ = voice_pitch(torch.from_numpy(made.samples.astype(np.float32)), RATE)
    assert median_hz == pytest.approx(180.0, rel=0.02)
    voiced = made.f0_hz[made.f0_hz > 0]
    assert np.median(voiced) == pytest.approx(180.0, rel=0.01)


def test_a_longer_vocal_tract_lowers_the_resonances():
    pytest.importorskip("pyworld")
    from diffusion_bench.training.echo.speakers import draw_speaker, put_together, take_apart

    wave = buzz(120.0).astype(np.float32) / 32768
    wave = np.convolve(
        wave, np.sin(2 * np.pi * 2000 * np.arange(160) / RATE) * 0.98 ** np.arange(160)
    )
    parts = take_apart(Aligned("x", wave.astype(np.float32), ("aa",), (2.0,)))
    plain = replace(
        draw_speaker("s", np.random.default_rng(1)),
        pitch_hz=120.0, rate=1.0, tilt_db=0.0, breath=0.0, resonances=(),
    )  # fmt: skip
    peaks = []
    for scale in (0.85, 1.15):
        made = put_together(parts, replace(plain, formant_scale=scale)).samples
        spectrum = np.abs(np.fft.rfft(made[:RATE].astype(float)))
        peaks.append(1000 + np.argmax(np.convolve(spectrum, np.ones(150), "same")[1000:3500]))
    assert peaks[1] / peaks[0] == pytest.approx(1.15 / 0.85, rel=0.1)


@needs_flite
def test_a_speaker_s_file_is_the_same_every_time_and_loads_as_a_corpus(tmp_path):
    pytest.importorskip("pyworld")
    from diffusion_bench.training.echo.corpus import make_speaker, speaker_of

    number = next(n for n in range(50) if "+" not in speaker_of(n).base)
    options = {"lexicon": ["azure", "garage"], "utterances": 2}
    first = make_speaker(number, tmp_path, **options)
    (tmp_path / "again").mkdir()
    second = make_speaker(number, tmp_path / "again", **options)
    with np.load(first) as one, np.load(second) as two:
        assert all(np.array_equal(one[key], two[key]) for key in one.files)
    corpus = load_corpus(tmp_path)
    assert len(corpus.utterances) == 2
    for spoken in corpus.utterances:
        frames = SETTINGS.frames(len(spoken.samples))
        assert spoken.mel.shape == spoken.recorded.shape == (80, frames)
        assert spoken.durations.sum() == frames == len(spoken.f0_hz)
        assert len(spoken.durations) == spoken.phones.shape[1]


def test_a_corpus_of_so_many_speakers_has_flites_own_voices_whatever_else_was_made(tmp_path):
    from diffusion_bench.training.echo.corpus import numbers_of

    rows = {"lengths": [800], "f0_lengths": [10], "texts": ["No."], "phones": ["n ow"]}
    sound = {"samples": np.zeros(800, np.int16), "recorded": np.zeros(800, np.int16)}
    for number in (*range(4), *numbers_of(0)):
        np.savez(
            tmp_path / f"s{number}.npz",
            **rows, **sound, ends_s=[0.02, 0.05], f0_hz=np.zeros(10), targets=np.zeros(6),
            base=str(number),
        )  # fmt: skip
    corpus = load_corpus(tmp_path, numbers=numbers_of(2))
    assert corpus.bases == [str(number) for number in numbers_of(2)]
    assert len(corpus.bases) == 2 + 4


# Losses


def test_a_batch_has_references_by_the_same_speakers(corpus):
    batch = draw(corpus, list(range(6)), 4, torch.Generator().manual_seed(0))
    assert batch.mel.shape[0] == 4
    assert batch.durations.sum(dim=1).tolist() == pytest.approx(batch.lengths.tolist())
    for index in range(4):
        hz = 110.0 + 60 * int(batch.speaker[index])
        assert 150 * 2 ** batch.pitch_facts[index, 0] == pytest.approx(hz, rel=0.06)


def test_pitch_facts_of_silence_are_neutral():
    assert pitch_facts(torch.zeros(50)).tolist() == [0.0, 0.0]
    assert pitch_facts(torch.full((50,), 300.0)).tolist() == pytest.approx([1.0, -1.0])


def test_every_weight_learns_from_every_loss_together(corpus):
    torch.manual_seed(0)
    networks = Acoustic(2, 6)
    with torch.no_grad():  # layers that begin at zero would hide those before them
        for parameter in networks.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape))
    generator = torch.Generator().manual_seed(3)
    batch = draw(corpus, list(range(6)), 4, generator)
    losses = acoustic_losses(networks, batch, noise_schedule(), generator)
    assert all(torch.isfinite(loss) for loss in losses.values())
    sum(losses.values()).backward()
    idle = [name for name, p in networks.named_parameters() if p.grad is None]
    assert idle == []


@pytest.mark.slow
def test_a_wrong_timbre_costs_what_passing_errors_of_the_same_size_do_not() -> None:
    voiced = torch.tensor([[1.0, 1.0, 1.0, 1.0, 0.0, 0.0], [0.0] * 6])
    steady = torch.full((2, 80, 6), 0.5)
    passing = steady * torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, 1.0])
    assert timbre_loss(steady, voiced).item() == pytest.approx(0.25)  # of a second, unvoiced one: 0
    assert timbre_loss(passing, voiced).item() == pytest.approx(0.0)


def test_training_goes_on_from_its_checkpoint_and_ends_as_a_model(corpus, tmp_path):
    """Two short runs, one of them interrupted, give one and the same folder of weights."""
    schedule = Schedule(steps=2, batch=2, peak_lr=1e-3, warmup_steps=1)
    for name, steps in (("whole", (2,)), ("parts", (1, 2))):
        for count in steps:
            part = replace(schedule, steps=count)
            train_acoustic(corpus, folder=tmp_path / name / "acoustic", schedule=part)
            train_vocoder(corpus, folder=tmp_path / name / "vocoder", schedule=part)
    networks = [restored_acoustic(tmp_path / name / "acoustic") for name in ("whole", "parts")]
    assert (tmp_path / "whole" / "acoustic" / "losses.jsonl").exists() is False  # 50 steps a line
    # The learning rate of a shorter schedule differs, so the weights do, but not by much.
    pairs = zip(networks[0].parameters(), networks[1].parameters(), strict=True)
    assert max((a - b).abs().max().item() for a, b in pairs) < 0.05
    vocoder = MelVocoder()
    assert restore(vocoder, tmp_path / "whole" / "vocoder") == 2
    export(assemble(networks[0], vocoder), tmp_path / "model")
    assert (tmp_path / "model" / "model_index.json").is_file()
    size = sum(path.stat().st_size for path in (tmp_path / "model").rglob("*.safetensors"))
    assert size <= 20e6


def test_refinement_begins_as_the_model_it_is_given_and_ends_as_another(corpus, tmp_path):
    torch.manual_seed(3)
    given = assemble(Acoustic(2, 6), MelVocoder())
    export(given, tmp_path / "given")
    start = EchoPipeline.from_pretrained(tmp_path / "given")
    no_step, one_step = (
        train_acoustic(
            corpus,
            folder=tmp_path / str(steps),
            start=start,
            schedule=replace(REFINEMENT, steps=steps, batch=2),
        )
        for steps in (0, 1)
    )
    for name in ("speaker", "prior", "unet"):
        began = getattr(no_step, name).state_dict()
        other = {"speaker": "speaker_encoder"}.get(name, name)
        for key, value in getattr(start, other).state_dict().items():
            assert torch.equal(value, began[key]), key
        ended = getattr(one_step, name).state_dict()
        assert any(not torch.equal(ended[key], value) for key, value in began.items()), name


def test_muon_leaves_symbols_first_and_last_layers_of_the_voice_to_adamw(corpus):
    networks = Acoustic(2, 6)
    names = [
        name
        for name, p in networks.named_parameters()
        if is_hidden_matrix(name, p, REFINEMENT.not_hidden)
    ]
    assert not [name for name in names if min(networks.get_parameter(name).shape[:2]) < 8]
    assert "prior.phone_blocks.0.conv_in.weight" in names
    assert "unet.middle.0.conv_out.weight" in names
    left = {name for name, p in networks.named_parameters() if p.ndim > 1} - set(names)
    assert {"prior.symbol.weight", "prior.mel.weight", "unet.conv_in.weight"} <= left
    assert {"unet.conv_out.weight", "who.weight", "speaker.conv_in.weight"} <= left


def test_the_vocoder_s_loss_is_small_for_the_truth():
    """A network that tells true magnitudes, pitch and voicing has next to no loss."""
    samples = torch.from_numpy(buzz(110.0, 2.1)[: 127 * 256].astype(np.float32))[None]
    samples = samples / 32768
    f0_hz = torch.full((1, 128), 110.0)
    window = torch.hann_window(1024)
    truth = torch.stft(samples, 1024, 256, window=window, return_complex=True).abs()

    class Knows(MelVocoder):
        def forward(self, mel):
            told = super().forward(mel)
            return told._replace(
                log_magnitude=truth.clamp(min=1e-9).log(),
                octaves=torch.log2(f0_hz / 150),
                voiced=torch.full_like(f0_hz, 20.0),
            )

    assert vocoder_loss(Knows(), samples, f0_hz) < 1e-3
    assert vocoder_loss(MelVocoder(), samples, f0_hz) > 0.5


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flites_own_voices_are_in_the_corpus_as_they_are() -> None:
    pytest.importorskip("pyworld")
    from diffusion_bench.training.echo.aligned import FLITE_VOICES, speak_flite
    from diffusion_bench.training.echo.corpus import PLAIN, is_plain, speaker_of
    from diffusion_bench.training.echo.speakers import as_it_is, take_apart

    numbers = range(PLAIN, PLAIN + len(FLITE_VOICES))
    assert [speaker_of(number).base for number in numbers] == list(FLITE_VOICES)
    assert not is_plain(PLAIN - 1)
    assert not is_plain(PLAIN + len(FLITE_VOICES))
    aligned = speak_flite("seven ships", "slt")
    kept = as_it_is(take_apart(aligned))
    scale = np.abs(kept.samples).max() / np.abs(aligned.samples).max()
    assert np.abs(kept.samples - scale * aligned.samples).max() <= 2
    assert (kept.phones, kept.ends_s) == (aligned.phones, aligned.ends_s)
    for loudness in (0.3, 1.0):  # a level that tells voices apart would be learnt as a voice's
        quiet = as_it_is(take_apart(replace(aligned, samples=aligned.samples * loudness)))
        assert np.abs(quiet.samples).max() == pytest.approx(0.8 * 32767, rel=1e-3)


def test_a_run_that_went_on_from_a_model_has_a_picture_of_its_own(tmp_path):
    pytest.importorskip("matplotlib")
    row = {"step": 50, "loss": 0.5, "hours": 0.1, "images": 800}
    log = tmp_path / "refined-abc" / "losses.jsonl"
    log.parent.mkdir()
    log.write_text(json.dumps(row) + "\n")
    told = [
        {"sampler": "ddim", "steps": steps, "mel_distance": 0.2, "word_error_rate": 0.4}
        for steps in (5, 25)
    ]
    steps = tmp_path / "steps.jsonl"
    steps.write_text("".join(json.dumps(row) + "\n" for row in told))
    draw_pictures(tmp_path, steps, tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == {"refined.png", "steps.png"}
    log.unlink()
    with pytest.raises(typer.BadParameter, match=r"no losses\.jsonl"):
        draw_pictures(tmp_path, steps, tmp_path)
