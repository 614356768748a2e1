"""What the documents say is true of the files, the commands and the settings."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest
import typer

import diffusion_bench
from diffusion_bench.bench.sweep import read_sweep
from diffusion_bench.cli import app
from diffusion_bench.records import SamplerName, VoiceSamplerName
from diffusion_bench.records.speed import AUTO, PLAIN, WORDS
from diffusion_bench.tiers.workload import KNOWN_SAMPLERS
from diffusion_bench.ui.looks import LOOKS, MOST_STEPS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
CARDS = sorted((ROOT / "diffusion_bench").rglob("*.md"))  # of the bundled models
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
COMMANDS = typer.main.get_command(app).commands

# [text](target), ![text](target#anchor), [text](#anchor)
LINK = re.compile(r"\]\((?!\w+://)([^)#\s]*)(?:#([\w-]+))?[^)]*\)")
FENCED = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def fenced_lines(text: str) -> list[str]:
    return [line for block in FENCED.findall(text) for line in block.splitlines()]


def examples(text: str) -> list[list[str]]:
    """Return the words after `diffusion-bench` of each example in a text's code blocks."""
    lines = [line.partition(" | ")[0] for line in fenced_lines(text)]
    return [shlex.split(line)[1:] for line in lines if line.startswith("diffusion-bench ")]


def parse(words: list[str]) -> typer.Context:
    """Parse a command line as the program would, without running it."""
    return COMMANDS[words[0]].make_context(words[0], list(words[1:]))


def broken_links(path: Path) -> list[str]:
    """Return the links to files that are not there, and to headings that they lack."""
    broken = []
    for link, anchor in LINK.findall(path.read_text(encoding="utf-8")):
        target = path.parent / link if link else path
        if not target.exists():
            broken.append(link)
        elif anchor and anchor not in anchors(target):
            broken.append(f"{link}#{anchor}")
    return broken


def anchors(path: Path) -> set[str]:
    """Return what the headings of a page are linked by."""
    lines = path.read_text(encoding="utf-8").splitlines()
    heads = [line.lstrip("#").strip().lower() for line in lines if line.startswith("#")]
    return {re.sub(r"[^\w -]", "", head).replace(" ", "-") for head in heads}


def pins(name: str) -> dict[str, str]:
    """Return package and version of each line of a requirements file."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "-r"))]
    return dict(line.split("==") for line in wanted)


@pytest.mark.parametrize(
    "command",
    [
        "pip install -r requirements.txt && python app.py",
        "pip install -r requirements-dev.txt && python -m pytest",
    ],
)
def test_the_readme_has_the_two_commands_on_lines_of_their_own(command):
    assert command in fenced_lines(README)


@pytest.mark.parametrize(
    "words",
    [words for path in DOCUMENTS for words in examples(path.read_text(encoding="utf-8"))],
    ids=" ".join,
)
def test_every_example_is_a_command_line_that_parses(words):
    assert parse(words).info_name == words[0]


def test_an_example_with_an_unknown_option_or_command_is_found():
    with pytest.raises(typer.TyperException, match="No such option"):
        parse(["generate", "a cat", "--stepz", "5"])
    with pytest.raises(KeyError):
        parse(["draw", "a cat"])


def test_no_example_of_a_sweep_in_the_readme_finds_its_report_there_already():
    asked = [parse(words).params for words in examples(README) if words[0] == "sweep"]
    begun = [each["out"] for each in asked if not (each["resume"] or each["retry"])]
    assert None not in begun  # it would be named after the sweep, as others are
    assert len(set(begun)) == len(begun)


def test_a_file_that_an_example_reads_was_made_above_it_or_is_said_to_be_the_readers():
    said = re.search(r"`me\.wav`[^.]*?(?:\.\w[^.]*?)* are files of yours", README)
    assert said
    own, made, read = set(re.findall(r"`([^`]+)`", said.group())), set(), set()
    for words in examples(README):
        for option, word in zip(["", *words], words, strict=False):
            if not re.fullmatch(r"[\w/.-]+\.(csv|jsonl|png|toml|wav)", word):
                continue
            if option in ("--out", "--html", "--csv", "--markdown", "--film"):
                made.add(word)
            elif word not in made and not (ROOT / word).exists():
                read.add(word)
    assert read == own


def test_every_command_has_an_example_in_the_readme():
    assert set(COMMANDS) == {words[0] for words in examples(README)}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_teaches_by_an_example_of_its_own_that_parses(name):
    lines = [line.strip() for line in (COMMANDS[name].help or "").splitlines()]
    own = [line.partition(" | ")[0] for line in lines if line.startswith(f"diffusion-bench {name}")]
    assert own
    for line in own:
        parse(shlex.split(line)[1:])


def test_the_program_lists_its_commands():
    done = subprocess.run(
        [sys.executable, "-m", "diffusion_bench", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    assert [name for name in COMMANDS if not re.search(rf"\b{name}\b", done.stdout)] == []


@pytest.mark.parametrize("path", [*DOCUMENTS, *CARDS], ids=lambda path: path.name)
def test_every_link_to_a_file_leads_somewhere(path):
    assert broken_links(path) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# One part\n[a](page.md#one-part) [b](https://x.org/y) ![c](gone.png) [d](#one-part) "
        "[e](page.md#gone) [f](#gone)"
    )
    assert broken_links(page) == ["gone.png", "page.md#gone", "#gone"]


def test_every_path_in_the_readme_table_exists():
    paths = re.findall(r"^\| `([^`]+)` \|", README, re.MULTILINE)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_the_layer_line_in_the_architecture_page_is_the_packages_own():
    def layer_line(text: str) -> str:
        found = re.search(r"^ *cli > (?:.|\n)*? > records$", text, re.MULTILINE)
        assert found
        return " ".join(found.group().split())

    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert layer_line(page) == layer_line(diffusion_bench.__doc__)


def test_the_space_runs_the_gradio_that_is_pinned_and_the_app_that_is_there():
    front = README.split("---")[1]
    settings = dict(line.split(": ", 1) for line in front.strip().splitlines())
    assert settings["sdk"] == "gradio"
    assert settings["sdk_version"] == pins("requirements.txt")["gradio"]
    assert (ROOT / settings["app_file"]).is_file()
    assert len(settings["short_description"]) <= 60, "the hub cuts it there"


def test_the_readme_installs_the_torch_that_is_pinned():
    pinned = pins("requirements.txt")
    named = re.findall(r"torch==(\S+) torchaudio==(\S+)", README)
    assert named == [(pinned["torch"], pinned["torchaudio"])] * 2
    assert pinned["torch"] == pinned["torchaudio"], "one matched pair"


def test_every_requirement_is_pinned_and_named_once():
    app_pins, dev_pins = pins("requirements.txt"), pins("requirements-dev.txt")
    assert set(app_pins) & set(dev_pins) == set()
    assert "-r requirements.txt" in (ROOT / "requirements-dev.txt").read_text().splitlines()


def test_every_marker_is_explained_in_contributing():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    markers = [
        line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]
    ]
    assert [name for name in markers if f"`{name}`" not in text] == []


def test_make_has_the_targets_that_the_documents_name():
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets == ["check", "fix", "smoke", "train-image", "train-voice"]
    row = re.search(r"^\| `Makefile` \| (.*) \|$", README, re.MULTILINE)
    assert row
    assert re.findall(r"`(?:make )?([\w-]+)`", row.group(1)) == targets


def test_the_changelog_names_the_version_or_what_is_to_come():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## [Unreleased]" in text or f"## [{diffusion_bench.__version__}]" in text


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.toml")), ids=lambda p: p.name)
def test_every_sweep_that_comes_with_the_project_can_be_read(path):
    assert read_sweep(path).requests()


@pytest.mark.parametrize(
    ("command", "option", "names"),
    [
        ("generate", "--sampler", get_args(SamplerName)),
        ("generate", "--speed", (PLAIN, AUTO, *WORDS)),
        ("clone", "--sampler", get_args(VoiceSamplerName)),
        ("predict", "--sampler", KNOWN_SAMPLERS),
    ],
)
def test_the_help_of_an_option_lists_all_that_it_takes(command, option, names):
    (asked,) = (each for each in COMMANDS[command].params if option in each.opts)
    told = re.findall(r"[\w+-]+", asked.help)
    assert [name for name in names if name not in told] == []


def options_of(command, name):
    """Return the options of a command and of those below it, each with its command's name."""
    for below, each in getattr(command, "commands", {}).items():
        yield from options_of(each, f"{name} {below}")
    yield from ((name, each) for each in command.params if each.param_type_name == "option")


def test_no_help_of_an_option_is_to_be_looked_up_at_another_command():
    told = [pair for name, command in COMMANDS.items() for pair in options_of(command, name)]
    devices = [option.help for _, option in told if "--device" in option.opts]
    assert len(devices) > 5
    assert len(set(devices)) == 1
    assert [name for name, option in told if (option.help or "").startswith("As for")] == []


def test_the_help_of_show_says_how_many_steps_a_look_takes():
    told = [
        option for _, option in options_of(COMMANDS["show"], "show") if "--steps" in option.opts
    ]
    assert len(told) == len(LOOKS) + 1  # and speech
    assert all(f"1 to {MOST_STEPS};" in option.help for option in told)


def test_the_readme_lists_every_sampler():
    assert [name for name in get_args(SamplerName) if f"`{name}`" not in README] == []


def test_the_readme_says_how_large_files_get_to_a_space() -> None:
    largest = max(path.stat().st_size for path in (ROOT / "diffusion_bench").rglob("*.safetensors"))
    assert largest > 10 * 2**20  # what the hub takes from a plain push; else say that again
    assert "hf upload USER/SPACE . --repo-type space" in README


def test_what_was_tried_on_random_weights_only_is_said_wherever_it_is_offered() -> None:
    """To go once somebody has run the hub's voices: then the figures take its place."""
    # Where a line ends is nothing.
    changelog = " ".join((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split())
    assert "Tried on tiny random weights only." in changelog
    assert README.count("tried on tiny random weights only") == 2


def test_training_imports_only_what_is_required_or_in_its_extra() -> None:
    names = {"PIL": "pillow"}
    required = [
        *(ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines(),
        *PROJECT["project"]["optional-dependencies"]["train"],
    ]
    known = {re.split(r"[=<>\[ ]", line)[0].lower().replace("-", "_") for line in required}
    for file in (ROOT / "diffusion_bench/training").rglob("*.py"):
        for name in _imported(file):
            assert names.get(name, name).lower() in known, f"{file.name} imports {name}"


def _imported(file: Path) -> set[str]:
    """Return the packages of others that a file imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {
        alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        str(node.module).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
    }
    return found - set(sys.stdlib_module_names) - {"diffusion_bench"}
