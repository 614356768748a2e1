"""The page for scripts is true of exit codes, of what `--json` prints and of the folders."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from command_line import run
from fakes import make_cell, write_report
from speech_like import speech_like

from diffusion_bench import cli
from diffusion_bench.audio.files import write_sound
from diffusion_bench.cli.watermark import NOT_FOUND

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "scripts.md").read_text(encoding="utf-8")
PREDICT = ("predict", "--card", "RTX 4090", "--json")


def keys(command: str) -> set[str]:
    """Return the keys that the page says each object of a command has; remarks in () aside."""
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{command}` |"))
    told = re.sub(r"\([^)]*\)|;.*", "", row.split("|")[3])
    return set(re.findall(r"`([a-z_]+)`", told))


def objects(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> list[dict]:
    assert run(*arguments) == code
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_line_of_json_has_the_keys_that_the_page_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report, sound = write_report(tmp_path / "mine.jsonl", make_cell()), tmp_path / "speech.wav"
    write_sound(sound, speech_like(4.0), 16000)
    found = {
        "hardware --json": objects(capsys, "hardware", "--json", "--interval", "0.05"),
        "doctor --json": objects(capsys, "doctor", "--json", report),
        "explain --json": objects(capsys, "explain", "--json", report),
        "watermark detect --json": objects(
            capsys, "watermark", "detect", "--json", sound, code=NOT_FOUND
        ),
    }
    for command, lines in found.items():
        assert [set(line) for line in lines] == [keys(command)] * len(lines) != [], command


def test_a_document_of_json_has_the_keys_that_the_page_names(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def document(*arguments: str) -> set[str]:
        assert run(*arguments) == 0
        return set(json.loads(capsys.readouterr().out))

    assert document("tiers", "--json") == keys("tiers --json")
    card = ("tiers", "--card", "RTX 4090", "--json")
    assert document(*card) == keys("tiers --card NAME --json")
    assert keys("predict --json") <= document(*PREDICT) & document(*PREDICT, "--model", "echo")


def test_every_code_that_a_command_ends_with_is_on_the_page() -> None:
    told = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    ends = (0, NOT_FOUND, cli.MISTAKE, cli.INTERRUPTED, cli.UNREAD)
    assert told == [str(code) for code in ends]


def test_every_variable_that_names_a_folder_is_on_the_page() -> None:
    named = re.compile(r'_VARIABLE = "(DIFFUSION_BENCH_\w+)"')
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "diffusion_bench").rglob("*.py"))
    read = {name for text in texts for name in named.findall(text)}
    assert read == set(re.findall(r"DIFFUSION_BENCH_\w+", PAGE)) != set()
