"""What the page's server keeps for a visitor goes a day later, and all of it with the app."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from gradio.processing_utils import save_file_to_cache
from gradio_client import Client
from ui_server import VALUES, served, wait_until

from diffusion_bench.ui import upkeep
from diffusion_bench.ui.intake import UPLOADS_VARIABLE
from diffusion_bench.ui.upkeep import KEEP_S, Upkeep

ONE_CELL = (["ddim"], "2", "", "")  # the axes of the grid, in their order


def test_a_file_goes_a_day_after_it_was_seen_first_whatever_its_date_says(tmp_path):
    now_s = 0.0
    mine = Upkeep(tmp_path, clock=lambda: now_s)
    old, new = tmp_path / "a" / "old.png", tmp_path / "b" / "new.png"
    for path in (old, new):
        path.parent.mkdir()
    old.touch()
    mine.look()
    now_s = KEEP_S - 1
    new.touch()
    os.utime(new, (0, 0))  # the clock was wrong
    mine.look()
    assert old.exists()

    now_s = KEEP_S
    mine.look()

    assert not old.parent.exists()
    assert new.exists()


def test_what_is_handed_out_or_taken_in_again_is_kept_for_another_day(tmp_path):
    now_s = 0.0
    served, source = tmp_path / "served", tmp_path / "picture.png"
    source.write_bytes(b"the same picture")
    mine = Upkeep(served, clock=lambda: now_s)
    copy = Path(save_file_to_cache(source, str(served)))
    os.utime(copy, (0, 0))  # clocks of files may tick only some hundred times a second
    mine.look()
    now_s = KEEP_S - 1
    assert Path(save_file_to_cache(source, str(served))) == copy
    mine.look()
    now_s = KEEP_S
    mine.look()
    assert copy.exists()

    now_s = 2 * KEEP_S
    mine.look()
    assert not copy.exists()


def test_a_folder_that_is_shared_with_what_is_young_stays(tmp_path):
    now_s = 0.0
    mine = Upkeep(tmp_path, clock=lambda: now_s)
    (tmp_path / "old.png").touch()
    mine.look()
    (tmp_path / "new.png").touch()
    now_s = KEEP_S
    mine.look()

    assert [path.name for path in tmp_path.iterdir()] == ["new.png"]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The folder that the owner of a server gave it for uploads."""
    monkeypatch.setenv(UPLOADS_VARIABLE, str(tmp_path / "given"))
    return tmp_path / "given"


def client_of(page):
    return Client(page.local_url, verbose=False, download_files=False)


def files_in(home):
    return {path.name for path in home.rglob("*.*") if path.suffix in (".png", ".toml", ".wav")}


def test_what_the_page_handed_out_and_what_came_in_goes(home, monkeypatch):
    monkeypatch.setattr(upkeep, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(upkeep, "KEEP_S", 1e9)
    with served() as page:
        client = client_of(page)
        client.predict(*VALUES.values(), *ONE_CELL, api_name="/compare")
        client.close()
        sound = {"files": ("mine.wav", b"a voice")}
        httpx.post(f"{page.local_url}gradio_api/upload", files=sound).raise_for_status()
        assert files_in(home) >= {"comparison.png", "mine.wav", "picture-seed-7.png"}

        monkeypatch.setattr(upkeep, "KEEP_S", 0.0)
        wait_until(lambda: not files_in(home), "they are gone")
        monkeypatch.setattr(upkeep, "KEEP_S", 1e9)
        again = client_of(page)
        assert again.predict(*VALUES.values(), api_name="/generate")[0], "previews have their place"
        again.close()


def test_nothing_of_a_visitor_is_left_in_a_folder_that_the_owner_gave(home):
    with served() as page:
        sound = {"files": ("mine.wav", b"a voice")}
        (path,) = httpx.post(f"{page.local_url}gradio_api/upload", files=sound).json()
        assert home in Path(path).parents

    assert list(home.iterdir()) == []
    assert os.environ[UPLOADS_VARIABLE] == str(home)
