"""Each option of speed does what it says on real pipelines, and leaves the picture as it was."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    StableDiffusionModelEditingPipeline,
    StableDiffusionPipeline,
    StableDiffusionPipelineSafe,
)
from tiny_models import save_tiny_sd, save_tiny_sdxl

from diffusion_bench.backends import images
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.latents import denoiser_of
from diffusion_bench.backends.speed import packing
from diffusion_bench.backends.speed.compiling import why_no_compiling
from diffusion_bench.backends.speed.computing import compute_in
from diffusion_bench.backends.speed.packing import pack, packs
from diffusion_bench.backends.speed.prompts import PromptCache
from diffusion_bench.backends.speed.tracing import Traced
from diffusion_bench.records import (
    BUNDLED_MODEL,
    Cancelled,
    Generation,
    ImageRequest,
    PrecisionName,
    Speed,
    Step,
    parse_speed,
)

SIDE = 32
# In bf16, which oneDNN packs for some processors only.
LAID_OUT = "packed" if packs(torch.bfloat16) else "channels-last"
EXACT = ("channels-last", "packed", "prompts", "keys", "split-guidance", "plain-attention")
EXACT += ("sliced-attention", "sliced-vae", "no-grad", "traced", "one-thread")
EVERY_EXACT = "packed, channels-last, prompts, keys"
ALSO_EXACT = "traced, channels-last, prompts, split-guidance, one-thread"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    made = {"sd": save_tiny_sd, "sdxl": save_tiny_sdxl}
    tiny = {name: str(save(tmp_path_factory.mktemp(name))) for name, save in made.items()}
    return {**tiny, "bundled": BUNDLED_MODEL}


Load = Callable[..., ImageBackend]


@pytest.fixture(scope="module")
def load(folders: dict[str, str]) -> Load:
    def load_one(speed: str = "plain", model: str = "sd") -> ImageBackend:
        return ImageBackend.load(folders[model], device="cpu", speed=asked(speed))

    return load_one


@pytest.fixture(scope="module")
def plain(load: Load) -> dict[str, np.ndarray]:
    return {
        model: pixels(load(model=model).generate(ask(batch=2)))
        for model in ("sd", "sdxl", "bundled")
    }


def asked(words: str) -> Speed:
    speed = parse_speed(words)
    assert isinstance(speed, Speed)
    return speed


def ask(**settings: object) -> ImageRequest:
    size = {"width": SIDE, "height": SIDE}
    return ImageRequest(**{"prompt": "a cat", "steps": 3, "speed": "auto", **size, **settings})


def pixels(generation: Generation) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=int) for image in generation.images])


@pytest.mark.parametrize(
    ("words", "model"),
    [
        *((words, "sd") for words in EXACT),
        *((words, model) for words in (EVERY_EXACT, ALSO_EXACT) for model in ("sdxl", "bundled")),
    ],
)
def test_an_option_that_keeps_the_numbers_keeps_the_picture(
    words: str, model: str, load: Load, plain: dict[str, np.ndarray]
) -> None:
    drawn = load(words, model).generate(ask(batch=2))
    assert np.abs(pixels(drawn) - plain[model]).max() <= 1  # sums in another order
    assert drawn.request.speed == asked(words)


@pytest.mark.parametrize("model", ["sd", "sdxl", "bundled"])
def test_bf16_draws_the_same_picture_to_2_of_255(
    model: str, load: Load, plain: dict[str, np.ndarray]
) -> None:
    fast = load(f"bf16, {LAID_OUT}, keys, prompts", model)
    difference = np.abs(pixels(fast.generate(ask(batch=2))) - plain[model])
    assert 0 < difference.mean() < 2


@pytest.mark.parametrize("model", ["sd", "sdxl", "bundled"])
def test_products_in_bf16_are_nearer_to_the_picture_than_all_in_bf16(
    model: str, load: Load, plain: dict[str, np.ndarray]
) -> None:
    ways = (f"bf16-products, {LAID_OUT}, keys, prompts", "bf16-products", "bf16")
    laid_out, alone, throughout = (
        np.abs(pixels(load(words, model).generate(ask(batch=2))) - plain[model]).mean()
        for words in ways
    )
    assert 0 < alone < throughout
    assert 0 < laid_out < throughout


def test_only_the_products_are_taken_in_bf16(load: Load) -> None:
    backend = load("bf16-products")
    block, seen = denoiser_of(backend._pipeline).mid_block.resnets[0], {}

    def tell(layer: torch.nn.Module, given: tuple[torch.Tensor], result: torch.Tensor) -> None:
        seen[type(layer).__name__] = (layer.weight.dtype, given[0].dtype, result.dtype)

    for layer in (block.norm1, block.conv1):
        layer.register_forward_hook(tell)
    backend.generate(ask())
    fp32, bf16 = torch.float32, torch.bfloat16
    assert seen == {"GroupNorm": (fp32, fp32, fp32), "Conv2d": (bf16, fp32, fp32)}


def test_bf16_is_for_the_networks_and_not_for_the_sampler(load: Load) -> None:
    backend = load("bf16")
    denoiser, seen = denoiser_of(backend._pipeline), []
    denoiser.conv_in.register_forward_pre_hook(lambda _, given: seen.append(given[0].dtype))
    steps: list[torch.dtype] = []
    denoiser.register_forward_hook(lambda _, given, result: steps.append(result[0].dtype))
    backend.generate(ask(steps=2))
    assert seen == [torch.bfloat16] * 2
    assert steps == [torch.float32] * 2


class Told(torch.nn.Module):
    """A denoiser that tells the type of what it is given."""

    def forward(self, sample, timestep, encoder_hidden_states=None, guidance=None):
        self.seen = [x.dtype for x in (sample, timestep, encoder_hidden_states, guidance)]
        return (sample,)


def test_a_timestep_is_not_rounded_to_bf16_however_it_is_given() -> None:
    denoiser, x, t = Told(), torch.zeros(1), torch.tensor(999.0)
    compute_in(denoiser, torch.bfloat16)
    for given, named in (((x, t), {}), ((x,), {"timestep": t})):
        (result,) = denoiser(*given, **named, encoder_hidden_states=x, guidance=t)
        assert denoiser.seen == [torch.bfloat16, torch.float32, torch.bfloat16, torch.float32]
        assert result.dtype == torch.float32


def test_fp32_asked_is_fp32_unless_the_speed_says_bf16(load: Load) -> None:
    for words in ("plain", "packed", "channels-last"):
        network = denoiser_of(load(words)._pipeline)
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_channels_last_is_how_the_convolutions_lie(load: Load) -> None:
    for words, expected in (("plain", False), ("channels-last", True)):
        weight = denoiser_of(load(words)._pipeline).conv_in.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) is expected


def test_a_packed_weight_is_held_once(load: Load) -> None:
    weight = denoiser_of(load("packed")._pipeline).conv_in.weight
    assert weight.shape == (16, 4, 3, 3)
    assert weight.untyped_storage().nbytes() == weight.element_size()
    assert torch.isnan(weight).all()  # who reads it by another way is not lied to


def test_attention_is_the_one_asked_for(load: Load) -> None:
    kinds = {words: load(words).attention for words in ("plain", "plain-attention")}
    assert kinds == {"plain": "AttnProcessor2_0", "plain-attention": "AttnProcessor"}
    assert load("sliced-attention").attention == "SlicedAttnProcessor"


def test_split_guidance_runs_each_half_alone_and_only_while_guided(load: Load) -> None:
    backend, rows = load("split-guidance"), []
    denoiser_of(backend._pipeline).conv_in.register_forward_pre_hook(
        lambda _, given: rows.append(len(given[0]))
    )
    backend.generate(ask(batch=3, steps=1))
    backend.generate(ask(batch=3, steps=1, guidance_scale=1.0))
    assert rows == [3, 3, 3]


def test_keys_of_the_prompt_are_computed_once_a_call_and_anew_for_another(load: Load) -> None:
    for words in ("keys", "bf16, keys"):
        backend, calls = load(words), []
        layer = next(
            module
            for module in denoiser_of(backend._pipeline).modules()
            if getattr(module, "is_cross_attention", False)
        ).to_k
        forward = layer.forward._forward
        layer.forward._forward = lambda x, forward=forward, calls=calls: (
            calls.append(1) or forward(x)
        )
        first = backend.generate(ask(steps=4))
        assert len(calls) == 1, words
        assert layer.forward._of is None
        other = backend.generate(ask(steps=4, prompt="a red dog"))
        assert len(calls) == 2, words
        assert not np.array_equal(pixels(first), pixels(other))


def test_a_prompt_that_is_known_is_not_encoded_again(load: Load) -> None:
    backend, runs = load("prompts"), []
    backend._pipeline.text_encoder.register_forward_hook(lambda *_: runs.append(1))
    first = backend.generate(ask(negative_prompt="blue"))
    after_first = len(runs)
    again = backend.generate(ask(negative_prompt="blue", steps=3, seed=0))
    assert len(runs) == after_first > 0
    assert again.stages.text_encoder_s == 0
    assert np.array_equal(pixels(first), pixels(again))
    for other in ({"negative_prompt": "red"}, {"prompt": "a dog"}, {"guidance_scale": 1.0}):
        before = len(runs)
        backend.generate(ask(**{"negative_prompt": "blue", **other}))
        assert len(runs) > before, other
    assert "encode_prompt" not in vars(backend._pipeline)


class Encoder:
    """A pipeline of which only the encoding is there."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    def encode_prompt(self, prompt: object, *, scale: float = 1.0) -> tuple[torch.Tensor, None]:
        self.asked.append(prompt)
        return torch.zeros(10), None


def test_the_prompt_cache_is_bounded_in_number_and_bytes() -> None:
    for limits in ({"max_prompts": 2}, {"max_bytes": 80}):
        cache, pipeline = PromptCache(**limits), Encoder()
        for prompt in ("a", "b", "a", "c", "a", "b"):
            with cache.serving(pipeline):
                pipeline.encode_prompt(prompt)
        # "b" was the one least recently used when "c" came.
        assert pipeline.asked == ["a", "b", "c", "b"]
        assert len(cache) == 2
        assert cache.size_bytes == 80


def test_what_is_no_text_is_never_taken_for_another() -> None:
    cache, pipeline = PromptCache(), Encoder()
    with cache.serving(pipeline):
        for prompt in (torch.zeros(1), torch.zeros(1), "a", ["a"], "a"):
            pipeline.encode_prompt(prompt)
        pipeline.encode_prompt("a", scale=2.0)
    assert pipeline.asked[2:] == ["a", ["a"], "a"]
    assert len(pipeline.asked) == 5


@pytest.mark.parametrize(("words", "least"), [("sliced-vae", 3), ("tiled-vae", 4)])
def test_the_decoder_runs_in_parts(words: str, least: int, load: Load) -> None:
    counts = []
    for speed in ("plain", words):
        backend, runs = load(speed), []
        backend._pipeline.vae.decoder.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        backend.generate(ask(batch=3, steps=1, width=64, height=64))
        counts.append(len(runs))
    assert counts[0] == 1
    assert counts[1] >= least


def test_previews_and_cancelling_work_at_every_speed(load: Load) -> None:
    backend, previews = load(f"bf16, {LAID_OUT}, keys, prompts"), []

    def stop(step: Step) -> None:
        previews.extend(step.preview())
        if step.index == 1:
            raise Cancelled

    with pytest.raises(Cancelled):
        backend.generate(ask(), stop)
    assert [image.size for image in previews] == [(SIDE, SIDE)] * 2
    assert "encode_prompt" not in vars(backend._pipeline)
    assert not any(cast._known for cast in backend._arrangement._casts)


def test_a_model_is_run_at_the_speed_it_was_loaded_for_or_not_at_all(load: Load) -> None:
    with pytest.raises(ValueError, match="asked for speed bf16, loaded for speed packed"):
        load("packed").generate(ask(speed="bf16"))


@pytest.mark.parametrize(
    ("words", "precision"),
    [("bf16, packed", "fp32"), ("bf16-products, packed", "fp32"), ("packed", "bf16")],
)
def test_a_processor_without_the_kernels_of_packed_bf16_is_told_before_weights_are_read(
    words: str, precision: PrecisionName, folders: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "packs", lambda dtype: dtype == torch.float32)
    monkeypatch.setattr(images, "load_pipeline", lambda *_, **__: pytest.fail("it was loaded"))
    with pytest.raises(ValueError, match=r"cannot pack weights in bfloat16.*leave out packed$"):
        ImageBackend.load(folders["sd"], device="cpu", precision=precision, speed=asked(words))


def test_what_is_said_to_pack_packs() -> None:
    """By the kernels of this very processor: the answer is oneDNN's, and so is the refusal."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        layer = torch.nn.Conv2d(4, 4, 3, padding=1).to(dtype)
        if packs(dtype):
            assert pack(layer) == 1
        else:
            with pytest.raises(RuntimeError, match="needs the cpu support"):
                pack(layer)


@pytest.mark.parametrize("words", ["model-offload", "sequential-offload", "cuda-graphs"])
def test_what_needs_a_card_says_so_without_one(words: str, load: Load) -> None:
    with pytest.raises(ValueError, match=f"^speed {words}: .*the device is cpu"):
        load(words)


def test_compiling_without_a_compiler_is_refused_before_the_weights_are_read(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ValueError, match=r"needs a C\+\+ compiler; there is no no-such-compiler"):
        load("compile")


def test_what_compiling_for_a_gpu_lacks_is_told_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fresh Ubuntu, as that of WSL, has neither compiler nor headers."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(sys, "platform", "linux")
    (tmp_path / "Python.h").write_text("")
    monkeypatch.setenv("CC", sys.executable)
    for header, words in ((tmp_path, None), (tmp_path / "none", "Python.h: install python3-dev")):
        monkeypatch.setattr(sysconfig, "get_path", lambda _, found=header: str(found))
        why = why_no_compiling("cuda:0", cuda_graphs=False)
        assert (why is None) if words is None else words in why
    monkeypatch.setenv("CC", str(tmp_path / "cc"))
    assert "needs a C compiler; there is no" in why_no_compiling("cuda", cuda_graphs=True)
    monkeypatch.setattr(sys, "platform", "win32")  # where triton brings its own
    assert why_no_compiling("cuda", cuda_graphs=True) is None


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(why_no_compiling("cpu", cuda_graphs=False) is not None, reason="no compiler")
def test_compiling_is_a_number_of_its_own_and_is_done_once_a_size(
    load: Load, plain: dict[str, np.ndarray]
) -> None:
    backend = load("compile")
    first, again = (backend.generate(ask(batch=2)) for _ in range(2))
    assert first.compile_s is not None
    assert 0.5 < first.compile_s < first.wall_s
    assert again.compile_s == 0
    assert np.abs(pixels(again) - plain["sd"]).max() <= 1
    assert len(again.step_s) == 3  # the hooks that time are outside of what was compiled
    assert load("plain").generate(ask()).compile_s is None


def test_a_recording_serves_the_shape_it_was_made_for_and_its_seconds_are_told(load: Load) -> None:
    backend, plain = load("traced"), load()
    times = []
    for size in ({}, {}, {"batch": 2}, {"width": 2 * SIDE}, {"guidance_scale": 1.0}, {}):
        drawn = backend.generate(ask(**size))
        times.append(drawn.compile_s)
        expected = pixels(plain.generate(ask(**size)))
        assert np.abs(pixels(drawn) - expected).max() <= 1, size
    recorded = [time is not None and time > 0 for time in times]
    assert recorded == [True, False, True, True, True, False]
    assert plain.generate(ask()).compile_s is None


@pytest.mark.parametrize("words", ["traced", "split-guidance"])
@pytest.mark.parametrize("kind", [StableDiffusionPipelineSafe, StableDiffusionModelEditingPipeline])
def test_a_pipeline_that_reads_its_denoisers_result_by_name_finds_it(
    kind: type, words: str, folders: dict[str, str], tmp_path: Path
) -> None:
    parts = StableDiffusionPipeline.from_pretrained(folders["sd"]).components
    own = {name: parts[name] for name in inspect.signature(kind).parameters if name in parts}
    kind(**own, requires_safety_checker=False).save_pretrained(tmp_path)
    fast, plain = (
        pixels(ImageBackend.load(str(tmp_path), device="cpu", speed=asked(speed)).generate(ask()))
        for speed in (words, "plain")
    )
    assert np.abs(fast - plain).max() <= 1


def test_a_denoiser_that_cannot_be_recorded_is_refused_in_one_line() -> None:
    class Counts(torch.nn.Module):
        def forward(self, x: torch.Tensor, return_dict: bool = True) -> object:
            if not return_dict:
                raise RuntimeError("no recording of this\nwith a second line")
            return x

    denoiser = Counts()
    Traced(denoiser)
    with pytest.raises(ValueError, match="cannot record this denoiser") as caught:
        denoiser(torch.zeros(2))
    assert "\n" not in str(caught.value)


def test_one_thread_is_taken_for_the_call_alone(load: Load) -> None:
    backend, seen = load("one-thread"), []
    denoiser_of(backend._pipeline).register_forward_pre_hook(
        lambda *_: seen.append(torch.get_num_threads())
    )
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        backend.generate(ask(steps=1))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == [1]
