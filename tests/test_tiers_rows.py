"""Tables of other programs are answered row by row."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest

from diffusion_bench.cli.tiers import ROWS_HELP
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.knowledge import Knowledge
from diffusion_bench.tiers.predict import predict, residual_of
from diffusion_bench.tiers.rows import ANSWERED, CARD_COLUMNS, NEEDED, OPTIONAL, predict_rows
from diffusion_bench.tiers.workload import TimedCell, Workload

ROW = {
    "gpu_canonical": "RTX 4090",
    "model": "SD1.5",
    "precision": "fp16",
    "app_backend": "diffusers",
    "variant": "torch2.0 eager SDPA",
    "sampler": "DDIM",
    "steps": "50.0",
    "width": "512.0",
    "height": "512.0",
    "batch": "4",
}


def table(*rows: dict[str, str]) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def answers(*rows: dict[str, str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(predict_rows(table(*rows)))))


def test_answers_are_appended_and_everything_else_is_kept() -> None:
    (found,) = answers(ROW | {"my_column": "kept, as it is"})
    assert list(found) == [*ROW, "my_column", *ANSWERED]
    assert {name: found[name] for name in ROW} == ROW
    assert found["my_column"] == "kept, as it is"
    low, rate, high = (
        float(found[name]) for name in ("low", "predicted_image_steps_per_s", "high")
    )
    assert 20 < low < rate < high < 120
    assert found["fit"] == "fits"
    assert 1 < float(found["memory_gib"]) < 24
    assert "published speeds" in found["basis"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"gpu_canonical": "RTX 9090"}, "no card is called 'RTX 9090'"),
        ({"gpu_canonical": "A100 (variant unstated)"}, "no card is called"),
        ({"gpu_canonical": ""}, "no card is called"),
        ({"model": "SD1.5+ControlNet"}, "SD1.5+ControlNet"),
        ({"precision": "fp8"}, "precision 'fp8'"),
        ({"gpu_canonical": "RTX 2080 Ti", "precision": "bf16"}, "has no bf16"),
        ({"variant": "model offload"}, "'offload'"),
        ({"batch": "0"}, "batch"),
        ({"width": "wide"}, "width is 'wide'"),
        ({"height": ""}, "height is ''"),
        ({"steps": "nan"}, "steps"),
        ({"steps": "1e999"}, "steps"),
        ({"width": "513"}, "513"),
        ({"gpu_count": "2"}, "several GPUs"),
    ],
)
def test_what_is_unknown_cannot_be_told_and_the_rest_is_answered(changed, reason) -> None:
    unknown, known = answers(ROW | {"gpu_count": "1"} | changed, ROW | {"gpu_count": "1"})
    assert unknown["basis"].startswith("cannot tell: ")
    assert reason in unknown["basis"]
    assert unknown["fit"] == "cannot tell"
    assert unknown["predicted_image_steps_per_s"] == unknown["low"] == unknown["memory_gib"] == ""
    assert float(known["predicted_image_steps_per_s"]) > 0


@pytest.mark.parametrize("cells", ["1,024", "1024", ""])
def test_a_number_with_a_comma_that_nothing_quotes_moves_no_other_column(cells: str) -> None:
    """Read on, a width of 1,024 would be one of 1, and a step count of 1,000 a single step."""
    names = [*NEEDED, "card", "notes"]
    plain = ROW | {"card": "RTX 4090", "notes": "", "batch": "1"}
    text = ",".join(cells if name == "notes" else plain[name] for name in names)
    (found,) = csv.DictReader(io.StringIO(predict_rows(",".join(names) + f"\n{text},\n")))
    whole = cells != "1,024"
    assert (found["fit"] == "cannot tell") != whole
    assert ("more values than the table has columns" in found["basis"]) != whole


def test_a_table_may_be_typed_with_spaces_and_in_any_order_of_its_columns() -> None:
    plain = predict_rows(table(ROW))
    typed = table(ROW).replace(",", ", ")
    assert predict_rows(typed) == plain
    backwards = {name: ROW[name] for name in reversed(ROW)}
    answered = csv.DictReader(io.StringIO(predict_rows(table(backwards))))
    assert list(answered) == list(csv.DictReader(io.StringIO(plain)))


def test_a_rate_of_the_loop_alone_is_higher_than_that_of_the_call() -> None:
    whole, loop, no_steps = answers(
        ROW | {"metric": "s/run"}, ROW | {"metric": "it/s"}, ROW | {"metric": "it/s", "steps": ""}
    )
    rates = [float(row["predicted_image_steps_per_s"]) for row in (whole, loop, no_steps)]
    assert rates[0] < rates[1]
    assert rates[1] == pytest.approx(rates[2], rel=1e-3)


def test_an_assumed_card_is_said() -> None:
    (found,) = answers(ROW | {"gpu_canonical": "RTX 3080"})
    assert "read as RTX 3080 10GB" in found["basis"]


def test_a_table_without_a_column_is_refused_and_an_empty_one_is_not() -> None:
    with pytest.raises(ValueError, match="no column 'batch'"):
        predict_rows("gpu_canonical,model,precision,app_backend,variant,sampler,steps,width,height")
    assert predict_rows(",".join(ROW)) == ",".join((*ROW, *ANSWERED)) + "\n"


def test_answering_a_table_twice_gives_the_same_table() -> None:
    once = predict_rows(table(ROW))
    assert predict_rows(once) == once


def test_a_table_parted_by_semicolons_is_answered_in_its_own_kind() -> None:
    whole = predict_rows(table(ROW))
    parted = io.StringIO()
    csv.writer(parted, delimiter=";").writerows(csv.reader(io.StringIO(table(ROW))))
    answered = predict_rows(parted.getvalue())
    assert list(csv.reader(io.StringIO(answered), delimiter=";")) == list(
        csv.reader(io.StringIO(whole))
    )
    assert predict_rows(answered) == answered


def test_a_report_corrects_the_rows_of_other_cards_too() -> None:
    card = find_card("RTX 4070 Ti").card
    assert card is not None
    measured = Workload(model="sd15", batch=4, steps=20)
    slow = residual_of(card, measured, 3 * predict(card, measured).seconds)
    (alone,) = answers(ROW)
    text = predict_rows(table(ROW), knowledge=Knowledge((slow,)))
    (told,) = csv.DictReader(io.StringIO(text))
    rate = float(told["predicted_image_steps_per_s"])
    assert rate < 0.9 * float(alone["predicted_image_steps_per_s"])
    assert "corrected by 1 measurements (RTX 4070 Ti)" in told["basis"]
    assert (told["memory_gib"], told["fit"]) == (alone["memory_gib"], alone["fit"])


def test_own_cells_answer_plain_whole_calls_and_nothing_else() -> None:
    """They are of plain PyTorch, timed whole: a web UI or a rate of the loop is another thing."""
    cells = [
        TimedCell(Workload(model="sd15", batch=batch, steps=steps), batch * steps, batch * steps)
        for batch in (1, 2, 4)
        for steps in (10, 50)
    ]
    knowledge = Knowledge(own_cells={"RTX 4090": cells})
    asked = (ROW, ROW | {"app_backend": "A1111"}, ROW | {"metric": "it/s"})
    text = predict_rows(table(*(ROW | {"metric": ""} | row for row in asked)), knowledge=knowledge)
    bases = [row["basis"] for row in csv.DictReader(io.StringIO(text))]
    assert ["cells that this machine measured" in basis for basis in bases] == [True, False, False]


def test_a_row_that_takes_a_remedy_is_answered_as_it_is_asked_and_says_so() -> None:
    """Others measured it as it stands: a rate with offload would be compared with theirs."""
    flux = ROW | {"model": "FLUX.1-dev", "precision": "bf16", "width": "1024", "height": "1024"}
    helped, roomy, never = answers(
        flux | {"batch": "1", "gpu_canonical": "RTX 4070 Ti"},
        flux | {"batch": "1", "gpu_canonical": "H200 SXM"},
        flux | {"batch": "4096", "gpu_canonical": "RTX 4070 Ti"},
    )
    assert helped["fit"].startswith("fits with")
    assert "rate and memory are without the " in helped["basis"]
    assert helped["memory_gib"] == roomy["memory_gib"]
    assert float(helped["memory_gib"]) > 12
    assert roomy["fit"] == "fits"
    assert "without the" not in roomy["basis"]
    assert never["fit"] == "does not fit"
    assert float(never["predicted_image_steps_per_s"]) > 0
    assert "the rate is that of a card with more memory" in never["basis"]


def test_what_is_no_csv_is_told_with_its_line() -> None:
    head = ",".join(ROW)
    good = ",".join(ROW.values())
    with pytest.raises(ValueError, match=r"no CSV: in the row that begins in line 3: unexpected"):
        predict_rows(f'{head}\n{good}\n"RTX 4090,SD1.5\n{good}\n')
    with pytest.raises(ValueError, match=r"no CSV: in the row that begins in line 1: "):
        predict_rows(f'"{head}\n{good}\n')


def test_a_table_is_asked_no_more_than_a_single_prediction() -> None:
    plain = {name: text for name, text in ROW.items() if name in NEEDED}
    (short,) = answers({"card": "RTX 4090", **plain})
    (long,) = answers(ROW)
    assert {name: short[name] for name in ANSWERED} == {name: long[name] for name in ANSWERED}
    (published,) = answers(ROW | {"card": "as its owner calls it"})
    assert published["fit"] == long["fit"]
    (blank,) = answers(ROW | {"gpu_canonical": "", "card": "RTX 4090"})
    assert {name: blank[name] for name in ANSWERED} == {name: long[name] for name in ANSWERED}


def test_every_column_is_in_the_help_and_in_the_methodology() -> None:
    page = (Path(__file__).parents[1] / "docs" / "methodology.md").read_text(encoding="utf-8")
    section = page.split("## A table of questions")[1].split("\n## ")[0]
    for name in (*CARD_COLUMNS, *NEEDED, *OPTIONAL, *ANSWERED, "metric", "gpu_count"):
        assert f"`{name}`" in section
    for name in ("card", *NEEDED, *OPTIONAL):
        assert name in re.split(r"[\s,:]+", ROWS_HELP)
