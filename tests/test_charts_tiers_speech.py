"""Speech on the tiers of a path: rows, what is left out of them, and how it is asked for."""

from __future__ import annotations

from diffusion_bench.charts.tiers.page import tiers_html
from diffusion_bench.charts.tiers.runnable import asked_workloads, shown_workloads
from diffusion_bench.charts.tiers.speech import HEADER, speech_on, speech_rows, speech_table
from diffusion_bench.charts.tiers.study import study
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.path import parse_path, shipped_path
from diffusion_bench.tiers.voice_workload import parse_voice_workload

ECHO = parse_voice_workload("echo 10s b1 fp32 25")
PAIR = """
currency = "USD"
[[tier]]
name = "unequal"
gpu = "RTX 3060"
other_gpu = "RTX 4090"
ram_gib = 32
cores = 8
[[tier]]
name = "nobody's"
gpu = "RTX 9999"
ram_gib = 32
cores = 8
"""


def test_a_row_a_tier_and_workload_all_of_it_predicted():
    longcat = parse_voice_workload("longcat 5s fp16")
    rows = speech_rows(shipped_path(), [ECHO, longcat])
    assert [row.tier for row in rows] == 2 * [tier.name for tier in shipped_path().tiers]
    assert [row.workload for row in rows[::3]] == [ECHO, longcat]
    assert {row.prediction.kind for row in rows} == {"predicted"}


def test_of_two_cards_the_faster_one_speaks_and_an_unknown_card_is_not_guessed():
    large = parse_voice_workload("longcat 9s b8 fp16")
    pair, unknown = speech_rows(parse_path(PAIR, "the path"), [large])
    assert pair.card == "RTX 4090 of RTX 3060 12GB + RTX 4090"
    assert unknown.prediction is None
    assert "RTX 9999" in unknown.reason


def test_a_card_that_speech_does_not_fit_goes_before_one_that_cannot_be_told():
    pair = PAIR.replace("RTX 3060", "RTX 2080 Ti").replace("RTX 4090", "RTX 4060")
    longest = parse_voice_workload("longcat 30s b16 bf16")
    row, _ = speech_rows(parse_path(pair, "the path"), [longest])
    assert row.card == "RTX 4060 of RTX 2080 Ti + RTX 4060"
    assert row.prediction.fit == "does not fit"


def test_what_does_not_fit_has_a_memory_and_no_time():
    card = find_card("RTX 3060").card.model_copy(update={"usable_mib": 4096})
    row = speech_on(card, parse_voice_workload("longcat fp32"))
    (cells,) = speech_table([row])[1]
    shown = dict(zip(HEADER, cells, strict=True))
    assert (shown["fit"], shown["s"], shown["real-time factor"]) == ("does not fit", None, None)
    assert shown["GiB"] > 4
    assert shown["rests on"] == "it does not fit RTX 3060 12GB"


def test_what_is_not_counted_is_said_and_not_guessed():
    row = speech_on(find_card("RTX 4090").card, parse_voice_workload("tortoise 10s"))
    (cells,) = speech_table([row])[1]
    shown = dict(zip(HEADER, cells, strict=True))
    assert (shown["fit"], shown["evidence"], shown["s"]) == ("cannot tell", "none", None)
    assert "only the diffusion is counted" in shown["rests on"]


def test_pictures_and_speech_are_asked_for_in_one_list():
    drawn, spoken = asked_workloads(["echo 10s", "sdxl 1024x1024 b1 fp16 30", "longcat"])
    assert [one.model for one in drawn] == ["sdxl"]
    assert [one.model for one in spoken] == ["echo", "longcat"]
    assert asked_workloads(["echo"])[0] == []
    assert asked_workloads() == (shown_workloads(), [])


def test_a_study_of_speech_alone_has_a_page_and_says_nothing_of_pictures():
    found = study(shipped_path(), [], spoken=[ECHO])
    assert (found.rows, found.bottlenecks, len(found.speech)) == ((), (), 3)
    page = tiers_html(found)
    assert "<h2>Speech</h2>" in page
    assert ECHO.name in page
    assert "<h2>Speech</h2>" not in tiers_html(study(shipped_path(), []))
