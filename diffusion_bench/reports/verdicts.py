"""What a ratio of times says of two measurements of the same work, in one of five words.

same            the 90 percent interval of the ratio lies within 5 percent of 1
faster, slower  the ratio is more than 5 percent from 1, its 95 percent interval excludes 1
cannot tell     neither; the reason says how many repeats would settle it
cannot compare  other work, or no figures
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from diffusion_bench.reports.intervals import student_t
from diffusion_bench.reports.machine_shift import MachineShift
from diffusion_bench.reports.schema import Cell, SharedCell
from diffusion_bench.reports.shift import Ratio, misses

# Two runs on one machine differ by a few percent for no reason that repeating within a run shows:
# heat, memory layout, what else runs. A smaller difference is not given a name.
SAME_WITHIN = 0.05
# What a sweep takes; advice beyond is "too close to call by repeating".
MOST_REPEATS, MOST_ROUNDS = 1000, 100

Verdict = Literal["faster", "slower", "same", "cannot tell", "cannot compare"]


def judge(ratio: Ratio, counts: tuple[int, int]) -> tuple[Verdict, str]:
    """Return what a ratio of times says, and why one may say so or may not."""
    limit = 1 + SAME_WITHIN
    same = (ratio.same_low or 0.0, ratio.same_high or math.inf)
    if same[0] >= 1 / limit and same[1] <= limit:
        return "same", f"the samples allow no difference above {SAME_WITHIN:.0%}"
    if ratio.low is None or ratio.high is None:
        return "cannot tell", (
            f"{counts[0]} and {counts[1]} samples are too few to tell; "
            f"repeat {_fewest(counts)} times or more"
        )
    bounds = f"95 percent sure of {ratio.low:.3f} to {ratio.high:.3f}"
    if ratio.high < 1 and ratio.middle < 1 / limit:
        return "faster", f"{1 / ratio.middle:.2f} times as fast; ratio {bounds}"
    if ratio.low > 1 and ratio.middle > limit:
        return "slower", f"{ratio.middle:.2f} times the time; ratio {bounds}"
    return "cannot tell", f"ratio {bounds}; {_advice(ratio, max(counts))}"


def judge_net(
    raw: Ratio, net: Ratio, shift: MachineShift, counts: tuple[int, int]
) -> tuple[Verdict, str]:
    """Return what a ratio says where the machine itself may have moved between its two sides."""
    plain, reason = judge(raw, counts)
    if plain == "same" and not shift.is_certain:
        return plain, reason
    verdict, why = judge(net, counts)
    if (verdict == "slower" and raw.middle <= 1) or (verdict == "faster" and raw.middle >= 1):
        verdict, why = "cannot tell", f"it would be {verdict} ({why}), but the times say otherwise"
    alone = f"ratio {raw.middle:.3f}"
    if raw.low is not None and raw.high is not None:
        alone += f" ({raw.low:.3f} to {raw.high:.3f})"
    return verdict, f"beside the machine's own speed: {why}; the times alone: {alone}"


def absences(old: Cell | SharedCell | None, new: Cell | SharedCell | None) -> tuple[str, str]:
    """Return why each of a pair of cells has no figures, "" of one that has."""
    first, second = (cell.without_figures if cell else "not measured" for cell in (old, new))
    return first, second


def why_absent(absent: tuple[str, str], labels: Sequence[str]) -> str:
    """Return in words why a pair of cells cannot be compared, "" where both have figures."""
    return "; ".join(f"{why} in {label}" for why, label in zip(absent, labels, strict=True) if why)


def _advice(ratio: Ratio, n: int) -> str:
    """Return how many repeats would settle it: intervals shrink with the root of their number.

    Where visits differ by more than calls, only more of those do. A part of some intervals stays.
    """
    assert ratio.low
    assert ratio.high
    limit, distance = math.log1p(SAME_WITHIN), abs(math.log(ratio.middle))
    reach = math.log(ratio.high / ratio.low) / 2
    room = distance if distance > limit else limit - distance
    if min(room, reach) > ratio.floor:
        share = math.sqrt((room**2 - ratio.floor**2) / (reach**2 - ratio.floor**2))
        if ratio.visits and (rounds := _fewest_rounds(ratio, share)):
            return f"about {rounds} rounds would settle it"
        if not ratio.visits and (needed := n / share**2) <= MOST_REPEATS:
            return f"about {max(math.ceil(needed), n + 1)} repeats would settle it"
    return "too close to call by repeating"


def _fewest_rounds(ratio: Ratio, share: float) -> int | None:
    """Return how many visits a side narrow Student's interval of a ratio's to a share of it.

    Of one visit, which has no such interval, it is as of any errors that do not know of each other.
    """
    visits = ratio.visits
    if visits == 1:
        needed = math.ceil(1 / share**2)
        return max(needed, 2) if needed <= MOST_ROUNDS else None

    def reach(count: int) -> float:
        return student_t(2 * (count - 1) + ratio.lent, 0.05) / math.sqrt(count)

    tries = range(visits + 1, MOST_ROUNDS + 1)
    return next((count for count in tries if reach(count) <= share * reach(visits)), None)


def _fewest(counts: tuple[int, int]) -> int:
    """Return the least number of repeats from which a difference can be clear.

    A side that has more of them keeps those.
    """
    tries = range(2, MOST_REPEATS)
    return next(n for n in tries if misses((max(n, counts[0]), max(n, counts[1])), 0.05))
