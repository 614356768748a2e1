"""The command line as a whole: quick to import, taught by example, one clear line for a mistake."""

from __future__ import annotations

import errno
import io
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import complaint, run
from fakes import make_cell, write_report
from rich.text import Text

from diffusion_bench import __version__, cli
from diffusion_bench.backends.catalog import find_model
from diffusion_bench.cli import app, main
from diffusion_bench.records import BUNDLED_MODEL

STEP = find_model(BUNDLED_MODEL).multiple

ROOT = Path(__file__).parents[1]
COMMANDS = ("generate", "clone", "voices", "sweep", "compare", "hardware", "doctor", "app")
HEAVY = ("torch", "gradio", "diffusers", "transformers", "plotly", "pandas", "numpy")


@pytest.mark.parametrize(
    "program",
    [
        "import diffusion_bench.cli",
        "import diffusion_bench.cli as c\ntry: c.main(['--help'])\nexcept SystemExit: pass",
    ],
)
def test_the_command_line_imports_nothing_heavy(program: str) -> None:
    program += f"\nimport sys\nprint('heavy:', [m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.endswith("heavy: []\n")


@pytest.mark.parametrize("is_terminal", [True, False])
def test_who_starts_the_app_at_a_terminal_sees_at_once_that_it_starts(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    said_before: list[str] = []
    launch = "diffusion_bench.ui.launch.launch"
    monkeypatch.setattr(launch, lambda **_: said_before.append(capsys.readouterr().err))
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)

    assert run("app") == 0
    assert said_before == ["Starting.\n" if is_terminal else ""]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_by_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    shown = " ".join(capsys.readouterr().out.split())
    examples = {
        "generate": 'diffusion-bench generate "a cat on a blue background" --out cat.png',
        "clone": 'diffusion-bench clone --voice ada --text "Good morning." --out morning.wav',
        "voices": "diffusion-bench voices --delete mum",
        "sweep": "diffusion-bench sweep benchmarks/quick.toml --out quick.jsonl",
        "compare": "diffusion-bench compare mine.jsonl friend.jsonl --html both.html",
        "hardware": "diffusion-bench hardware --watch",
        "doctor": "diffusion-bench doctor",
        "app": "diffusion-bench app --port 8080",
    }
    assert examples[command] in shown


def test_the_help_of_every_command_has_an_example() -> None:
    without = []
    left = [("diffusion-bench", typer.main.get_command(app))]
    while left:
        name, command = left.pop()
        inner = getattr(command, "commands", {})
        left += [(f"{name} {each}", one) for each, one in inner.items()]
        if not inner and f"\n    {name}" not in f"{command.callback.__doc__}":
            without.append(name)
    assert without == []


def test_no_help_of_a_look_speaks_of_an_option_that_it_has_not() -> None:
    asked = typer.main.get_command(app).commands["show"].commands["speech"].params
    assert [one.name for one in asked if f"{getattr(one, 'help', '')}".startswith("Instead")] == []


def test_the_program_lists_its_commands_and_tells_its_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    assert all(f" {command} " in shown for command in COMMANDS)
    assert run("--version") == 0
    assert capsys.readouterr().out == f"{__version__}\n"


MISTAKES = [
    (["draw"], "No such command 'draw'; there are generate, clone, voices, sweep, "),
    (["watermark", "embd"], "Did you mean 'embed'? There are detect, embed"),
    (["generate"], "say what to draw"),
    (["generate", "a cat", "--step", "3"], "No such option"),
    (["generate", "a cat", "--steps", "many"], "'--steps': Input should be a valid integer"),
    (["generate", ""], "the prompt is empty"),
    (["generate", " \n "], "the prompt is empty"),
    (["generate", "a cat", "--sampler", "heun"], "--sampler: Input should be 'ddim', 'ddpm'"),
    (["generate", "a cat", "--steps", "0"], "--steps: Input should be greater than or equal to 1"),
    (["generate", "a cat", "--size", "65"], f"width 65 is not a multiple of {STEP}, as this"),
    (["generate", "a cat", "--size", "64x70"], f"height 70 is not a multiple of {STEP}, as this"),
    (["generate", "a cat", "--size", "8192"], "--size: Input should be less than or equal to 4096"),
    (["generate", "a cat", "--size", "0"], "error: --size: Input should be greater than"),
    (["generate", "a cat", "--pictures", "0"], "error: --pictures: Input should be greater than"),
    (["predict", "--card", "RTX 4090", "--size", "0"], "error: --size: Input should be greater"),
    (["predict", "--card", "RTX 4090", "--precision", "x"], "error: --precision: Input should be"),
    (
        ["predict", "--card", "RTX 4090", "--model", "echo", "--length", "0s"],
        "error: --length: Input should be greater than 0",
    ),
    (["generate", "a cat", "--size", "big"], "size 'big' is neither a side"),
    (["generate", "a cat", "--size", "64x"], "is neither a side"),
    (["generate", "a cat", "--size", "-64"], "is neither a side"),
    (["generate", "a cat", "--guidance", "nan"], "--guidance: Input should be a finite"),
    (
        ["generate", "a cat", "--pictures", "65"],
        "--pictures: Input should be less than or equal to 64",
    ),
    (["generate", "a cat", "--precision", "fp8"], "--precision: Input should be 'fp32'"),
    (["generate", "a cat", "--sampler", "ddpm", "--eta", "1"], "eta belongs to ddim"),
    (["generate", "a cat", "--seed", str(2**63)], "seed: Input should be less than or equal to"),
    (["generate", "a cat", "--noise-seed", "-1"], "--noise-seed: Input should be greater"),
    (["generate", "a cat", "--model", "nope"], f"unknown model 'nope'; known: {BUNDLED_MODEL}"),
    (["generate", "a cat", "--model", "nobody/nothing"], "could not be fetched from the hub"),
    (["generate", "a cat", "--device", "cuda:99"], "device 'cuda:99' cannot be used here"),
    (["generate", "a cat", "--out", "cat.jpg"], "--out cat.jpg does not end in .png"),
    (["generate", "a cat", "--out", "none/cat.png"], "there is no folder none"),
    (["sweep", "none.toml"], "none.toml: cannot be read: No such file"),
    (["sweep", "no\nne.toml"], "no ne.toml: cannot be read: No such file"),
    (["sweep", "bad.toml"], "bad.toml: axes.steps is an empty list; it needs a value"),
    (["sweep", "text.txt"], "text.txt is no TOML file"),
    (["compare"], "Missing argument"),
    (["compare", "none.jsonl"], "none.jsonl: no such file"),
    (["compare", "text.txt"], "text.txt: not a report"),
    (["compare", "bad.toml", "text.txt"], "bad.toml: not a report"),
    (["compare", "."], "is a folder, not a report file"),
    (["hardware", "--interval", "0"], "0.01"),
    (["app", "--port", "99999"], "65535"),
    (["app", "--auth", "ann"], "--auth takes USER:PASSWORD"),
]


@pytest.mark.parametrize(("arguments", "words"), MISTAKES, ids=lambda value: str(value)[:60])
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.toml").write_text('name = "x"\n[axes]\nsteps = []\n')
    Path("text.txt").write_text("just\nsome text\n")
    assert words in complaint(capsys, *arguments)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "text.txt"]


def test_a_port_in_use_is_one_line_that_offers_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = complaint(capsys, "app", "--port", str(port))
    assert f"port {port} is in use" in line
    assert "--port" in line


@pytest.mark.parametrize("command", [("generate",), ("show", "guidance"), ("clone", "--text")])
def test_an_argument_that_is_no_text_is_told_by_the_encoding_it_was_read_in(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, *command, "caf\udce9 cat")  # Latin 1, where UTF-8 is read
    assert f" is no text in {sys.getfilesystemencoding()} (got 'caf\\udce9 cat')" in said


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_reader_that_has_enough_ends_the_command_in_silence() -> None:
    command = [sys.executable, "-m", "diffusion_bench", "hardware", "--json", "--watch"]
    with subprocess.Popen(
        [*command, "--interval", "0.05"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("{")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() != 2


def nobody_reads(*arguments: str, stderr: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command whose output is a pipe that is closed already, its errors too if asked."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return subprocess.run(
            [sys.executable, "-m", "diffusion_bench", *arguments],
            cwd=ROOT,
            stdout=writer,
            stderr=writer if stderr else subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("doctor",), ("doctor", "--json"), ("compare",)]
)
def test_what_nobody_reads_ends_as_sigpipe_ends_a_program_and_in_silence(
    arguments: tuple[str, ...], tmp_path: Path
) -> None:
    # Its calls all took the same: a problem.
    report = write_report(tmp_path / "report.jsonl", make_cell(wall_s=(1.0,) * 5))
    of_reports = arguments[0] in ("doctor", "compare")
    done = nobody_reads(*arguments, *([str(report)] if of_reports else []))
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/fd/1").exists(), reason="no names of open files here")
def test_a_file_that_is_the_output_nobody_reads_ends_so_too(tmp_path: Path) -> None:
    report = write_report(tmp_path / "report.jsonl", make_cell())
    done = nobody_reads("compare", str(report), "--csv", "/dev/fd/1")
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_complaint_that_nobody_reads_ends_so_too() -> None:
    assert nobody_reads("doctor", "nowhere.jsonl", stderr=True).returncode == 141


class Closed(io.StringIO):
    """An output whose reader has gone, as Windows tells it."""

    def flush(self) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


def test_windows_own_word_for_a_reader_that_has_gone_is_known(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_end_quietly", lambda: None)  # of no use here: it has no descriptor
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Closed())
        assert run("--version") == 141
    assert capsys.readouterr().err == ""


def test_another_invalid_argument_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument", "what?.csv")

    monkeypatch.setattr(cli, "app", refuse)
    assert "what?.csv" in complaint(capsys, "--version")


def test_what_is_typed_arrives_as_it_is_and_reports_by_pattern_where_the_shell_knows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows typer would take `$$`, `%name%`, `~` and `?` in words for something else."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.jsonl", "a.jsonl", "a big cat.png"):
        Path(name).write_bytes(b"")
    words = ["~", "a *big* cat", "Pa$$w0rd", "100%% $HOME", "none*.jsonl", "a.jsonl"]
    ran: list[list[str]] = []
    monkeypatch.setattr(cli, "app", lambda *, args, standalone_mode: ran.append(args))
    monkeypatch.setattr(sys, "argv", ["diffusion-bench", "compare", *words, "*.jsonl"])
    with pytest.raises(SystemExit):
        main()
    assert ran == [["compare", *words, "a.jsonl", "b.jsonl"]]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize(
    ("name", "encoding", "said"),
    [
        (b"gr\xfc\xdfe.csv", "utf-8", b"gr\xfc\xdfe.csv"),  # as any de_DE.UTF-8 has it: strict
        ("\u732b.csv".encode(), "cp1252", b"\\u732b.csv"),
        ("gr\xfc\xdfe.csv".encode(), "cp1252", b"gr\xfc\xdfe.csv"),
    ],
)
def test_a_file_whose_name_the_output_cannot_hold_is_written_and_named(
    name: bytes, encoding: str, said: bytes, tmp_path: Path
) -> None:
    write_report(tmp_path / "a.jsonl", make_cell())
    done = subprocess.run(
        [sys.executable, "-m", "diffusion_bench", "compare", "a.jsonl", b"--csv", name],
        cwd=tmp_path,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "PYTHONIOENCODING": f"{encoding}:strict"},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"wrote " + said in done.stdout.splitlines()
    assert (tmp_path / os.fsdecode(name)).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here that is always full")
def test_output_that_a_full_disk_does_not_take_is_told() -> None:
    buffered = {key: text for key, text in os.environ.items() if key != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "diffusion_bench", "--help"],
            cwd=ROOT,
            env=buffered,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (2, "error: [Errno 28] No space left on device\n")


def help_texts(command: Any, name: str = "diffusion-bench") -> Iterator[tuple[str, str]]:
    """Yield each text that a command's help and that of the commands below it are made of."""
    for text in (command.help, *(getattr(each, "help", None) for each in command.params)):
        yield name, text or ""
    for below, each in getattr(command, "commands", {}).items():
        yield from help_texts(each, f"{name} {below}")


def test_no_help_loses_its_brackets_to_markup() -> None:
    texts = list(help_texts(typer.main.get_command(app)))
    assert any("[\\[card]]" in text for _, text in texts)
    for name, text in texts:
        shown = Text.from_markup(text)  # as typer shows it
        assert shown.plain == text.replace("\\[", "["), name


def test_a_library_that_cannot_be_loaded_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)  # so Python refuses to import it
    said = complaint(capsys, "generate", "a cat", "--out", str(tmp_path / "cat.png"))
    assert "a library cannot be loaded: " in said
    assert "diffusers" in said
    assert "requirements.txt" in said
