"""A report does not say whose it is: the home folder is `~`, and no cell is lost by that."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakes import make_cell, make_header, make_report

from diffusion_bench.records import ImageRequest, QualityPlan, VoiceRequest
from diffusion_bench.reports import privacy
from diffusion_bench.reports.compare import compare
from diffusion_bench.reports.privacy import short_path, without_home, without_names
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Header, ModelFacts
from diffusion_bench.reports.store import ReportWriter, to_line
from diffusion_bench.reports.unfinished import finished_ids

NAME = "ann-the-tester"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home folder, of which there is nothing yet."""
    return live_in(tmp_path / NAME, monkeypatch)


def live_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder))
    return folder


def header_of(model: str) -> Header:
    """Return the header of a plan of one cell, as an older version wrote it."""
    header = make_header(cells=[ImageRequest(prompt="a cat", model=model)])
    models = (ModelFacts(name=model, revision="sha256:1"),)
    return header.model_copy(update={"plan": header.plan.model_copy(update={"models": models})})


def test_a_folder_in_the_home_folder_has_one_name_however_it_is_typed(home: Path) -> None:
    assert short_path(str(home / "models" / "sd15")) == "~/models/sd15"
    assert short_path("~/models/sd15") == "~/models/sd15"
    assert short_path(str(home)) == "~"
    for other in ("picturebook", "owner/name", "models/sd15", f"{home}-old/sd15", "/srv/sd15"):
        assert short_path(other) == other


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_home_folder_that_is_a_link_is_known_by_both_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    home = live_in(tmp_path / NAME, monkeypatch)
    home.symlink_to(tmp_path / "disk", target_is_directory=True)
    assert short_path(f"{tmp_path}/disk/sd15") == short_path(f"{home}/sd15") == "~/sd15"
    told = {"message": f"no file {tmp_path}/disk/sd15, nor {home}/sd15"}
    assert without_names(told) == {"message": "no file ~/sd15, nor ~/sd15"}


def test_every_field_that_names_a_folder_is_short_and_others_are_as_typed(home: Path) -> None:
    mine = str(home / "x")
    spoken = VoiceRequest(text=f"Read {mine}.", model=mine, vocoder=mine)
    short = without_home(spoken)
    assert (short.model, short.vocoder, short.text) == ("~/x", "~/x", spoken.text)
    assert without_home(QualityPlan(scorer=mine)).scorer == "~/x"
    drawn = ImageRequest(prompt="a cat")
    assert without_home(drawn) is drawn


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("cannot read {home}/.cache/huggingface/x.json", "cannot read ~/.cache/huggingface/x.json"),
        ("No such file: '{home}/sd15'. It is in {home}.", "No such file: '~/sd15'. It is in ~."),
        ("g++ -I{home}/include x.cpp", "g++ -I~/include x.cpp"),
        ("file://{home}/a and {home}", "file://~/a and ~"),
        ("{home}-old and {home}.bak are others", "{home}-old and {home}.bak are others"),
        ("/tmp/torchinductor_ann/c.cpp:3: error", "/tmp/torchinductor_~/c.cpp:3: error"),
        ("annual torchinductor_anna", "annual torchinductor_anna"),
    ],
)
def test_what_libraries_say_is_stored_without_the_home_folder(
    text: str, stored: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    told, wanted = text.format(home=home), stored.format(home=home)
    line = {"message": told, "jobs": [{"missing": {"energy": told}}], "notes": [told]}
    assert without_names(line) == {
        "message": wanted,
        "jobs": [{"missing": {"energy": wanted}}],
        "notes": [wanted],
    }


def test_a_path_as_windows_spells_it_in_an_error_is_found_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(privacy, "_places", lambda _: (r"C:\Users\ann",))
    error = FileNotFoundError(2, "No such file", r"C:\Users\ann\sd15")
    assert "ann" in str(error)
    assert "ann" not in without_names({"message": f"{error}, C:\\Users\\ann\\sd15"})["message"]


def test_a_path_as_windows_takes_it_in_a_file_of_a_sweep_is_found_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(privacy, "_places", lambda _: (r"C:\Users\ann",))
    assert short_path("C:/Users/ann/models/sd15") == "~/models/sd15"
    assert short_path("C:/Users/ann") == "~"
    assert short_path("C:/Users/anna/sd15") == "C:/Users/anna/sd15"


def test_a_home_folder_that_is_the_root_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    live_in(Path("/"), monkeypatch)
    assert short_path("/srv/sd15") == "/srv/sd15"
    assert without_names({"message": "/srv/sd15 and /"}) == {"message": "/srv/sd15 and /"}


def test_a_failed_cell_names_nobody_and_is_read_back_as_its_request(
    home: Path, tmp_path: Path
) -> None:
    """What was typed as a prompt stays, since a cell is known by it."""
    message = f"worker ended: OSError: {home}/.cache/huggingface/hub is full"
    cell = make_cell(status="failed", message=message)
    asked = make_cell(steps=3, prompt=f"a map of {home}")
    with ReportWriter.create(tmp_path / "report.jsonl", make_header()) as writer:
        writer.append(cell)
        writer.append(asked)
    assert NAME.encode() not in to_line(cell)
    failed, drawn = read_report(tmp_path / "report.jsonl").cells
    assert failed.message == "worker ended: OSError: ~/.cache/huggingface/hub is full"
    assert drawn.request.prompt == f"a map of {home}"


def test_a_report_that_spells_the_home_folder_out_can_be_gone_on_with(
    home: Path, tmp_path: Path
) -> None:
    path = tmp_path / "report.jsonl"
    old, new = header_of(f"{home}/sd15"), header_of("~/sd15")
    (request,) = old.plan.cells
    cell = make_cell(model=request.model).model_copy(update={"cell_id": old.cell_id(request)})
    with ReportWriter.create(path, old) as writer:
        writer.append(cell)
    before = path.read_bytes()
    writer, report = ReportWriter.resume(path, new)
    writer.close()
    assert finished_ids(report) == set(report.header.planned_ids()) == {cell.cell_id}
    assert path.read_bytes() == before
    other = header_of("~/another")
    with pytest.raises(ValueError, match="holds another sweep"):
        ReportWriter.resume(path, other)


def test_an_older_report_with_whole_paths_is_compared_with_a_newer_one(home: Path) -> None:
    """Each model with itself, in whatever order the reports have them."""
    sides = [
        make_report(*(make_cell(model=model, wall_s=(1.0,) * 8) for model in models), source=source)
        for models, source in (
            ((f"{home}/sd15", f"{home}/sdxl"), "old.jsonl"),
            (("~/sdxl", "~/sd15"), "new.jsonl"),
        )
    ]
    assert [row.verdict for row in compare(sides)] == ["same", "same"]
