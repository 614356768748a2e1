"""What `predict` says of a workload on a card: of pictures, and of speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from diffusion_bench.cli.typed import typed
from diffusion_bench.tiers.figures import figure_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from diffusion_bench.charts.tiers.measured import Findings
    from diffusion_bench.tiers.cards import Card
    from diffusion_bench.tiers.memory import MemoryNeed
    from diffusion_bench.tiers.voice_predict import VoiceNeed
    from diffusion_bench.tiers.voice_workload import VoiceWorkload
    from diffusion_bench.tiers.workload import Workload

# Options that say nothing of speech, and reports, which correct pictures' predictions only.
OF_PICTURES = ("size", "sampler", "report")
# What a prediction does not say of a workload that does not fit.
PICTURE_TIMES = (
    "seconds",
    "seconds_low",
    "seconds_high",
    "seconds_per_image",
    "image_steps_per_s",
    "image_steps_per_s_low",
    "image_steps_per_s_high",
    "slower",
)
SPEECH_TIMES = (
    "seconds",
    "seconds_low",
    "seconds_high",
    "real_time_factor",
    "real_time_factor_low",
    "real_time_factor_high",
    "limit",
)


def speech_asked(context: typer.Context, model: str, **options: Any) -> VoiceWorkload | None:
    """Return the speech a command line asks for, `None` if its model draws pictures.

    `options` are those of speech; one that nobody typed is left to what is usual for the model.
    Raise ValueError for an option of the other kind.
    """
    from diffusion_bench.tiers.voice_cost import told_voices, voice_name
    from diffusion_bench.tiers.voice_workload import voice_workload_of

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
    given = {name: value for name, value in options.items() if typed(context, name)}
    return voice_workload_of(model=model, **given)


def what_is_drawn(
    name: str, workload: Workload, findings: Findings, cards: Sequence[Card]
) -> dict[str, Any]:
    """Return everything that is predicted of pictures on a card, as plain values."""
    from diffusion_bench.charts.tiers.fits import told_fit
    from diffusion_bench.tiers.cards import named_card
    from diffusion_bench.tiers.remedy_price import remedied

    card, note = named_card(name, cards)
    found = findings.knowledge.predict(card, workload)
    fit, kind, measured = told_fit(card, workload, findings.fits)
    paid = remedied(found, fit, card)
    told = paid.model_dump(mode="json") | {"slower": paid.seconds / found.seconds}
    if fit.verdict == "does not fit":
        told |= dict.fromkeys(PICTURE_TIMES)
    basis = measured.words if measured else ""
    verdict = {"fit": fit.words(), "fit_kind": kind, "fit_basis": basis}
    return told | _memory(card, fit.need) | verdict | {"note": note}


def what_is_said(name: str, workload: VoiceWorkload, cards: Sequence[Card]) -> dict[str, Any]:
    """Return everything that is predicted of speech on a card, as plain values."""
    from diffusion_bench.charts.tiers.speech import speech_on
    from diffusion_bench.tiers.cards import named_card

    card, note = named_card(name, cards)
    row = speech_on(card, workload)
    if row.prediction is None:
        raise ValueError(f"cannot tell: {row.reason}")
    told = row.prediction.model_dump(mode="json", exclude={"need"})
    if row.timed is None:
        told |= dict.fromkeys(SPEECH_TIMES)
    notes = "; ".join(filter(None, (note, workload.length_note)))
    return told | _memory(card, row.prediction.need) | {"note": notes or None}


def _memory(card: Card, need: MemoryNeed | VoiceNeed) -> dict[str, float]:
    return {
        "memory_gib": need.peak_mib / 1024,
        "memory_gib_low": need.low_mib / 1024,
        "memory_gib_high": need.high_mib / 1024,
        "card_memory_gib": card.memory_gib,
        "card_usable_gib": card.vram_mib / 1024,
    }


def print_answer(answer: dict[str, Any], name: str, times: Sequence[str], *, json: bool) -> None:
    """Print a prediction as a JSON document, or as a few lines, `times` among them."""
    if json:
        from diffusion_bench.cli.tier_tables import print_json

        print_json(answer)
        return
    from diffusion_bench.charts.tiers.fits import tight_lines, verdict_words

    # Of speech everything is predicted.
    verdict = verdict_words(answer["fit"], answer.get("fit_kind", "predicted"))
    lines = [
        f"{answer['card']}, {name}",
        *times,
        f"memory: {answer['memory_gib']:.3g} GiB ({answer['memory_gib_low']:.3g} to "
        f"{answer['memory_gib_high']:.3g}) of {answer['card_usable_gib']:.3g}: {verdict}",
        *tight_lines([answer["fit"]]),
        f"rests on: {answer['basis']}",
    ]
    if answer.get("fit_basis"):
        lines.append(answer["fit_basis"])
    if answer["note"]:
        lines.append(f"note: {answer['note']}")
    typer.echo("\n".join(lines))


def picture_times(answer: dict[str, Any]) -> list[str]:
    """Return the lines about the time and the speed of pictures."""
    if answer["seconds"] is None:
        return [f"time: none, since it does not fit {answer['card']}, whatever is tried"]
    seconds, between = _figures(answer, "seconds")
    rate, rates = _figures(answer, "image_steps_per_s")
    return [
        f"time: {seconds} s a call (80 percent interval {between}), "
        f"{figure_words(answer['seconds_per_image'])} s a picture",
        f"speed: {rate} image-steps/s ({rates})",
    ]


def speech_times(answer: dict[str, Any]) -> list[str]:
    """Return the lines about the time and the real-time factor of speech."""
    if answer["seconds"] is None:
        return [f"time: none, since it does not fit {answer['card']}"]
    seconds, between = _figures(answer, "seconds")
    factor, factors = _figures(answer, "real_time_factor")
    chunks = f", in {answer['chunks']} chunks" if answer["chunks"] > 1 else ""
    return [
        f"time: {seconds} s (80 percent interval {between}){chunks}",
        f"real-time factor: {factor} ({factors}), held back by: {answer['limit']}",
    ]


def _figures(answer: dict[str, Any], name: str) -> tuple[str, str]:
    """Return a figure of an answer and its interval, in words."""
    low, high = (figure_words(answer[f"{name}_{end}"]) for end in ("low", "high"))
    return figure_words(answer[name]), f"{low} to {high}"
