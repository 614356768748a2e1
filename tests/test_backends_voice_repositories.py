"""What speech needs of the hub is fetched before it is loaded, whole and no more than that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

import pytest
from hub_server import COMMIT, hub_of
from tiny_judges import save_tiny_whisper
from tiny_scorer import save_tiny_clip
from tiny_vocoders import save_vocos
from tiny_voices_ar import save_tiny_dia
from warm_python import run_warm
from warm_workers import WarmStart

from diffusion_bench.backends import network_files
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.network_files import fetch, read_files, repository_of
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import find_voice_model, voice_catalog
from diffusion_bench.backends.voice.repositories import lacking

OLD = "0" * 40
DIA, CODEC = "nari-labs/Dia-1.6B-0626", "descript/dac_44khz"
TEXT = 'name = "a"\n[voice_axes]\nmodel = ["dia"]\nsampler = ["native"]\n'
FETCH = """
import sys
from diffusion_bench.bench.fetching import fetch_models
from diffusion_bench.bench.sweep import parse_sweep
events = fetch_models(parse_sweep(sys.argv[1]).requests())
heard = []
for event in events:
    title = event.fetching.model.title
    if title not in heard:
        heard.append(title)
    if sys.argv[2:] == ["close"]:
        events.close()
print(*heard, sep="\\n")
"""
LOAD = """
from diffusion_bench.backends.voice.catalog import load_voice_model
print(load_voice_model("dia", device="cpu", precision="fp32").entry.name)
"""
JUDGE = """
from diffusion_bench.backends.voice.judges import SpeechJudge, repositories
from diffusion_bench.backends.network_files import fetch
fetch(repositories()[1])
import huggingface_hub
huggingface_hub.constants.HF_HUB_OFFLINE = True
print(type(SpeechJudge.load()).__name__)
"""
LOOK = """
import sys
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.voice.judges import SpeechJudge
from diffusion_bench.backends.voice.vocoders import load_vocoder
at = sys.argv[1]
load_vocoder(f"tiny/vocos{at}", device="cpu")
SpeechJudge.load(f"tiny/whisper{at}")
print(ClipScorer.load(f"tiny/clip{at}", device="cpu").digest)
"""
CLONE = ["-m", "diffusion_bench", "clone", "--device", "cpu", "--text", "Hello there."]


class Python(Protocol):
    def __call__(
        self, address: str | None, *arguments: object
    ) -> subprocess.CompletedProcess[str]: ...


def environment(address: str | None) -> dict[str, str]:
    """Return that of a program with a hub at an address, or without a network."""
    online = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_ENDPOINT": address or ""}
    return {**os.environ, **(online if address else {"HF_HUB_OFFLINE": "1"})}


def fresh_python(address: str | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python from nothing."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=250,
        env=environment(address),
    )


@pytest.fixture
def python(warm_start: WarmStart) -> Python:
    """Return how to run a program in a process of its own, which has the libraries imported."""

    def run(address: str | None, *arguments: object) -> subprocess.CompletedProcess[str]:
        return run_warm(warm_start, *arguments, env=environment(address))

    return run


@pytest.fixture(scope="module")
def dia(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    model, codec = save_tiny_dia(tmp_path_factory.mktemp("dia"))
    (model / "original.pth").write_bytes(bytes(1000))
    return {DIA: model, CODEC: codec}


@pytest.mark.slow
def test_a_sweep_fetches_a_voice_model_and_its_codec_and_loading_needs_no_network(
    dia: dict[str, Path], python: Python
) -> None:
    with hub_of(dia) as address:
        done = python(address, "-c", FETCH, TEXT)
    assert done.stdout.splitlines() == [voice_catalog()["dia"].title, CODEC], done.stderr
    assert not list(Path(os.environ["HF_HOME"]).rglob("*.pth"))
    loaded = fresh_python(None, "-c", LOAD)
    assert loaded.stdout == "dia\n", loaded.stderr
    assert python(None, "-c", FETCH, TEXT).stdout == "\n", "what is here asks nobody"


@pytest.mark.slow
def test_a_voice_model_that_is_here_is_loaded_as_it_is_though_the_hub_has_a_newer_commit(
    dia: dict[str, Path], python: Python
) -> None:
    hub = Path(os.environ["HF_HOME"]) / "hub"
    with hub_of(dia) as address:
        assert python(address, "-c", FETCH, TEXT).returncode == 0
        for folder in hub.glob("models--*"):  # as if what is here were of a commit before
            (folder / "snapshots" / COMMIT).rename(folder / "snapshots" / OLD)
            (folder / "refs" / "main").write_text(OLD)
        loaded = python(address, "-c", LOAD)
    assert loaded.stdout.strip() == "dia", loaded.stderr
    assert {path.name for path in hub.glob("models--*/snapshots/*")} == {OLD}


@pytest.mark.slow
def test_a_sweep_that_is_given_up_stops_the_download_of_a_voice(
    dia: dict[str, Path], python: Python
) -> None:
    with hub_of(dia) as address:
        done = python(address, "-c", FETCH, TEXT, "close")
    assert done.stdout.splitlines() == [voice_catalog()["dia"].title], done.stderr
    assert CODEC.partition("/")[2] not in str(list(Path(os.environ["HF_HOME"]).rglob("*")))


@pytest.mark.slow
def test_a_judge_is_loaded_from_what_was_fetched(tmp_path: Path, python: Python) -> None:
    with hub_of({"openai/whisper-tiny.en": save_tiny_whisper(tmp_path)}) as address:
        done = python(address, "-c", JUDGE)
    assert done.stdout == "SpeechJudge\n", done.stderr


@pytest.mark.slow
def test_a_vocoder_a_judge_and_a_scorer_are_those_that_are_here_or_of_the_commit_in_the_name(
    tmp_path: Path, python: Python
) -> None:
    hub = Path(os.environ["HF_HOME"]) / "hub"
    (tmp_path / "whisper").mkdir()
    made = {
        "tiny/vocos": save_vocos(tmp_path / "vocos"),
        "tiny/whisper": save_tiny_whisper(tmp_path / "whisper"),
        "tiny/clip": save_tiny_clip(tmp_path / "clip"),
    }
    with hub_of(made) as address:
        first = python(address, "-c", LOOK, "")
        assert first.stdout.strip() == COMMIT, first.stderr
        for folder in hub.glob("models--*"):  # as if what is here were of a commit before
            (folder / "snapshots" / COMMIT).rename(folder / "snapshots" / OLD)
            (folder / "refs" / "main").write_text(OLD)
        again = python(address, "-c", LOOK, "")
        assert again.stdout.strip() == OLD, again.stderr
        assert {path.name for path in hub.glob("models--*/snapshots/*")} == {OLD}
        pinned = python(address, "-c", LOOK, f"@{COMMIT}")
        assert pinned.stdout.strip() == COMMIT, pinned.stderr
    assert len(list(hub.glob("models--*/snapshots/*"))) == 2 * len(made)
    assert python(None, "-c", LOOK, f"@{COMMIT}").stdout == f"{COMMIT}\n", "no network is needed"


def test_weights_are_fetched_last_so_that_all_else_is_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[list[str]] = []
    names = ["model.safetensors", "config.json", "pytorch_model.bin"]
    listed = [SimpleNamespace(filename=name) for name in names]
    monkeypatch.setattr(network_files, "asking", lambda *_: (listed, None))
    monkeypatch.setattr(
        network_files,
        "fetch_files",
        lambda _, files, *__: calls.append([f.filename for f in files]),
    )
    fetch(repository_of("tiny/judge"))
    assert calls == [["config.json"], ["model.safetensors"]]
    del listed[0]
    for kind, ending in (
        ("judge", "or name a commit that has them"),
        ("voice model", "pretrained"),
    ):
        with pytest.raises(
            ModelUnavailable, match=rf"^{kind} 'tiny/judge' has its weights in pickles .*{ending}$"
        ):
            fetch(repository_of("tiny/judge", kind=kind))


@pytest.mark.slow
def test_what_the_hub_does_not_hand_out_is_one_line_of_clone(
    tmp_path: Path, python: Python
) -> None:
    (tmp_path / "config.json").write_text("{}")
    gated = frozenset({"vibevoice/VibeVoice-1.5B-hf"})
    with hub_of(dict.fromkeys(gated, tmp_path), gated=gated) as address:
        refused = python(address, *CLONE, "--model", "vibevoice")
        absent = python(address, *CLONE, "--vocoder", "nobody/nothing")
    assert refused.returncode == absent.returncode == 2
    assert refused.stderr.startswith("error: VibeVoice 1.5B (hub, 24 kHz, any sampler) is gated")
    assert absent.stderr.startswith("error: vocoder 'nobody/nothing' is not on the hub, or is priv")


CSM = ["config.json", "ckpt.pt", "model.safetensors", "prompts/a.wav", "README.md"]
SHARDS = ["transformers-00001-of-00002.safetensors", "transformers-00002-of-00002.safetensors"]
PARTS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


@pytest.mark.parametrize(
    ("names", "settings", "pickles", "wanted"),
    [
        (["vocab.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5"], {}, True, 2),
        (["a.json", *PARTS, "optimizer.bin"], {}, True, 3),
        (["config.yaml", "pytorch_model.bin", "training_args.bin"], {}, True, 2),
        (["config.json", "pytorch_model.bin"], {}, False, 1),
    ],
)
def test_weights_are_safetensors_or_pickles_where_those_are_read(
    names: list[str], settings: dict[str, str], pickles: bool, wanted: int
) -> None:
    assert read_files(names, None, pickles=pickles) == names[:wanted]


def test_the_weights_that_a_config_names_are_fetched_and_not_those_of_another_program(
    tmp_path: Path,
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"transformers_weights": "transformers.safetensors.index.json"}))
    names = [*CSM, *SHARDS, "transformers.safetensors.index.json"]
    wanted = {"config.json", *SHARDS, "transformers.safetensors.index.json"}
    found = read_files(names, config, pickles=False)
    assert sorted(found) == sorted(wanted)


def test_of_tortoises_own_files_two_are_fetched() -> None:
    names = [f".models/{name}.pth" for name in ("autoregressive", "diffusion_decoder", "mel_norms")]
    assert read_files(names, None, pickles=True) == names[1:]


def test_a_vocoder_is_fetched_only_for_a_model_that_takes_one_and_never_a_folder(
    tmp_path: Path,
) -> None:
    def places(entry: VoiceEntry, vocoder: str) -> Iterator[str]:
        return (each.location for each in lacking(entry, vocoder))

    echo, dia = voice_catalog()["echo"], voice_catalog()["dia"]
    assert list(places(echo, "vocos")) == ["charactr/vocos-mel-24khz"]
    assert list(places(echo, "somebody/vocoder")) == ["somebody/vocoder"]
    for own in ("native", "griffin-lim", "echo", str(tmp_path)):
        assert list(places(echo, own)) == []
    assert list(places(dia, "vocos")) == [DIA, CODEC]
    assert repository_of(str(tmp_path)).source == "folder"


@pytest.mark.parametrize("kind", ["tortoise", "pocket_tts", "dia"])
def test_of_a_folder_only_what_it_neither_holds_nor_names_is_fetched(
    kind: str, tmp_path: Path
) -> None:
    if kind == "tortoise":
        (tmp_path / "clvp").mkdir()
        (tmp_path / "clvp" / "config.json").touch()
    else:
        (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    entry = find_voice_model(str(tmp_path))
    assert entry.family == kind
    assert [each.location for each in lacking(entry)] == ([CODEC] if kind == "dia" else [])
