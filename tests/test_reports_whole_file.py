"""A file is whole or not there, whatever goes wrong, and the complaint is one line."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_bench.reports.whole_file import NotWritten, write_whole

# Python ignores the signal, so that the limit shows as a disk that is full does: by an error.
WRITE_TO_LIMIT = """
import resource, sys
from pathlib import Path
from diffusion_bench.reports.whole_file import NotWritten, write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_whole(Path(sys.argv[1]), b"x" * 5000)
except NotWritten as error:
    print(error)
"""


def test_the_content_arrives_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"one\r\n\x1a\0", b""):
        write_whole(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX")
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", WRITE_TO_LIMIT, str(path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        check=True,
    )
    assert done.stdout == f"cannot write {path}: File too large\n"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_missing_or_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "none" / "a.bin", tmp_path / "file" / "a.bin"):
        with pytest.raises(NotWritten, match=r"^cannot write .*a\.bin: ") as caught:
            write_whole(path, b"x")
        assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_the_place_of_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(NotWritten, match=r"Is a directory|Access is denied|Permission"):
        write_whole(tmp_path / "a.bin", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_read_only_folder_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):  # root may write everywhere, but not in here
        folder = Path("/proc/self")
    with pytest.raises(NotWritten, match=f"^cannot write {folder}/a.bin: "):
        write_whole(folder / "a.bin", b"x")


def test_a_name_as_long_as_the_system_allows_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    write_whole(path, b"x")
    assert path.read_bytes() == b"x"
    with pytest.raises(NotWritten, match="too long"):
        write_whole(tmp_path / ("x" * 300), b"x")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_the_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a.bin", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640
