"""The DDIM paper's table on a model: measured once, gone on with, and its shape told honestly."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_models import save_tiny_sd
from tiny_scorer import save_tiny_scorer
from typer.testing import CliRunner

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.records import ImageRequest, QualityPlan
from diffusion_bench.training.quality_table.__main__ import main
from diffusion_bench.training.quality_table.page import to_markdown
from diffusion_bench.training.quality_table.published import published
from diffusion_bench.training.quality_table.rows import (
    DDIM,
    DDPM,
    SETTINGS,
    Row,
    measure_rows,
    read_rows,
)
from diffusion_bench.training.quality_table.shape import (
    Distance,
    few_steps,
    findings,
    monotone,
    more_steps,
)

PLAN = QualityPlan(pictures=6, prompts="captions", batch=6)


class Parts:
    """A tiny model and scorer, and what is asked of them."""

    def __init__(self, folder: Path) -> None:
        self.model = save_tiny_sd(folder / "sd")
        self.scorer_folder = save_tiny_scorer(folder / "scorer")
        self.backend = ImageBackend.load(str(self.model), device="cpu")
        self.scorer = ClipScorer.load(str(self.scorer_folder), device="cpu")
        self.request = ImageRequest(
            prompt="unused", model=str(self.model), guidance_scale=1.0, width=64, height=64
        )

    def rows(self, path: Path, *, plan: QualityPlan = PLAN, revision: str = "r1") -> list[Row]:
        measured = measure_rows(
            self.backend, self.request, self.scorer, plan, path, revision=revision, steps=(2, 1)
        )
        return list(measured)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    return Parts(tmp_path_factory.mktemp("parts"))


@pytest.fixture(scope="module")
def kept(parts: Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kept") / "deep" / "table.jsonl"
    assert len(parts.rows(path)) == 10
    return path


def test_every_setting_is_measured_at_every_number_of_steps_the_fewest_first(kept: Path) -> None:
    rows = read_rows(kept)
    assert [(row.setting, row.steps) for row in rows] == [
        (setting.name, steps) for steps in (1, 2) for setting in SETTINGS
    ]
    assert [(row.request.sampler, row.request.eta) for row in rows[:5]] == [
        ("ddim", 0.0),
        ("ddim", 0.2),
        ("ddim", 0.5),
        ("ddim", 1.0),
        ("ddpm-large", 0.0),
    ]
    assert all(row.quality.pictures == 6 for row in rows)
    assert len({row.distance.value for row in rows[5:]}) == 5


def figures(row: Row) -> list[float]:
    score, diversity = row.quality.caption_score, row.quality.diversity
    assert score is not None
    assert diversity is not None
    return [row.distance.value, row.distance.low, score.value, diversity.value]


def test_a_run_that_was_killed_within_a_line_goes_on_where_it_stopped(
    parts: Parts, kept: Path, tmp_path: Path
) -> None:
    path = tmp_path / "torn.jsonl"
    lines = kept.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:8]) + lines[8][:100])
    assert [(row.setting, row.steps) for row in parts.rows(path)] == [
        (DDPM, 2),
        (SETTINGS[4].name, 2),
    ]
    for torn, whole in zip(read_rows(path), read_rows(kept), strict=True):
        assert torn.quality.objects == whole.quality.objects
        # Two threads may add in another order: the last digits are not the row's.
        assert figures(torn) == pytest.approx(figures(whole), rel=1e-4)
    assert parts.rows(path) == []


def test_rows_of_another_model_scorer_or_plan_are_not_gone_on_with(
    parts: Parts, kept: Path
) -> None:
    with pytest.raises(ValueError, match="another model"):
        parts.rows(kept, revision="r2")
    with pytest.raises(ValueError, match="another number of pictures"):
        parts.rows(kept, plan=PLAN.model_copy(update={"pictures": 8}))
    wider = Parts.__new__(Parts)
    wider.__dict__ |= parts.__dict__ | {"request": parts.request.model_copy(update={"width": 192})}
    with pytest.raises(ValueError, match="other settings"):
        wider.rows(kept)
    (parts.scorer_folder / "extra.txt").write_text("other files", encoding="utf-8")
    with pytest.raises(ValueError, match="another scorer"):
        parts.rows(kept)
    (parts.scorer_folder / "extra.txt").unlink()


def test_a_damaged_line_is_refused_in_one_line(kept: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged.jsonl"
    path.write_bytes(b'{"setting": 3}\n' + kept.read_bytes())
    with pytest.raises(ValueError, match="line 1: ") as refused:
        read_rows(path)
    assert "\n" not in str(refused.value)
    assert read_rows(tmp_path / "nothing.jsonl") == ()


def test_the_page_has_every_figure_the_published_ones_and_n(kept: Path) -> None:
    page = to_markdown(read_rows(kept), published())
    assert "6 pictures a row of the same captions and seeds, against 300 scenes" in page
    first = read_rows(kept)[0].distance
    assert f"{first.value:.4g} ({first.low:.4g} to {first.high:.4g})" in page
    assert "### Right objects, of 6 pictures that ask for it" in page
    assert "| DDIM (eta 0) | 13.36 | 6.84 | 4.67 | 4.16 | 4.04 |" in page
    assert "| DDPM, larger variance | 367.4 | 133.4 | 32.72 | 9.99 | 3.17 |" in page
    assert "| claim | ours | CIFAR-10 | CelebA |" in page
    assert to_markdown([], published()) == "No row is measured yet.\n"


def test_the_command_measures_then_only_prints(parts: Parts, tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(main)
    out = tmp_path / "rows.jsonl"
    options = ["--model", str(parts.model), "--scorer", str(parts.scorer_folder), "--out", str(out)]
    options += ["--pictures", "4", "--steps", "1", "--side", "64", "--device", "cpu"]
    measured = CliRunner().invoke(app, options)
    assert measured.exit_code == 0, measured.output
    printed = CliRunner().invoke(app, [*options, "--only-print"])
    assert printed.exit_code == 0
    assert printed.stdout.startswith(str(parts.model))
    assert printed.stdout == measured.stdout


def table(
    ddim: dict[int, float], ddpm: dict[int, float], width: float = 0.0
) -> dict[str, dict[int, Distance]]:
    return {
        name: {steps: Distance(v, v - width, v + width) for steps, v in values.items()}
        for name, values in ((DDIM, ddim), (DDPM, ddpm))
    }


@pytest.mark.parametrize(
    ("ddim", "ddpm", "close", "slow"),
    [
        ({20: 12.0, 100: 10.0}, {20: 50.0, 100: 20.0, 1000: 9.0}, True, True),
        ({20: 12.1, 100: 10.0}, {20: 50.0, 100: 12.0, 1000: 9.0}, False, False),
        ({20: 12.0, 100: 10.0}, {20: 50.0, 1000: 30.0}, True, True),
        ({20: 12.0, 100: 10.0}, {20: 50.0, 100: 30.0}, True, None),
        ({100: 10.0}, {}, None, None),
    ],
)
def test_the_claims_hold_or_not_by_the_figures(
    ddim: dict[int, float], ddpm: dict[int, float], close: bool | None, slow: bool | None
) -> None:
    made = table(ddim, ddpm)
    assert few_steps(made).holds is close
    assert more_steps(made).holds is slow


def test_worse_with_more_steps_counts_only_beyond_the_intervals() -> None:
    values = {10: 5.0, 20: 4.0, 50: 4.5}
    assert monotone(table(values, {}, width=0.3), DDIM).holds is True
    found = monotone(table(values, {}, width=0.2), DDIM)
    assert (found.holds, found.why) == (False, "50 steps against 20")


def test_the_published_tables_are_whole_and_judged_by_the_same_rule() -> None:
    known = published()
    for dataset in known.values():
        assert {len(each) for each in dataset.values()} == {5}
    cifar = {each.claim: each for each in findings(known["CIFAR-10"])}
    # The paper's own table: 6.84 at 20 steps, 4.04 at 1000; DDPM 4.73 at 1000, 5.78 at 100.
    assert [each.holds for each in cifar.values()] == [False, False, True, True, True, True, True]


def test_an_installed_package_has_no_published_tables_and_prints_its_own(
    kept: Path, tmp_path: Path
) -> None:
    known = published(tmp_path / "none.csv")
    assert known == {}
    assert "Published" not in to_markdown(read_rows(kept), known)
