"""What the bars, boxes and lines of a chart stand for: below its title on the page and in files."""

from __future__ import annotations

CAPTIONS = {
    "latency": (
        "Seconds of a whole call, from the words to the finished pictures or sound: the median of "
        "the repeats, and their range."
    ),
    "throughput": ("Images a second of the whole call."),
    "real-time": (
        "Seconds of work for a second of speech, median and range of the calls: below 1 it is made "
        "faster than it plays."
    ),
    "quality": (
        "Pictures drawn after the timed calls and judged by a scorer, or measures of speech; bars "
        "are 95 percent intervals. The Pareto front goes by the figures alone: where intervals "
        "overlap the order may be chance."
    ),
    "memory": (
        "The most memory that was in use at any moment; of cells that differ in their steps only, "
        "the largest."
    ),
    "step-times": (
        "Boxes are quartiles, whiskers the 5th and 95th percentile, or the range of few steps."
    ),
    "roofline": (
        "Each mark is a step of a cell: how much arithmetic it did in a second, over how much it "
        "does for each byte that it moves (counted FLOPs and bytes, measured seconds). The line is "
        "the most that the device can: near its slope memory holds a step back, near its flat part "
        "arithmetic. The colour is the verdict, which looks at more."
    ),
    "vram": (
        "Lines are what a workload needs without any remedy, bands how sure that is. Needs and "
        "verdicts are predicted here; what reports measured is under What fits."
    ),
    "bars": (
        "Lines at the ends of bars are intervals: 80 percent of a prediction, 95 of one report's "
        "median, and the spread of several reports. Energy and money are the card's alone, not the "
        "machine's at the wall. Where no energy was measured they are at most those of its rated "
        "power over the longest time of the interval, unless its limit was raised."
    ),
    "gains": (
        "Images an hour over those of the tier that the step starts from, predicted; two cards "
        "are used the best way, or one of them alone where that is faster. Lines at the ends of "
        "bars are 80 percent intervals; a step that changes no card has none. It is even with the "
        "cloud when hours there would have cost as much as the step and the electricity of its "
        "cards at work, at their rated power, without the rest of the machine."
    ),
}
