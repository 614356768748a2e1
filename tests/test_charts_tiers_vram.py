"""Memory against need: the consumer line, one card's models, the steps, and the page of all."""

from __future__ import annotations

import re

import pytest

from diffusion_bench.charts.tiers.gains import gains_figure, gains_table
from diffusion_bench.charts.tiers.left_out import LeftOut
from diffusion_bench.charts.tiers.page import tiers_html
from diffusion_bench.charts.tiers.room import room_figure
from diffusion_bench.charts.tiers.runnable import (
    LARGEST_BATCH,
    Room,
    largest_batch,
    runnable_on,
    runnable_table,
    shown_workloads,
    usual_workloads,
)
from diffusion_bench.charts.tiers.steps import Prices
from diffusion_bench.charts.tiers.study import study
from diffusion_bench.charts.tiers.unlisted import runnable_on_processor, runnable_on_unknown_card
from diffusion_bench.charts.tiers.vram import vram_figure, vram_numbers, vram_table
from diffusion_bench.records import BUNDLED_MODEL, BUNDLED_SIDE
from diffusion_bench.tiers.cards import find_card, is_geforce, known_cards
from diffusion_bench.tiers.cost import known_models
from diffusion_bench.tiers.path import UpgradePath, shipped_path
from diffusion_bench.tiers.rows import need_of
from diffusion_bench.tiers.workload import Software, TimedCell, Workload, parse_workload

ASKED = shown_workloads()


def card(name: str):
    found = find_card(name).card
    assert found is not None
    return found


@pytest.fixture(scope="module")
def shipped():
    return study(shipped_path(), ASKED, prices=Prices(cloud_per_hour=0.5, per_kwh=0.3))


def test_the_whole_consumer_line_is_there_by_rising_memory_with_a_verdict_a_workload() -> None:
    numbers = vram_numbers(shipped_path(), ASKED)
    line = [one.name for one in known_cards() if is_geforce(one.name)]
    assert sorted(room.card for room in numbers.cards) == sorted(line)
    memories = [room.memory_gib for room in numbers.cards]
    assert memories == sorted(memories)
    assert {room.card for room in numbers.cards if room.in_path} == {"RTX 4070 Ti", "RTX 4090"}
    assert all(len(room.fits) == len(ASKED) for room in numbers.cards)
    by_name = {room.card: room.fits for room in numbers.cards}
    assert by_name["RTX 4070 Ti"][0] == "fits"
    assert by_name["RTX 4070 Ti"][3].startswith("fits with")


def test_a_card_of_the_path_that_is_no_geforce_is_in_the_picture_too() -> None:
    own = UpgradePath.model_validate(
        {"tier": [{"name": "rented", "gpu": "H200 SXM", "ram_gib": 64, "cores": 8}]}
    )
    assert vram_numbers(own, ASKED).cards[-1].card == "H200 SXM"


def test_the_lines_stand_at_what_is_needed_in_bands_of_doubt() -> None:
    numbers = vram_numbers(shipped_path(), ASKED)
    figure = vram_figure(numbers)
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    for need, line, band in zip(numbers.needs, lines, figure.layout.shapes, strict=True):
        assert set(line.x) == {need.gib}
        assert (band.x0, band.x1) == (need.low_gib, need.high_gib)
    assert "GiB" in figure.layout.xaxis.title.text
    header, rows = vram_table(numbers)
    assert len(rows) == 1 + len(numbers.cards)
    assert all(len(row) == len(header) for row in rows)


def test_lines_of_one_model_have_names_that_tell_them_apart() -> None:
    words = ("sdxl 1024x1024 b4 fp16 20", "sdxl 1024x1024 b1 fp16 20", "sd15 512x512 b1 fp16 20")
    figure = vram_figure(vram_numbers(shipped_path(), [parse_workload(each) for each in words]))
    assert [one.text for one in figure.layout.annotations] == ["sdxl b4", "sdxl b1", "sd15"]


def test_a_size_that_cannot_be_drawn_has_no_line_but_a_reason() -> None:
    odd = Workload(model="sd15", width=516, height=512)
    numbers = vram_numbers(shipped_path(), [odd])
    assert numbers.needs[0].gib is None
    assert set(numbers.cards[0].fits) == {"cannot tell"}
    assert not [t for t in vram_figure(numbers).data if t.type == "scatter"]
    assert "multiples of 8" in str(vram_table(numbers)[1][0])


def test_every_model_that_was_counted_is_tried_on_a_card() -> None:
    room = runnable_on(card("RTX 4090"))
    assert sorted(one.workload.model for one in room.runs) == sorted(known_models())
    by_model = {one.workload.model: one for one in room.runs}
    assert by_model["sdxl"].fit == "fits"
    assert by_model["sdxl"].seconds_per_image > 0
    assert by_model["flux1-dev"].fit.startswith("fits with")
    assert by_model["flux1-dev"].largest_batch == 0


def test_the_largest_batch_fits_and_the_next_does_not() -> None:
    asked = parse_workload("sd15 512x512 b1 fp16 20")
    most = largest_batch(card("RTX 4070 Ti").vram_mib, asked)
    assert 1 < most < LARGEST_BATCH
    vram_mib = card("RTX 4070 Ti").vram_mib
    needs = [need_of(asked.model_copy(update={"batch": n}), Software()) for n in (most, most + 1)]
    assert needs[0].high_mib <= vram_mib < needs[1].high_mib
    assert largest_batch(card("H200 SXM").vram_mib, asked) == LARGEST_BATCH


def test_a_card_is_judged_by_what_it_gives_of_its_memory_everywhere() -> None:
    """A T4 reports 15 of its 16 GiB, which 11 pictures of SD 1.5 do not surely fit."""
    asked = parse_workload("sd15 512x512 b11 fp16 20")
    cut, whole = card("T4"), card("T4").model_copy(update={"usable_mib": None})
    told = [
        (room.runs[0].fit, room.runs[0].largest_batch, room.memory_gib)
        for room in (runnable_on(one, workloads=[asked]) for one in (cut, whole))
    ]
    assert told == [("fits with VAE slicing", 10, 15), ("fits", 11, 16)]
    own = UpgradePath.model_validate(
        {"tier": [{"name": "rented", "gpu": "T4", "ram_gib": 64, "cores": 8}]}
    )
    by_name = {room.card: room for room in vram_numbers(own, [asked]).cards}
    assert by_name["T4"].fits == ("fits with VAE slicing",)
    assert by_name["RTX 4060 Ti 16GB"].fits == ("fits",)


def test_a_card_without_bf16_is_asked_in_fp16_and_told_so() -> None:
    room = runnable_on(card("RTX 2080 Ti"))
    (flux,) = [one for one in room.runs if one.workload.model == "flux1-schnell"]
    assert flux.workload.precision == "fp16"
    assert "has no bf16" in flux.reason


def test_what_a_remedy_makes_tight_is_drawn_with_what_is_tight() -> None:
    many = [parse_workload("sd15 768x768 b17 fp16 20")]
    room = runnable_on(card("RTX 4060"), workloads=many)
    assert room.runs[0].fit == "tight with VAE slicing"
    assert [trace.name for trace in room_figure(room).data] == ["tight, predicted"]


def test_batches_of_one_model_have_a_bar_each() -> None:
    asked = [parse_workload(f"sd15 512x512 b{batch} fp16 20") for batch in (1, 2)]
    figure = room_figure(runnable_on(card("RTX 4070 Ti"), workloads=asked))
    assert [list(trace.y) for trace in figure.data] == [["sd15 512x512 b1", "sd15 512x512 b2"]]


def test_too_little_ram_takes_the_offload_away() -> None:
    flux = [parse_workload("flux1-schnell 1024x1024 b1 bf16 4")]
    assert "offload" in runnable_on(card("RTX 4070 Ti"), workloads=flux).runs[0].fit
    (cramped,) = runnable_on(card("RTX 4070 Ti"), ram_gib=4, workloads=flux).runs
    assert cramped.fit == "does not fit"
    assert cramped.seconds_per_image is None


def test_a_processor_is_told_from_its_own_cells_only() -> None:
    works = [
        Workload(model=BUNDLED_MODEL, width=s, height=s, precision="fp32", steps=n)
        for s in (BUNDLED_SIDE, 2 * BUNDLED_SIDE)
        for n in (10, 20, 50)
    ]
    cells = [
        TimedCell(w, 0.1 + 1e-6 * w.width**2 * w.steps, 1e-6 * w.width**2 * w.steps) for w in works
    ]
    room = runnable_on_processor("a CPU", cells, 16.0)
    by_model = {one.workload.model: one for one in room.runs}
    expected = 0.1 + 1e-6 * BUNDLED_SIDE**2 * 20
    assert by_model[BUNDLED_MODEL].seconds_per_image == pytest.approx(expected, rel=0.05)
    assert "measured on its processor" in by_model[BUNDLED_MODEL].evidence.source
    assert by_model["sd15"].seconds_per_image is None
    assert "0 of its cells were measured here" in by_model["sd15"].reason
    assert by_model["flux1-dev"].fit == "does not fit"
    assert room_figure(room).data


def test_a_card_that_no_table_has_is_told_from_its_own_cells_only() -> None:
    works = [Workload(model="sd15", batch=b, steps=n) for b in (1, 2, 4) for n in (10, 50)]
    cells = [TimedCell(w, 0.1 + 0.02 * w.batch * w.steps, 0.02 * w.batch * w.steps) for w in works]
    asked = [parse_workload("sd15 512x512 b2 fp16 20"), parse_workload("sdxl 512x512")]
    room = runnable_on_unknown_card("RTX X", 12_000.0, cells, ram_gib=32, workloads=asked)
    sd15, sdxl = room.runs
    assert sd15.seconds_per_image == pytest.approx(0.45, rel=0.05)
    assert sd15.evidence.source == "6 cells that this machine measured on its card"
    assert (sd15.fit, sd15.largest_batch) == ("fits", largest_batch(12_000.0, asked[0]))
    assert (sdxl.seconds_per_image, sdxl.evidence) == (None, None)
    assert room_figure(room).data
    assert room_figure(room).layout.shapes[0].x0 == 12_000 / 1024


def test_a_processor_whose_cells_were_left_out_says_how_many_and_why() -> None:
    left_out = 6 * [LeftOut("sd15", "contended")]
    asked = [parse_workload("sd15 512x512"), parse_workload("sdxl 512x512")]
    room = runnable_on_processor("a CPU", [], 64.0, workloads=asked, left_out=left_out)
    sd15, sdxl = (one.reason for one in room.runs)
    assert "4 are needed; 6 measured cells left out: 6 contended" in sd15
    assert "left out" not in sdxl


def test_a_row_tells_its_precision_and_what_its_time_and_verdict_rest_on_at_once() -> None:
    sizes = [(64 * n, 64 * n) for n in (1, 2, 3, 4, 5, 6)]
    cells = [
        TimedCell(Workload(model="sd15", width=w, height=h, precision="fp32"), w * h, w * h)
        for w, h in sizes
    ]
    room = runnable_on_processor(
        "a CPU", cells, 64.0, workloads=[parse_workload("sd15 512x512 b1 fp16 20")]
    )
    (one,) = room.runs
    told = one._replace(fit_basis="measured here: it ran")
    header, ((*_, shown),) = runnable_table(room._replace(runs=(told,)))
    assert header[-1] == "rests on"
    assert told.rests_on == (
        "in fp32, not fp16, on a processor; "
        "predicted: 6 cells that this machine measured on its processor; measured here: it ran"
    )
    assert shown == told.rests_on


def test_the_room_is_drawn_by_verdict_against_the_cards_memory() -> None:
    room = runnable_on(card("RTX 4070 Ti"))
    figure = room_figure(room)
    names = {trace.name for trace in figure.data}
    assert {"fits, predicted", "fits with a remedy, predicted"} <= names
    assert sum(len(trace.x) for trace in figure.data) == len(room.runs)
    assert figure.layout.shapes[0].x0 == card("RTX 4070 Ti").reported_mib / 1024
    header, rows = runnable_table(room)
    assert all(len(row) == len(header) for row in rows)
    assert "Nothing can be told" in room_figure(Room("x", 1, ())).layout.annotations[0].text


def test_usual_workloads_are_of_the_models_that_were_counted() -> None:
    assert {work.model for work in usual_workloads()} == set(known_models())
    assert shown_workloads(["sdxl 512x512"])[0].width == 512


def test_steps_are_bars_of_how_many_times_as_fast(shipped) -> None:
    figure = gains_figure(shipped.steps, "USD")
    assert [trace.name for trace in figure.data] == ["first-year upgrade", "second-year upgrade"]
    drawn = [step for step in shipped.steps if step.tier == "first-year upgrade"]
    assert list(figure.data[0].x) == [step.times_before for step in drawn]
    assert all(trace.marker.opacity < 1 for trace in figure.data)  # predicted
    header, rows = gains_table(shipped.steps, "EUR")
    assert len(rows) == len(shipped.steps)
    assert all(len(row) == len(header) for row in rows)
    first = study(UpgradePath(tier=(shipped.path.tiers[0],)), ASKED[:1])
    assert (
        "No step has one before it" in gains_figure(first.steps, "USD").layout.annotations[0].text
    )


def test_the_page_has_every_chart_table_and_reason_and_needs_no_network(shipped) -> None:
    page = tiers_html(shipped, runnable_on(card("RTX 4070 Ti")))
    for title in (
        "VRAM is king",
        "Seconds an image",
        "Images an hour",
        "Joules an image",
        "Money for 1000 images",
        "What each step buys",
        "What RTX 4070 Ti can run",
        "What fits",
        "Why",
        "What holds each step back",
        "approximate",
    ):
        assert f"{title}" in page, title
    assert page.count("Plotly.newPlot(") == 7
    markup = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["']?https?:""", markup)
    assert page.count('<script type="text/javascript">/**') <= 1


def test_a_hostile_path_does_not_become_markup() -> None:
    hostile = UpgradePath.model_validate(
        {
            "currency": "<i>",
            "tier": [
                {"name": "<script>alert(1)</script>", "gpu": "<b>4090", "ram_gib": 1, "cores": 1}
            ],
        }
    )
    page = tiers_html(study(hostile, ASKED[:1]))
    assert "<script>alert" not in page
    assert "<b>4090" not in page


def test_money_is_left_out_without_a_price_of_power(shipped) -> None:
    assert "Money" not in tiers_html(study(shipped.path, ASKED[:1]))
