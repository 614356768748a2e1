from __future__ import annotations

from io import BytesIO

import gradio as gr
import pytest
from gradio.components.image_editor import EditorData
from gradio.data_classes import DataWithFiles, FileData
from PIL import Image
from starlette.exceptions import HTTPException
from ui_server import laid_out

from diffusion_bench.backends import input_pictures
from diffusion_bench.ui.pictures import editor as picture_editor
from diffusion_bench.ui.pictures.editor import MOST_DRAFTS, MOST_LAYERS
from diffusion_bench.ui.pictures.fields import start_fields


@pytest.fixture
def editor():
    with laid_out():
        start = start_fields()["start"]
    yield start
    picture_editor._drafts.clear()


def png(side=64):
    file = BytesIO()
    Image.new("1", (side, side)).save(file, "PNG")
    return file.getvalue()


def sent(name, content, kind="background", index="null"):
    return DataWithFiles(
        data={"type": kind, "index": index, "id": name}, files=[("image.png", content)]
    )


def asked(name):
    return EditorData(id=name)


def test_a_picture_with_a_stroke_comes_as_it_was_sent(editor):
    editor.accept_blobs(sent("mine", png()))
    editor.accept_blobs(sent("mine", png(), "layer", "0"))

    given = editor.preprocess(asked("mine"))

    with Image.open(given["background"]) as background:
        assert background.size == (64, 64)
    assert len(given["layers"]) == 1
    assert not picture_editor._drafts


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(
    editor, tmp_path, monkeypatch
):
    monkeypatch.setattr(input_pictures, "MAX_PIXELS", 63 * 64)
    (tmp_path / "bomb.png").write_bytes(png())
    file = FileData(path=str(tmp_path / "bomb.png"))
    monkeypatch.setattr(Image.Image, "convert", pytest.fail)
    editor.accept_blobs(sent("mine", png()))

    for payload in (
        asked("mine"),
        EditorData(background=file, layers=[], composite=None),
        EditorData(background=None, layers=[file], composite=None),
        EditorData(background=None, layers=[], composite=file),
    ):
        with pytest.raises(gr.Error, match="larger than 0 megapixels"):
            editor.preprocess(payload)


def test_a_layer_of_any_number_takes_no_memory(editor):
    with pytest.raises(HTTPException) as refused:
        editor.accept_blobs(sent("mine", b"x", "layer", "100_000_000"))

    assert refused.value.status_code == 413
    assert not picture_editor._drafts


def test_more_layers_than_an_editor_has_are_refused(editor, tmp_path):
    (tmp_path / "layer.png").write_bytes(png())
    file = FileData(path=str(tmp_path / "layer.png"))

    with pytest.raises(gr.Error, match=f"at most {MOST_LAYERS}"):
        editor.preprocess(EditorData(background=file, layers=[file] * 5, composite=None))


def test_pictures_that_nobody_asks_for_are_dropped_the_oldest_first(editor, monkeypatch):
    for number in range(MOST_DRAFTS + 3):
        editor.accept_blobs(sent(f"{number}", b"x"))
    assert list(picture_editor._drafts) == [f"{number}" for number in range(3, MOST_DRAFTS + 3)]

    monkeypatch.setattr(picture_editor, "MOST_DRAFT_BYTES", 100)
    editor.accept_blobs(sent("large", b"x" * 98))
    assert list(picture_editor._drafts)[-1] == "large"
    assert len(picture_editor._drafts) == 3


def test_pictures_are_read_two_at_a_time_and_who_comes_then_is_told(editor, monkeypatch):
    monkeypatch.setattr(picture_editor, "PATIENCE_S", 0.01)
    for _ in range(picture_editor.AT_ONCE):
        picture_editor._decoding.acquire()
    try:
        with pytest.raises(gr.Error, match="try again"):
            editor.preprocess(asked("mine"))
    finally:
        picture_editor._decoding.release(picture_editor.AT_ONCE)
    assert editor.preprocess(asked("mine"))["background"] is None
