"""The commands that make what is shipped, or measure this project: asking for help does no work."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

import pytest
from command_line import run

from diffusion_bench.tiers.efficiency import EFFICIENCY

ROOT = Path(__file__).parents[1]
# Not for people: the first starts the command line, the second is a sweep's child.
OTHERS = {"diffusion_bench/__main__.py", "diffusion_bench/bench/worker.py"}
PARSERS = ("typer.run(", "app()", "ArgumentParser(")


def commands() -> list[str]:
    """Return the files that do something when they are run."""
    files = [*(ROOT / "diffusion_bench").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    names = (file.relative_to(ROOT).as_posix() for file in files if _is_run(file))
    return sorted(set(names) - OTHERS)


def _is_run(file: Path) -> bool:
    if file.name == "__main__.py":
        return True
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return any(
        isinstance(node, ast.If) and "__name__" in ast.unparse(node.test) for node in tree.body
    )


@pytest.mark.parametrize("name", commands())
def test_every_command_reads_its_arguments_with_a_library(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert any(parser in text for parser in PARSERS)


@pytest.mark.parametrize(
    "file",
    [
        "diffusion_bench/tiers/refit.py",
        "diffusion_bench/backends/counting/__main__.py",
        "benchmarks/self/engine_memory.py",
    ],
    ids=["refit", "counting", "engine_memory"],
)
def test_help_and_a_wrong_word_do_no_work(
    file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", sys.path[:])  # to which a benchmark adds its own
    before = EFFICIENCY.stat().st_mtime_ns
    for argument, status in (("--help", 0), ("--no-such-option", 2)):
        monkeypatch.setattr(sys, "argv", [file, argument])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(ROOT / file), run_name="__main__")
        assert ended.value.code == status
        said = capsys.readouterr()
        assert "Usage" in said.out + said.err
    assert EFFICIENCY.stat().st_mtime_ns == before


@pytest.mark.parametrize("arguments", [[], ["watermark"]], ids=["alone", "watermark"])
def test_a_command_without_arguments_shows_help_and_no_error(arguments, capsys) -> None:
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert "Usage" in out
    assert err == ""
