"""`auto` takes the fastest way that draws the same picture, remembers it, and trusts no file."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from at_once import told_at_once
from PIL import Image
from tiny_models import save_tiny_sd, save_tiny_sdxl

from diffusion_bench.backends.device import cache_folder
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.loading import load_pipeline
from diffusion_bench.backends.speed import candidates as candidates_module
from diffusion_bench.backends.speed import choosing as choosing_module
from diffusion_bench.backends.speed import packing
from diffusion_bench.backends.speed.candidates import candidates, needed_for_memory
from diffusion_bench.backends.speed.choosing import (
    Chosen,
    choice_key,
    choose,
    measure_speeds,
)
from diffusion_bench.backends.speed.remembered import MAX_CHOICES, NAME, Choice, recall, remember
from diffusion_bench.backends.split_model import check_split_speed
from diffusion_bench.records import (
    BUNDLED_SIDE,
    Generation,
    ImageRequest,
    Memory,
    PrecisionName,
    Speed,
    Stages,
    parse_speed,
)

MIB = 2**20
ANY = (0.0, math.inf)  # free memory
PLAIN, PACKED, BF16 = Speed(), Speed(packed=True), Speed(compute="bf16")
REQUEST = ImageRequest(prompt="a cat", speed="auto")


class Scripted:
    """Draws grey pictures as fast and as grey as told for each speed, and counts."""

    def __init__(self, wall_s: dict[Speed, float], grey: dict[Speed, int] | None = None) -> None:
        self.wall_s = wall_s
        self.grey = grey or {}
        self.drawn: list[ImageRequest] = []

    def __call__(self, request: ImageRequest) -> Scripted:
        return self

    def generate(self, request: ImageRequest) -> Generation:
        self.drawn.append(request)
        assert isinstance(request.speed, Speed)
        level = self.grey.get(request.speed, 100)
        return Generation(
            request=request,
            images=(Image.new("RGB", (8, 8), (level,) * 3),),
            device="cpu",
            wall_s=self.wall_s[request.speed],
            stages=Stages(text_encoder_s=0, denoising_s=0, decoder_s=0, other_s=0),
            step_s=(),
            memory=Memory(),
        )


def chosen(wall_s: tuple[float, float, float], grey: dict[Speed, int] | None = None) -> str:
    speeds = (PLAIN, PACKED, BF16)
    # Long beside what a thread may wait for a core here, which is taken off.
    times = dict(zip(speeds, (1000 * each for each in wall_s), strict=True))
    return measure_speeds(REQUEST, speeds, Scripted(times, grey)).speed


def test_the_fastest_is_chosen() -> None:
    assert chosen((1.0, 0.8, 0.5)) == "bf16"
    assert chosen((1.0, 0.5, 0.8)) == "packed"
    assert chosen((0.5, 0.8, 1.0)) == "plain"


def test_a_gain_that_may_be_noise_changes_nothing() -> None:
    assert chosen((1.0, 0.99, 2.0)) == "plain"


def test_less_exact_numbers_must_earn_their_place() -> None:
    assert chosen((1.0, 0.80, 0.78)) == "packed"
    assert chosen((1.0, 0.80, 0.60)) == "bf16"


def test_a_speed_that_draws_another_picture_is_not_chosen() -> None:
    assert chosen((1.0, 0.8, 0.1), {BF16: 101}) == "bf16"
    assert chosen((1.0, 0.8, 0.1), {BF16: 103}) == "packed"


def test_products_in_bf16_are_tried_where_bf16_throughout_draws_another_picture() -> None:
    products = Speed(compute="bf16 products")
    speeds = (PLAIN, PACKED, BF16, products)
    times = dict(zip(speeds, (1000.0, 800.0, 400.0, 500.0), strict=True))
    for grey, choice in ((101, "bf16"), (103, "bf16-products")):
        found = measure_speeds(REQUEST, speeds, Scripted(times, {BF16: grey}))
        assert found.speed == choice
        assert ("bf16-products" in found.seconds) is (choice == "bf16-products")
    times[products] = 750.0  # no tenth
    assert measure_speeds(REQUEST, speeds, Scripted(times, {BF16: 103})).speed == "packed"


def test_a_way_that_a_model_cannot_be_run_in_is_passed_over_and_a_wrong_request_is_not() -> None:
    class Unfit(Scripted):
        def generate(self, request: ImageRequest) -> Generation:
            if request.speed not in self.wall_s:
                raise ValueError("speed packed: not this denoiser")
            return super().generate(request)

    found = measure_speeds(REQUEST, (PLAIN, PACKED, BF16), Unfit({PLAIN: 1000.0, BF16: 500.0}))
    assert (found.speed, set(found.seconds)) == ("bf16", {"plain", "bf16"})
    with pytest.raises(ValueError, match="not this denoiser"):
        measure_speeds(REQUEST, (PLAIN, PACKED), Unfit({PACKED: 1.0}))


def test_a_trial_is_short_and_at_the_size_asked_for() -> None:
    drawer = Scripted({PLAIN: 1.0})
    measure_speeds(REQUEST.model_copy(update={"steps": 50, "batch": 3}), (PLAIN,), drawer)
    assert {(request.steps, request.batch) for request in drawer.drawn} == {(4, 3)}
    assert len(drawer.drawn) <= 6


def test_a_trial_starts_from_noise_also_for_a_request_that_starts_from_a_picture() -> None:
    drawer = Scripted({PLAIN: 1.0})
    update = {"image": "0" * 16, "mask": "1" * 16, "strength": 0.5}
    measure_speeds(REQUEST.model_copy(update=update), (PLAIN,), drawer)
    (tried,) = {request.model_dump_json() for request in drawer.drawn}
    request = ImageRequest.model_validate_json(tried)  # which refuses a strength of no image
    assert (request.image, request.mask) == (None, None)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("sd")))


def test_a_choice_is_measured_once_and_remembered_for_machine_model_and_size(tiny: str) -> None:
    engine = Engine("cpu")
    request = REQUEST.model_copy(update={"model": tiny, "width": 32, "height": 32, "steps": 2})
    first = engine.generate(request)
    (note,) = first.notes
    assert "ways tried in" in note
    assert isinstance(first.request.speed, Speed)
    assert str(first.request.speed) in note
    again = engine.generate(request)
    assert again.request.speed == first.request.speed
    assert "as measured 20" in again.notes[0]
    assert "of 255 apart" in again.notes[0]
    (kept,) = json.loads((cache_folder() / NAME).read_text())["choices"].values()
    assert set(kept["seconds"]) == set(kept["differences"]) >= {"plain", "prompts, keys"}
    # A speed that was asked for by name is told nothing about.
    assert engine.generate(first.request).notes == ()


def test_the_key_changes_with_whatever_decides_the_speed(tiny: str, tmp_path: Path) -> None:
    request = REQUEST.model_copy(update={"model": tiny})
    keys = [choice_key(request, "cpu")]
    for change in ({"batch": 2}, {"width": 192}, {"precision": "bf16"}, {"guidance_scale": 1.0}):
        keys.append(choice_key(request.model_copy(update=change), "cpu"))
    keys.append(choice_key(REQUEST, "cpu"))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    keys.append(choice_key(request, "cpu"))
    torch.set_num_threads(threads)
    weights = next(Path(tiny).rglob("*.safetensors"))
    weights.touch()
    keys.append(choice_key(request, "cpu"))
    assert len(set(keys)) == len(keys)
    same = request.model_copy(update={"prompt": "a dog", "seed": 4, "steps": 7})
    assert choice_key(same, "cpu") == keys[-1]


def test_what_memory_demands_is_told_by_the_commit_that_is_drawn_with(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []

    def load(model: str, precision: PrecisionName, revision: str | None = None) -> Any:
        asked.append(revision)
        return load_pipeline(tiny, precision)

    monkeypatch.setattr(choosing_module, "load_pipeline", load)
    monkeypatch.setattr(choosing_module, "candidates", lambda *_: ())
    request = REQUEST.model_copy(update={"model": tiny, "width": 32, "height": 32, "steps": 1})
    Engine("cpu").choose_speed(request, revision="f" * 40)
    assert asked == ["f" * 40]


def a_choice(speed: str = "packed") -> Choice:
    return Choice(speed=speed, seconds={speed: 1.0}, differences={speed: 0.0}, measured_utc="now")


def test_what_is_remembered_is_recalled_and_the_oldest_goes_first() -> None:
    for number in range(MAX_CHOICES + 3):
        assert remember(f"key {number}", a_choice()) is None
    assert recall("key 2") == (None, None)
    assert recall("key 3") == (a_choice(), None)
    assert recall(f"key {MAX_CHOICES + 2}") == (a_choice(), None)


REMEMBER = """
import sys
from diffusion_bench.backends.speed.remembered import Choice, remember
choice = Choice(speed="packed", seconds={"packed": 1.0}, differences={}, measured_utc="now")
print("up", flush=True)
sys.stdin.readline()
for number in range(10):
    remember(f"{sys.argv[1]}-{number}", choice)
"""


def test_what_two_processes_choose_at_once_is_remembered_of_both() -> None:
    told_at_once(REMEMBER, "ab")
    kept = [recall(f"{each}-{number}")[0] for each in "ab" for number in range(10)]
    assert None not in kept


def chosen_by(load: Scripted) -> Chosen:
    return choose(REQUEST, "cpu", load=load, unload=lambda: None)


WRONG = [
    b"",
    b'{"version": 1, "choi',
    b"[]",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"version": 2, "choices": {}}',
    b'{"choices": {"k": {"speed": 3}}}',
    b"x" * (2**20 + 1),
]


@pytest.mark.parametrize("content", WRONG, ids=lambda content: repr(content[:20]))
def test_a_torn_or_hostile_file_is_measured_anew_and_that_is_said(
    content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache_folder() / NAME).write_bytes(content)
    monkeypatch.setattr(
        "diffusion_bench.backends.speed.choosing.speeds_to_try", lambda *_: ((PLAIN, PACKED), ANY)
    )
    found = chosen_by(Scripted({PLAIN: 1000.0, PACKED: 500.0}))
    assert found.speed == PACKED
    assert found.notes[0].startswith(NAME)
    assert found.notes[0].endswith("; measured anew")
    assert chosen_by(Scripted({})).speed == PACKED  # the file is whole again


@pytest.mark.parametrize("speed", ["warp", "auto", ""])
def test_a_remembered_word_that_is_no_speed_is_not_obeyed(speed: str) -> None:
    choices = {"k": a_choice(speed).model_dump(mode="json")}
    (cache_folder() / NAME).write_text(json.dumps({"choices": choices}))
    choice, complaint = recall("k")
    assert choice is None
    assert complaint is not None
    assert complaint.startswith(NAME)


def test_a_file_that_cannot_be_written_is_said_and_stops_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (cache_folder() / NAME).mkdir()
    monkeypatch.setattr(
        "diffusion_bench.backends.speed.choosing.speeds_to_try", lambda *_: ((PLAIN, PACKED), ANY)
    )
    found = chosen_by(Scripted({PLAIN: 1000.0, PACKED: 500.0}))
    assert found.speed == PACKED
    assert "not remembered" in found.notes[-1]
    assert str(cache_folder()) not in found.notes[-1]  # notes go into reports, folders do not


def test_bf16_is_tried_where_the_processor_has_it_and_fp32_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for features, precision, tried in (
        ({"amx_bf16": True}, "fp32", True),
        ({"avx512_bf16": True}, "fp32", True),
        ({"avx2": True}, "fp32", False),
        ({"amx_bf16": True}, "bf16", False),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda features=features: features)
        speeds = candidates(Speed(), "cpu", precision)
        for compute in ("bf16", "bf16 products"):
            assert any(speed.compute == compute for speed in speeds) is tried, features
        assert all(speed.compile == "off" for speed in speeds)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_are_packed_only_in_what_the_processor_has_kernels_for(
    precision: PrecisionName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    monkeypatch.setattr(packing, "packs", lambda dtype: dtype == torch.float32)
    tried = candidates(Speed(), "cpu", precision)
    packed = {speed.compute for speed in tried if speed.packed}
    assert packed == ({"as asked"} if precision == "fp32" else set())
    assert any(speed.channels_last for speed in tried)


def test_one_thread_is_tried_where_there_are_more_and_a_recording_where_nothing_moves() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        several = candidates(Speed(), "cpu", "fp32")
        offloaded = candidates(Speed(offload="model"), "cuda", "fp16")
        torch.set_num_threads(1)
        alone = candidates(Speed(), "cpu", "fp32")
    finally:
        torch.set_num_threads(before)
    assert {speed.threads for speed in several} == {"all", "one"}
    assert {speed.threads for speed in alone} == {"all"}
    assert any(speed.traced for speed in alone)
    assert not any(speed.traced for speed in offloaded)
    assert len(several) < 20  # as many as are remembered


def test_the_decoder_is_cut_up_only_where_memory_is_short(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load_pipeline(tiny, "fp32")
    one_mib = BUNDLED_SIDE**2 * 16 * 4 * 4 / 2**20  # pixels, channels, maps, bytes
    for free_mib, batch, words in (
        (1000, 8, "plain"),
        (2 * one_mib, 8, "sliced-vae"),
        (2 * one_mib, 1, "plain"),
        (one_mib, 1, "tiled-vae"),
    ):
        monkeypatch.setattr(
            candidates_module, "free_memory_bytes", lambda _, mib=free_mib: mib * 2**20
        )
        request = REQUEST.model_copy(update={"batch": batch})
        assert needed_for_memory(pipeline, request, "cpu") == parse_speed(words), words


def test_a_decoder_that_fp16_would_overflow_is_planned_in_fp32(tmp_path: Path) -> None:
    """SDXL on 12 GB: beside 7 of weights 2 were planned for decoding, which takes 4 and more."""
    folder = str(save_tiny_sdxl(tmp_path))
    request = REQUEST.model_copy(update={"batch": 1})
    in_fp16_bytes = BUNDLED_SIDE**2 * 16 * 4 * 2  # pixels, channels, maps, bytes
    for precision, vae in (("bf16", "whole"), ("fp16", "tiled")):
        pipeline = load_pipeline(folder, precision)
        speed = needed_for_memory(pipeline, request, "cpu", 2 * in_fp16_bytes)
        assert speed.vae == vae, precision


def test_networks_share_a_card_that_is_too_small_for_them(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load_pipeline(tiny, "fp32")
    sizes = [
        sum(weight.nbytes for weight in part.parameters())
        for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    ]
    for free_bytes, mode in (
        (10 * sum(sizes), "none"),
        (sum(sizes), "model"),
        (max(sizes), "sequential"),
    ):
        monkeypatch.setattr(candidates_module, "free_memory_bytes", lambda _, free=free_bytes: free)
        assert needed_for_memory(pipeline, REQUEST, "cuda").offload == mode


def test_a_choice_that_a_busy_moment_forced_is_not_kept_for_a_free_one(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = REQUEST.model_copy(update={"model": tiny, "batch": 8, "seed": 5})
    one_mib = BUNDLED_SIDE**2 * 16 * 4 * 4 / 2**20
    free_mib = 2 * one_mib
    for module in (candidates_module, choosing_module):
        monkeypatch.setattr(module, "free_memory_bytes", lambda _: free_mib * 2**20)
    monkeypatch.setattr(choosing_module, "candidates", lambda *_: ())
    drawn: list[str] = []

    def load(asked: ImageRequest) -> Scripted:
        drawn.append(str(asked.speed))
        assert isinstance(asked.speed, Speed)
        return Scripted({asked.speed: 1000.0})

    def unload() -> None:
        nonlocal free_mib
        free_mib += loaded.pop() if loaded else 0.0

    def choose_now() -> Chosen:
        return choose(request, "cpu", load=load, unload=unload)

    loaded: list[float] = []

    assert choose_now().speed.vae == "sliced"
    free_mib = 3 * one_mib  # still too little for eight at once
    assert choose_now().speed.vae == "sliced"
    assert drawn == ["sliced-vae"]
    free_mib = 1000.0
    again = choose_now()
    assert again.speed == PLAIN
    assert again.notes[0].startswith("there is other free memory than when it was chosen")
    free_mib = 2 * one_mib
    assert choose_now().speed.vae == "sliced", "nor what fitted then where it does not now"
    assert drawn == ["sliced-vae", "plain", "sliced-vae"]
    free_mib, loaded = 0.5 * one_mib, [1.5 * one_mib]  # what is short is what the model itself has
    assert choose_now().speed.vae == "sliced"
    assert len(drawn) == 3


def test_a_model_that_takes_most_of_the_memory_is_not_loaded_anew_for_each_picture(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it takes is lacking once it is loaded; that is no reason to let go of it."""
    engine = Engine("cpu")
    loads: list[Speed] = []
    load = ImageBackend.load

    def counted(model: str, **settings: Any) -> ImageBackend:
        loads.append(settings["speed"])
        return load(model, **settings)

    monkeypatch.setattr(ImageBackend, "load", counted)
    for module in (candidates_module, choosing_module):
        monkeypatch.setattr(
            module, "free_memory_bytes", lambda _: (1000 if engine._loaded is None else 1) * MIB
        )
    monkeypatch.setattr(choosing_module, "same_need", lambda *_: (500 * MIB, math.inf))
    request = REQUEST.model_copy(update={"model": tiny, "width": 32, "height": 32, "steps": 2})
    chosen = engine.generate(request).request.speed  # the trial, and a load of what it chose
    loads.clear()
    for _ in range(3):
        again = engine.generate(request)
        assert again.request.speed == chosen
        assert "as measured" in again.notes[0]
    assert loads == []


def test_on_a_card_what_torch_holds_counts_as_free_once_it_is_unloaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free_mib, held_mib = 100.0, 700.0
    monkeypatch.setattr(choosing_module, "choice_key", lambda *_: "key")
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free_mib * MIB, 0))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: held_mib * MIB)
    remember("key", a_choice().model_copy(update={"free_from_mib": 500.0}))
    unloaded: list[bool] = []

    def found() -> Chosen:
        return choose(
            REQUEST,
            "cuda",
            load=Scripted({PLAIN: 1000.0}),
            unload=lambda: unloaded.append(True),
            held=PACKED,
        )

    assert (found().speed, unloaded) == (PACKED, [])
    held_mib = 300.0  # another program has taken memory: what was chosen fits no more
    monkeypatch.setattr(choosing_module, "speeds_to_try", lambda *_: ((PLAIN,), ANY))
    assert found().speed == PLAIN
    assert unloaded


def test_several_cards_are_refused_auto_as_any_speed_but_plain() -> None:
    with pytest.raises(ValueError, match="over several cards runs at speed plain, not auto"):
        choose(REQUEST, "cuda:0,cuda:1", load=Scripted({}), unload=lambda: None)
    with pytest.raises(ValueError, match="over several cards runs at speed plain, not packed"):
        check_split_speed(("cuda:0", "cuda:1"), PACKED)
    check_split_speed(("cuda:0", "cuda:1"), PLAIN)
    check_split_speed(("cuda:0",), "auto")
