"""A file is whole or not there, whatever goes wrong, and the complaint is one line."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_bench import whole_file
from diffusion_bench.whole_file import NotWritten, check_writable, write_whole

# Python ignores the signal, so that the limit shows as a disk that is full does: by an error.
WRITE_TO_LIMIT = """
import resource, sys
from pathlib import Path
from diffusion_bench.whole_file import NotWritten, write_whole
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


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX")
def test_a_file_of_its_owner_alone_stays_so_when_it_is_replaced(tmp_path: Path) -> None:
    for mode in (0o600, 0o640):
        path = tmp_path / f"{mode:o}.jsonl"
        path.touch(mode=mode)
        write_whole(path, b"new")
        assert stat.S_IMODE(path.stat().st_mode) == mode


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


def hold(monkeypatch: pytest.MonkeyPatch, times: int) -> None:
    """Refuse so many replacements, as Windows does of a file that somebody has open."""
    replace, left = os.replace, iter(range(times))

    def refuse(source: Path, target: Path) -> None:
        if next(left, None) is not None:
            raise PermissionError(errno.EACCES, "used by another process")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refuse)
    monkeypatch.setattr(whole_file, "HELD_S", 0.2)


def test_who_reads_the_old_file_for_a_moment_keeps_nobody_from_writing_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    hold(monkeypatch, times=2)
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_stays_open_elsewhere_is_told_before_the_work_and_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"old")
    hold(monkeypatch, times=10_000)
    for write in (check_writable, lambda path: write_whole(path, b"new")):
        with pytest.raises(NotWritten, match=r"^cannot write .*a\.csv: used by another process$"):
            write(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="Windows syncs no folders")
def test_a_file_in_a_folder_that_cannot_be_synced_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As VirtualBox answers of its shared folders, and some network file systems of theirs."""
    sync = os.fsync

    def refuse_folders(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        sync(file)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_whole(tmp_path / "a.bin", b"x")
    assert (tmp_path / "a.bin").read_bytes() == b"x"


@pytest.mark.skipif(os.name != "posix", reason="files have numbers of their own on POSIX")
def test_what_is_given_a_files_name_is_on_the_disk_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a loss of power after the renaming could leave an empty file under its name."""
    synced, sync = [], os.fsync

    def note(file: int) -> None:
        sync(file)
        synced.append((os.fstat(file).st_ino, os.fstat(file).st_size))

    monkeypatch.setattr(os, "fsync", note)
    write_whole(tmp_path / "a.bin", b"whole")
    assert synced[0] == ((tmp_path / "a.bin").stat().st_ino, 5)


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


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX links")
def test_what_a_link_points_at_is_written_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    target, link = tmp_path / "kept" / "target.csv", tmp_path / "link.csv"
    link.symlink_to(Path("kept") / "target.csv")
    for content in (b"made", b"replaced"):  # first there is nothing behind it
        write_whole(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["kept", "link.csv", "target.csv"]
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(NotWritten, match="Too many levels of symbolic links"):
        write_whole(link, b"x")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_who_reads_a_named_pipe_gets_the_content_and_the_pipe_stays(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe.csv", b"a row\n" * 5_000
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_whole(pipe, content)
        assert os.read(reader, len(content) + 1) == content
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(pipe.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


# Through descriptors of this process, so that no test can replace a device of the machine.
OWN_OUTPUT = """
import sys
from pathlib import Path
from diffusion_bench.whole_file import write_whole
print("before")
write_whole(Path("/dev/fd/1"), b"content\\n")
print("after")
"""


@pytest.mark.skipif(not Path("/dev/fd/1").exists(), reason="no names of open files here")
def test_into_our_own_output_is_written_in_its_order_and_nothing_is_lost(tmp_path: Path) -> None:
    command, root = [sys.executable, "-c", OWN_OUTPUT], Path(__file__).parents[1]
    piped = subprocess.run(command, stdout=subprocess.PIPE, cwd=root, check=True)
    assert piped.stdout == b"before\ncontent\nafter\n"
    log = tmp_path / "log"
    for mode in ("wb", "ab"):  # a shell's > and >>
        with log.open(mode) as file:
            subprocess.run(command, stdout=file, cwd=root, check=True)
    assert log.read_bytes() == 2 * piped.stdout
    assert list(tmp_path.iterdir()) == [log]


def test_a_dash_is_refused_and_makes_no_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotWritten, match="cannot write -: name a file"):
        write_whole(Path("-"), b"x")
    assert list(tmp_path.iterdir()) == []


def test_what_can_be_written_is_told_before_and_left_as_it_is(tmp_path: Path) -> None:
    old = tmp_path / "old.bin"
    old.write_bytes(b"old")
    for path in (old, tmp_path / "new.bin"):
        check_writable(path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("old.bin", b"old")]
    for path in (tmp_path, tmp_path / "none" / "new.bin", old / "new.bin", Path("-")):
        for write in (check_writable, lambda path: write_whole(path, b"new")):
            with pytest.raises(NotWritten, match=f"cannot write {re.escape(str(path))}: "):
                write(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name")
@pytest.mark.timeout(60)  # opened, it would wait for a reader
def test_a_pipe_is_known_to_be_writable_without_being_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe)
    assert pipe.is_fifo()
