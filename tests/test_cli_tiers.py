"""What predict and tiers print, how quickly, and what they refuse."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run
from fakes import make_cell, make_header
from machine_pace import piece_s

from diffusion_bench.charts.tiers.fits import TIGHT
from diffusion_bench.charts.tiers.measured import Here
from diffusion_bench.cli import tier_reports
from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.reports.store import to_line

ONE = ("predict", "--card", "RTX 4070 Ti", "--model", "sd15", "--size", "512x512", "--batch", "4")
SLOW = ("torch", "gradio", "diffusers", "plotly", "numpy", "pandas")


def write_report(path: Path, seconds: float, labels: tuple[str, ...] = ()) -> Path:
    cell = make_cell(
        wall_s=(seconds,) * 3,
        model="stable-diffusion-v1-5/stable-diffusion-v1-5",
        width=512,
        height=512,
        batch=4,
        steps=20,
        precision="fp16",
    )
    header = make_header(gpu="NVIDIA GeForce RTX 4070 Ti")
    header = header.model_copy(
        update={"plan": header.plan.model_copy(update={"cells": (cell.request,)})}
    )
    cell = cell.model_copy(update={"cell_id": header.cell_id(cell.request), "labels": labels})
    path.write_bytes(
        b"".join(
            line if isinstance(line, bytes) else line.encode()
            for line in (to_line(header), to_line(cell))
        )
    )
    return path


def test_a_prediction_says_time_interval_memory_verdict_and_what_it_rests_on(capsys) -> None:
    assert run(*ONE, "--precision", "fp16", "--steps", "20") == 0
    shown = capsys.readouterr().out
    for words in ("s a call", "80 percent interval", "image-steps/s", "GiB", "fits", "rests on"):
        assert words in shown


@pytest.mark.parametrize("model", ["sd15", "echo"])
def test_case_says_nothing_of_a_precision(model, capsys) -> None:
    told = []
    for precision in ("fp16", "FP16", " Fp16"):
        asked = ("predict", "--card", "RTX 4090", "--model", model, "--precision", precision)
        assert run(*asked) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] == told[2]
    assert run("predict", "--card", "RTX 4090", "--precision", "FP15") == 2
    assert "--precision" in capsys.readouterr().err


def test_a_path_may_describe_its_own_card(tmp_path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[tier]]\nname = "now"\ngpu = "RTX 4090 48GB"\nram_gib = 32\ncores = 8\n'
        '[[card]]\nname = "RTX 4090 48GB"\nmemory_gib = 48\nbandwidth_gbs = 1008\n'
        "fp32_tflops = 82.58\ntensor_tflops = 165.2\nl2_mib = 72\ntdp_w = 450\n"
    )
    flux = ("--workload", "flux1-schnell 1024x1024 b1 bf16 4")
    assert run("tiers", "--path", str(path), *flux, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["card"], row["fit"]) == ("RTX 4090 48GB", "fits")


def test_a_prediction_as_json_has_the_same_figures(capsys) -> None:
    assert run(*ONE, "--json", "--sampler", "ddim") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["seconds_low"] < answer["seconds"] < answer["seconds_high"]
    assert answer["image_steps_per_s"] == pytest.approx(80 / answer["seconds"])
    assert answer["memory_gib"] < answer["card_memory_gib"] == 12
    assert answer["fit"] == "fits"
    assert answer["workload"]["sampler"] == "ddim"


def test_a_need_is_shown_beside_the_memory_that_its_verdict_was_held_against(capsys) -> None:
    """Up to 11.8 GiB were told to be tight "of 12": the driver keeps some of what it reports."""
    asked = ("predict", "--card", "RTX 4070 Ti", "--model", "ssd-1b", "--size", "1024")
    assert run(*asked, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["fit"] == "tight"
    given_gib = 0.98 * 12282 / 1024
    assert answer["memory_gib"] < given_gib < answer["memory_gib_high"] < 12282 / 1024
    assert answer["card_usable_gib"] == pytest.approx(given_gib)
    assert run(*asked) == 0
    assert " of 11.8: tight (predicted)" in capsys.readouterr().out


def test_a_prediction_names_its_sampler_and_counts_both_calls_of_a_step(capsys) -> None:
    seconds = {}
    for sampler in ("ddim", "Heun", "DPM++ 2S a"):
        assert run(*ONE, "--sampler", sampler) == 0
        head, time = capsys.readouterr().out.splitlines()[:2]
        seconds[head.rpartition(", ")[2]] = float(time.split()[1])
    assert list(seconds) == ["ddim", "heun", "dpm++-2s-a"]
    assert seconds["dpm++-2s-a"] == seconds["heun"] > 1.7 * seconds["ddim"]


def test_a_sampler_that_nobody_knows_is_refused_and_not_taken_for_another(capsys) -> None:
    assert run(*ONE, "--sampler", "huen") == 2
    told = capsys.readouterr()
    assert told.err.startswith("error: unknown sampler 'huen'; known: ddim, ddpm, ")
    assert "heun" in told.err
    assert told.out == ""


def test_a_size_of_one_number_is_a_square_as_generate_takes_it(capsys) -> None:
    answers = []
    for size in ("768", "768x768"):
        assert run("predict", "--card", "RTX 4090", "--size", size, "--json") == 0
        answers.append(json.loads(capsys.readouterr().out))
    assert answers[0] == answers[1]
    assert (answers[0]["workload"]["width"], answers[0]["workload"]["steps"]) == (768, 20)


def test_the_table_of_tiers_says_what_its_intervals_are(capsys) -> None:
    run("tiers", "--workload", "sd15 512x512 b4 fp16 20")
    assert "\npredicted: 80 % interval\n" in capsys.readouterr().out


def test_a_report_corrects_a_prediction(capsys, tmp_path) -> None:
    run(*ONE, "--json")
    alone = json.loads(capsys.readouterr().out)
    mine = write_report(tmp_path / "mine.jsonl", 2 * alone["seconds"])
    assert run(*ONE, "--json", "--report", str(mine)) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["seconds"] == pytest.approx(2 * alone["seconds"], rel=0.05)
    assert "corrected by 1" in told["basis"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--card", "RTX 4090 Laptop GPU"), "cannot tell: no card is called"),
        (("--card", "RTX 4090", "--model", "sd99"), "known: "),
        (("--card", "RTX 4090", "--size", "big"), "'big'"),
        (("--card", "RTX 4090", "--size", "fp32"), "size 'fp32' is neither a side"),
        (("--card", "RTX 4090", "--model", "sd15 30"), "'sd15 30'"),
        (("--card", "RTX 4090", "--precision", "30"), "precision"),
        (("--card", "RTX 4090", "--size", "513x512"), "513"),
        (("--card", "RTX 2080 Ti", "--precision", "bf16"), "no bf16"),
        (("--card", "RTX 4090", "--precision", "fp8"), "'fp8'"),
        ((), "--card"),
        (("--rows", "nowhere.csv"), "--out"),
        (("--rows", "nowhere.csv", "--out", "out.csv"), "nowhere.csv"),
        (("--rows", "r.csv", "--out", "out.csv", "--json"), "leave out --json"),
        (
            ("--rows", "r.csv", "--out", "o.csv", "--card", "RTX 4090", "--steps", "20"),
            "leave out --card, --steps",
        ),
        (("--card", "RTX 4090", "--out", "out.json"), "--out goes with --rows"),
        (("--card", "here"), "--card here is for `tiers`"),
    ],
)
def test_what_cannot_be_told_is_one_line_and_exit_2(arguments, complaint, capsys) -> None:
    assert run("predict", *arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert complaint in errors


def test_a_table_is_answered_row_by_row(tmp_path, capsys) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text(
        "\ufeffgpu_canonical,model,precision,app_backend,variant,sampler,steps,width,height,batch\n"
        "RTX 4090,SDXL,fp16,ComfyUI,,Euler,30,1024,1024,1\n"
        "RTX 9090,SDXL,fp16,ComfyUI,,Euler,30,1024,1024,1\n",
        encoding="utf-8",
    )
    assert run("predict", "--rows", str(rows), "--out", str(out)) == 0
    assert str(out) in capsys.readouterr().out
    known, unknown = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))
    assert float(known["predicted_image_steps_per_s"]) > 0
    assert unknown["basis"].startswith("cannot tell")


@pytest.mark.parametrize(
    "asked",
    [
        ("predict", "--card", "RTX 4090", "--cards"),
        ("predict", "--out", "out.csv", "--rows"),
        ("tiers", "--cards"),
        ("tiers", "--path"),
    ],
    ids=lambda asked: f"{asked[0]} {asked[-1]}",
)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(
    asked: tuple[str, ...], tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, reason in (("nope", "No such file or directory"), (".", "Is a directory")):
        assert run(*asked, name) == 2
        assert capsys.readouterr().err == f"error: {name}: cannot be read: {reason}\n"


def test_a_table_is_corrected_by_reports(tmp_path, capsys) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text(
        "gpu_canonical,model,precision,app_backend,variant,sampler,steps,width,height,batch\n"
        "RTX 4090,SD1.5,fp16,diffusers,,DDIM,20,512,512,4\n"
    )
    arguments = ("predict", "--rows", str(rows), "--out", str(out))
    rates = []
    mine = write_report(tmp_path / "mine.jsonl", 30.0)
    for more in ((), ("--report", str(mine), "--patience", "0")):
        assert run(*arguments, *more) == 0
        (found,) = csv.DictReader(io.StringIO(out.read_text(encoding="utf-8")))
        rates.append(float(found["predicted_image_steps_per_s"]))
    assert rates[1] < 0.9 * rates[0]
    assert "corrected by 1" in found["basis"]
    assert run(*arguments, "--report", str(tmp_path / "none.jsonl")) == 2
    assert "none.jsonl" in capsys.readouterr().err


def test_a_table_that_is_no_csv_is_one_line_and_exit_2_and_nothing_is_written(
    tmp_path, capsys
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "out.csv"
    rows.write_text('gpu_canonical,model\n"RTX 4090,SDXL\n')
    assert run("predict", "--rows", str(rows), "--out", str(out)) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert f"{rows}: no CSV: in the row that begins in line 2" in errors
    assert not out.exists()


FLUX = ("flux1-dev", "1024x1024", "1", "bf16", "28")


def asked_words(card: str, asked: tuple[str, ...]) -> list[str]:
    names = ("--model", "--size", "--batch", "--precision", "--steps")
    pairs = zip(names, asked, strict=True)
    return ["predict", "--card", card, *(word for pair in pairs for word in pair)]


def test_what_a_report_ran_out_of_memory_at_is_told_to_fit_by_neither_command(
    capsys, tmp_path
) -> None:
    report = write_report(tmp_path / "a.jsonl", seconds=2.0)
    header, line = report.read_bytes().splitlines(keepends=True)
    given = {"status": "oom", "message": "out of memory", "samples": [], "stop_reason": None}
    report.write_bytes(header + json.dumps(json.loads(line) | given).encode() + b"\n")

    asked = asked_words("RTX 4070 Ti", ("sd15", "512x512", "4", "fp16", "20"))
    assert run(*asked) == 0
    assert ": fits (predicted)\n" in capsys.readouterr().out
    assert run(*asked, "--report", str(report)) == 0
    shown = capsys.readouterr().out
    assert ": fits (predicted)\n" not in shown
    assert "at batch 4, without a remedy, it ran out of memory in a.jsonl" in shown
    assert run(*asked, "--report", str(report), "--json") == 0
    one = json.loads(capsys.readouterr().out)
    words = ("--card", "RTX 4070 Ti", "--workload", "sd15 512x512 b4 fp16 20", "--json")
    assert run("tiers", str(report), *words) == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    for name in ("fit", "fit_kind", "fit_basis"):
        assert row[name] == one[name]
    assert row["seconds_per_image"] == pytest.approx(one["seconds_per_image"])


@pytest.mark.parametrize(
    ("card", "asked", "verdict"),
    [
        ("RTX 4070 Ti", FLUX, "fits with"),
        ("RTX 4060", ("sd15", "768x768", "17", "fp16", "20"), "tight with"),
        ("RTX 4090", ("sd15", "512x512", "4", "fp16", "20"), "fits"),
    ],
)
def test_a_prediction_is_what_tiers_shows_remedies_paid(card, asked, verdict, capsys) -> None:
    assert run(*asked_words(card, asked), "--json") == 0
    one = json.loads(capsys.readouterr().out)
    model, size, batch, precision, steps = asked
    words = f"{model} {size} b{batch} {precision} {steps}"
    assert run("tiers", "--card", card, "--workload", words, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["runs"]
    assert one["fit"].startswith(verdict)
    assert row["fit"] == one["fit"]
    assert row["seconds_per_image"] == pytest.approx(one["seconds_per_image"])
    for end in ("low", "high"):
        ours = one[f"seconds_{end}"] / int(batch)
        assert row[f"seconds_per_image_{end}"] == pytest.approx(ours)
    assert row["memory_gib"] == pytest.approx(one["memory_gib"])
    assert (one["slower"] > 1) == ("offload" in one["fit"] or "8-bit" in one["fit"])
    remedies = one["fit"].removeprefix(verdict).strip().split(" and ")
    assert all(name in one["basis"] for name in remedies)


def test_what_does_not_fit_has_no_time_in_a_prediction_either(capsys) -> None:
    asked = asked_words("RTX 2060 6GB", ("sdxl", "2048x2048", "64", "fp32", "20"))
    assert run(*asked, "--json") == 0
    one = json.loads(capsys.readouterr().out)
    assert one["fit"] == "does not fit"
    assert one["seconds"] is one["image_steps_per_s"] is one["seconds_per_image"] is None
    assert one["memory_gib_low"] > 6
    assert run(*asked) == 0
    shown = capsys.readouterr().out
    assert "time: none, since it does not fit RTX 2060 6GB" in shown
    assert "image-steps/s" not in shown


def test_tiers_shows_every_tier_with_its_basis_and_prices_as_approximate(capsys) -> None:
    assert run("tiers") == 0
    shown = capsys.readouterr().out
    for words in ("initial build", "first-year upgrade", "second-year upgrade", "predicted"):
        assert words in shown
    assert "two jobs" in shown
    assert "approximate" in shown


def test_tiers_takes_a_path_workloads_and_reports(tmp_path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        'currency = "EUR"\n[[tier]]\nname = "now"\ngpu = "RTX 4070 Ti"\nram_gib = 32\ncores = 8\n'
        "price = 700\n"
    )
    mine = write_report(tmp_path / "mine.jsonl", 8.0)
    arguments = ("--path", str(path), "--workload", "sd15 512x512 b4 fp16 20", "--json")
    assert run("tiers", str(mine), *arguments) == 0
    answer = json.loads(capsys.readouterr().out)
    (row,) = answer["rows"]
    assert answer["path"]["currency"] == "EUR"
    assert row["evidence"][0]["kind"] == "imported report"
    assert row["seconds_per_image"] == pytest.approx(2.0)


def test_a_shared_name_is_one_card_by_its_whole_name_and_what_was_assumed_is_said(
    tmp_path, capsys
) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('[[tier]]\nname = "now"\ngpu = "RTX 3060"\nram_gib = 32\ncores = 8\n')
    assert run("tiers", "--path", str(file), "--workload", "sd15 512x512 b4 fp16 20") == 0
    shown = capsys.readouterr().out
    note = "note: RTX 3060 read as RTX 3060 12GB, the first sold by that name\n"
    assert note in shown
    without = shown.replace(note, "")
    assert without.count("RTX 3060") == without.count("RTX 3060 12GB") > 1
    assert "After now (RTX 3060 12GB, 32 GB RAM" in shown
    assert run("tiers", "--card", "RTX 3060", "--workload", "sd15") == 0
    assert note in capsys.readouterr().err


def test_a_card_of_ones_own_can_be_predicted(tmp_path, capsys) -> None:
    cards = tmp_path / "cards.toml"
    cards.write_text(
        '[[card]]\nname = "RTX 9090"\nmemory_gib = 48\nbandwidth_gbs = 3000\nfp32_tflops = 200\n'
        'tensor_tflops = 400\nl2_mib = 128\ntdp_w = 700\ncompute_capability = "13.0"\n'
    )
    assert run("predict", "--card", "RTX 9090", "--cards", str(cards), "--json") == 0
    assert json.loads(capsys.readouterr().out)["card"] == "RTX 9090"


@pytest.mark.parametrize("arguments", [("tiers",), ONE])
def test_answers_come_soon_and_without_anything_heavy(arguments) -> None:
    script = (
        "import sys\n"
        "from diffusion_bench.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        f"finally:\n    print('HEAVY', *[n for n in {SLOW!r} if n in sys.modules])\n"
    )
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False
    )
    after = os.times()
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "HEAVY"
    # Of the processor: the clock counts what else the machine does. Some 20
    # pieces on a quiet machine; the two seconds are benchmarks/self/tiers_answer.py's to show.
    assert sum(after[2:4]) - sum(before[2:4]) < 120 * piece_s()


def test_a_folder_of_reports_is_read_and_what_is_none_is_noted(tmp_path, capsys) -> None:
    write_report(tmp_path / "a.jsonl", 8.0)
    write_report(tmp_path / "b.jsonl", 16.0)
    (tmp_path / "c.jsonl").write_text("<html>")
    assert run("tiers", str(tmp_path), "--workload", "sd15 512x512 b4 fp16 20", "--json") == 0
    output, errors = capsys.readouterr()
    first = json.loads(output)["rows"][0]
    assert first["evidence"][0]["reports"] == 2
    assert first["seconds_per_image"] == pytest.approx(3.0)
    assert "note: left out: c.jsonl" in errors


def test_cells_that_are_left_out_are_noted_with_the_reason(tmp_path, capsys) -> None:
    mine = write_report(tmp_path / "mine.jsonl", 8.0, labels=("contended",))
    assert run(*ONE, "--report", str(mine), "--json") == 0
    output, errors = capsys.readouterr()
    assert "corrected by" not in json.loads(output)["basis"]
    assert errors == "note: 1 measured cell left out: 1 contended\n"


def test_reports_for_which_there_is_no_patience_are_counted(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("diffusion_bench.reports.index.ALWAYS_READ", 1)
    for name in ("a", "b", "c"):
        write_report(tmp_path / f"{name}.jsonl", 8.0)
    assert run("tiers", str(tmp_path), "--patience", "1e-9") == 0
    assert "2 of 3 reports are not read yet" in capsys.readouterr().err
    assert run("tiers", str(tmp_path), "--patience", "0") == 0
    assert "not read yet" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere.jsonl",), "nowhere.jsonl"),
        (("--card", "RTX 4090 Laptop GPU"), "cannot tell: no card is called"),
        (("--workload", "sd99 512x512"), "known: "),
        (("--workload", "sdxl 1024 b1 fp16 30"), "says its steps twice, 1024 and 30"),
        (("--cloud-price", "-1"), "cloud price"),
        (("--tariff", "nan"), "price of a kWh"),
        (("--path", "nowhere.toml"), "nowhere.toml"),
        (("--html", "no such folder/page.html"), "there is no folder no such folder"),
        (
            ("--html", "page.html", "--json"),
            "--html writes a page and prints none: leave out --json",
        ),
        (("--card", "RTX 4090", "--tariff", "0.3"), "--card shows one card and no path: leave out"),
        (
            ("--card", "RTX 4090", "--path", "mine.toml", "--cloud-price", "1"),
            "leave out --path, --cloud-price",
        ),
        (
            ("--workload", "echo 10s", "--tariff", "0.3"),
            "speech has no price here: leave out --tar",
        ),
    ],
)
def test_a_mistake_of_tiers_is_one_line_and_exit_2(arguments, complaint, capsys) -> None:
    assert run("tiers", *arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert complaint in errors


def test_a_tariff_gives_the_money_of_images_in_the_table_and_in_json(capsys) -> None:
    asked = ("tiers", "--workload", "sd15 512x512 b4 fp16 20")
    assert run(*asked, "--tariff", "0.3", "--json") == 0
    row = json.loads(capsys.readouterr().out)["rows"][0]
    paid = row["at_most_cost_per_1000_images"]
    assert paid == pytest.approx(0.3 * 1000 * row["at_most_j_per_image"] / 3.6e6)
    assert row["cost_per_1000_images"] is None  # nobody measured its energy
    assert run(*asked, "--tariff", "0.3") == 0
    priced = capsys.readouterr().out
    assert "for 1000" in priced
    assert f"<= {paid:.3g}" in priced
    assert run(*asked) == 0
    assert "for 1000" not in capsys.readouterr().out


def test_an_empty_folder_is_said(tmp_path, capsys) -> None:
    assert run("tiers", str(tmp_path)) == 2
    assert "no report (*.jsonl) is in this folder" in capsys.readouterr().err


def test_tiers_writes_one_page(tmp_path, capsys) -> None:
    page = tmp_path / "tiers.html"
    arguments = ("--html", str(page), "--card", "RTX 4070 Ti", "--tariff", "0.3")
    assert run("tiers", *arguments) == 0
    assert capsys.readouterr().out == f"wrote {page}\n"
    text = page.read_text(encoding="utf-8")
    assert "Money for 1000 images" in text
    assert "What RTX 4070 Ti can run" in text


def test_a_card_is_told_what_it_can_run(capsys) -> None:
    assert run("tiers", "--card", "RTX 4070 Ti") == 0
    shown = capsys.readouterr().out
    for words in ("sdxl", "flux1-dev", "fits with", "largest batch", "RTX 4070 Ti: 12 GiB"):
        assert words in shown
    assert run("tiers", "--card", "RTX 4070 Ti", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["memory_gib"] == 12282 / 1024  # what the driver gives of them
    assert {"workload", "fit", "largest_batch", "evidence"} <= set(answer["runs"][0])


def test_tight_is_explained_wherever_it_is_said_and_only_there(capsys, tmp_path) -> None:
    page = tmp_path / "page.html"
    tight = ("--workload", "sdxl 1024x1024 b1 fp16 30")
    predicted = ("predict", "--card", "RTX 4070 Ti", "--model", "sdxl", "--size", "1024")
    for asked in (("tiers", *tight), ("tiers", "--card", "RTX 4070 Ti", *tight), predicted):
        assert run(*asked) == 0
        shown = capsys.readouterr().out
        assert "tight (predicted)" in " ".join(shown.split())
        assert shown.count(TIGHT) == 1
    assert run("tiers", *tight, "--card", "RTX 4070 Ti", "--html", str(page)) == 0
    assert page.read_text(encoding="utf-8").count(TIGHT) == 2  # of the path, and of the card
    assert run("tiers", "--card", "RTX 4070 Ti", "--workload", "sd15 512x512 b1 fp16 20") == 0
    assert TIGHT not in capsys.readouterr().out


def test_a_card_that_surely_holds_no_picture_says_none(capsys) -> None:
    assert run("tiers", "--card", "RTX 2060 6GB", "--workload", "sdxl 1024x1024 b1 fp32 30") == 0
    assert " none " in capsys.readouterr().out


def test_the_card_in_here_is_known_or_the_processor_is_told(capsys) -> None:
    assert run("tiers", "--card", "here", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["name"]
    assert len(answer["runs"]) > 5


def test_of_two_cards_in_here_one_is_shown_and_the_other_named(capsys, monkeypatch) -> None:
    about = {"os": "Linux", "architecture": "x86_64", "cpu": "Test CPU", "cores_logical": 4}
    gpus = tuple(
        GpuInfo(index=index, name=f"NVIDIA GeForce {name}", uuid=name, memory_total_mib=memory)
        for index, (name, memory) in enumerate([("RTX 4070 Ti", 12282.0), ("RTX 3090", 24576.0)])
    )
    machine = MachineInfo(**about, ram_mib=64_000, gpus=gpus)
    monkeypatch.setattr(tier_reports, "this_machine", lambda: (machine, Here()))
    assert run("tiers", "--card", "here", "--workload", "sd15 512x512 b1 fp16 20") == 0
    shown = capsys.readouterr()
    assert "RTX 4070 Ti: 12 GiB" in shown.out
    assert "note: 2 GPUs are in here" in shown.err
    assert "ask for RTX 3090 by name" in shown.err


def test_a_machine_without_a_gpu_is_asked_for_the_very_workloads_in_fp32(
    capsys, monkeypatch
) -> None:
    about = {"os": "Linux", "architecture": "x86_64", "cpu": "Test CPU", "cores_logical": 4}
    machine = MachineInfo(**about, ram_mib=64_000, no_gpu="no NVIDIA GPU")
    monkeypatch.setattr(tier_reports, "this_machine", lambda: (machine, Here()))
    asked = ("--workload", "sdxl 768x768 b8 fp16 30", "--workload", "sd15 512x512 b1 fp32 20")
    assert run("tiers", "--card", "here", *asked, "--json") == 0
    changed, kept = json.loads(capsys.readouterr().out)["runs"]
    drawn = changed["workload"]
    assert (drawn["model"], drawn["width"], drawn["batch"]) == ("sdxl", 768, 8)
    assert drawn["precision"] == "fp32"
    assert "in fp32, not fp16, on a processor" in changed["reason"]
    assert kept["workload"]["model"] == "sd15"
    assert "fp32" not in kept["reason"]


def test_an_apple_chip_of_a_users_file_has_the_memory_that_metal_may_take(
    capsys, monkeypatch, tmp_path
) -> None:
    gpu = GpuInfo(index=0, vendor="apple", name="Apple M3 GPU", memory_total_mib=24576.0)
    about = {"os": "macOS", "architecture": "arm64", "cpu": "Apple M3", "cores_logical": 8}
    machine = MachineInfo(**about, ram_mib=24_576, gpus=(gpu,))
    monkeypatch.setattr(tier_reports, "this_machine", lambda: (machine, Here()))
    own = tmp_path / "mine.toml"
    own.write_text(
        '[[card]]\nname = "Apple M3 GPU"\nmemory_gib = 24\nusable_mib = 16384\n'
        "bandwidth_gbs = 100\nfp32_tflops = 3.5\ntensor_tflops = 3.5\nl2_mib = 8\n"
        'tdp_w = 25\ncompute_capability = "8.9"\n',
        encoding="utf-8",
    )
    asked = ("--card", "here", "--cards", str(own), "--workload", "sd15 512x512 b1 fp16 20")
    assert run("tiers", *asked, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["name"], answer["memory_gib"]) == ("Apple M3 GPU", 16)
    assert "NVIDIA cards' " in answer["runs"][0]["evidence"]["source"]


def test_the_card_in_here_has_the_memory_that_its_driver_reports(capsys, monkeypatch) -> None:
    gpu = GpuInfo(index=0, name="Tesla T4", uuid="GPU-1", memory_total_mib=15109.0)
    about = {"os": "Linux", "architecture": "x86_64", "cpu": "Test CPU", "cores_logical": 4}
    machine = MachineInfo(**about, ram_mib=16_000, gpus=(gpu,))
    monkeypatch.setattr(tier_reports, "this_machine", lambda: (machine, Here()))
    assert run("tiers", "--card", "here", "--json") == 0
    assert json.loads(capsys.readouterr().out)["memory_gib"] == 15109 / 1024


def test_a_card_in_here_that_no_table_has_is_judged_by_the_memory_that_its_driver_reports(
    capsys, monkeypatch
) -> None:
    name = "NVIDIA GeForce RTX 4090 Laptop GPU"
    gpu = GpuInfo(index=0, name=name, uuid="GPU-1", memory_total_mib=16376.0)
    about = {"os": "Linux", "architecture": "x86_64", "cpu": "Test CPU", "cores_logical": 4}
    machine = MachineInfo(**about, ram_mib=64_000, gpus=(gpu,))
    monkeypatch.setattr(tier_reports, "this_machine", lambda: (machine, Here()))
    asked = ("--workload", "sd15 512x512 b1 fp16 20", "--workload", "flux1-dev 1024x1024 bf16 28")
    assert run("tiers", "--card", "Here", *asked, "--json") == 0
    output, errors = capsys.readouterr()
    answer = json.loads(output)
    small, large = answer["runs"]
    assert (answer["name"], answer["memory_gib"]) == (name, 16376 / 1024)
    assert (small["fit"], small["seconds_per_image"]) == ("fits", None)
    assert 4 < small["largest_batch"] < 64
    assert "0 of its cells were measured here, 4 are needed" in small["reason"]
    assert large["fit"].split(" with ")[0] in ("fits", "tight")
    assert "took no remedy" in large["reason"]
    assert f"no card is called {name!r}" in errors
    assert "this goes by its memory" in errors


def test_bottlenecks_and_break_even_are_printed(capsys) -> None:
    assert run("tiers", "--cloud-price", "0.5") == 0
    shown = capsys.readouterr().out
    assert "After initial build (RTX 4070 Ti, 32 GB RAM, 8 cores)" in shown
    assert "3,200 h" in shown


def test_speech_is_predicted_by_its_seconds_or_its_text(capsys) -> None:
    assert run("tiers", "--workload", "echo 160chars b1 fp32 25", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == []
    first, *_ = told["speech"]
    assert first["workload"]["seconds"] == 10
    assert first["prediction"]["kind"] == "predicted"
    found = first["prediction"]
    assert found["seconds_low"] < found["seconds"] < found["seconds_high"]


def test_speech_is_printed_with_its_interval_and_what_it_rests_on(capsys) -> None:
    assert run("tiers", "--workload", "echo 10s", "--workload", "tortoise 5s") == 0
    shown = capsys.readouterr().out
    for words in ("80 %", "predicted", "cannot tell", "speech rests on: the", "only the diffusion"):
        assert words in shown
    assert "images/h" not in shown


def test_a_card_is_asked_for_speech_alone_or_with_pictures(capsys) -> None:
    card = ("tiers", "--card", "RTX 4070 Ti", "--json")
    assert run(*card, "--workload", "echo 10s") == 0
    alone = json.loads(capsys.readouterr().out)
    assert (alone["runs"], len(alone["speech"])) == ([], 1)
    assert run(*card, "--workload", "echo 10s", "--workload", "sd15") == 0
    both = json.loads(capsys.readouterr().out)
    assert (len(both["runs"]), len(both["speech"])) == (1, 1)


def test_predict_answers_for_speech_as_tiers_does(capsys) -> None:
    speech = ("predict", "--card", "RTX 4070 Ti", "--model", "echo", "--length", "160chars")
    assert run(*speech, "--batch", "2", "--json") == 0
    alone = json.loads(capsys.readouterr().out)
    assert run("tiers", "--workload", "echo 160chars b2", "--json") == 0
    (row,) = [
        row for row in json.loads(capsys.readouterr().out)["speech"] if row["card"] == "RTX 4070 Ti"
    ]
    for name in ("seconds", "seconds_low", "real_time_factor", "fit", "limit", "basis", "workload"):
        assert alone[name] == row["prediction"][name], name
    assert alone["workload"]["precision"] == "fp32"  # as is usual for speech, not for pictures
    assert alone["memory_gib_low"] < alone["memory_gib"] < alone["memory_gib_high"]
    assert run(*speech) == 0
    told = capsys.readouterr().out
    for words in ("real-time factor: ", "80 percent interval", "memory: ", "rests on: the card"):
        assert words in told
    note = "note: 160 characters read as 10 s of speech of echo\n"
    assert note in told
    for asked, is_noted in (("echo 160chars", True), ("echo 10s", False)):
        assert run("tiers", "--workload", asked) == 0
        assert (note in capsys.readouterr().out) == is_noted


def test_speech_that_does_not_fit_a_card_has_no_time(capsys) -> None:
    asked = ("predict", "--card", "RTX 3050 6GB", "--model", "longcat", "--batch", "16")
    assert run(*asked, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["seconds"], found["real_time_factor"], found["limit"]) == (None, None, None)
    assert found["fit"] == "does not fit"
    assert run(*asked) == 0
    assert "time: none, since it does not fit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model", "sd15", "--length", "5s"), "sd15 is none of the voice models"),
        (("--model", "echo", "--size", "64x64"), "echo speaks: leave out --size"),
        (("--model", "echo", "--report", "a.jsonl"), "leave out --report"),
        (("--model", "echo", "--length", "5m"), "'5m' is no length of speech; say 10s"),
        (("--model", "echo", "--length", "160"), "'160' is no length of speech"),
        (("--model", "echo", "--length", "b4"), "'b4' is no length of speech"),
        (("--model", "tortoise"), "only the diffusion is counted"),
        (("--model", "echo", "--precision", "int3"), "precision: "),
    ],
)
def test_predict_refuses_what_speech_does_not_have(words, told, capsys) -> None:
    assert run("predict", "--card", "RTX 4070 Ti", *words) == 2
    assert told in capsys.readouterr().err
