"""Bounds on Gradio's editor of pictures: it decodes what it is sent before any handler is asked."""

from __future__ import annotations

import threading
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.components.base import server
from starlette.exceptions import HTTPException

from diffusion_bench.backends.input_pictures import opened
from diffusion_bench.ui.complaints import to_gradio

MOST_LAYERS = 4  # ours has one, of what is painted
MOST_DRAFTS, MOST_DRAFT_BYTES = 64, 512 * 2**20  # sent, and not asked for yet
AT_ONCE = 2  # each may take a gigabyte
PATIENCE_S = 20.0

_drafts: dict[str, Any] = {}  # of all pages: an editor that is changed is another object
_decoding = threading.Semaphore(AT_ONCE)
_decode = gr.ImageEditor.preprocess
_take = gr.ImageEditor.accept_blobs


@cache
def bound_editors() -> None:
    """Have all editors refuse too many layers, too many pixels, and more than memory holds.

    Not a class of our own: Gradio writes a stub beside the file of one, which mypy would read.
    """
    gr.ImageEditor.preprocess = _decode_bounded
    gr.ImageEditor.accept_blobs = server(_take_bounded)


def _decode_bounded(editor: Any, payload: Any) -> Any:
    editor.blob_storage = _drafts
    parts = _drafts.get(payload.id) if payload is not None and payload.id else payload
    if not _decoding.acquire(timeout=PATIENCE_S):
        raise to_gradio(ValueError("other pictures are being read; try again"))
    try:
        if parts is not None:
            _check(parts)
        return _decode(editor, payload)
    except ValueError as error:
        raise to_gradio(error) from error
    finally:
        _decoding.release()


def _check(parts: Any) -> None:
    layers = parts.layers or []
    if len(layers) > MOST_LAYERS:
        raise ValueError(f"a picture of {len(layers)} layers; at most {MOST_LAYERS} are taken")
    for part in filter(None, (parts.background, *layers, parts.composite)):
        with opened(BytesIO(part) if isinstance(part, bytes) else Path(part.path), "image"):
            pass


def _take_bounded(editor: Any, data: Any) -> None:
    editor.blob_storage = _drafts
    index = data.data["index"]
    # Gradio makes room for as many layers as that.
    if index and index != "null" and int(index) >= MOST_LAYERS:
        raise HTTPException(413, f"a picture may have {MOST_LAYERS} layers")
    _take(editor, data)
    for oldest in list(_drafts)[:-1]:
        if len(_drafts) <= MOST_DRAFTS and _bytes() <= MOST_DRAFT_BYTES:
            break
        _drafts.pop(oldest, None)


def _bytes() -> int:
    drafts = list(_drafts.values())
    parts = (part for one in drafts for part in (one.background, *one.layers, one.composite))
    return sum(len(part) for part in parts if part)
