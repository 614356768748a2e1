"""How a call is timed: on a clock that only the networks move, so that every figure is exact."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipelineSafe
from tiny_models import save_tiny_sd, save_tiny_sdxl

from diffusion_bench.backends import stage_clock
from diffusion_bench.backends.images import ImageBackend, Stopped
from diffusion_bench.bench.measure import Effort, measure
from diffusion_bench.records import ImageRequest, Stages, ignore_step

TEXT_S, STEP_S, DECODER_S = 3.0, 1.0, 4.0
BETWEEN_S = 5.0


class VirtualClock:
    """A clock that stands still but where it is moved."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s

    def takes(self, module: torch.nn.Module, seconds: float) -> Any:
        """Let each call of a network take so long."""

        def move(*_: object) -> None:
            self.now_s += seconds

        return module.register_forward_hook(move)


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> ImageBackend:
    return ImageBackend.load(str(save_tiny_sd(tmp_path_factory.mktemp("sd"))), device="cpu")


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> ImageBackend:
    return ImageBackend.load(str(save_tiny_sdxl(tmp_path_factory.mktemp("sdxl"))), device="cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    made = VirtualClock()
    monkeypatch.setattr(stage_clock, "time", SimpleNamespace(perf_counter=made))
    return made


@contextmanager
def costly(backend: ImageBackend, clock: VirtualClock) -> Iterator[None]:
    """Let each network of a pipeline take its time on the clock, and nothing else any."""
    pipeline = backend._pipeline
    handles = [
        clock.takes(pipeline.text_encoder, TEXT_S),
        clock.takes(pipeline.unet, STEP_S),
        clock.takes(pipeline.vae.decoder, DECODER_S),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def ask(**settings: object) -> ImageRequest:
    usual = {"prompt": "a cat", "model": "tiny", "width": 32, "height": 32}
    return ImageRequest(**{**usual, **settings})


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
@pytest.mark.parametrize("model", ["sd", "sdxl"])
@pytest.mark.parametrize(
    "steps_and_measured", [(1, None), (2, None), (7, None), (1000, 2), (50, 6)]
)
def test_every_step_of_every_call_is_one_exact_interval_and_none_lies_across_calls(
    request: pytest.FixtureRequest,
    clock: VirtualClock,
    sampler: str,
    model: str,
    steps_and_measured: tuple[int, int | None],
) -> None:
    backend = request.getfixturevalue(model)
    steps, measured = steps_and_measured
    calls, timed_steps = 3, measured or steps

    def listen(done: int) -> None:
        clock.now_s += BETWEEN_S

    with costly(backend, clock):
        found = measure(
            ask(sampler=sampler, steps=steps, batch=2),
            backend.generate,
            Effort(warmups=1, repeats=calls, measured_steps=measured),
            clock=clock,
            on_repeat=listen,
        )
    intervals = [seconds for call in found.timed for seconds in call.step_s]
    assert intervals == [STEP_S] * (calls * timed_steps)
    # The prompt and the negative one; no negative prompt is zeros to SDXL, which nothing encodes.
    text_s = TEXT_S if model == "sdxl" else 2 * TEXT_S
    for call in found.timed:
        assert call.stages == Stages(
            text_encoder_s=text_s,
            denoising_s=timed_steps * STEP_S,
            decoder_s=DECODER_S,
            other_s=0.0,
        )
        assert call.wall_s == text_s + timed_steps * STEP_S + DECODER_S
        assert call.end_s - call.start_s == call.wall_s
    gaps = [later.start_s - earlier.end_s for earlier, later in itertools.pairwise(found.timed)]
    assert gaps == [BETWEEN_S] * (calls - 1)


def test_the_callers_callback_costs_no_step_anything(sd: ImageBackend, clock: VirtualClock) -> None:
    def on_step(step: Any) -> None:
        clock.now_s += 100.0

    with costly(sd, clock):
        generation = sd.generate(ask(steps=4), on_step)
    assert generation.step_s == (STEP_S,) * 4
    assert generation.stages.other_s == 400.0


def test_a_cut_call_runs_the_first_steps_of_the_whole_schedule_and_its_decoder(
    sd: ImageBackend, clock: VirtualClock
) -> None:
    seen: list[float] = []
    hook = sd._pipeline.unet.register_forward_pre_hook(
        lambda _, inputs: seen.append(float(inputs[1]))
    )
    with costly(sd, clock):
        cut = sd.generate(ask(sampler="ddpm", steps=1000), stop_after=5)
        assert seen == [999.0, 998.0, 997.0, 996.0, 995.0]
        seen.clear()
        whole = sd.generate(ask(sampler="ddpm", steps=12))
    hook.remove()
    assert len(cut.step_s) == 5
    assert cut.stages.text_encoder_s > 0
    assert cut.stages.decoder_s == DECODER_S
    assert cut.images[0].size == (32, 32)
    # Nothing of the cut is left for the next call.
    assert len(seen) == len(whole.step_s) == 12
    assert (seen[0], seen[-1]) == (pytest.approx(916, abs=84), pytest.approx(0, abs=84))


def test_a_call_is_cut_after_as_many_steps_as_are_told_whatever_they_are_numbered() -> None:
    """Older pipelines tell nothing of PNDM's first of 21 and number the others from 1."""
    clock = stage_clock.StageClock("cpu")
    step_ended = ImageBackend._step_callback(SimpleNamespace(), ask(), clock, ignore_step, 5)
    told = (step_ended(SimpleNamespace(), i, 0.0, {"latents": None}) for i in range(1, 21))
    with pytest.raises(Stopped):
        list(told)
    assert len(clock._steps) == 5  # else a report takes the rest for a whole call


def test_a_cut_call_shows_a_picture_of_a_pipeline_without_an_image_processor(
    sd: ImageBackend,
) -> None:
    safe = StableDiffusionPipelineSafe(**sd._pipeline.components, requires_safety_checker=False)
    backend = ImageBackend(safe, model=sd.model, device="cpu", precision="fp32")
    cut = backend.generate(ask(steps=4), stop_after=2)
    assert len(cut.step_s) == 2
    assert cut.images[0].size == (32, 32)


def test_a_cut_at_or_past_the_last_step_is_none(sd: ImageBackend) -> None:
    for stop_after in (3, 4, 1000):
        assert len(sd.generate(ask(steps=3), stop_after=stop_after).step_s) == 3


def test_a_decoder_that_is_called_once_a_picture_is_timed_from_the_first(
    sd: ImageBackend, clock: VirtualClock
) -> None:
    sd._pipeline.vae.enable_slicing()
    try:
        with costly(sd, clock):
            generation = sd.generate(ask(steps=2, batch=2))
    finally:
        sd._pipeline.vae.disable_slicing()
    assert generation.stages.decoder_s == 2 * DECODER_S
    assert generation.stages.other_s == 0


def test_a_call_leaves_no_hooks_on_the_networks(sd: ImageBackend) -> None:
    sd.generate(ask(steps=2))
    pipeline = sd._pipeline
    for network in (pipeline.text_encoder, pipeline.unet, pipeline.vae.decoder):
        assert not network._forward_hooks
        assert not network._forward_pre_hooks


def test_the_stage_in_which_a_call_failed_is_told(sd: ImageBackend) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("on purpose")

    parts = {
        "text encoder": sd._pipeline.text_encoder,
        "denoising": sd._pipeline.unet,
        "decoder": sd._pipeline.vae.decoder,
    }
    for stage, module in parts.items():
        hook = module.register_forward_hook(fail)
        with pytest.raises(RuntimeError, match="on purpose"):
            sd.generate(ask(steps=2))
        hook.remove()
        assert sd.stage == stage


def test_a_model_says_which_attention_it_uses(sd: ImageBackend) -> None:
    assert sd.attention == "AttnProcessor2_0"


def test_a_model_that_has_drawn_nothing_was_only_loaded(sd: ImageBackend) -> None:
    fresh = ImageBackend(sd._pipeline, model="tiny", device="cpu", precision="fp32")
    assert fresh.stage == "load"
