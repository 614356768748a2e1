"""Train the letter-to-sound net: `python -m diffusion_bench.training.letters --help`."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_bench.pronunciation.letter_net import BLANK, LetterNet, letter_indices
from diffusion_bench.pronunciation.lexicon import SYMBOLS
from diffusion_bench.training.letters.data import Ways, batches, is_held_out, spoken_words
from diffusion_bench.training.letters.evaluate import evaluate
from diffusion_bench.training.precision import mixed_precision

WEIGHTS = Path(__file__).parents[2] / "pronunciation" / "letters.safetensors"
LEARNING_RATE = 3e-3
BATCH = 256
WARMUP_STEPS = 200
_CLASS_OF = {symbol: index for index, symbol in enumerate(SYMBOLS, 1)}


def main(
    out: Annotated[Path, typer.Option(help="The weights to write.")] = WEIGHTS,
    epochs: Annotated[int, typer.Option(help="How often each word is seen.", min=1)] = 24,
    seed: Annotated[int, typer.Option(help="Of weights and order.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads.", min=1)] = 1,
) -> None:
    """Train on CMUdict but for one word in twenty, print the errors on those, save fp16 weights."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    ways = spoken_words()
    held_out = {word: said for word, said in ways.items() if is_held_out(word)}
    taught = {word: said for word, said in ways.items() if word not in held_out}
    typer.echo(f"{len(taught):,} words to learn, {len(held_out):,} held out")
    net = LetterNet()
    train(net, taught, held_out, epochs=epochs, seed=seed)
    net.half().float()
    typer.echo(f"{evaluate(net, held_out)}")
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.half() for name, value in net.state_dict().items()}, out)
    out.chmod(0o644)
    typer.echo(f"wrote {out}, {out.stat().st_size:,} bytes")


def train(net: LetterNet, taught: Ways, watched: Ways, *, epochs: int, seed: int) -> None:
    """Train in place by AdamW with a linear warm-up and decay; print a line an epoch."""
    shuffle = random.Random(seed)
    optimiser = torch.optim.AdamW(net.parameters(), lr=LEARNING_RATE, weight_decay=0.01)
    last = epochs * sum(1 for _ in batches(taught, BATCH, shuffle=None))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min(1, (step + 1) / WARMUP_STEPS) * (1 - step / last)
    )
    start_s = time.monotonic()
    for epoch in range(epochs):
        net.train()
        losses = []
        for batch in batches(taught, BATCH, shuffle):
            loss = ctc_loss(net, batch, [shuffle.choice(taught[word]) for word in batch])
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        mean = sum(losses) / len(losses)
        elapsed_s = time.monotonic() - start_s
        typer.echo(
            f"epoch {epoch + 1}: loss {mean:.3f}, {elapsed_s:.0f} s, {evaluate(net, watched)}"
        )


def ctc_loss(net: LetterNet, batch: list[str], said: list[tuple[str, ...]]) -> Tensor:
    """Return the loss of one batch (Graves et al., 2006, equation 8), in bf16 but for the sums.

    In fp32 where oneDNN has no LSTM in bf16: it is left out where packed weights are.
    """
    with mixed_precision("cpu"):
        logits = net(letter_indices(batch))
    scores = logits.float().log_softmax(-1).transpose(0, 1)
    targets = torch.tensor([_CLASS_OF[symbol] for way in said for symbol in way])
    return F.ctc_loss(
        scores,
        targets,
        torch.full((len(batch),), len(scores)),
        torch.tensor([len(way) for way in said]),
        blank=BLANK,
        zero_infinity=True,  # a word with doubled symbols may need more slots than it has
    )


if __name__ == "__main__":
    typer.run(main)
