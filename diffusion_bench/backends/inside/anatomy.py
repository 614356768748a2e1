"""The U-Net, looked at while it works: its blocks, what goes round by its skips, what they do.

Ronneberger et al. (2015), "U-Net"; with time and text as in Rombach et al. (2022), section 3.3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.latents import denoiser_of
from diffusion_bench.backends.pipeline_names import NO_UNET
from diffusion_bench.records import Generation, ImageRequest, OnStep, ignore_step

Way = Literal["in", "down", "middle", "up", "out"]
BIGGEST = 256  # pixels of a side of a map, about
ATTENTION = "Attention"  # ends the names of diffusers' classes of it

Shape = tuple[int, int, int]  # channels, rows, columns


class Block(NamedTuple):
    """A block of the U-Net.

    `channels`, `rows` and `columns` are what it hands on, per picture; `skips` the shapes of the
    tensors that go from it to a block opposite, in the order in which they are made, or come to it
    from there, the last made last. `share` is its part of the parameters.
    `reading` of its attention layers read the prompt; the others, self-attention, only the picture.
    `activity` is the root mean square over channels of what it hands on, as a PIL image.
    """

    name: str
    way: Way
    channels: int
    rows: int
    columns: int
    parameters: int
    share: float
    attentions: int
    reading: int
    skips: tuple[Shape, ...]
    activity: Any


class Anatomy(NamedTuple):
    """A U-Net at one timestep of one picture."""

    blocks: tuple[Block, ...]
    timestep: int
    parameters: int


def check_unet(backend: ImageBackend) -> None:
    """Raise ValueError, in one line, for a denoiser that is no U-Net."""
    if not all(hasattr(backend.denoiser, name) for name in ("down_blocks", "up_blocks")):
        raise ValueError(f"this model's denoiser ({type(backend.denoiser).__name__}) is {NO_UNET}")


def anatomy(
    backend: ImageBackend,
    request: ImageRequest,
    at_step: int,
    on_step: OnStep = ignore_step,
) -> Anatomy:
    """Return the U-Net's blocks and what they answer at step `at_step` (from 1) of a picture.

    Raises ValueError for a step that the picture has not, and for a denoiser that is no U-Net.
    """
    check_unet(backend)
    if not 1 <= at_step <= request.steps:
        raise ValueError(f"step {at_step} is none of 1 to {request.steps}")
    look = _Look(backend.denoiser, at_step)
    backend.generate(
        request, on_step, stop_after=at_step, watching=lambda pipeline: look.listening()
    )
    if not look.heard:
        raise ValueError(f"the picture ended before step {at_step}")
    total = sum(each.numel() for each in backend.denoiser.parameters())
    return Anatomy(tuple(look.blocks(total)), look.timestep, total)


class _Look:
    """What each block handed on at one call of the U-Net, and how much of it goes round."""

    def __init__(self, unet: Any, at_step: int) -> None:
        self._at_step = at_step
        self._calls = 0
        self._unet = unet
        self.timestep = 0
        self.heard: dict[str, tuple[Tensor, tuple[Shape, ...]]] = {}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to every block in the `with` block."""
        with ExitStack() as hooks:
            count = self._unet.register_forward_pre_hook(self._count, with_kwargs=True)
            hooks.callback(count.remove)
            for name, _, module in _parts(self._unet):
                hook = module.register_forward_hook(partial(self._hear, name), with_kwargs=True)
                hooks.callback(hook.remove)
            yield

    def _count(self, module: Any, inputs: Any, named: Any) -> None:
        self._calls += 1
        if self._calls == self._at_step:
            timestep = inputs[1] if len(inputs) > 1 else named["timestep"]
            self.timestep = int(torch.as_tensor(timestep).flatten()[0])

    def _hear(self, name: str, module: Any, inputs: Any, named: Any, output: Any) -> None:
        if self._calls != self._at_step:
            return
        skips = named.get("res_hidden_states_tuple", ())
        hidden = output
        if isinstance(output, tuple):  # a block on the way down: what goes on, what goes round
            hidden, skips = output
        # Of two passes the second is the one with the prompt.
        self.heard[name] = (hidden[-1].detach().float().cpu(), tuple(map(_shape, skips)))

    def blocks(self, total: int) -> Iterator[Block]:
        """Yield the blocks in the order in which they work."""
        for name, way, module in _parts(self._unet):
            hidden, skips = self.heard[name]
            parameters = sum(each.numel() for each in module.parameters())
            attentions = [each for each in module.modules() if _is_attention(each)]
            channels, rows, columns = hidden.shape
            yield Block(
                name=name,
                way=way,
                channels=channels,
                rows=rows,
                columns=columns,
                parameters=parameters,
                share=parameters / total,
                attentions=len(attentions),
                reading=sum(map(_reads_prompt, attentions)),
                skips=((channels, rows, columns),) if way == "in" else skips,
                activity=_as_picture(hidden.square().mean(dim=0).sqrt()),
            )


def _parts(unet: Any) -> list[tuple[str, Way, nn.Module]]:
    """Return the parts of diffusers' U-Nets by name, in the order in which they work."""
    down: list[tuple[str, Way, nn.Module]] = [
        (f"down {number}", "down", block) for number, block in enumerate(unet.down_blocks, 1)
    ]
    middle: list[tuple[str, Way, nn.Module]] = (
        [] if unet.mid_block is None else [("middle", "middle", unet.mid_block)]
    )
    up: list[tuple[str, Way, nn.Module]] = [
        (f"up {number}", "up", block) for number, block in enumerate(unet.up_blocks, 1)
    ]
    return [
        ("first convolution", "in", unet.conv_in),
        *(*down, *middle, *up),
        ("last convolution", "out", unet.conv_out),
    ]


def _shape(states: Tensor) -> Shape:
    """Return channels, rows and columns of (batch, channels, rows, columns)."""
    _, channels, rows, columns = states.shape
    return channels, rows, columns


def _is_attention(module: nn.Module) -> bool:
    return type(module).__name__.endswith(ATTENTION)


def _reads_prompt(attention: nn.Module) -> bool:
    """Return whether keys come from the prompt: alone, or (Kandinsky) beside the picture's own."""
    if getattr(attention, "added_kv_proj_dim", None) is not None:
        return True
    return bool(getattr(attention, "is_cross_attention", False))


def _as_picture(values: Tensor) -> Any:
    """Return a map (rows, columns) as a picture: black its least, white its most."""
    low, high = values.min(), values.max()
    levels = ((values - low) / (high - low).clamp(min=1e-12) * 255).round()
    picture = Image.fromarray(levels.numpy().astype(np.uint8))
    larger = max(1, BIGGEST // max(picture.size))
    return picture.resize(
        (picture.width * larger, picture.height * larger), Image.Resampling.NEAREST
    )


def without_skips(
    backend: ImageBackend,
    request: ImageRequest,
    scales: Sequence[float],
    on_step: OnStep = ignore_step,
) -> list[tuple[float, Generation]]:
    """Return the request drawn with what the skips carry scaled by each of `scales`.

    At 1 it is the model's own picture, at 0 only the way through the middle is left. Raises
    ValueError for a denoiser that is no U-Net.
    """
    check_unet(backend)
    return [
        (scale, backend.generate(request, on_step, watching=partial(scaled_skips, scale=scale)))
        for scale in scales
    ]


@contextmanager
def scaled_skips(pipeline: Any, scale: float) -> Iterator[None]:
    """Scale what comes to the blocks of the way up by the skips, in the `with` block."""

    def weaken(module: Any, inputs: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        skips = tuple(scale * each for each in named["res_hidden_states_tuple"])
        return inputs, named | {"res_hidden_states_tuple": skips}

    with ExitStack() as hooks:
        for block in denoiser_of(pipeline).up_blocks:
            hooks.callback(block.register_forward_pre_hook(weaken, with_kwargs=True).remove)
        yield
