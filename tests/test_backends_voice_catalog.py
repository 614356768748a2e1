"""Voice models by name, folder and hub id; what is said of each; how a name that is none fails."""

from __future__ import annotations

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from huggingface_hub import constants
from tiny_voices_ar import save_tiny_csm

from diffusion_bench.backends.catalog import MODELS_FOLDER, ModelUnavailable, UnknownModel
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceModel
from diffusion_bench.backends.voice.candidates import refuse_unfit
from diffusion_bench.backends.voice.catalog import (
    FAMILIES,
    family_of,
    find_voice_model,
    is_bundled,
    load_voice_model,
    voice_catalog,
)
from diffusion_bench.backends.voice.describe import describe
from diffusion_bench.backends.voice.facts import voice_model_facts
from diffusion_bench.backends.voice.repositories import is_cached, lacking
from diffusion_bench.bench.axes import VoiceAxes
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.records import BUNDLED_VOICE_MODEL, VoiceRequest

REVISION = "0123456789abcdef0123456789abcdef01234567"
NAMES = list(voice_catalog())


@pytest.fixture(scope="module")
def tiny_csm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_csm(tmp_path_factory.mktemp("made") / "csm")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache of the hub, in use."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def download(cache: Path, hub_id: str, *files: str | Path) -> Path:
    """Leave files in a cache as a download would, and return their folder."""
    place = cache / f"models--{hub_id.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(REVISION)
    folder = place / "snapshots" / REVISION
    folder.mkdir(parents=True)
    for file in files:
        if isinstance(file, Path):
            shutil.copy(file, folder)
        else:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()
    return folder


def entry_like(**changes: object) -> VoiceEntry:
    return voice_catalog()["csm"].model_copy(update=changes)


def test_the_bundled_model_comes_first() -> None:
    first = next(iter(voice_catalog().values()))
    assert (first.name, first.source) == (BUNDLED_VOICE_MODEL, "bundled")
    assert first.location == str(MODELS_FOLDER / BUNDLED_VOICE_MODEL)


def test_a_sweep_and_a_bare_request_speak_as_the_bundled_model_usually_does() -> None:
    usual = find_voice_model(BUNDLED_VOICE_MODEL)
    (swept, *_) = Sweep(name="speech", voice_axes=VoiceAxes()).requests()
    for said in (VoiceRequest(text="Hi."), swept):
        assert (said.temperature, said.steps) == (usual.temperature, usual.steps)


@pytest.mark.parametrize("name", NAMES)
def test_every_model_can_be_asked_for_with_its_usual_settings(name: str) -> None:
    entry = find_voice_model(name)
    assert entry == voice_catalog()[name]
    assert entry.family in FAMILIES
    VoiceRequest(
        text="Hello.",
        model=name,
        sampler=entry.samplers[0],
        steps=entry.steps,
        guidance_scale=entry.guidance_scale,
        temperature=entry.temperature,
    )
    if entry.source == "hub":
        assert find_voice_model(entry.location).location == entry.location


@pytest.mark.parametrize("family", FAMILIES)
def test_the_class_of_a_family_is_where_the_table_says(family: str) -> None:
    facts = FAMILIES[family]
    assert callable(getattr(import_module(facts.module), facts.name).load)
    assert any(entry.family == family for entry in voice_catalog().values())


@pytest.mark.parametrize("name", NAMES)
def test_a_model_streams_if_its_class_does(name: str) -> None:
    entry = find_voice_model(name)
    family = FAMILIES[entry.family]
    assert entry.streams == hasattr(
        getattr(import_module(family.module), family.name), "speak_stream"
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_a_model_has_can_be_asked_for_and_nothing_else(name: str) -> None:
    entry = find_voice_model(name)
    request = VoiceRequest(text="Hi.", model=name, sampler=entry.samplers[0])
    asked = {
        "has_guidance": {"guidance_scale": 2.0},
        "has_speed": {"speed": 1.5},
        "has_vocoders": {"vocoder": "griffin-lim"},
    }
    for field, changes in asked.items():
        changed = request.model_copy(update=changes)
        if getattr(entry, field):
            refuse_unfit(entry, changed)
        else:
            with pytest.raises(ValueError, match=rf"^{name} .*; leave .* at"):
                refuse_unfit(entry, changed)


def test_every_preset_of_tortoise_is_offered() -> None:
    from diffusion_bench.backends.tortoise.pipeline import SAMPLES

    rows = [entry for entry in voice_catalog().values() if entry.family == "tortoise"]
    assert [entry.preset for entry in rows] == ["fast", "ultra_fast", "standard", "high_quality"]
    assert {entry.preset for entry in rows} == set(SAMPLES)


@pytest.mark.parametrize(
    "name", ["ecko", "", " ", "a/b/c", "a b/c", "~nobody-here", "x" * 400, "a\0b"]
)
def test_a_name_that_is_no_model_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownModel, match=r"known: echo, .*tortoise, .*; or give a model folder"):
        find_voice_model(name)


def test_a_folder_is_of_the_family_that_its_own_files_name(tmp_path: Path) -> None:
    for family, facts in FAMILIES.items():
        for mark in facts.marks:
            folder = tmp_path / mark
            folder.mkdir()
            pipeline = mark.endswith("Pipeline")
            file = "model_index.json" if pipeline else "config.json"
            field = "_class_name" if pipeline else "model_type"
            (folder / file).write_text(json.dumps({field: mark}), encoding="utf-8")
            entry = find_voice_model(str(folder))
            assert (entry.family, entry.source, entry.title) == (family, "folder", mark)
            assert entry.location == entry.name == str(folder)
            assert entry.licence == "see the model's own card"
            assert not entry.gated
    (tmp_path / "tortoise" / "clvp").mkdir(parents=True)
    (tmp_path / "tortoise" / "clvp" / "config.json").touch()
    assert find_voice_model(str(tmp_path / "tortoise")).family == "tortoise"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"model_type": 3}', '{"model_type": "llama"}'])
def test_a_folder_of_another_kind_says_which_are_known(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, encoding="utf-8")
    assert family_of(tmp_path) is None
    with pytest.raises(UnknownModel, match=r"of a kind that is known here: echo, pocket_tts"):
        find_voice_model(str(tmp_path))


def test_a_hub_id_is_known_once_its_files_are_here(hub_cache: Path, tiny_csm: Path) -> None:
    with pytest.raises(UnknownModel, match=r"cannot tell .*`hf download tiny/csm`"):
        find_voice_model("tiny/csm")
    download(hub_cache, "tiny/csm", *tiny_csm.iterdir())
    entry = find_voice_model("tiny/csm")
    assert (entry.family, entry.source, entry.location) == ("csm", "hub", "tiny/csm")
    assert is_cached(entry)


def test_a_voice_model_can_be_named_with_its_commit_as_one_of_pictures_can(
    hub_cache: Path, tiny_csm: Path
) -> None:
    folder = download(hub_cache, "tiny/csm", *tiny_csm.iterdir())
    (hub_cache / "models--tiny--csm" / "refs" / "main").write_text("f" * 40)  # a newer one
    name = f"tiny/csm@{REVISION}"
    entry = find_voice_model(name)
    assert (entry.family, entry.name, is_cached(entry)) == ("csm", name, True)
    assert load_voice_model(name, device="cpu", precision="fp32").entry.location == str(folder)
    assert voice_model_facts(name).revision == REVISION
    for other, message in (
        (f"tiny/csm@{'0' * 40}", rf"`hf download tiny/csm --revision {'0' * 40}`"),
        ("tiny/csm@main", "stands a whole commit"),
    ):
        with pytest.raises(UnknownModel, match=message):
            find_voice_model(other)


def test_a_row_of_the_catalog_can_be_pinned_and_what_is_fetched_is_that_commit(
    hub_cache: Path,
) -> None:
    row = voice_catalog()["csm"]
    pinned = find_voice_model(f"{row.location}@{REVISION}")
    assert (pinned.family, pinned.licence, pinned.gated) == (row.family, row.licence, row.gated)
    (needed,) = lacking(pinned)
    assert (needed.location, needed.revision) == (row.location, REVISION)
    assert f"huggingface.co/{row.location}:" in describe(pinned)[2]
    with pytest.raises(ModelUnavailable, match=f"--revision {REVISION}`"):
        load_voice_model(pinned.name, device="cpu", precision="fp32")


def test_a_folder_is_loaded_by_its_family(tiny_csm: Path) -> None:
    model = load_voice_model(str(tiny_csm), device="cpu", precision="fp32")
    assert isinstance(model, VoiceModel)
    assert model.entry == find_voice_model(str(tiny_csm))


def test_a_model_that_is_here_and_damaged_is_not_said_to_be_elsewhere(
    hub_cache: Path, tiny_csm: Path
) -> None:
    weights = download(hub_cache, "tiny/csm", *tiny_csm.iterdir()) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ModelUnavailable, match=r"^voice model 'tiny/csm' cannot be loaded: .+$"):
        load_voice_model("tiny/csm", device="cpu", precision="fp32")


def test_a_bundled_model_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    entry = voice_catalog()["echo"].model_copy(update={"location": str(tmp_path)})
    assert not is_bundled(entry)
    with pytest.raises(ModelUnavailable, match=r"^the bundled voice model 'echo' is not in .+$"):
        load_voice_model(entry, device="cpu", precision="fp32")
    assert describe(entry)[2].startswith("Missing:")


@pytest.mark.parametrize("name", [name for name in NAMES if voice_catalog()[name].source == "hub"])
def test_a_hub_model_that_is_not_here_is_one_line(name: str, hub_cache: Path) -> None:
    with pytest.raises(ModelUnavailable) as caught:
        load_voice_model(name, device="cpu", precision="fp32")
    assert len(str(caught.value).splitlines()) == 1
    if voice_catalog()[name].gated:
        assert "accept the terms" in str(caught.value)


def test_what_a_model_needs_is_said_before_it_is_chosen() -> None:
    first = {name: describe(entry)[0] for name, entry in voice_catalog().items()}
    assert first["vibevoice"] == "Needs 1 to 30 s of one voice; no transcript"
    assert first["dia"] == ("Needs 1 to 15 s of one voice and the transcript of what is said in it")
    assert "clones no recording" in first["speecht5"]


@pytest.mark.parametrize(
    ("licence", "meaning"),
    [
        ("MIT", "; commercial use allowed"),
        ("Apache-2.0", "; commercial use allowed"),
        ("CC-BY-4.0 (weights), MIT (code)", "; commercial use allowed, with credit"),
        ("CC-BY-NC-4.0", "; no commercial use"),
        ("CC-BY-NC-SA-4.0", "; no commercial use"),
        ("MITRE's own", "; read it before commercial use"),
        ("see the model's own card", "; read it before commercial use"),
    ],
)
def test_a_licence_is_judged_only_where_it_is_known(licence: str, meaning: str) -> None:
    said = describe(entry_like(licence=licence))[1]
    assert said.startswith(f"Licence: {licence}{meaning}")


def test_a_size_that_is_not_known_is_not_guessed(hub_cache: Path) -> None:
    def size(**changes: object) -> str:
        return describe(entry_like(gated=False, **changes))[2].partition(": ")[2]

    assert size(download_gib=5.04) == "5.0 GiB"
    assert size(parameters_m=None) == "size not known"
    assert size(parameters_m=1024) == (
        "size not known; its 1024 million parameters are 1.9 GiB in 16 bits each, 3.8 GiB in 32"
    )


def test_gating_is_said_until_the_weights_are_here(hub_cache: Path) -> None:
    entry = voice_catalog()["csm"]
    assert "gated: accept its terms at huggingface.co/sesame/csm-1b" in describe(entry)[2]
    download(hub_cache, entry.location, "model.safetensors")
    assert describe(entry)[2] == "On this machine already, from huggingface.co/sesame/csm-1b"


def test_weights_count_as_here_only_when_all_parts_and_companions_are(hub_cache: Path) -> None:
    entry = voice_catalog()["dia"]
    assert not is_cached(entry)
    folder = download(hub_cache, entry.location, "config.json", "model-00001-of-00002.safetensors")
    download(hub_cache, entry.companions[0], "model.safetensors")
    assert not is_cached(entry)
    (folder / "model-00002-of-00002.safetensors").touch()
    assert is_cached(entry)
    shutil.rmtree(hub_cache / "models--descript--dac_44khz")
    assert not is_cached(entry)


def test_pickles_count_as_here_for_models_that_are_published_so(hub_cache: Path) -> None:
    for name, is_here in (("speecht5", True), ("dia", False)):
        entry = voice_catalog()[name]
        for place in (entry.location, *entry.companions):
            download(hub_cache, place, "config.json", "pytorch_model.bin")
        assert is_cached(entry) is is_here


def test_a_pipeline_of_speech_is_here_only_with_the_weights_of_each_of_its_networks(
    hub_cache: Path,
) -> None:
    entry = voice_catalog()["longcat"]
    weights = [f"{part}/diffusion_pytorch_model.safetensors" for part in ("vae", "transformer")]
    settings = [f"{part}/config.json" for part in ("vae", "transformer")]
    folder = download(hub_cache, entry.location, *settings, weights[0])
    index = {"vae": ["diffusers", "LongCatAudioDiTVae"], "transformer": ["diffusers", "Other"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    assert not is_cached(entry)
    (folder / weights[1]).touch()
    assert is_cached(entry)


def test_why_there_is_no_other_sampler_is_said() -> None:
    said = {name: describe(entry)[4] for name, entry in voice_catalog().items()}
    assert "denoises nothing" in said["csm"]
    assert "straight flows" in said["longcat"]
    assert said["vibevoice"].startswith("Samplers: dpm++, ddim, ddpm, unipc, usually 10 steps")
    alone = [name for name, entry in voice_catalog().items() if entry.samplers == ("native",)]
    assert alone == [name for name, line in said.items() if line.startswith("Has its own")]
