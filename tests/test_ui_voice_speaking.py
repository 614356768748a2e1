from __future__ import annotations

import io
import json
import shutil
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_voices import (
    FakeVoiceModel,
    StreamingFake,
    install,
    install_page_world,
    make_entry,
    make_reference,
    write_wav,
)
from tiny_echo import save_tiny_echo
from ui_server import busy_device, is_free, wait_until

from diffusion_bench.audio.watermark.search import detect
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.downloads import Progress
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.voice import catalog
from diffusion_bench.backends.voice.recipes import Recipe, read_recipe
from diffusion_bench.backends.voice.voices import find_voice, list_voices, save_voice
from diffusion_bench.cli.voice_settings import Source
from diffusion_bench.records import Cancelled, VoiceRequest
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import KEEP_LONG_S, KEEP_S, Outbox
from diffusion_bench.ui.voice import limits as voice_limits
from diffusion_bench.ui.voice import speaking as voice_speaking
from diffusion_bench.ui.voice.restoring import voice_missing
from diffusion_bench.ui.voice.speaking import Speaking

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is missing")
LONG = (
    "The river was quiet that morning. A thin mist lay on the fields. "
    "Nobody was on the road so early. The boat lay under the old bridge."
)
VALUES = {
    "text": "The river was quiet that morning.",
    "voice": "ada",
    "consent": False,
    "transcript": "",
    "model": "echo",
    "sampler": "ddim",
    "steps": 3,
    "seed": 7,
    "batch": 1,
    "speed": 1.0,
    "temperature": 0.5,
    "guidance_scale": 1.0,
    "eta": 0.0,
    "vocoder": "native",
    "precision": "fp32",
    "watermark": True,
}


class StepByStep(FakeVoiceModel):
    """Takes a step only when it is let, and counts them."""

    def __init__(self):
        super().__init__()
        self.let = threading.Semaphore(0)
        self.steps = 0

    def speak(self, text, state, request, on_step):
        def step(index, count):
            self.let.acquire()
            self.steps += 1
            on_step(index, count)

        return super().speak(text, state, request, step)


@pytest.fixture(autouse=True)
def _every_step_is_told(monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.voice.speaking.TELL_EVERY_S", 0.0)


@pytest.fixture
def model(monkeypatch, tmp_path):
    return install_page_world(monkeypatch, tmp_path / "bundled")


@pytest.fixture
def outbox(tmp_path):
    (tmp_path / "outbox").mkdir()
    return tmp_path / "outbox"


@pytest.fixture
def make_speaking(model, outbox):
    with closing(Jobs()) as jobs:
        yield lambda shared=False: Speaking(Engine("cpu"), jobs, Outbox(outbox), shared=shared)


@pytest.fixture
def recording(tmp_path):
    (tmp_path / "uploads").mkdir()
    return str(write_wav(tmp_path / "uploads" / "me.wav", make_reference(120).samples))


def last_of(views):
    return list(views)[-1]


def sound(path):
    return soundfile.read(path, dtype="float32")


def test_speech_comes_marked_with_its_settings_times_and_measures(make_speaking, model):
    views = list(make_speaking().speak(VALUES, None))

    last = views[-1]
    recipe = read_recipe(Path(last.audio))
    fields = {name: VALUES[name] for name in VoiceRequest.model_fields}
    assert recipe.request == VoiceRequest(**fields)
    assert (
        recipe
        == Recipe.of(
            recipe.request, model.entry, find_voice("ada", "echo"), watermark=True
        ).pinned()
    )
    assert json.loads(Path(last.spoken[0].recipe_path).read_text()) == recipe.model_dump()
    assert detect(*sound(last.audio)).found
    assert last.used_seed == 7
    assert (last.done, last.total) == (1, 1)
    for word in ("s of speech in", "on cpu", "real-time factor", "first sound", "denoising"):
        assert word in last.status
    assert "semitones" in last.measures
    assert "times as fast" in last.measures
    assert len(last.chart.figure.data) == 2
    statuses = [view.status for view in views if view.status]
    assert statuses[1].startswith("Step 1 of 3, about ")


def test_without_the_watermark_there_is_none_and_the_file_says_so(make_speaking):
    last = last_of(make_speaking().speak(VALUES | {"watermark": False}, None))

    assert not detect(*sound(last.audio)).found
    assert read_recipe(Path(last.audio)).watermark is False


def test_a_recording_is_cloned_only_with_consent_and_a_sample_voice_without(
    make_speaking, recording, model
):
    speaking = make_speaking()
    heard = speaking.hear(recording)
    own = VALUES | {"voice": ""}

    with pytest.raises(ValueError, match="tick the box if that person agreed"):
        next(speaking.speak(own, heard))
    assert model.spoken == []
    last = last_of(speaking.speak(own | {"consent": True}, heard))

    request = read_recipe(Path(last.audio)).request
    assert request.voice == heard.reference.name()
    assert "me.wav" not in Path(last.spoken[0].recipe_path).read_text()
    assert last_of(speaking.speak(VALUES, heard)).audio


def test_no_recording_is_said(make_speaking):
    with pytest.raises(ValueError, match="record or upload"):
        next(make_speaking().speak(VALUES | {"voice": "", "consent": True}, None))


@pytest.mark.parametrize("rate", [8000, 44_101, 96_000, 192_000])
def test_a_recording_at_any_rate_is_cloned_and_drawn_beside_what_was_said(
    make_speaking, tmp_path, rate
):
    """Of studio recorders' 96 kHz a frame of the picture is longer than a window of samples."""
    voice = make_reference(120)
    at = np.arange(int(voice.duration_s * rate)) / rate
    samples = np.interp(at * voice.sample_rate, np.arange(len(voice.samples)), voice.samples)
    speaking = make_speaking()
    heard = speaking.hear(str(write_wav(tmp_path / "me.wav", samples, rate)))

    last = last_of(speaking.speak(VALUES | {"voice": "", "consent": True}, heard))

    shown, said = last.chart.figure.data
    assert len(shown.z) == len(said.z)
    assert shown.x[1] == said.x[1]
    assert shown.x[-1] == pytest.approx(heard.reference.duration_s, abs=0.05)


@pytest.mark.parametrize("kind", ["text", "short", "silent", "empty"])
def test_a_bad_recording_is_told_in_one_line_and_deleted(make_speaking, recording, kind):
    path = Path(recording)
    samples = make_reference(120).samples
    if kind == "text":
        path.write_text("hello")
    elif kind == "empty":
        path.write_bytes(b"")
    else:
        write_wav(path, samples[:3200] if kind == "short" else np.zeros_like(samples))

    with pytest.raises(ValueError, match=r"\w") as refused:
        make_speaking().hear(recording)

    assert "\n" not in str(refused.value)
    assert not path.exists()


def test_a_cut_recordings_transcript_is_left_out(make_speaking, tmp_path):
    speaking = make_speaking()
    path = write_wav(tmp_path / "long.wav", make_reference(120, duration_s=20).samples)
    values = VALUES | {"voice": "", "consent": True, "transcript": "All that was said."}

    _, cut = speaking.voice_of(values, speaking.hear(str(path)), "echo")
    write_wav(path, make_reference(120).samples)
    _, whole = speaking.voice_of(values, speaking.hear(str(path)), "echo")

    assert (cut.transcript, whole.transcript) == (None, "All that was said.")


@pytest.fixture
def long_recording(tmp_path):
    """Twenty seconds of one voice with a pause in every second."""
    return write_wav(tmp_path / "long.wav", make_reference(120, duration_s=20).samples)


@pytest.fixture
def patient(model):
    """The fake takes 30 s of a recording, as Pocket TTS and VibeVoice do, and reads its words."""
    facts = {"reference_s": (1.0, 30.0), "needs_transcript": True}
    model.entry = model.entry.model_copy(update=facts)
    return model


def test_a_model_that_takes_30_s_gets_them_with_their_words(make_speaking, long_recording, patient):
    speaking = make_speaking()
    heard = speaking.hear(str(long_recording))
    values = VALUES | {"voice": "", "consent": True, "transcript": "All that was said."}

    name, voice = speaking.voice_of(values, heard, "echo")
    last = last_of(speaking.speak(values, heard))

    source = Source(long_recording, transcript="All that was said.", consent=True)
    cli_name, of_the_command = source.find("echo")
    assert 19.5 < voice.duration_s <= 20
    assert voice.transcript == of_the_command.transcript == "All that was said."
    assert name == cli_name == read_recipe(Path(last.audio)).request.voice
    assert heard.report.cut_s == 0


@pytest.mark.parametrize(("first", "then"), [(15.0, 30.0), (30.0, 15.0)])
def test_another_model_takes_as_much_as_it_would_have_taken_first(
    make_speaking, long_recording, model, first, then
):
    speaking = make_speaking()
    model.entry = model.entry.model_copy(update={"reference_s": (1.0, first)})
    heard = speaking.hear(str(long_recording))
    model.entry = model.entry.model_copy(update={"reference_s": (1.0, then)})

    taken = speaking.heard_by("echo", heard)
    name, _ = speaking.voice_of(VALUES | {"voice": "", "consent": True}, heard, "echo")

    fresh = speaking.hear(str(long_recording))
    assert taken.report == fresh.report
    assert taken.report.duration_s == pytest.approx(min(then, 20), abs=6)
    assert (taken.report.cut_s > 0) == (then == 15)
    assert name == fresh.reference.name() == Source(long_recording, consent=True).find("echo")[0]


def test_a_recording_whose_file_is_gone_is_said_where_more_of_it_is_needed(
    make_speaking, long_recording, model
):
    speaking = make_speaking()
    heard = speaking.hear(str(long_recording))
    heard.forget()

    assert speaking.heard_by("echo", heard) is heard
    model.entry = model.entry.model_copy(update={"reference_s": (1.0, 30.0)})
    with pytest.raises(ValueError, match=r"^the recording is not here any more"):
        speaking.heard_by("echo", heard)


def test_a_saved_recording_is_as_long_as_the_chosen_model_takes(
    make_speaking, long_recording, patient
):
    speaking = make_speaking()
    values = {"consent": True, "transcript": "All that was said.", "model": "echo"}
    speaking.keep("eve", speaking.hear(str(long_recording)), values)

    saved = find_voice("eve", "echo")
    assert saved.duration_s > 19.5
    assert saved.transcript == "All that was said."


def test_words_can_be_given_to_a_saved_recording_that_has_none(make_speaking):
    """A voice that was saved for a model that reads no words serves one that does."""
    save_voice("mum", make_reference(120))
    needy = {"voice": "mum", "model": "needy", "sampler": "native"}

    with pytest.raises(ValueError, match="needs the transcript"):
        next(make_speaking().speak(VALUES | needy, None))
    last = last_of(make_speaking().speak(VALUES | needy | {"transcript": " As it was. "}, None))

    recipe = read_recipe(Path(last.audio))
    assert recipe.transcript == "As it was."
    assert voice_missing(recipe, shared=False) == ""


@pytest.mark.parametrize("model_name", ["nowhere", "", None])
def test_a_recording_survives_a_model_that_is_none(make_speaking, recording, model_name):
    heard = make_speaking().hear(recording, model_name)

    assert heard.path.exists()
    assert heard.max_s == 15


def test_a_candidate_that_said_nothing_is_no_file_and_the_other_is(make_speaking, model):
    letters = model._letters
    model._letters = lambda text, hz, request, index: letters(text, hz, request, index)[
        : None if index else 0
    ]

    last = last_of(make_speaking().speak(VALUES | {"batch": 2}, None))

    assert len(last.spoken) == 1
    assert read_recipe(Path(last.audio)).candidate == 1
    assert "candidate 1 of 2 said nothing and is left out" in last.status


def test_a_negative_or_empty_seed_picks_one(make_speaking):
    speaking = make_speaking()

    picked = {speaking.to_request(VALUES | {"seed": seed}).seed for seed in (-1, -1, None, None)}

    assert len(picked) == 4
    assert min(picked) >= 0


def test_eta_is_left_out_where_its_field_is_hidden(make_speaking):
    request = make_speaking().to_request

    assert request(VALUES | {"sampler": "ddpm", "eta": 0.5}).eta == 0
    assert request(VALUES | {"eta": 0.5}).eta == 0.5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"text": " "}, "no word to say"),
        ({"text": "🙂"}, "no word to say"),
        ({"text": "a" * 20_001}, "the text has 20001 characters; at most 20000"),
        ({"steps": 0}, "steps"),
        ({"steps": None}, "steps"),
        ({"sampler": "euler"}, "sampler"),
        ({"sampler": "unipc"}, "does not take the sampler unipc"),
        ({"model": "nowhere"}, "unknown voice model"),
        ({"model": "needy", "sampler": "native"}, "needs the transcript"),
        ({"voice": "nobody"}, "unknown voice 'nobody'"),
        ({"voice": "../../etc/passwd"}, "cannot be used"),
    ],
)
def test_a_mistake_is_told_before_any_work(make_speaking, model, changed, said):
    with pytest.raises(ValueError, match=said):
        next(make_speaking().speak(VALUES | changed, None))

    assert model.loaded == []


def test_speech_is_held_against_more_steps_where_that_is_asked(make_speaking, model):
    *_, last = make_speaking().speak(VALUES | {"against": 9}, None)

    assert "\nmel distance 0.00 dB from 9 steps of the same seed; two seeds are" in last.status
    assert model.seeds == [VALUES["seed"]] * 2, "it is said twice"
    for against, said in ((1, "1 steps are not more than"), (251, "steps")):
        with pytest.raises(ValueError, match=said):
            next(make_speaking(shared=True).speak(VALUES | {"against": against}, None))
    *_, last = make_speaking().speak(VALUES | {"against": 0}, None)
    assert "mel distance" not in last.status


def test_a_shared_app_saves_and_deletes_no_voices_and_hides_the_owners(make_speaking, recording):
    speaking = make_speaking()
    heard = speaking.hear(recording)
    speaking.keep("eve", heard, {"consent": True})
    guest = make_speaking(shared=True)

    with pytest.raises(ValueError, match="visitors cannot save"):
        guest.keep("mine", heard, {"consent": True})
    with pytest.raises(ValueError, match="visitors cannot delete"):
        guest.drop("eve")
    with pytest.raises(ValueError, match="sample voices only: ada"):
        next(guest.speak(VALUES | {"voice": "eve"}, None))
    assert [voice.name for voice in list_voices()] == ["ada", "eve"]


def test_what_is_not_here_is_fetched_with_its_progress_said_and_the_device_free(
    make_speaking, model, monkeypatch
):
    def fetch(repository, on_progress):
        assert is_free()
        on_progress(Progress(done_mib=512.0, total_mib=2048.0))
        raise ModelUnavailable(f"{repository.location} could not be fetched: the line is cut")

    monkeypatch.setattr(voice_speaking, "fetch", fetch)
    views = make_speaking().speak(VALUES | {"vocoder": "vocos"}, None)

    told = next(view for view in views if view.status and "Fetching" in view.status)
    assert (told.done, told.total) == (512, 2048)
    assert told.status == "Fetching charactr/vocos-mel-24khz: 512 MiB of 2.0 GiB."
    with pytest.raises(ModelUnavailable, match="the line is cut"):
        list(views)
    assert model.spoken == []


def test_a_download_stops_when_the_speech_is_given_up(make_speaking, model, monkeypatch):
    given_up = threading.Event()

    def fetch(repository, on_progress):
        while True:
            try:
                on_progress(Progress(done_mib=1.0, total_mib=2.0))
            except Cancelled:
                given_up.set()
                raise

    monkeypatch.setattr(voice_speaking, "fetch", fetch)
    with closing(make_speaking().speak(VALUES | {"vocoder": "vocos"}, None)) as views:
        next(view for view in views if view.status and "Fetching" in view.status)
    assert given_up.wait(20)
    assert model.spoken == []


def test_a_guest_cannot_make_the_machine_fetch_a_voice_model_or_a_vocoder(
    make_speaking, model, monkeypatch
):
    of_the_hub = make_entry(name="csm", source="hub", location="some/where")
    monkeypatch.setattr(voice_limits, "find_voice_model", lambda name: of_the_hub)
    guest = make_speaking(shared=True)

    with pytest.raises(ValueError, match="not on this machine, and guests cannot fetch it"):
        next(guest.speak(VALUES | {"model": "csm"}, None))
    with pytest.raises(ValueError, match="vocoders of its list only"):
        guest.to_request(VALUES | {"vocoder": "some/body"})
    assert make_speaking().to_request(VALUES | {"vocoder": "some/body"}).vocoder == "some/body"
    assert model.loaded == []


def test_a_saved_voice_speaks_as_its_recording_did(make_speaking, recording):
    speaking = make_speaking()
    heard = speaking.hear(recording)
    own = last_of(speaking.speak(VALUES | {"voice": "", "consent": True}, heard))

    with pytest.raises(ValueError, match="tick the box"):
        speaking.keep("eve", heard, {})
    with pytest.raises(ValueError, match="record or upload"):
        speaking.keep("eve", None, {"consent": True})
    assert "'eve'" in speaking.keep(" eve ", heard, {"consent": True})

    saved = last_of(speaking.speak(VALUES | {"voice": "eve"}, None))
    assert np.array_equal(sound(saved.audio)[0], sound(own.audio)[0])
    speaking.drop("eve")
    with pytest.raises(ValueError, match="unknown voice"):
        find_voice("eve", "echo")


def test_progress_counts_the_steps_of_all_chunks(make_speaking):
    views = list(make_speaking().speak(VALUES | {"text": LONG}, None))

    done = [view.done for view in views if view.done and view.total > 1]
    totals = {view.total for view in views if view.done and view.total > 1}
    assert done == list(range(1, 3 * 4 + 1))
    assert totals == {3 * 4}
    assert any((view.status or "").startswith("Chunk 2 of 4, step 1 of 3") for view in views)


def pieces_of(views):
    """Return the files of what can be heard so far, on a machine without ffmpeg."""
    return [view.audio for view in views if view.audio and "so-far" in view.audio]


def live_of(views):
    """Return what a player was fed: the samples of each piece, and the index of its view."""
    fed = [(i, view.live) for i, view in enumerate(views) if isinstance(view.live, bytes)]
    return [soundfile.read(io.BytesIO(piece), dtype="float32")[0] for _, piece in fed], [
        i for i, _ in fed
    ]


@pytest.fixture(params=["fake", "streaming"])
def kind(request, monkeypatch, model):
    """A model that speaks chunk by chunk, or one that streams."""
    if request.param == "streaming":
        streaming = StreamingFake(model.entry.model_copy(update={"streams": True}))
        monkeypatch.setattr(catalog, "find_voice_model", lambda name: streaming.entry)
        monkeypatch.setattr(voice_limits, "find_voice_model", catalog.find_voice_model)
        monkeypatch.setattr(catalog, "load_voice_model", lambda *_, **__: streaming)
    return request.param


@needs_ffmpeg
def test_a_player_is_fed_the_whole_piece_by_piece_before_its_end(make_speaking, kind):
    views = list(make_speaking().speak(VALUES | {"text": LONG, "watermark": False}, None))

    pieces, at = live_of(views)
    whole = sound(views[-1].audio)[0]
    assert views[0].live is True
    assert pieces_of(views) == []
    assert np.array_equal(np.concatenate(pieces), whole)
    assert len(pieces) >= (20 if kind == "streaming" else 4)
    assert any(view.done for view in views[at[0] : at[-1]]), "steps come between them"


@needs_ffmpeg
def test_a_streaming_model_is_heard_within_one_chunk(make_speaking, kind):
    views = list(make_speaking().speak(VALUES, None))

    pieces, _ = live_of(views)
    assert (len(pieces) > 5, views[0].live) == (
        (True,) * 2 if kind == "streaming" else (False,) * 2
    )


@needs_ffmpeg
def test_what_a_player_is_fed_is_marked_as_a_whole(make_speaking, kind):
    pieces, _ = live_of(make_speaking().speak(VALUES | {"text": LONG}, None))

    assert detect(np.concatenate(pieces), 16_000).found


@pytest.fixture
def no_ffmpeg(monkeypatch):
    monkeypatch.setattr("diffusion_bench.ui.voice.listening.can_stream", lambda: False)


@pytest.mark.usefixtures("no_ffmpeg")
def test_a_long_text_is_heard_before_its_end_and_the_pieces_are_the_whole(make_speaking):
    views = list(make_speaking().speak(VALUES | {"text": LONG, "watermark": False}, None))

    assert views[0].live is False
    pieces = pieces_of(views)
    whole = sound(views[-1].audio)[0]
    assert len(pieces) >= 2
    for path in pieces:
        piece = sound(path)[0]
        assert 0 < len(piece) <= len(whole)
        assert np.array_equal(piece, whole[: len(piece)])
    first = next(i for i, view in enumerate(views) if view.audio == pieces[0])
    assert any(view.done and view.total > 1 for view in views[first:]), "steps come after it"


@pytest.mark.usefixtures("no_ffmpeg")
def test_pieces_are_marked_and_carry_the_recipe(make_speaking):
    pieces = pieces_of(make_speaking().speak(VALUES | {"text": LONG}, None))

    assert all(detect(*sound(path)).found for path in pieces)
    assert {read_recipe(Path(path)).request.text for path in pieces} == {LONG}


@pytest.mark.usefixtures("no_ffmpeg")
def test_a_text_of_one_chunk_makes_no_pieces(make_speaking):
    assert pieces_of(make_speaking().speak(VALUES, None)) == []


def test_candidates_are_ranked_and_each_file_speaks_for_itself(make_speaking, monkeypatch):
    alike = {7: 0.1, 8: 0.9, 9: 0.5}
    seeds = iter(alike)
    monkeypatch.setattr(
        "diffusion_bench.audio.timbre.timbre_similarity", lambda *_: alike[next(seeds)]
    )

    last = last_of(make_speaking().speak(VALUES | {"batch": 3}, None))

    assert [one.label for one in last.spoken] == [
        "seed 8, similarity 0.90",
        "seed 9, similarity 0.50",
        "seed 7, similarity 0.10",
    ]
    assert Path(last.audio).name == "ai-speech-seed-8.wav"
    assert last.audio == last.spoken[0].path
    recipes = [read_recipe(Path(one.path)) for one in last.spoken]
    assert [recipe.candidate for recipe in recipes] == [1, 2, 0]
    assert all(detect(*sound(one.path)).found for one in last.spoken)
    assert len({Path(one.path).read_bytes() for one in last.spoken}) == 3


def test_candidates_of_one_seed_are_told_apart_by_their_number(make_speaking, monkeypatch):
    install(monkeypatch, FakeVoiceModel(make_entry(name="tortoise", candidates_alone=False)))
    monkeypatch.setattr(voice_limits, "find_voice_model", catalog.find_voice_model)

    last = last_of(make_speaking().speak(VALUES | {"batch": 2, "model": "tortoise"}, None))

    assert {one.label.partition(", similarity")[0] for one in last.spoken} == {
        "seed 7, candidate 1 of 2",
        "seed 7, candidate 2 of 2",
    }
    for one in last.spoken:
        number = read_recipe(Path(one.path)).candidate + 1
        assert Path(one.path).name == f"ai-speech-seed-7-candidate-{number}.wav"
        assert Path(one.recipe_path).name == f"ai-speech-seed-7-candidate-{number}.json"


def test_cancelling_stops_within_a_step_and_leaves_nothing(make_speaking, monkeypatch, outbox):
    slow = StepByStep()
    monkeypatch.setattr(catalog, "load_voice_model", lambda *_, **__: slow)
    values = VALUES | {"text": LONG, "steps": 5}
    slow.let.release(7)  # the first chunk and two steps of the second
    views = make_speaking().speak(values, None)
    next(view for view in views if view.audio or isinstance(view.live, bytes))
    next(view for view in views if view.done == 7)

    views.close()
    slow.let.release(100)

    wait_until(is_free, "the device is free", limit_s=20)
    assert slow.steps <= 8
    wait_until(lambda: not list(outbox.iterdir()), "its files are gone", limit_s=20)


def test_a_held_device_is_waited_for_and_giving_up_leaves_nothing(make_speaking, model):
    with busy_device():
        views = make_speaking().speak(VALUES, None)
        waiting = next(view for view in views if view.status and "Waiting" in view.status)
        assert waiting.audio is None
        views.close()
    wait_until(is_free, "the device is free", limit_s=20)
    assert model.spoken == []


def test_speech_that_has_waited_long_is_not_lost_and_can_be_chosen_later(make_speaking, outbox):
    now_s = 0.0

    def pass_time(seconds):
        """Let what is there grow old, and another click look for what is too old."""
        nonlocal now_s
        now_s += seconds
        speaking.outbox.place("of-another-click.csv", "")

    speaking = make_speaking()
    speaking.outbox = Outbox(outbox, clock=lambda: now_s)
    with busy_device():
        views = speaking.speak(VALUES | {"batch": 2}, None)
        next(view for view in views if view.status and "Waiting" in view.status)
        pass_time(2 * KEEP_LONG_S)

    last = last_of(views)
    pass_time(2 * KEEP_S)
    assert [Path(one.path).is_file() for one in last.spoken] == [True, True]


def test_a_fault_of_the_model_is_raised_in_the_middle(make_speaking):
    with pytest.raises(ValueError, match="cannot say 'unspeakable'"):
        list(make_speaking().speak(VALUES | {"text": "An unspeakable text."}, None))


@pytest.mark.slow
def test_a_tiny_echo_speaks_a_folder_of_the_users_own(tmp_path, outbox):
    folder = save_tiny_echo(tmp_path / "echo")
    with closing(Jobs()) as jobs:
        speaking = Speaking(Engine("cpu"), jobs, Outbox(outbox), shared=False)
        values = VALUES | {"model": str(folder), "steps": 2, "text": "Hello there, good morning."}
        first, again = (last_of(speaking.speak(values, None)).audio for _ in range(2))

    assert Path(first).read_bytes() == Path(again).read_bytes()


def test_quick_steps_are_told_now_and_then(make_speaking, monkeypatch):
    """Steps of speech take milliseconds: a page that heard of each would lag behind."""
    monkeypatch.setattr("diffusion_bench.ui.voice.speaking.TELL_EVERY_S", 3600.0)
    views = list(make_speaking().speak(VALUES, None))
    assert sum(view.total > 1 for view in views) == 1
