"""Uploads are shared by their content: the last who holds one deletes it, and nobody before."""

from __future__ import annotations

import gc

import pytest

from diffusion_bench.ui.uploads import Uploads


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "me.wav"
    path.write_bytes(b"sound")
    return path


def test_the_last_to_let_a_file_go_deletes_it_and_letting_go_twice_counts_once(file):
    uploads = Uploads()
    mine, theirs = uploads.hold(file), uploads.hold(file)

    mine()
    mine()
    assert file.exists()
    theirs()
    assert not file.exists()


def test_a_page_that_was_forgotten_lets_its_file_go(file):
    uploads = Uploads()
    page = {"heard": uploads.hold(file)}
    assert file.exists()

    page.clear()
    gc.collect()

    assert not file.exists()


def test_a_file_that_is_only_read_goes_then_unless_another_holds_it(file):
    uploads = Uploads()
    mine = uploads.hold(file)
    with uploads.held(file):
        pass
    assert file.exists()

    mine()
    file.write_bytes(b"uploaded again")
    mine()
    assert file.exists(), "it is not mine any more"
    with pytest.raises(ValueError, match="no sound"), uploads.held(file):
        raise ValueError("no sound")
    assert not file.exists()


def test_a_file_that_is_gone_can_be_let_go(file):
    uploads = Uploads()
    let_go = uploads.hold(file)
    file.unlink()

    let_go()

    assert not uploads._holds
