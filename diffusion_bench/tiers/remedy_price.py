"""What remedies cost in time: a factor of the call, and weights that cross the bus.

    model offload        each network goes to the card and back, once a call
    sequential offload   each layer goes to the card, at every pass of its network

A byte takes the bus's time, that of the machine's memory, which reads it on its way there and
writes it on its way back, and the host's, which is most of it: it allocates, copies through a
buffer of its own and calls a hook a layer, so that a wider bus or faster memory helps little. What
the host takes is fitted on benchmarks/published/offload.csv, as tests/test_tiers_remedy_price.py
does it. It differs by machine more than anything else that is predicted here: the interval is wide.
"""

from __future__ import annotations

import math
import re
from functools import cache

from diffusion_bench.records import Record
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.cost import STAGES, counts, value_width
from diffusion_bench.tiers.memory import Fit, MemoryNeed, SecondsOf, weights_of
from diffusion_bench.tiers.predict import Z_80, Prediction, predict, refuse_bf16
from diffusion_bench.tiers.remedies import REMEDIES
from diffusion_bench.tiers.stage_memory import PART_OF
from diffusion_bench.tiers.workload import Workload

GB = 1e9
LANE_GBS = {"3.0": 0.985, "4.0": 1.969, "5.0": 3.938}  # by PCI-SIG's line rates, each way
BUS = re.compile(r"PCIe (\d\.0) x(\d+)")
USUAL_BUS = "PCIe 4.0 x16"  # where a card's is not known
BUS_SHARE = 0.8  # of the line rate, after the protocol's overhead; our estimate
# Two channels of 8 bytes of DDR4-3200, where nobody says how fast a machine's memory is: no
# published row does.
USUAL_RAM_GBS = 51.2
# Fitted: the host's seconds for 10**9 bytes beside those of bus and memory, and for a layer.
THERE_AND_BACK_S = 0.54
COPY_S = 0.02
LAYER_S = 0.0011
# Standard deviations of the logarithm of a crossing's seconds, between sources.
MODEL_SPREAD = 0.5
SEQUENTIAL_SPREAD = 0.45
LAYERED = ("matmul", "convolution", "normalisation")  # what has weights, a launch a layer


class RemedyPrice(Record):
    """What a fit's remedies multiply the seconds of a predicted call by, and its interval's ends.

    `words` names them, with what is estimated; it is empty where there is no remedy.
    """

    slower: float = 1.0
    slower_low: float = 1.0
    slower_high: float = 1.0
    words: str = ""


def price_of(
    fit: Fit,
    card: Card,
    calls: int,
    seconds: tuple[float, float, float],
    ram_gbs: float | None = None,
) -> RemedyPrice:
    """Return the price of a fit's remedies, for a call of so many seconds: low, expected, high."""
    if not fit.remedies:
        return RemedyPrice()
    low, middle, high = seconds
    factor = _factor(fit.need)
    crossing = crossing_s(fit.need, card.pcie, calls, ram_gbs)
    margin = math.exp(Z_80 * _spread(fit.need))
    total = factor * middle + crossing
    # What the call and what the crossing may be off by have nothing to do with each other.
    less = math.hypot(factor * (middle - low), crossing * (1 - 1 / margin))
    more = math.hypot(factor * (high - middle), crossing * (margin - 1))
    slower = total / middle
    return RemedyPrice(
        slower=slower,
        slower_low=(total - less) / low,
        slower_high=(total + more) / high,
        words="; ".join(
            [
                _words(fit, slower, _crossing_words(fit, card, ram_gbs, (crossing, margin))),
                *(gentler.words for gentler in fit.gentler),
            ]
        ),
    )


def seconds_on(card: Card, workload: Workload, ram_gbs: float | None = None) -> SecondsOf | None:
    """Return what tells the seconds of a call with a need's remedies, to choose them by.

    It is of specifications alone; `None` where a card does not have the precision.
    """
    try:
        refuse_bf16(card, workload.precision)
    except ValueError:
        return None

    @cache
    def plain_s() -> float:
        return predict(card, workload).seconds

    def seconds(need: MemoryNeed) -> float:
        return _factor(need) * plain_s() + crossing_s(need, card.pcie, workload.calls, ram_gbs)

    return seconds


def remedied(
    prediction: Prediction, fit: Fit, card: Card, ram_gbs: float | None = None
) -> Prediction:
    """Return a prediction with its fit's remedies paid for and named in what it rests on."""
    given = (prediction.seconds_low, prediction.seconds, prediction.seconds_high)
    price = price_of(fit, card, prediction.workload.calls, given, ram_gbs)
    if not price.words:
        return prediction
    paid = {
        "seconds": prediction.seconds * price.slower,
        "seconds_low": prediction.seconds_low * price.slower_low,
        "seconds_high": prediction.seconds_high * price.slower_high,
        "seconds_per_image": prediction.seconds_per_image * price.slower,
        "image_steps_per_s": prediction.image_steps_per_s / price.slower,
        "image_steps_per_s_low": prediction.image_steps_per_s_low / price.slower_high,
        "image_steps_per_s_high": prediction.image_steps_per_s_high / price.slower_low,
        "basis": f"{prediction.basis}; {price.words}",
    }
    return prediction.model_copy(update=paid)


def crossing_s(need: MemoryNeed, pcie: str, calls: int, ram_gbs: float | None = None) -> float:
    """Return the seconds of a call in which offloaded weights cross; 0 where none are offloaded.

    `pcie` as in "PCIe 4.0 x16", `ram_gbs` in 10**9 bytes a second. A decoder in slices or tiles is
    taken for one pass.
    """
    bus_s = 1 / (BUS_SHARE * _line_rate_gbs(_known_bus(pcie) or USUAL_BUS))
    bus_s += 1 / (ram_gbs or USUAL_RAM_GBS)
    sizes = {name: size / GB for name, size in weights_of(need).items()}
    if "model offload" in need.remedies:
        return sum(sizes.values()) * (THERE_AND_BACK_S + 2 * bus_s)
    if "sequential offload" not in need.remedies:
        return 0.0
    # A pipeline encodes the negative prompt in a pass of its own.
    passes = {"text encoder": 2 if need.workload.guided else 1, "denoiser": calls, "decoder": 1}
    layers = layers_of(need)
    return sum(
        times * (sizes[name] * (COPY_S + bus_s) + layers[name] * LAYER_S)
        for name, times in passes.items()
    )


def layers_of(need: MemoryNeed) -> dict[str, int]:
    """Return how many layers with weights a pass of each part goes through."""
    found = counts()[need.workload.model]
    layers = {}
    for stage in STAGES:
        width = value_width(found, stage, need.workload.precision)
        operators = found.stages[stage][width].single.operators
        layers[PART_OF[stage]] = sum(
            operators[name].launches for name in LAYERED if name in operators
        )
    return layers


def _factor(need: MemoryNeed) -> float:
    """Return what a need's remedies multiply a call by, beside what crosses the bus."""
    return math.prod(REMEDIES[name].slower for name in need.remedies)


def _spread(need: MemoryNeed) -> float:
    return SEQUENTIAL_SPREAD if "sequential offload" in need.remedies else MODEL_SPREAD


def _known_bus(pcie: str) -> str | None:
    known = BUS.fullmatch(pcie.strip())
    return known[0] if known is not None and known[1] in LANE_GBS else None


def _line_rate_gbs(bus: str) -> float:
    known = BUS.fullmatch(bus)
    assert known is not None, bus
    return LANE_GBS[known[1]] * int(known[2])


def _words(fit: Fit, slower: float, crossing: str) -> str:
    times = f", {slower:.3g} times as long" if slower > 1 else ""
    return f"with {' and '.join(fit.remedies)}{times}{crossing}"


def _crossing_words(
    fit: Fit, card: Card, ram_gbs: float | None, crossing: tuple[float, float]
) -> str:
    """Return what crosses in so many seconds, and by what factor that may be off."""
    seconds, margin = crossing
    if not seconds:
        return ""
    bus = _known_bus(card.pcie) or f"a bus that is not known, taken for {USUAL_BUS}"
    ram = f"of {ram_gbs:g} GB/s" if ram_gbs else f"taken for {USUAL_RAM_GBS:g} GB/s"
    waiting = f"{fit.need.ram_mib / 1024:.3g} GiB of weights"
    return (
        f": {seconds:.2g} s for {waiting} that wait in RAM {ram} to cross {bus}, "
        f"an estimate that may be {margin:.1f} times off"
    )
