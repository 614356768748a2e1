"""Training by several processes and by Muon: what they share, what they step, what they keep."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from warm_python import run_warm
from warm_workers import WarmStart

from diffusion_bench.training import precision
from diffusion_bench.training.crew import Crew, crew
from diffusion_bench.training.loop import (
    Schedule,
    new_optimizer,
    refined_folder,
    restore,
    train,
)
from diffusion_bench.training.optimisers import (
    Fp32Muon,
    MuonAndAdamW,
    fair_shares,
    is_hidden_matrix,
)
from diffusion_bench.training.precision import mixed_precision

# Two examples a step. Alone a process takes both; of two each takes the one of its number.
TWO_HALVES = """
import sys, torch
from pathlib import Path
from torch import nn
from diffusion_bench.training.crew import crew
from diffusion_bench.training.loop import Schedule, train

def trained(folder, muon):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Linear(5, 1))
    schedule = Schedule(steps=5, batch=2, peak_lr=0.1, warmup_steps=1, ema_decay=0.5, muon=muon)

    def loss_of_step(number, generator):
        share = crew().share(schedule.batch)
        numbers = [number * share + own for own in range(share)]
        rows = torch.tensor([[n % 3, n % 5, 1.0] for n in numbers])
        with torch.autocast("cpu", enabled=False):
            return (network(rows) - 1).square().mean()

    train(network, loss_of_step, schedule, folder=folder, device="cpu")
    if crew().leads:
        torch.save(network.state_dict(), folder / "end.pt")

trained(Path(sys.argv[1]) / "adamw", False)
trained(Path(sys.argv[1]) / "muon", True)
"""


def halves_of(size: int, folder: Path, start: WarmStart) -> None:
    """Train in so many processes at once, each told its rank as torchrun tells it."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}

    def run(rank: int) -> subprocess.CompletedProcess[str]:
        env = os.environ | {name: str(value) for name, value in (told | {"RANK": rank}).items()}
        return run_warm(start, "-c", TWO_HALVES, folder, env=env)

    with ThreadPoolExecutor(size) as pool:
        assert [done.stderr for done in pool.map(run, range(size)) if done.returncode] == []


def test_two_processes_step_as_one_does_with_the_batch_of_both(
    tmp_path: Path, warm_start: WarmStart
) -> None:
    alone, together = tmp_path / "alone", tmp_path / "together"
    halves_of(1, alone, warm_start)
    halves_of(2, together, warm_start)
    for name in ("adamw", "muon"):
        ends = (torch.load(each / name / "end.pt", weights_only=True) for each in (alone, together))
        one, both = ends
        for layer, weights in one.items():
            torch.testing.assert_close(both[layer], weights, rtol=1e-5, atol=1e-6)
        log = (together / name / "losses.jsonl").exists()
        assert not log  # five steps are fewer than one line of the log is of
        held = torch.load(together / name / "checkpoint.pt", weights_only=True)
        assert held["step"] == 5
    # Each process held the momentum of its own matrices.
    assert sorted(held["optimizer"]["muon"]["state"]) == [0, 1, 2]


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    assert Crew(0, 2).share(8) == 4
    with pytest.raises(ValueError, match="a batch of 7 cannot be shared by 2 processes"):
        Crew(0, 2).share(7)


def test_shares_of_the_work_are_near_equal_and_hold_all_of_it() -> None:
    costs = [9, 1, 1, 4, 8, 3]
    shares = fair_shares(costs, 2)
    assert sorted(index for share in shares for index in share) == list(range(6))
    assert [sum(costs[index] for index in share) for share in shares] == [13, 13]
    assert fair_shares([5], 3) == [[0], [], []]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.conv_in = nn.Conv1d(4, 6, 1)
        self.hidden = nn.Conv1d(6, 6, 3, padding=1)
        self.conv_out = nn.Conv1d(6, 1, 1)

    def forward(self, numbers: Tensor) -> Tensor:
        states = self.conv_in(self.embedding(numbers).transpose(1, 2))
        result: Tensor = self.conv_out(torch.tanh(self.hidden(states)))
        return result


def loss_of(network: nn.Module) -> Tensor:
    numbers = torch.arange(20).reshape(4, 5) % 5
    target = torch.sin(numbers.float())[:, None]
    return (network(numbers) - target).square().mean()


def test_muon_takes_the_hidden_matrices_and_steps_them_in_every_direction_alike() -> None:
    torch.manual_seed(0)
    network = Small()
    hidden = [name for name, p in network.named_parameters() if is_hidden_matrix(name, p)]
    assert hidden == ["hidden.weight"]
    before = network.hidden.weight.detach().clone()
    optimizer = MuonAndAdamW(network, lr=0.1, weight_decay=0.0)
    loss_of(network).backward()
    assert network.hidden.weight.grad is not None
    gradient = network.hidden.weight.grad.flatten(1)
    optimizer.step()
    moved = (network.hidden.weight.detach() - before).flatten(1)
    assert spread(moved) < 5 < spread(gradient)
    optimizer.zero_grad()
    assert all(p.grad is None for p in network.parameters())


@pytest.mark.parametrize("shape", [(6, 18), (18, 6)])
@pytest.mark.parametrize("nesterov", [True, False])
def test_muon_in_fp32_steps_as_torchs_does_in_bf16(shape: tuple[int, int], nesterov: bool) -> None:
    torch.manual_seed(0)
    started = torch.randn(shape)
    ends = []
    for kind in (torch.optim.Muon, Fp32Muon):
        matrix = nn.Parameter(started.clone())
        muon = kind([matrix], lr=0.1, nesterov=nesterov, adjust_lr_fn="match_rms_adamw")
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            matrix.grad = torch.randn(shape, generator=generator)
            muon.step()
        ends.append(matrix.detach())
    moved = (ends[0] - started).norm()
    assert (ends[1] - ends[0]).norm() < 0.02 * moved  # bf16 keeps eight bits


@pytest.mark.parametrize("bf16", [True, False])
def test_a_processor_that_emulates_bf16_trains_in_fp32(
    bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "packs", lambda _: bf16)
    muon = MuonAndAdamW(Small(), lr=0.1, weight_decay=0.0).both[1]
    assert isinstance(muon, Fp32Muon) is not bf16
    with mixed_precision("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (
            torch.bfloat16 if bf16 else torch.float32
        )


def test_a_schedule_says_which_layers_are_not_muons() -> None:
    network = Small()
    schedule = Schedule(
        steps=1, batch=1, peak_lr=0.1, muon=True, not_hidden=("embedding", "hidden")
    )
    optimizer = new_optimizer(network, schedule)
    assert isinstance(optimizer, MuonAndAdamW)
    assert {id(p) for p in optimizer.hidden} == {
        id(network.conv_in.weight),
        id(network.conv_out.weight),
    }


def test_runs_that_go_on_from_other_models_have_folders_of_their_own(tmp_path: Path) -> None:
    models = [tmp_path / name for name in ("one", "other", "copy")]
    for model, content in zip(models, ("1", "2", "1"), strict=True):
        model.mkdir()
        (model / "config.json").write_text(content)
    one, other, copy = (refined_folder(tmp_path / "work", model) for model in models)
    assert one == copy != other


def spread(matrix: Tensor) -> float:
    """Return how much longer the longest singular value is than the middle one."""
    lengths = torch.linalg.svdvals(matrix.double())
    return float(lengths[0] / lengths[len(lengths) // 2])


@pytest.mark.parametrize("muon", [False, True])
def test_a_killed_run_goes_on_as_if_it_had_not_been(muon: bool, tmp_path: Path) -> None:
    schedule = Schedule(steps=8, batch=4, peak_lr=0.02, warmup_steps=2, decay_steps=1, muon=muon)

    def trained(folder: Path, *, killed_at: int | None) -> Small:
        torch.manual_seed(0)
        network = Small()

        def loss_of_step(number: int, _: torch.Generator) -> Tensor:
            if number == killed_at:
                raise KeyboardInterrupt
            return loss_of(network)

        train(network, loss_of_step, schedule, folder=folder, device="cpu")
        return network

    whole = trained(tmp_path / "whole", killed_at=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("diffusion_bench.training.loop.CHECKPOINT_EVERY_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "killed", killed_at=5)
    resumed = trained(tmp_path / "killed", killed_at=None)
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    assert restore(Small(), tmp_path / "killed") == 8


def test_a_step_that_a_killed_run_learns_again_is_in_the_log_once(tmp_path: Path) -> None:
    schedule, log = Schedule(steps=100, batch=4, peak_lr=0.02), tmp_path / "losses.jsonl"

    def killed(number: int, _: torch.Generator) -> Tensor:
        if number == 75:
            raise KeyboardInterrupt
        return loss_of(network)

    network = Small()
    with pytest.raises(KeyboardInterrupt):
        train(network, killed, schedule, folder=tmp_path, device="cpu")
    log.write_text(log.read_text() + '{"step": 7')  # and torn
    network = Small()
    for _ in range(2):  # a finished run leaves it as it is
        train(network, lambda *_: loss_of(network), schedule, folder=tmp_path, device="cpu")
        assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [50, 100]


def test_processes_that_train_on_the_cpu_meet_on_a_machine_with_a_card_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.distributed, "init_process_group", asked.append)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    assert crew.__wrapped__() == Crew(1, 2)
    assert asked == ["gloo"]  # nccl takes no tensors of the CPU


def test_the_log_tells_steps_loss_and_examples_seen(tmp_path: Path) -> None:
    network = Small()
    schedule = Schedule(steps=100, batch=4, peak_lr=0.02, muon=True)
    start = loss_of(network).item()
    train(network, lambda *_: loss_of(network), schedule, folder=tmp_path, device="cpu")
    rows = [json.loads(line) for line in (tmp_path / "losses.jsonl").read_text().splitlines()]
    assert [(row["step"], row["images"]) for row in rows] == [(50, 200), (100, 400)]
    assert rows[1]["loss"] < start
    assert isinstance(new_optimizer(network, schedule), MuonAndAdamW)
