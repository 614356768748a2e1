"""The two laws of docs/architecture.md, and the limits, read from the source by `ast`.

Each rule is a function from a package folder to its complaints, so that the tests can also show
it a small tree that breaks it.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import pytest

import diffusion_bench

PACKAGE = Path(diffusion_bench.__file__).parent
ROOT = PACKAGE.parent
NAME = PACKAGE.name

MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 60
MAX_LINE = 100
HEAVY = ("torch", "gradio", "diffusers", "plotly")
LIGHT_PARTS = ("cli", "records", "reports", "tiers")

# A module of ours, or something in it, as a whole string: for importlib, `python -m`, a table.
MODULE_STRING = re.compile(rf"{NAME}((?:\.\w+)+)(?::\w+)?")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def layers(docstring: str) -> list[set[str]]:
    """Return the parts of each layer, highest first, from the layer line in a docstring."""
    line = re.search(r"^ +\w+ > (?:.|\n)*? > records$", docstring, re.MULTILINE)
    assert line, "the package's docstring has no layer line that ends in `records`"
    return [set(re.findall(r"\w+", layer)) for layer in line.group().split(">")]


@lru_cache(maxsize=1)  # the rules read one package after the other
def files(package: Path) -> list[tuple[Path, ast.Module]]:
    return [(p, ast.parse(p.read_text(encoding="utf-8"))) for p in sorted(package.rglob("*.py"))]


def part_of(package: Path, path: Path) -> str:
    """Return the folder or top-level module a file belongs to: "ui", "records", "__init__"."""
    return path.relative_to(package).with_suffix("").parts[0]


def where(package: Path, path: Path, node: ast.AST | None = None) -> str:
    place = path.relative_to(package.parent).as_posix()
    return f"{place}:{node.lineno}" if node is not None else place


def imported_parts(tree: ast.Module, package: Path, path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Yield each part of the package that a file names, wherever and however it does."""
    for node in ast.walk(tree):
        for module in named_modules(node, package, path):
            first, _, rest = module.partition(".")
            if first == NAME and rest:
                yield node, rest.partition(".")[0]


def named_modules(node: ast.AST, package: Path, path: Path) -> list[str]:
    """Return the dotted modules that one node imports or names in a string."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = absolute(node, package, path)
        if base != NAME:
            return [base]
        return [f"{NAME}.{alias.name}" for alias in node.names if is_module(package, alias.name)]
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value] if MODULE_STRING.fullmatch(node.value) else []
    return []


def absolute(node: ast.ImportFrom, package: Path, path: Path) -> str:
    """Return the module an import is from, its leading dots resolved."""
    if not node.level:
        return node.module or ""
    folders = (NAME, *path.relative_to(package).parent.parts)
    base = folders[: len(folders) - node.level + 1]
    return ".".join([*base, node.module] if node.module else base)


def is_module(package: Path, name: str) -> bool:
    return (package / name).is_dir() or (package / f"{name}.py").is_file()


def layer_complaints(package: Path, allowed: list[set[str]]) -> list[str]:
    """Complain of parts the layer line does not list, and of imports upwards or sideways."""
    level = {part: height for height, parts in enumerate(allowed) for part in parts}
    # Run as a program, never imported: the one file above the command line.
    level["__main__"] = -1
    complaints = []
    for path, tree in files(package):
        part = part_of(package, path)
        if part != "__init__" and part not in level:
            complaints.append(f"{where(package, path)}: {part!r} is not in the layer line")
            continue
        for node, target in imported_parts(tree, package, path):
            place = where(package, path, node)
            if target not in level:
                complaints.append(f"{place}: {target!r} is not in the layer line")
            elif part == "__init__" or (part != target and level[part] >= level[target]):
                complaints.append(f"{place}: {part} must not import {target}")
    return complaints


def computed_import_complaints(package: Path) -> list[str]:
    """Complain of imports of ours that only running the program would show."""
    complaints = []
    for path, tree in files(package):
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            called = ast.unparse(node.func).rpartition(".")[2]
            if called not in ("import_module", "__import__"):
                continue
            target = node.args[0]
            start = target.values[0] if isinstance(target, ast.JoinedStr) else target
            text = start.value if isinstance(start, ast.Constant) else ""
            computed = isinstance(target, ast.JoinedStr) and str(text).startswith(NAME)
            if computed or str(text).startswith("."):
                complaints.append(f"{where(package, path, node)}: write the module's whole name")
    return complaints


def gradio_complaints(package: Path) -> list[str]:
    """Complain of gradio outside ui/."""
    complaints = []
    for path, tree in files(package):
        if part_of(package, path) == "ui":
            continue
        for node in ast.walk(tree):
            modules = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules = [node.module or ""]
            if any(module.partition(".")[0] == "gradio" for module in modules):
                complaints.append(f"{where(package, path, node)}: gradio lives in ui/ only")
    return complaints


def size_complaints(package: Path) -> list[str]:
    """Complain of modules, functions and lines above their limits; docstrings do not count."""
    complaints = []
    for path, tree in files(package):
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MAX_MODULE_LINES:
            complaints.append(f"{where(package, path)}: {len(lines)} lines")
        complaints += [
            f"{where(package, path)}:{number}: {len(line)} characters"
            for number, line in enumerate(lines, 1)
            if len(line) > MAX_LINE
        ]
        for node in ast.walk(tree):
            if isinstance(node, Function) and code_lines(node) > MAX_FUNCTION_LINES:
                complaints.append(
                    f"{where(package, path, node)}: {node.name} has {code_lines(node)} lines"
                )
    return complaints


def code_lines(function: Function) -> int:
    length = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function, clean=False) is None:
        return length
    docstring = function.body[0]
    return length - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def public_complaints(package: Path) -> list[str]:
    """Complain of public functions, methods and classes without a docstring or annotations."""
    complaints = []
    for path, tree in files(package):
        if tree.body and not ast.get_docstring(tree):
            complaints.append(f"{where(package, path)}: no docstring")
        for node in public_definitions(tree):
            place = f"{where(package, path, node)}: {node.name}"
            if not ast.get_docstring(node):
                complaints.append(f"{place} has no docstring")
            if isinstance(node, Function):
                bare = unannotated(node)
                complaints += [f"{place}: {name} is not annotated" for name in bare]
    return complaints


def public_definitions(tree: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node)


def unannotated(function: Function) -> list[str]:
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    bare = [
        one.arg for one in every if one and not one.annotation and one.arg not in ("self", "cls")
    ]
    return bare if function.returns else [*bare, "the result"]


# Each module is imported as the first of ours: those before it are forgotten, so that a circle is
# found, and what others have imported is not.
IMPORT_EACH = f"""
import importlib, sys
heavy = set()
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "{NAME}"]:
        del sys.modules[name]
    importlib.import_module(module)
    new = [name for name in {HEAVY!r} if name in sys.modules and name not in heavy]
    if new:
        print(module, *new)
    heavy.update(new)
"""


def heavy_imports(modules: Sequence[str], path: Path) -> list[str]:
    """Return a line for each module that brings heavy libraries in, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_EACH, *modules],
        env={**os.environ, "PYTHONPATH": str(path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def light_modules() -> list[str]:
    """Return the modules that must import without anything heavy, as they are on disk."""
    found = [path for part in LIGHT_PARTS for path in (PACKAGE / part).rglob("*.py")]
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in found}
    return sorted(name.removesuffix(".__init__") for name in names)


def test_every_import_follows_the_layer_line():
    assert layer_complaints(PACKAGE, layers(diffusion_bench.__doc__)) == []


def test_no_import_of_ours_is_hidden_from_the_reader():
    assert computed_import_complaints(PACKAGE) == []


def test_gradio_lives_in_the_ui_only():
    assert gradio_complaints(PACKAGE) == []


def test_modules_functions_and_lines_keep_their_limits():
    assert size_complaints(PACKAGE) == []


def test_every_public_name_is_annotated_and_says_what_it_is_for():
    assert public_complaints(PACKAGE) == []


def test_light_parts_import_nothing_heavy():
    assert heavy_imports(light_modules(), ROOT) == []


# What follows shows each rule a tree that breaks it.


@pytest.fixture
def tree(tmp_path):
    """Return a function that writes files into a small package, and gives its folder."""

    def write(**sources: str) -> Path:
        for name, text in {"__init__": "", **sources}.items():
            path = tmp_path / NAME / f"{name.replace('__in__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path / NAME

    return write


SMALL_PACKAGE = "x\n\n    cli > ui > charts | bench\n        > records\n"
LINE = layers(SMALL_PACKAGE)


def test_the_layer_line_is_read_over_its_line_break():
    assert layers(SMALL_PACKAGE) == [{"cli"}, {"ui"}, {"charts", "bench"}, {"records"}]


@pytest.mark.parametrize(
    "source",
    [
        f"from {NAME}.ui.tab import build",
        f"import {NAME}.ui",
        f"from {NAME} import ui",
        "from ..ui import tab",
        "from .. import ui",
        f"def later():\n    from {NAME}.ui import tab",
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from {NAME}.ui import tab",
        f"import importlib\nimportlib.import_module('{NAME}.ui')",
        f"TABLE = {{'tab': '{NAME}.ui.tab:Tab'}}",
    ],
)
def test_an_import_upwards_is_found_however_it_is_written(tree, source):
    package = tree(ui__in__tab="", bench__in__run=source)
    (complaint,) = layer_complaints(package, LINE)
    assert "bench/run.py" in complaint
    assert "bench must not import ui" in complaint


def test_siblings_may_not_import_each_other(tree):
    package = tree(charts__in__lines="", bench__in__run=f"from {NAME}.charts import lines")
    assert "bench must not import charts" in layer_complaints(package, LINE)[0]


def test_an_import_downwards_and_within_a_folder_is_allowed(tree):
    package = tree(
        cli=f"from {NAME} import __version__, ui\nfrom {NAME}.records import Record",
        __main__=f"from {NAME}.cli import main",
        ui__in__tab="from . import other\nfrom ..bench import run",
        ui__in__other="",
        bench__in__run=f"from {NAME}.bench.cell import Cell",
        bench__in__cell="import json",
        records="",
    )
    assert layer_complaints(package, LINE) == []


def test_an_unlisted_folder_or_module_is_refused(tree):
    package = tree(utils__in__text="", helpers="")
    found = layer_complaints(package, LINE)
    assert any("'utils' is not in the layer line" in complaint for complaint in found)
    assert any("'helpers' is not in the layer line" in complaint for complaint in found)


def test_the_package_itself_imports_no_part(tree):
    package = tree(__init__=f"from {NAME} import records", records="")
    assert "__init__ must not import records" in layer_complaints(package, LINE)[0]


def test_nothing_imports_the_program(tree):
    package = tree(records=f"import {NAME}.__main__", __main__="")
    assert "records must not import __main__" in layer_complaints(package, LINE)[0]


@pytest.mark.parametrize("target", [f"f'{NAME}.{{part}}'", "'.ui', package"])
def test_a_computed_import_is_found(tree, target):
    package = tree(records=f"import importlib\nimportlib.import_module({target})")
    assert "records.py:2" in computed_import_complaints(package)[0]


def test_a_computed_import_of_another_library_is_allowed(tree):
    package = tree(records="import importlib\nimportlib.import_module(name)")
    assert computed_import_complaints(package) == []


@pytest.mark.parametrize("source", ["import gradio as gr", "from gradio.themes import Soft"])
def test_gradio_outside_the_ui_is_found(tree, source):
    package = tree(cli=f"def later():\n    {source}", ui__in__tab=source)
    assert gradio_complaints(package) == [f"{NAME}/cli.py:2: gradio lives in ui/ only"]


def test_a_long_module_a_long_line_and_a_long_function_are_found(tree):
    body = "    x = 1\n" * MAX_FUNCTION_LINES
    package = tree(
        records="\n" * (MAX_MODULE_LINES + 1),
        cli=f'x = "{"-" * MAX_LINE}"',
        ui=f"def long() -> None:\n{body}",
    )
    assert len(size_complaints(package)) == 3


def test_docstrings_do_not_count_towards_a_function_and_limits_include_their_value(tree):
    body = "    x = 1\n" * (MAX_FUNCTION_LINES - 1)
    package = tree(
        records="#\n" * MAX_MODULE_LINES,
        cli="#" * MAX_LINE,
        ui=f'def long() -> None:\n    """One\n\n    two\n    """\n{body}',
    )
    assert size_complaints(package) == []


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("x = 1", "no docstring"),
        ('"""M."""\ndef f() -> None: ...', "f has no docstring"),
        ('"""M."""\nclass C: ...', "C has no docstring"),
        ('"""M."""\nclass C:\n    """C."""\n    def m(self) -> None: ...', "m has no docstring"),
        ('"""M."""\ndef f(a) -> None:\n    """F."""', "f: a is not annotated"),
        ('"""M."""\ndef f(*, a) -> None:\n    """F."""', "f: a is not annotated"),
        ('"""M."""\ndef f():\n    """F."""', "f: the result is not annotated"),
    ],
)
def test_a_bare_public_name_is_found(tree, source, complaint):
    (found,) = public_complaints(tree(records=source))
    assert complaint in found


def test_private_names_may_be_bare(tree):
    package = tree(records='"""M."""\ndef _f(a): ...\nclass _C:\n    def m(self): ...')
    assert public_complaints(package) == []


def test_a_heavy_import_is_found_through_another_module(tmp_path):
    (tmp_path / "plotly.py").write_text("")
    (tmp_path / "middle.py").write_text("import plotly")
    (tmp_path / "light.py").write_text("import middle")
    (tmp_path / "lighter.py").write_text("import torch")
    (tmp_path / "torch.py").write_text("")
    found = heavy_imports(["json", "light", "lighter"], tmp_path)
    assert found == ["light plotly", "lighter torch"]
