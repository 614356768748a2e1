"""What `predict` says of a voice model: seconds, real-time factor and memory on a card."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from diffusion_bench.cli.typed import typed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusion_bench.charts.tier_speech import SpeechRow
    from diffusion_bench.tiers.cards import Card
    from diffusion_bench.tiers.voice_workload import VoiceWorkload

# Options that say nothing of speech, and reports, which correct pictures' predictions only.
OF_PICTURES = ("size", "sampler", "report")


def speech_asked(context: typer.Context, model: str, **words: str) -> VoiceWorkload | None:
    """Return the speech a command line asks for, `None` if its model draws pictures.

    `words`: what each option of `tiers`' workloads would say; one that nobody typed is left to what
    is usual for the model. Raise ValueError for an option of the other kind.
    """
    from diffusion_bench.tiers.voice_cost import told_voices, voice_name
    from diffusion_bench.tiers.voice_workload import parse_voice_workload

    if voice_name(model) is None:
        if typed(context, "length"):
            raise ValueError(
                f"--length is that of speech, and {model} is none of the voice models "
                f"that can be predicted: {', '.join(told_voices())}"
            )
        return None
    wrong = [f"--{name}" for name in OF_PICTURES if typed(context, name)]
    if wrong:
        raise ValueError(f"{model} speaks: leave out {', '.join(wrong)}")
    said = [word for name, word in words.items() if typed(context, name)]
    return parse_voice_workload(" ".join([model, *said]))


def predict_speech(
    card: str, workload: VoiceWorkload, cards: Sequence[Card], *, json: bool
) -> None:
    """Print what is predicted of speech on a card; raise ValueError where nothing can be."""
    from diffusion_bench.charts.tier_speech import speech_on
    from diffusion_bench.cli.tier_tables import print_json
    from diffusion_bench.tiers.cards import find_card

    match = find_card(card, cards)
    if match.card is None:
        raise ValueError(f"cannot tell: {match.reason}")
    row = speech_on(match.card, workload)
    answer = _answer(row, match.card) | {"note": match.note}
    if json:
        print_json(answer)
    else:
        typer.echo("\n".join(_lines(answer, workload.name)))


def _answer(row: SpeechRow, card: Card) -> dict[str, Any]:
    """Return everything that is predicted, as plain values; what does not fit has no time."""
    if row.prediction is None:
        raise ValueError(f"cannot tell: {row.reason}")
    told = row.prediction.model_dump(mode="json", exclude={"need"})
    if row.timed is None:
        told |= {name: None for name in told if name.startswith(("seconds", "real_time"))}
        told["limit"] = None
    need = row.prediction.need
    return told | {
        "memory_gib": need.peak_mib / 1024,
        "memory_gib_low": need.low_mib / 1024,
        "memory_gib_high": need.high_mib / 1024,
        "card_memory_gib": card.memory_gib,
        "card_usable_gib": card.vram_mib / 1024,
    }


def _lines(answer: dict[str, Any], name: str) -> list[str]:
    low, high = answer["memory_gib_low"], answer["memory_gib_high"]
    return [
        f"{answer['card']}, {name}",
        *_time_lines(answer),
        f"memory: {answer['memory_gib']:.3g} GiB ({low:.3g} to {high:.3g}) of "
        f"{answer['card_usable_gib']:.3g}: {answer['fit']}",
        f"rests on: {answer['basis']}",
        *([f"note: {answer['note']}"] if answer["note"] else []),
    ]


def _time_lines(answer: dict[str, Any]) -> list[str]:
    if answer["seconds"] is None:
        return [f"time: none, since it does not fit {answer['card']}"]
    chunks = f", in {answer['chunks']} chunks" if answer["chunks"] > 1 else ""
    return [
        f"time: {answer['seconds']:.3g} s (80 percent interval {answer['seconds_low']:.3g} to "
        f"{answer['seconds_high']:.3g}){chunks}",
        f"real-time factor: {answer['real_time_factor']:.3g} "
        f"({answer['real_time_factor_low']:.3g} to {answer['real_time_factor_high']:.3g}), "
        f"held back by: {answer['limit']}",
    ]
