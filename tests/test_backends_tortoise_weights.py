"""Loading: folders as the libraries save them, the original's files, and whatever is wrong."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_tortoise import MEL_NORMS, WIDTH, save_tiny_tortoise, tiny_clvp, tiny_decoder
from transformers import ClvpFeatureExtractor

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.tortoise.weights import (
    Parts,
    load_decoder_file,
    load_parts,
)

WEIGHTS = "diffusion_pytorch_model.safetensors"
PUBLISHED = ("susnato/clvp_dev", "dg845/univnet-dev")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_tortoise(tmp_path_factory.mktemp("tortoise"))


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """Return a copy to break."""
    return Path(shutil.copytree(saved, tmp_path / "tortoise"))


def load(location: Path | str, *companions: str) -> Parts:
    return load_parts(str(location), companions, device="cpu", dtype=torch.float32)


def complaint(work: Callable[[], object]) -> str:
    with pytest.raises(ModelUnavailable) as caught:
        work()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    mine, other = ours.state_dict(), theirs.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[k], other[k]) for k in mine)


def test_a_folder_of_saved_pieces_is_loaded_whole(saved: Path) -> None:
    parts = load(saved)
    assert same(parts.decoder, tiny_decoder())
    assert same(parts.clvp, tiny_clvp())
    assert parts.mel_norms.tolist() == pytest.approx(MEL_NORMS)
    assert parts.tokenizer("the")["input_ids"] == [3, 8]
    assert not any(part.training for part in (parts.clvp, parts.univnet, parts.decoder))


def test_what_is_slow_takes_the_precision(saved: Path) -> None:
    parts = load_parts(str(saved), device="cpu", dtype=torch.bfloat16)
    clvp = parts.clvp
    assert {clvp.speech_decoder_model.dtype, parts.decoder.dtype} == {torch.bfloat16}
    assert {clvp.speech_encoder_model.dtype, parts.univnet.dtype} == {torch.float32}


@pytest.mark.parametrize("place", ["", ".models"])
def test_the_originals_decoder_file_is_loaded_by_name(folder: Path, place: str) -> None:
    shutil.rmtree(folder / "decoder")
    (folder / place).mkdir(exist_ok=True)
    torch.save(tiny_decoder(seed=7).state_dict(), folder / place / "diffusion_decoder.pth")
    assert same(load(folder).decoder, tiny_decoder(seed=7))


def test_its_sizes_are_read_from_its_tensors(tmp_path: Path) -> None:
    shape = {"num_layers": 3, "num_heads": 4, "latent_channels": 48, "num_codes": 9}
    torch.save(tiny_decoder(**shape).state_dict(), tmp_path / "diffusion_decoder.pth")
    config = load_decoder_file(tmp_path / "diffusion_decoder.pth").config
    assert {name: config[name] for name in shape} == shape
    assert (config["model_channels"], config["mel_channels"]) == (WIDTH, 100)


def test_mel_norms_come_from_the_originals_file_where_the_settings_have_none(folder: Path) -> None:
    ClvpFeatureExtractor().save_pretrained(folder / "clvp")
    torch.save(torch.full((80,), 3.0), folder / "mel_norms.pth")
    assert load(folder).mel_norms.tolist() == [3.0] * 80


@pytest.mark.parametrize("piece", ["clvp", "univnet"])
def test_a_missing_folder_is_named(folder: Path, piece: str) -> None:
    shutil.rmtree(folder / piece)
    assert f"no {piece}/" in complaint(lambda: load(folder))


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ("decoder", "diffusion_decoder.pth"),
        ("clvp/vocab.json", "vocab.json"),
        ("clvp/merges.txt", "merges.txt"),
        ("clvp/config.json", "Clvp"),
        ("clvp/model.safetensors", "Clvp"),
        ("clvp/preprocessor_config.json", "mel_norms.pth"),
        ("univnet/model.safetensors", "UnivNet"),
        (f"decoder/{WEIGHTS}", "DiffusionDecoder"),
        ("decoder/config.json", "DiffusionDecoder"),
    ],
)
def test_a_missing_file_is_named(folder: Path, gone: str, named: str) -> None:
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert named in complaint(lambda: load(folder))


@pytest.mark.parametrize("weights", ["clvp/model.safetensors", f"decoder/{WEIGHTS}"])
def test_saved_weights_that_lack_a_tensor_are_refused(folder: Path, weights: str) -> None:
    state = load_file(folder / weights)
    lost = sorted(name for name in state if "qkv" in name or "k_proj" in name)[0]
    save_file({k: v for k, v in state.items() if k != lost}, folder / weights, {"format": "pt"})
    assert lost in complaint(lambda: load(folder))


@pytest.mark.parametrize("weights", ["univnet/model.safetensors", f"decoder/{WEIGHTS}"])
def test_torn_weights_are_refused(folder: Path, weights: str) -> None:
    path = folder / weights
    path.write_bytes(path.read_bytes()[:1000])
    assert "cannot be loaded" in complaint(lambda: load(folder))


def _without(name: str) -> Callable[[dict], object]:
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("out.2.bias"), "no out.2.bias"),
        (_without("inp_block.weight"), "no inp_block.weight"),
        (lambda state: state | {"extra": torch.zeros(1)}, "holds extra"),
        (
            lambda state: state | {"layers.1.attn.qkv.weight": torch.zeros(9, WIDTH, 1)},
            "layers.1.attn.qkv.weight is (9, 32, 1) and not (96, 32, 1)",
        ),
        (lambda state: {}, "no inp_block.weight"),
        (lambda state: list(state.values()), "no mapping"),
        (lambda state: {"model": state}, "no mapping"),
        (lambda state: state | {"inp_block.weight": torch.zeros(3)}, "inp_block.weight"),
    ],
)
def test_a_decoder_file_of_other_tensors_says_which(
    tmp_path: Path, change: Callable[[dict], object], said: str
) -> None:
    path = tmp_path / "diffusion_decoder.pth"
    torch.save(change(dict(tiny_decoder().state_dict())), path)
    assert said in complaint(lambda: load_decoder_file(path))


def test_many_wrong_tensors_are_counted_not_listed(tmp_path: Path) -> None:
    path = tmp_path / "diffusion_decoder.pth"
    state = tiny_decoder().state_dict()
    torch.save({k: v for k, v in state.items() if "contextual" not in k}, path)
    said = complaint(lambda: load_decoder_file(path))
    assert "contextual_embedder.0.weight" in said
    assert "and 36 more" in said


class _Runs:
    """A pickle that makes a folder when it is read by a loader that runs what it is told."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.made),)


def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path: Path) -> None:
    path, made = tmp_path / "diffusion_decoder.pth", tmp_path / "made"
    torch.save({"inp_block.weight": _Runs(made)}, path)
    assert "cannot be loaded" in complaint(lambda: load_decoder_file(path))
    assert not made.exists()


@pytest.mark.parametrize("content", [b"", b"no weights at all", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "diffusion_decoder.pth"
    path.write_bytes(content)
    assert "diffusion_decoder.pth" in complaint(lambda: load_decoder_file(path))


@pytest.mark.parametrize("norms", [[1.0] * 79, [1.0] * 79 + [0.0], "loud"])
def test_wrong_mel_norms_are_refused(folder: Path, norms: object) -> None:
    ClvpFeatureExtractor().save_pretrained(folder / "clvp")
    norms = torch.tensor(norms) if isinstance(norms, list) else norms
    torch.save(norms, folder / "mel_norms.pth")
    assert "mel norms" in complaint(lambda: load(folder))


def test_a_place_that_is_nowhere_is_one_line(tmp_path: Path) -> None:
    assert "neither a folder nor a hub id" in complaint(lambda: load(tmp_path / "no" / "such"))


def test_a_hub_model_that_is_not_on_this_machine_is_one_line() -> None:
    said = complaint(lambda: load("jbetker/tortoise-tts-v2", *PUBLISHED))
    assert "susnato/clvp_dev" in said


def cache(home: Path, repository: str, files: Path) -> None:
    """Put files into a hub cache as a download would have left them."""
    folder = home / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    shutil.copytree(files, folder / "snapshots" / ("0" * 40))


@pytest.mark.parametrize("place", ["", ".models"])
def test_from_the_hub_each_piece_comes_from_its_own_repository(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    home, original = tmp_path / "hub", tmp_path / "original"
    (original / place).mkdir(parents=True)
    torch.save(tiny_decoder(seed=7).state_dict(), original / place / "diffusion_decoder.pth")
    cache(home, "susnato/clvp_dev", saved / "clvp")
    cache(home, "dg845/univnet-dev", saved / "univnet")
    cache(home, "someone/tortoise", original)
    # Read from the environment when the library is imported, so not what the test's HF_HOME says.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home))
    monkeypatch.setattr("transformers.utils.hub.constants.HF_HUB_CACHE", str(home))
    parts = load("someone/tortoise", *PUBLISHED)
    assert same(parts.decoder, tiny_decoder(seed=7))
    assert same(parts.clvp, tiny_clvp())


def test_from_folders_of_the_cache_nothing_is_asked_of_the_hub(saved: Path, tmp_path: Path) -> None:
    """As `as_here` hands them out of a cache that has all: no newer commit may be fetched."""
    original = tmp_path / ".models"
    original.mkdir()
    torch.save(tiny_decoder(seed=7).state_dict(), original / "diffusion_decoder.pth")
    parts = load(tmp_path, str(saved / "clvp"), str(saved / "univnet"))
    assert same(parts.decoder, tiny_decoder(seed=7))
    assert same(parts.clvp, tiny_clvp())
