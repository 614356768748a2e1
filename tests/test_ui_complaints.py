from __future__ import annotations

import inspect
from types import FunctionType

import gradio as gr
import pytest
from ui_server import served

from diffusion_bench.records import Cancelled, ImageRequest
from diffusion_bench.ui.complaints import BUG, complaining, in_one_line, said_and_raised
from diffusion_bench.ui.report_files import ReportFolder, open_reports


def test_pydantics_complaint_becomes_one_line_about_the_field():
    with pytest.raises(ValueError, match="steps") as raised:
        ImageRequest(prompt="a cat", steps=0)

    line = in_one_line(raised.value)

    assert line.startswith("steps: ")
    assert "\n" not in line
    assert "pydantic" not in line


def test_what_a_guest_reads_does_not_say_whose_the_machine_is(tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "ann"))
    reports = ReportFolder(tmp_path / "ann" / "reports")
    (tmp_path / "ann").touch()  # no folder can be made in it
    with pytest.raises(OSError, match="ann") as raised:
        reports.new_path("quick", "2026-01-02T03:04:05Z")

    assert "ann" not in in_one_line(raised.value)
    assert "~" in in_one_line(raised.value)


def test_a_report_that_is_gone_is_named_and_its_owner_is_not(tmp_path, monkeypatch):
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path / "ann"))
    path = tmp_path / "ann" / "gone.jsonl"
    monkeypatch.setattr(ReportFolder, "path", lambda *_: path)

    (complaint,) = open_reports(ReportFolder(path.parent), ["gone.jsonl"], []).complaints

    assert "gone.jsonl" in complaint
    assert str(tmp_path) not in complaint


def test_out_of_memory_comes_with_advice():
    line = in_one_line(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))

    assert "smaller" in line
    assert "2 GiB" in line
    assert "picture" not in line, "what there can be less of is for the caller to say"


def test_where_memory_has_run_out_the_advice_is_the_callers():
    def views():
        yield "begun"
        raise MemoryError

    heard = said_and_raised(views(), str, advice="speak less")

    assert [next(heard), next(heard)] == [
        "begun",
        "Error: out of memory: speak less (MemoryError)",
    ]
    with pytest.raises(gr.Error) as shown:
        next(heard)
    assert "out of memory: speak less" in shown.value.message


def test_a_long_or_empty_message_is_still_a_line():
    assert len(in_one_line(ValueError("x" * 9999))) <= 600
    assert in_one_line(MemoryError()).startswith("out of memory")
    assert in_one_line(ValueError("a\nb")) == "a b"


def test_a_fault_reaches_the_page_and_a_bug_stays_a_bug():
    @complaining
    def handler(error):
        raise error

    with pytest.raises(gr.Error) as shown:
        handler(ValueError("no such file"))
    assert "no such file" in shown.value.message
    with pytest.raises(KeyError):
        handler(KeyError("bug"))


def test_a_fault_in_the_middle_is_said_where_it_stays_then_raised():
    def views():
        yield "begun"
        raise ValueError("broken")

    heard = said_and_raised(views(), str)

    assert [next(heard), next(heard)] == ["begun", "Error: broken"]
    with pytest.raises(gr.Error):
        next(heard)


def test_after_a_bug_no_view_says_that_work_goes_on():
    def views():
        yield "Step 3 of 20."
        raise TypeError("a bug")

    heard = said_and_raised(views(), str)

    assert [next(heard), next(heard)] == ["Step 3 of 20.", BUG]
    with pytest.raises(TypeError, match="a bug"):
        next(heard)


def test_a_cancelled_job_is_no_error():
    def views():
        yield "begun"
        raise Cancelled("cancelled")

    assert list(said_and_raised(views(), str)) == ["begun", "Cancelled."]


def says(handler, seen):
    """Return whether a handler, or a function that it holds, says something in the corner."""
    handler = inspect.unwrap(handler)
    if not isinstance(handler, FunctionType) or handler in seen:
        return False
    seen.add(handler)
    if {"Info", "Warning"} & set(handler.__code__.co_names):
        return True
    held = [cell.cell_contents for cell in handler.__closure__ or ()]
    return any(says(each, seen) for each in held)


def test_what_says_something_in_the_pages_corner_goes_through_the_queue(tmp_path):
    """Gradio prints what a handler says outside of it to the terminal of the server."""
    with served(reports=tmp_path) as page:
        saying = [each for each in page.fns.values() if each.fn and says(each.fn, set())]

    names = {each.name for each in saying}
    assert {"on_generate", "on_again", "on_go_on", "on_save", "on_vector", "on_speak"} <= names
    assert [each.name for each in saying if not each.queue] == []


def test_no_number_is_refused_by_the_page_in_words_that_name_no_field(tmp_path):
    """Gradio refuses what is out of a field's bounds before a handler hears of it."""
    with served(reports=tmp_path) as page:
        numbers = [each for each in page.blocks.values() if isinstance(each, gr.Number)]
        bounds = {each.elem_id: (each.minimum, each.maximum) for each in numbers}

    assert len(numbers) > 15
    assert {name: both for name, both in bounds.items() if both != (None, None)} == {}
