"""What fits: the model of memory against published figures, and the promises of the remedies."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from statistics import median

import pytest
from published_memory import (
    fit_factors,
    held_mib,
    published_rows,
    ran_out_in_tables_of_speeds,
)

from diffusion_bench.charts.tiers.fits import TIGHT
from diffusion_bench.tiers.cards import GIVEN, find_card, known_cards
from diffusion_bench.tiers.memory import (
    CONTEXT_MIB,
    DEARER,
    IN_PLACE,
    RAM_SHARE,
    SLICED,
    fit_of,
    memory_of,
    verdict,
)
from diffusion_bench.tiers.predict import predict
from diffusion_bench.tiers.remedies import OFFLOADS, REMEDIES
from diffusion_bench.tiers.remedy_price import remedied
from diffusion_bench.tiers.rows import fit_on, need_of
from diffusion_bench.tiers.workload import Software, parse_workload

GIB = 1024
TILES = REMEDIES["VAE tiling"].slower + 1e-9
CONTEXTS = Path(__file__).parents[1] / "benchmarks" / "published" / "context.csv"
KINDS = (("reserved", "allocated"), ("allocated",))
METHODOLOGY = Path(__file__).parents[1] / "docs" / "methodology.md"


def need(model: str = "sdxl", **changes):
    """Return what four pictures of SDXL need, or of another workload."""
    asked = {"width": 1024, "height": 1024, "batch": 4, "precision": "fp16", "guided": True}
    remedies = frozenset(changes.pop("remedies", ()))
    return memory_of(model, **(asked | changes), remedies=remedies)


def predicted(row):
    found = memory_of(**row.workload.model_dump(), remedies=row.remedies)
    return found.peak_mib - CONTEXT_MIB if row.measure == "reserved" else found.allocated_mib


def as_it_is(row, card):
    """Return the verdict on a published row with no more remedies than it was run with."""
    found = memory_of(**row.workload.model_dump(), remedies=row.remedies)
    return verdict(found.low_mib, found.high_mib, card.vram_mib)


def inside(row):
    """Return whether a measured peak lies in the interval of what is predicted to be needed."""
    found = memory_of(**row.workload.model_dump(), remedies=row.remedies)
    ends = (found.low_mib - CONTEXT_MIB, found.high_mib - CONTEXT_MIB)
    return ends[0] <= row.measured_mib <= ends[1]


def page_text():
    """Return the methodology in one line."""
    return " ".join(METHODOLOGY.read_text(encoding="utf-8").split())


def errors(pairs):
    """Return the median and the 90th percentile of |predicted / measured - 1|."""
    found = sorted(abs(ours / theirs - 1) for ours, theirs in pairs)
    return median(found), found[int(0.9 * len(found))]


def test_published_peaks_are_met_as_docs_methodology_says():
    ran = [row for row in published_rows() if row.measured_mib is not None]
    assert len(ran) >= 150
    middle, ninetieth = errors([(predicted(row), row.measured_mib) for row in ran])
    assert middle <= 0.06
    assert ninetieth <= 0.30
    held, others = ([inside(row) for row in ran if row.measure in kinds] for kinds in KINDS)
    assert 0.75 <= sum(held) / len(held) <= 0.9
    assert f"holds {sum(held)} of these {len(held)} peaks" in page_text()
    # None of these is of the source that the interval was chosen on.
    assert 0.75 <= sum(others) / len(others) <= 0.9
    assert f"{sum(others)} of the {len(others)} of other sources" in page_text()


@pytest.mark.parametrize("key", ["card", "source"])
def test_peaks_of_rows_left_out_of_the_fit_are_met_within_ten_percent(key):
    """Leave a card out, and leave a source out where another measured the same."""
    pairs = []
    for measure in ("reserved", "allocated"):
        rows = [row for row in published_rows() if row.measure == measure]
        groups = {getattr(row, key) for row in rows}
        for group in groups if len(groups) > 1 else ():
            factors = fit_factors([row for row in rows if getattr(row, key) != group])
            left_out = [row for row in rows if getattr(row, key) == group and row.measured_mib]
            pairs += [(held_mib(row.stages(), factors), row.measured_mib) for row in left_out]
    middle, ninetieth = (100 * error for error in errors(pairs))
    assert middle <= 10
    stated = {
        "card": f"Left out by card the median error is {middle:.1f} percent ({len(pairs)} rows)",
        "source": f"left out by source {middle:.1f} percent, "
        f"90th percentile {ninetieth:.1f} ({len(pairs)} rows)",
    }
    assert stated[key] in page_text()


def test_a_published_out_of_memory_never_fits_and_what_ran_is_never_refused():
    found_cards = {row.card: find_card(row.card).card for row in published_rows()}
    rows = [row for row in published_rows() if found_cards[row.card] is not None]
    wrong = 0
    for row in rows:
        found = memory_of(**row.workload.model_dump(), remedies=row.remedies)
        told = as_it_is(row, found_cards[row.card])
        if row.measured_mib is None:
            assert told != "fits", row
            assert fit_of(found, found_cards[row.card].vram_mib).verdict != "fits", row
        wrong += (told == "does not fit") != (row.measured_mib is None)
    assert len(rows) >= 150
    assert wrong / len(rows) <= 0.05
    page = page_text()
    assert f"{len(rows) - wrong} of {len(rows)} published rows" in page
    told = [card for card in known_cards() if card.usable_mib is not None]
    assert f"that figure of {len(told)} cards" in page


def test_of_what_ran_out_in_tables_of_speeds_two_rows_are_told_to_fit_and_the_methodology_says_so():
    rows = ran_out_in_tables_of_speeds()
    fitting = [row for row in rows if as_it_is(row, find_card(row.card).card) == "fits"]
    assert {row.source for row in fitting} == {"AITemplate README"}
    assert [row.card for row in fitting] == ["RTX 3080", "A100-SXM4-40GB"]
    page = page_text()
    assert f"Of {len(rows)} more in tables of speeds {len(fitting)} are told to fit" in page
    one, many = (memory_of(**row.workload.model_dump()).peak_mib / GIB for row in fitting)
    ran = [row for row in published_rows() if row.card == fitting[1].card and row.measured_mib]
    (measured,) = [row.measured_mib / GIB for row in ran if row.workload == fitting[1].workload]
    assert (
        f"where we say {one:.1f} GiB, and 16 in an A100's 40, where we say {many:.1f} and " in page
    )
    assert f"Lambda measured {measured:.1f} on that card" in page


def beside_torch():
    """Return of published messages the card, what its driver reports, and MiB torch lacks of it."""
    with CONTEXTS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            reported, total = float(row["reported_mib"]), 1024 * float(row["torch_total_gib"])
            used = 1024 * (float(row["process_gib"]) - float(row["allocated_gib"]))
            yield row["card"], reported, reported - total + used - float(row["unallocated_mib"])


def law_of(rows):
    """Return the context and the share kept with the least mean error; one odd row is capped."""
    tried = [(context, kept / 400) for context in range(0, 700, 25) for kept in range(17)]

    def loss(law):
        return sum(min(abs((law[0] + law[1] * of) / mib - 1), 0.5) for _, of, mib in rows)

    return min(tried, key=loss)


def test_what_torch_lacks_of_a_card_is_as_published_messages_have_it_and_as_the_methodology_says():
    """450 MiB for any card was a guess; 404 of an RTX 3070 and 1,113 of an RTX 5090 are not."""
    rows = list(beside_torch())
    assert len(rows) >= 16
    assert all(find_card(card).card is not None for card, _, _ in rows)
    context, kept = law_of(rows)
    assert pytest.approx(context, abs=25) == CONTEXT_MIB
    assert 1 - kept == pytest.approx(GIVEN, abs=0.005)
    ours, guess, constant = [], [], []
    for card, of, mib in rows:
        others = [row for row in rows if row[0] != card]
        first, share = law_of(others)
        ours.append(abs((first + share * of) / mib - 1))
        constant.append(abs(median(row[2] for row in others) / mib - 1))
        guess.append(abs(450 / mib - 1))
    law, one, old = (f"{100 * median(errors):.0f}" for errors in (ours, constant, guess))
    assert (
        f"Left out by card, these {len(rows)} messages are met within {law} percent in the median, "
        f"by one figure for all cards within {one}, by the former 450 MiB within {old}"
    ) in page_text()


def test_what_is_said_of_a_tight_figure_above_the_card_is_what_was_published():
    """Whether such a row ran is no better than a coin, so that no likelier word is said of it."""
    ran = []
    for row in published_rows():
        card = find_card(row.card).card
        if card is not None and as_it_is(row, card) == "tight":
            found = memory_of(**row.workload.model_dump(), remedies=row.remedies)
            if found.peak_mib > card.vram_mib:
                ran.append(row.measured_mib is not None)
    page = page_text()
    assert f"of {len(ran)} such published cases {sum(ran)} ran" in TIGHT
    assert f"of {len(ran)} such published rows {sum(ran)} ran" in page
    assert abs(sum(ran) - len(ran) / 2) <= len(ran) ** 0.5 / 2


@pytest.mark.parametrize(("card", "mib"), [("T4", 15360), ("A10", 23028)])
def test_what_a_card_keeps_to_itself_is_not_given_away(card, mib):
    """11 pictures of SD 1.5 surely fit 16 GiB, but not what a T4 gives of them."""
    known = find_card(card).card
    many = [parse_workload(f"sd15 512x512 b{batch} fp16 20") for batch in range(1, 33)]
    fits = [fit_on(known, one, Software()) for one in many]
    assert {fit.vram_mib for fit in fits} == {GIVEN * mib}
    plain = [need_of(one, Software()) for one in many]
    between = [
        fit.words()
        for fit, found in zip(fits, plain, strict=True)
        if GIVEN * mib < found.high_mib <= GIVEN * 1024 * known.memory_gib
    ]
    assert between
    assert set(between) == {"fits with VAE slicing"}


def test_weights_activations_and_overhead_add_up_to_the_peak():
    found = need()
    parts = (found.weights_mib, found.activations_mib, found.overhead_mib)
    assert sum(parts) == pytest.approx(found.peak_mib)
    assert found.low_mib < found.peak_mib <= found.high_mib
    assert found.peak_stage == "decoder"


def test_weights_are_parameters_by_precision():
    half = need("flux1-dev", precision="bf16", guided=False, batch=1)
    assert half.weights_mib / GIB == pytest.approx(31.447, rel=0.002)  # measured: HF's blog
    whole = need("flux1-dev", precision="fp32", guided=False, batch=1)
    assert whole.weights_mib == 2 * half.weights_mib


def test_t5_keeps_some_layers_in_fp32_under_fp16_as_transformers_does():
    sizes = {precision: need("pixart-sigma", precision=precision) for precision in ("bf16", "fp16")}
    kept = 24 * 4096 * 10240 * 2 / 2**20  # 24 layers, each one matrix, two bytes more
    assert sizes["fp16"].weights_mib - sizes["bf16"].weights_mib == pytest.approx(kept)


def test_slicing_the_decoder_makes_its_peak_that_of_one_picture():
    sliced, one = need(remedies=["VAE slicing"]), need(batch=1)
    pictures = 4 * 3 * 1024 * 1024 * 4 / 2**20
    assert sliced.decoder_mib == pytest.approx(one.decoder_mib + 2.1 * pictures, rel=0.01)
    assert need(batch=1, remedies=["VAE slicing"]).decoder_mib == one.decoder_mib


def test_tiling_the_decoder_saves_only_where_the_picture_is_larger_than_a_tile():
    assert need(remedies=["VAE tiling"]).decoder_mib == need().decoder_mib
    large = {"width": 2048, "height": 2048, "batch": 1}
    tiled = need(**large, remedies=["VAE tiling"])
    assert tiled.decoder_mib < 0.35 * need(**large).decoder_mib


def test_offloading_leaves_one_network_on_the_card_and_the_rest_in_ram():
    found = need("flux1-dev", batch=1, precision="bf16", guided=False, remedies=["model offload"])
    assert found.weights_mib / GIB == pytest.approx(22.2, rel=0.01)  # the transformer's 11.9 B
    assert found.ram_mib / GIB == pytest.approx(31.4, rel=0.01)
    layerwise = need("flux1-dev", batch=1, guided=False, remedies=["sequential offload"])
    assert layerwise.weights_mib < 2 * GIB


@pytest.mark.parametrize(("remedy", "gib"), [("8-bit weights", 17.0), ("4-bit weights", 12.3)])
def test_quantised_weights_are_as_measured_after_loading(remedy, gib):
    """FLUX.1-dev by torchao int8wo and quanto INT4, HF's blog on quantization backends."""
    found = need("flux1-dev", batch=1, precision="bf16", guided=False, remedies=[remedy])
    assert found.weights_mib / GIB == pytest.approx(gib, rel=0.03)


def test_attention_slicing_helps_only_attention_that_writes_its_scores():
    asked = {"precision": "fp16", "width": 512, "height": 512}
    sliced = ["attention slicing", "VAE slicing"]
    assert need("sd15", **asked, remedies=sliced).peak_mib == (
        need("sd15", **asked, remedies=["VAE slicing"]).peak_mib
    )
    plain = need("sd15", **asked, attention="plain", remedies=["VAE slicing"])
    assert need("sd15", **asked, attention="plain", remedies=sliced).peak_mib < plain.peak_mib


def test_verdicts_go_from_does_not_fit_over_tight_to_fits_as_the_card_grows():
    found = need("sd15", width=512, height=512, batch=1)
    verdicts = [fit_of(found, gib * GIB).verdict for gib in (0.5, 3, 8)]
    assert verdicts == ["does not fit", "tight", "fits"]


def test_a_remedy_is_named_only_if_it_is_needed_and_its_memory_is_there():
    flux = need("flux1-schnell", batch=1, precision="bf16", guided=False)
    assert fit_of(flux, 80 * GIB).words() == "fits"
    found = fit_of(flux, 24 * GIB, ram_mib=64 * GIB)
    assert found.verdict == "fits with"
    assert found.need.high_mib <= 24 * GIB
    assert found.words() == f"fits with {' and '.join(found.remedies)}"
    assert set(found.remedies) <= set(REMEDIES)
    # In 16 GiB of RAM no network of FLUX can wait at 16 bits.
    poor = fit_of(flux, 24 * GIB, ram_mib=16 * GIB)
    assert "model offload" not in poor.remedies or poor.need.ram_mib <= RAM_SHARE * 16 * GIB
    assert fit_of(flux, 1 * GIB, ram_mib=64 * GIB).verdict == "does not fit"
    for gib in range(4, 32, 2):
        for ram_mib in (16 * GIB, 24 * GIB, 32 * GIB):
            assert fit_of(flux, gib * GIB, ram_mib=ram_mib).need.ram_mib <= RAM_SHARE * ram_mib


@pytest.mark.parametrize("gib", [6, 8, 11, 12, 16, 24, 32])
@pytest.mark.parametrize(("model", "side"), [("sd15", 512), ("sd15", 768), ("sdxl", 1024)])
def test_a_larger_batch_is_never_told_to_fit_where_a_smaller_one_is_tight(model, side, gib):
    """RTX 3090: 4 pictures of SDXL were tight, and 6 fitted with slices that cost nothing."""
    asked = [need(model, width=side, height=side, batch=batch) for batch in range(2, 20)]
    told = [fit_of(one, gib * GIB) for one in asked]
    in_place = [one.verdict for one in told if {*one.remedies} <= {*SLICED}]
    order = ["fits", "fits with", "tight", "tight with", "does not fit"]
    assert in_place == sorted(in_place, key=order.index)


def test_what_is_tight_is_made_sure_by_slices_and_by_nothing_dearer():
    """32.3 GiB of 24 are tight as they are; one picture of 13.4 GiB of 12 has nothing to slice."""
    four = fit_of(need("sdxl"), 24 * GIB)
    assert need("sdxl").low_mib < 24 * GIB < need("sdxl").peak_mib
    assert four.words() == "fits with VAE slicing"
    assert fit_of(need("sdxl", batch=1), 12 * GIB).words() == "tight"


def test_what_remedies_make_tight_is_not_told_to_fit_nowhere():
    """Slicing brings 17 pictures well inside 8 GiB at no price; sequential offload must wait."""
    many = need("sd15", width=768, height=768, batch=17)
    found = fit_of(many, 8 * GIB)
    assert found.words() == "tight with VAE slicing"
    assert found.need.low_mib < 8 * GIB < found.need.high_mib
    sliced = need("sd15", width=768, height=768, batch=17, remedies=["VAE slicing"])
    assert sliced.high_mib < many.low_mib
    assert fit_of(many, sliced.high_mib).words() == "fits with VAE slicing"


@pytest.mark.parametrize("gib", [4, 6, 8, 12, 16, 24])
@pytest.mark.parametrize(
    ("model", "side", "precision"),
    [
        ("sd15", 512, "fp16"),
        ("sd15", 768, "fp32"),
        ("sdxl", 1024, "fp16"),
        ("sd35-medium", 1024, "bf16"),
        ("flux1-dev", 1024, "bf16"),
    ],
)
def test_what_does_not_fit_does_not_whatever_is_tried(model, side, precision, gib):
    for batch in (1, 4, 17, 64):
        asked = need(model, width=side, height=side, batch=batch, precision=precision)
        found = fit_of(asked, gib * GIB)
        ends = [
            memory_of(**asked.workload.model_dump(), remedies=frozenset(attempt)).low_mib
            for attempt in IN_PLACE + DEARER
        ]
        if found.verdict == "does not fit":
            assert min(ends) > gib * GIB
        elif found.remedies:
            assert asked.high_mib > gib * GIB >= found.need.low_mib
            assert (found.need.high_mib <= gib * GIB) == (found.verdict == "fits with")
            if asked.low_mib <= gib * GIB:
                assert found.verdict == "fits with"
                assert not {"8-bit weights", "4-bit weights", *OFFLOADS} & set(found.remedies)


@pytest.mark.parametrize(
    "words",
    [
        "sdxl 1024x1024 b4 fp16 30",
        "sd3-medium 1024x1024 b1 fp16 28",
        "sd35-medium 1024x1024 b1 bf16 28",
        "flux1-schnell 1024x1024 b1 bf16 4",
        "flux1-dev 1024x1024 b2 bf16 50",
    ],
)
def test_more_memory_of_one_speed_makes_nothing_slower(words):
    """FLUX in 8 bits on 24 GiB was a quarter slower than in 4 on 16.

    What surely fits is compared with what surely does, and takes longer than what may run out.
    Tiles of the decoder go before all that changes or moves weights, and take a twentieth.
    """
    asked, known = parse_workload(words), find_card("RTX 4090").card
    plain, least = predict(known, asked), {}
    for gib in range(4, 48):
        card = known.model_copy(update={"usable_mib": gib * GIB, "memory_gib": 64})
        fit = fit_on(card, asked, Software())
        if fit.verdict != "does not fit":
            seconds = remedied(plain, fit, card).seconds
            sure = fit.verdict.startswith("fits")
            assert seconds <= TILES * least.get(sure, seconds), (gib, fit.words())
            least[sure] = min(seconds, least.get(sure, seconds))
    assert fit.verdict == "fits"


def test_of_remedies_that_take_as_long_the_one_that_leaves_pictures_alone_is_taken():
    flux = need("flux1-schnell", batch=1, precision="bf16", guided=False)

    def seconds(found, offloaded_s):
        return offloaded_s if OFFLOADS & set(found.remedies) else 1.0

    even, slower = (
        fit_of(flux, 30 * GIB, seconds=partial(seconds, offloaded_s=n)) for n in (1.0, 1.11)
    )
    assert (even.remedies, even.gentler) == (("model offload",), ())
    assert slower.remedies == ("8-bit weights",)
    (other,) = slower.gentler
    assert (
        other.words == "model offload would take 1.11 times as long as that and not change pictures"
    )


def test_what_is_slower_than_something_gentler_still_is_not_named():
    """On an RTX 3060 SD 3.5 takes longer with 8 bits and offload than with offload alone."""
    asked, known = parse_workload("sd35-medium 1024x1024 b1 bf16 28"), find_card("RTX 3060 12GB")
    fit = fit_on(known.card, asked, Software())
    assert fit.remedies == ("4-bit weights",)
    assert [one.remedies for one in fit.gentler] == [("model offload",)]


def test_attention_that_writes_its_scores_is_told_to_slice_them():
    plain = need("sd15", width=1024, height=1024, batch=1, attention="plain")
    sliced = need(
        "sd15", width=1024, height=1024, batch=1, attention="plain", remedies=["attention slicing"]
    )
    between = (sliced.high_mib + plain.low_mib) / 2
    assert sliced.high_mib <= between < plain.low_mib
    assert fit_of(plain, between).words() == "fits with attention slicing"


def test_a_remedy_that_changes_nothing_is_not_named():
    """One picture of 512 pixels has neither slices nor tiles, fused attention no scores."""
    one = need("sd15", width=512, height=512, batch=1)
    for gib in (1.5, 1.8, 2.0, 2.2):
        found = fit_of(one, gib * GIB)
        assert not {"VAE slicing", "VAE tiling", "attention slicing"} & set(found.remedies)
        assert set(found.need.remedies) == set(found.remedies)


def test_an_unknown_remedy_is_told_the_known_ones():
    with pytest.raises(ValueError, match=r"no remedy 'prayer'; known: attention slicing, VAE"):
        need(remedies=["prayer"])
