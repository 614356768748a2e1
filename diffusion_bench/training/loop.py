"""The training loop of the bundled networks: optimiser, EMA, checkpoints, a log of losses.

A run is a function of its seed, its step count and how many processes share it. It can be killed at
any time and goes on from its last checkpoint, which holds weights, moving average and optimiser.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from diffusion_bench.backends.model_facts import folder_revision
from diffusion_bench.training.crew import crew
from diffusion_bench.training.optimisers import NOT_HIDDEN, MuonAndAdamW
from diffusion_bench.training.precision import mixed_precision
from diffusion_bench.whole_file import write_whole

CHECKPOINT_EVERY_S = 240.0
LOG_EVERY_STEPS = 50
LOG = "losses.jsonl"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast to learn. `peak_lr` is reached after `warmup_steps`, then a cosine.

    `muon`: hidden matrices learn by Muon, at the same scale of `peak_lr`, the rest by AdamW, to
    which those with one of `not_hidden` in their names belong.

    With `decay_steps` the peak is held, and the cosine is the last so many steps: a run whose
    length is not known yet can be gone on with until there is no more time but for those.
    """

    steps: int
    batch: int
    peak_lr: float
    final_lr_share: float = 0.03
    warmup_steps: int = 200
    decay_steps: int | None = None
    ema_decay: float = 0.999
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    muon: bool = False
    not_hidden: tuple[str, ...] = NOT_HIDDEN

    def lr(self, step: int) -> float:
        """Return the learning rate of a step."""
        if step < self.warmup_steps:
            return self.peak_lr * (step + 1) / self.warmup_steps
        decay_steps = self.decay_steps or self.steps - self.warmup_steps
        done = (step - (self.steps - decay_steps)) / max(1, decay_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, done))))
        return self.peak_lr * (self.final_lr_share + (1 - self.final_lr_share) * cosine)


def train(
    network: nn.Module,
    loss_of_step: Callable[[int, torch.Generator], Tensor],
    schedule: Schedule,
    *,
    folder: Path,
    device: str,
    seed: int = 0,
) -> None:
    """Train `network` in place and leave it holding the moving average of its weights.

    `loss_of_step(number, generator)` returns a scalar of the next `crew().share(batch)` examples;
    it is called under `mixed_precision`, with another number in every step of every process. The
    run's checkpoint and `losses.jsonl` lie in `folder`; a finished run returns at once.
    """
    ours = crew()
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = new_optimizer(network, schedule)
    ema = EMAModel(network.parameters(), decay=schedule.ema_decay, use_ema_warmup=True, power=0.75)
    checkpoint = folder / "checkpoint.pt"
    start, hours = _restore(checkpoint, network, optimizer, ema, device)
    if ours.leads:
        _forget_after(folder / LOG, start)
    began = saved = time.monotonic()
    network.train()
    recent: list[float] = []
    for step in range(start, schedule.steps):
        number = step * ours.size + ours.rank
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        for group in optimizer.param_groups:
            group["lr"] = schedule.lr(step)
        with mixed_precision(device):
            loss = loss_of_step(number, generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        ours.average_gradients(network)
        nn.utils.clip_grad_norm_(network.parameters(), schedule.clip_norm)
        optimizer.step()
        ema.step(network.parameters())
        recent.append(loss.item())
        now = time.monotonic()
        spent_h = hours + (now - began) / 3600
        if (step + 1) % LOG_EVERY_STEPS == 0:
            if ours.leads:
                _log(folder, step + 1, recent, spent_h, schedule)
            recent.clear()
        if ours.decided(now - saved > CHECKPOINT_EVERY_S or step + 1 == schedule.steps):
            _save(checkpoint, network, optimizer, ema, step=step + 1, spent_h=spent_h)
            saved = now
    ours.wait()
    ema.copy_to(network.parameters())
    network.eval()


def refined_folder(work: Path, start: Path) -> Path:
    """Return where a run lies that goes on from an exported model, by that model's content.

    A checkpoint of another model's run would be gone on with instead.
    """
    return work / f"refined-{folder_revision(start).rpartition(':')[2][:12]}"


def new_optimizer(network: nn.Module, schedule: Schedule) -> torch.optim.Optimizer | MuonAndAdamW:
    """Return the optimiser that a schedule names."""
    lr, weight_decay = schedule.peak_lr, schedule.weight_decay
    if schedule.muon:
        return MuonAndAdamW(
            network, lr=lr, weight_decay=weight_decay, not_hidden=schedule.not_hidden
        )
    parameters = network.parameters()
    return torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, fused=True)


def restore(network: nn.Module, folder: Path) -> int:
    """Put the moving average of a run's last checkpoint into a network; return its step."""
    held = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(held["network"])
    ema = EMAModel(network.parameters())
    ema.load_state_dict(held["ema"])
    ema.copy_to(network.parameters())
    network.eval()
    return int(held["step"])


def _log(folder: Path, step: int, losses: list[float], spent_h: float, schedule: Schedule) -> None:
    row = {
        "step": step,
        "loss": sum(losses) / len(losses),
        "hours": round(spent_h, 4),
        "images": step * schedule.batch,
    }
    with (folder / LOG).open("a", encoding="utf-8") as log:
        log.write(json.dumps(row) + "\n")
    print(f"{folder.name} {step}/{schedule.steps} loss {row['loss']:.4f}", flush=True)


def _forget_after(log: Path, step: int) -> None:
    """Leave in a log what was learnt up to a step: what a killed run learnt later comes again."""
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]
        kept = [line for line in whole if json.loads(line)["step"] <= step]
        write_whole(log, "".join(kept).encode())


def _save(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer | MuonAndAdamW,
    ema: EMAModel,
    *,
    step: int,
    spent_h: float,
) -> None:
    held = {
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),  # of every process: all of them come here
        "ema": ema.state_dict(),
        "step": step,
        "hours": spent_h,
    }
    if crew().leads:
        part = path.with_suffix(".part")
        torch.save(held, part)
        os.replace(part, path)


def _restore(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer | MuonAndAdamW,
    ema: EMAModel,
    device: str,
) -> tuple[int, float]:
    """Load a checkpoint if there is one; return its step and the hours spent."""
    if not path.exists():
        return 0, 0.0
    held = torch.load(path, map_location=device, weights_only=True)
    network.load_state_dict(held["network"])
    optimizer.load_state_dict(held["optimizer"])
    ema.load_state_dict(held["ema"])
    return held["step"], held["hours"]
