"""The wires of the tab *Voice cloning*, called as the page calls them."""

from __future__ import annotations

import asyncio
import gc
import re
import warnings
from contextlib import closing
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from fake_voices import make_reference, write_wav
from gradio.state_holder import StateHolder
from speech_like import speech_like
from tiny_voices_ar import save_tiny_speecht5

from diffusion_bench.audio.files import read_sound, write_sound
from diffusion_bench.audio.watermark.marking import embed
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.voice import catalog
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.recipes import Recipe, read_recipe
from diffusion_bench.backends.voice.voices import name_of_state, save_voice, voices_folder
from diffusion_bench.records import VoiceRequest
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.uploads import Uploads
from diffusion_bench.ui.voice.fields import for_model, voice_choices, voices_now
from diffusion_bench.ui.voice.files import Spoken, examine, read_settings
from diffusion_bench.ui.voice.held_voice import HELD
from diffusion_bench.ui.voice.restoring import settings_of, told_of, voice_missing
from diffusion_bench.ui.voice.speaking import OWN_RECORDING, Speaking, VoiceView
from diffusion_bench.ui.voice_cloning import (
    SHOWN,
    build,
    chosen_file,
    to_updates,
)

REQUEST = VoiceRequest(
    text="So be it.", voice="ben", sampler="ddpm", steps=9, seed=5, batch=2, speed=1.2
)
FILES = (Spoken("one.wav", "seed 1", "one.json"), Spoken("two.wav", "seed 2", "two.json"))


@pytest.fixture
def page(tmp_path):
    with closing(Jobs()) as jobs, warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        with gr.Blocks(analytics_enabled=False) as page, gr.Tab("Voice cloning") as tab:
            build(Speaking(Engine("cpu"), jobs, Outbox(tmp_path), shared=False), page, tab)
        # Gradio leaves event loops open; see `ui_server.served`.
        asyncio.set_event_loop(None)
        gc.collect()
        yield page


@pytest.fixture
def upload(tmp_path):
    def place(name="me.wav"):
        return write_wav(tmp_path / name, make_reference().samples)

    return place


def handler(page, name):
    """Return the function that the page calls by that name."""
    return next(one.fn for one in page.fns.values() if getattr(one.fn, "__name__", "") == name)


def field_of(page, elem_id):
    return next(one for one in page.blocks.values() if getattr(one, "elem_id", "") == elem_id)


def write_speech(path, recipe, *, marked=True, seconds=5.0):
    samples = speech_like(seconds)
    told = recipe.model_dump(mode="json") if recipe else None
    write_sound(path, embed(samples, 16000) if marked else samples, 16000, recipe=told)
    return str(path)


def test_a_recording_is_chosen_reported_and_needs_consent_of_its_own(page, upload):
    heard, report, voice, consent = handler(page, "on_recording")(str(upload()), None)

    assert "s of speech in 4.0 s" in report
    assert (voice, consent) == (OWN_RECORDING, False)
    assert heard.path.exists()


def test_what_is_said_of_a_recording_follows_the_model_that_is_chosen(page, tmp_path):
    path = write_wav(tmp_path / "long.wav", make_reference(duration_s=20).samples)
    on_recording, on_model = handler(page, "on_recording"), handler(page, "on_another_model")

    heard, report, *_ = on_recording(str(path), None, "echo")
    assert "(at most 15 s)" in report
    assert "20.0 s of speech in 20.0 s" in on_model("pocket-tts", heard)
    assert "at most" not in on_model("pocket-tts", heard)
    assert on_model("echo", heard) == report
    assert on_model("pocket-tts", None) == gr.skip()
    assert "at most" not in on_recording(str(path), None, "pocket-tts")[1]


def test_a_recording_is_deleted_when_it_is_replaced_and_when_it_is_cleared(page, upload):
    on_recording = handler(page, "on_recording")
    first = on_recording(str(upload("first.wav")), None)[0]

    second = on_recording(str(upload("second.wav")), first)[0]
    assert [first.path.exists(), second.path.exists()] == [False, True]
    assert on_recording(None, second)[0] is None
    assert not second.path.exists()


def test_the_same_file_again_is_not_deleted_under_its_own_feet(page, upload):
    on_recording = handler(page, "on_recording")
    first = on_recording(str(upload()), None)[0]

    assert on_recording(str(first.path), first)[0].path.exists()


def test_a_file_that_two_visitors_uploaded_stays_until_both_have_left(page, upload):
    path = str(upload())
    on_recording, on_suspect = handler(page, "on_recording"), handler(page, "on_suspect")
    first, second = (on_recording(path, None)[0] for _ in range(2))

    on_suspect(path)
    first.forget()
    first.forget()
    assert second.up_to(2.0).report.cut_s > 0, "it is read again"
    assert on_recording(None, second)[0] is None
    assert not Path(path).exists()


def test_a_recording_goes_when_the_session_does(page, upload):
    heard = handler(page, "on_recording")(str(upload()), None)[0]
    state = next(
        block
        for block in page.blocks.values()
        if isinstance(block, gr.State) and block.time_to_live < float("inf")
    )
    sessions = StateHolder()
    sessions.set_blocks(page)
    sessions["visitor"][state._id] = heard

    sessions.delete_state("visitor")

    assert not heard.path.exists()


def test_after_a_bad_recording_the_one_before_it_is_not_spoken_with(page, upload):
    on_recording = handler(page, "on_recording")
    first = on_recording(str(upload("first.wav")), None)[0]
    bad = upload("bad.wav")
    bad.write_text("no sound")

    held, report, *_ = on_recording(str(bad), first)

    assert held is None
    assert report.startswith("This recording cannot be used: ")
    assert "not a sound file" in report
    assert not first.path.exists()
    assert not bad.exists()


@pytest.mark.parametrize("label", ["/etc/passwd", "one.wav", "", None])
def test_a_label_from_the_browser_names_no_file_but_the_servers(label, tmp_path):
    there = FILES[1]._replace(path=str(tmp_path / "two.wav"))
    Path(there.path).touch()

    assert chosen_file(label, (FILES[0], there)) == gr.skip()
    assert chosen_file("seed 2", (FILES[0], there)) == there.path


def test_a_candidate_that_is_not_kept_any_more_is_told():
    with pytest.raises(ValueError, match="this speech is not kept any more"):
        chosen_file("seed 1", FILES)


def test_the_player_gets_a_piece_or_is_emptied_shown_and_hidden():
    at = SHOWN.index("live")

    assert to_updates(VoiceView(live=b"RIFF"))[at] == b"RIFF"
    shown, hidden = (to_updates(VoiceView(live=live))[at] for live in (True, False))
    assert (shown["visible"], hidden["visible"]) == (True, False)
    assert shown["value"] is hidden["value"] is None
    assert to_updates(VoiceView())[at] == gr.skip()


def test_out_of_memory_is_advised_for_speech_not_for_pictures(page, monkeypatch):
    def speak(self, values, heard):
        yield VoiceView(status="begun")
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(Speaking, "speak", speak)
    views = handler(page, "on_speak")(heard=None, model="echo", taken="recording")
    next(views)

    said = next(views)[SHOWN.index("status")]

    assert "fewer candidates, 16-bit precision, a smaller model or a shorter recording" in said
    assert "picture" not in said
    with pytest.raises(gr.Error, match="fewer candidates"):
        next(views)


@pytest.fixture
def vector(tmp_path):
    np.save(tmp_path / "me.npy", np.random.default_rng(0).normal(size=512).astype(np.float32))
    return tmp_path / "me.npy"


@pytest.fixture
def tiny_speecht5(tmp_path, monkeypatch):
    """Let the model speecht5 be a tiny one with random weights, in a folder."""
    folder, vocoder = save_tiny_speecht5(tmp_path / "models")
    here = {"source": "folder", "location": str(folder), "companions": (str(vocoder),)}
    rows = catalog.voice_catalog()
    known = rows | {"speecht5": rows["speecht5"].model_copy(update=here)}
    monkeypatch.setattr(catalog, "voice_catalog", lambda: known)


@pytest.mark.usefixtures("tiny_speecht5")
def test_speecht5_speaks_in_the_x_vector_that_was_uploaded(page, vector, monkeypatch):
    monkeypatch.setattr(gr, "Warning", lambda _: None)
    held, voice, consent = handler(page, "on_vector")(str(vector), "speecht5")
    assert (voice, consent) == (OWN_RECORDING, False)
    assert not vector.exists(), "it is somebody's voice, and it has been read"
    asked = {
        **{"text": "Hi you.", "voice": voice, "model": "speecht5", "sampler": "native", "seed": 1},
        **{"steps": 1, "batch": 1, "speed": 1.0, "temperature": 1.0, "guidance_scale": 1.0},
        **{"eta": 0.0, "vocoder": "native", "precision": "fp32", "watermark": True},
        **{"transcript": "", "heard": None, "vector": held, "taken": "x-vector"},
    }
    speak = handler(page, "on_speak")
    with pytest.raises(gr.Error, match="tick the box if that person agreed"):
        list(speak(**asked, consent=False))
    with pytest.raises(gr.Error, match="upload an x-vector first"):
        list(speak(**asked | {"vector": None}, consent=True))

    *_, last = speak(**asked, consent=True)

    assert "real-time factor" in last[SHOWN.index("status")]
    recipe = read_recipe(Path(last[SHOWN.index("audio")]))
    assert recipe.request.voice == name_of_state(held)

    said = asked | {"consent": True}
    kept = {name: said[name] for name in ("consent", "transcript", "model", *HELD)}
    handler(page, "on_save")("mum", **kept)
    *_, again = speak(**asked | {"voice": "mum", "vector": None}, consent=False)
    first, second = (Path(view[SHOWN.index("audio")]) for view in (last, again))
    assert np.array_equal(read_sound(first).samples, read_sound(second).samples)


def test_a_file_that_is_no_x_vector_is_refused_and_the_one_before_it_is_not_spoken_with(
    page, tmp_path, monkeypatch
):
    said = []
    monkeypatch.setattr(gr, "Warning", said.append)
    np.save(tmp_path / "short.npy", np.ones(192, np.float32))
    with (tmp_path / "archive.npy").open("wb") as file:
        np.savez(file, np.ones(512, np.float32))
    (tmp_path / "torn.npy").write_bytes(b"PK\3\4 and no archive")
    on_vector = handler(page, "on_vector")

    for name in ("short.npy", "archive.npy", "torn.npy"):
        assert on_vector(str(tmp_path / name), "speecht5") == (None, gr.skip(), False)
        assert not (tmp_path / name).exists()

    assert said == [
        "short.npy should hold one x-vector of 512 numbers; has (192,)",
        "archive.npy is no .npy or .safetensors file of numbers",
        "torn.npy is no .npy or .safetensors file of numbers",
    ]
    assert on_vector(None, "speecht5") == (None, gr.skip(), False)


def test_an_x_vector_goes_before_the_next_one_is_read_whatever_becomes_of_that(page):
    gone, read = (
        next(one for one in page.fns.values() if one.name == name)
        for name in ("on_vector_gone", "on_vector")
    )

    assert gone.fn() == (None, False)
    assert [place for place, _ in gone.targets] == [field_of(page, "voice-vector")._id]
    assert gone.inputs == [], "nothing that a browser sends can stop it"
    assert [one._id for one in gone.outputs] == [read.outputs[0]._id, read.outputs[2]._id]
    assert read.trigger_after == gone._id
    assert not read.trigger_only_on_success


@pytest.mark.usefixtures("tiny_speecht5")
def test_a_consent_for_one_voice_is_none_for_another_that_is_held_too(page, upload, vector):
    another = next(one for one in page.fns.values() if one.name == "on_another_kind")
    assert (field_of(page, "voice-model")._id, "change") in another.targets
    assert another.outputs[1]._id == field_of(page, "voice-consent")._id
    kind = another.inputs[1].value
    heard, _, voice, _ = handler(page, "on_recording")(str(upload()), None)
    assert another.fn("pocket-tts", kind) == ("recording", gr.skip()), "the same recording"
    kind, _ = another.fn("speecht5", kind)
    held, *_ = handler(page, "on_vector")(str(vector), "speecht5")

    assert another.fn("speecht5", kind) == (kind, gr.skip())
    assert another.fn("no such model", kind) == (gr.skip(), gr.skip())
    kind, consent = another.fn("echo", kind)  # the box was ticked for the x-vector

    asked = {**REQUEST.model_dump(), "voice": voice, "transcript": "", "watermark": True}
    asked |= {"heard": heard, "vector": held}
    with pytest.raises(gr.Error, match="tick the box if that person agreed"):
        list(handler(page, "on_speak")(**asked, consent=consent, taken=kind))
    assert (kind, consent) == ("recording", False)


@pytest.mark.usefixtures("tiny_speecht5")
@pytest.mark.parametrize("button", ["on_speak", "on_save"])
def test_a_click_that_is_faster_than_the_tick_goes_has_no_consent_either(page, upload, button):
    """The model is another one already, and the page has not heard yet that the tick is gone."""
    heard, _, voice, _ = handler(page, "on_recording")(str(upload()), None)
    asked = {"transcript": "", "heard": heard, "vector": None, "model": "echo", "consent": True}
    if button == "on_speak":
        asked = {**REQUEST.model_dump(), "voice": voice, "watermark": True, **asked}
    else:
        asked["name"] = "mum"

    with pytest.raises(gr.Error, match="tick the box if that person agreed"):
        tuple(handler(page, button)(**asked, taken="x-vector"))


def test_an_x_vector_is_asked_for_by_the_models_that_take_one():
    shown = {name: for_model(entry)["vector"] for name, entry in catalog.voice_catalog().items()}

    assert [name for name, update in shown.items() if update["visible"]] == ["speecht5"]


def test_every_update_has_its_field(page):
    speak = next(one for one in page.fns.values() if one.api_name == "speak")

    assert len(to_updates(VoiceView())) == len(speak.outputs)
    files = to_updates(VoiceView(spoken=FILES))[-2]
    assert files == ["one.wav", "one.json", "two.wav", "two.json"]


def test_settings_come_back_from_a_file(tmp_path):
    recipe = Recipe(request=REQUEST, candidate=1, watermark=False)
    path = write_speech(tmp_path / "said.flac", recipe)

    updates = settings_of(read_settings(path, shared=False), shared=False)

    def value(name):
        update = updates[name]
        return update["value"] if isinstance(update, dict) else update

    names = set(VoiceRequest.model_fields)
    assert {name: value(name) for name in names} == REQUEST.model_dump()
    assert updates["watermark"] is False
    assert updates["eta"]["visible"] is False
    assert ("DDPM", "ddpm") in updates["sampler"]["choices"]


def test_a_saved_voice_that_has_changed_since_is_not_chosen_and_that_is_said():
    save_voice("eve", make_reference(120))
    request = REQUEST.model_copy(update={"voice": "eve"})
    entry = find_voice_model("echo")
    recipe = Recipe.of(request, entry, make_reference(120), watermark=True)
    told = settings_of(recipe, shared=False)["voice"]
    assert told["value"] == "eve"
    assert "eve" in [name for _, name in told["choices"]], "the page may be older than the voice"

    save_voice("eve", make_reference(130), replace=True)

    assert settings_of(recipe, shared=False)["voice"]["value"] == OWN_RECORDING
    assert "the voice 'eve' has changed" in voice_missing(recipe, shared=False)


def test_other_weights_than_those_that_spoke_are_told_with_the_settings():
    here = Recipe(request=REQUEST).pinned()
    elsewhere = here.model_copy(update={"model_revision": "sha256:0"})

    assert here.model_revision.startswith("sha256:")
    assert "differently" not in told_of(here, "")
    assert "It may come out differently: model sha256:0 then, " in told_of(elsewhere, "")


def test_the_words_that_were_read_along_come_back_with_the_settings():
    request = REQUEST.model_copy(update={"model": "csm", "sampler": "native"})
    recipe = Recipe(request=request, transcript="What was said.")

    assert settings_of(recipe, shared=False)["transcript"]["value"] == "What was said."


def test_a_file_of_an_x_vector_asks_for_an_x_vector():
    fields = {"voice": "reference:0123456789abcdef", "sampler": "native"}
    recipe = Recipe(request=REQUEST.model_copy(update=fields | {"model": "speecht5"}))

    assert voice_missing(recipe, shared=False).startswith("It was made from an x-vector, which")


@pytest.mark.parametrize("voice", ["reference:0123456789abcdef", "somebody-elses"])
def test_a_voice_that_is_not_in_the_file_is_left_to_be_chosen(voice):
    recipe = Recipe(request=REQUEST.model_copy(update={"voice": voice}))

    assert settings_of(recipe, shared=False)["voice"]["value"] == OWN_RECORDING


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("none", "choose a sound file"),
        ("plain", "carries no settings"),
        ("text", "not a sound file"),
        ("big seed", "larger than a browser can hold"),
        ("model", "unknown voice model"),
        ("damaged", "its recipe is damaged"),
    ],
)
def test_a_file_without_usable_settings_is_refused_in_one_line(tmp_path, kind, said):
    changed = {
        "big seed": {"seed": 2**53 + 1},
        "model": {"model": "nowhere"},
        "damaged": {"steps": -3},
    }.get(kind)
    recipe = Recipe(request=REQUEST)
    if changed:
        recipe = recipe.model_copy(update={"request": REQUEST.model_copy(update=changed)})
    path = write_speech(tmp_path / "a.wav", None if kind == "plain" else recipe, seconds=1.0)
    if kind == "text":
        Path(path).write_text("hello")

    with pytest.raises(ValueError, match=said) as refused:
        read_settings(None if kind == "none" else path, shared=False)

    assert "\n" not in str(refused.value)


def test_a_file_that_was_made_here_is_known_by_its_mark_and_by_its_words(tmp_path):
    path = write_speech(tmp_path / "a.wav", Recipe(request=REQUEST, candidate=1))

    verdict = examine(path, Uploads())

    assert "Marked as made here" in verdict
    assert "AI-generated speech, by echo, ddpm, 9 steps, seed 6, from voice ben" in verdict
    assert not Path(path).exists(), "it may be somebody's recording"


def test_a_mark_without_words_and_words_without_a_mark_are_told_apart(tmp_path):
    marked = examine(write_speech(tmp_path / "a.wav", None), Uploads())
    path = write_speech(tmp_path / "b.wav", Recipe(request=REQUEST), marked=False)
    worded = examine(path, Uploads())

    assert "Marked as made here" in marked
    assert "says nothing about how" in marked
    assert "No mark found" in worded
    assert "proves nothing" in worded
    assert "AI-generated speech, by echo" in worded


def test_what_is_no_sound_is_not_examined_and_not_kept(tmp_path):
    path = tmp_path / "a.wav"
    path.write_text("hello")

    with pytest.raises(ValueError, match="not a sound file"):
        examine(str(path), Uploads())
    assert not path.exists()


@pytest.mark.parametrize(
    ("model", "sampler", "guidance", "speed", "vocoder"),
    [
        ("echo", True, True, True, True),
        ("vibevoice", True, True, False, False),
        ("longcat", False, True, True, False),
        ("csm", False, False, False, False),
        ("pocket-tts", False, False, False, False),
    ],
)
def test_settings_that_a_model_has_not_are_off(model, sampler, guidance, speed, vocoder):
    fields = for_model(find_voice_model(model))

    names = ("sampler", "guidance_scale", "speed", "vocoder")
    found = [fields[name]["interactive"] for name in names]
    assert found == [sampler, guidance, speed, vocoder]
    assert fields["speed"]["value"] == 1
    assert fields["vocoder"]["value"] == "native"


def test_saved_voices_are_told_apart_and_are_their_owners_only():
    for name in ("eve", "adam"):
        save_voice(name, make_reference())

    titles = dict((name, title) for title, name in voice_choices(shared=False))
    assert titles["eve"] == "eve (saved)"
    assert titles["adam"] == "adam (saved)"
    assert {"ada", "ben"} <= set(titles)
    assert "eve" not in [name for _, name in voice_choices(shared=True)]
    assert voices_now("eve", shared=False)["value"] == "eve"
    assert voices_now("eve", shared=True)["value"] == "ada", "a visitor of a shared app has it not"
    assert voices_now(None, shared=False)["value"] == "ada"


def test_a_saved_voice_that_cannot_be_read_is_told_of_beside_the_list():
    save_voice("eve", make_reference())
    assert "Left out" not in voices_now("eve", shared=False)["info"]
    (voices_folder() / "torn.safetensors").write_bytes(b"torn")
    told = voices_now("eve", shared=False)["info"]
    assert re.search(
        r"one that you saved\. Left out: torn\.safetensors cannot be read: .+\.$", told
    )
    assert "Left out" not in voices_now("ada", shared=True)["info"], "it is its owner's"


def test_where_no_recording_can_be_given_none_is_in_the_list():
    names = [name for _, name in voice_choices(shared=False, own=False)]
    assert names[:1] == ["ada"]
    assert OWN_RECORDING not in names
    assert "recording" not in voices_now("ada", shared=False, own=False)["info"]
