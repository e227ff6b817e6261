"""A final name never holds half a file."""

import errno
import hashlib
import itertools
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.files import (
    check_writable,
    choose_temporary_folder,
    replacing,
    sha256,
    write_bytes,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_appears_whole_and_readable_by_others(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "a.txt"
    write_text(path, "für alle\n")
    assert path.read_bytes() == "für alle\n".encode()
    assert names(path.parent) == ["a.txt"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_an_old_file_is_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old and longer")
    write_bytes(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, error: type[BaseException]
) -> None:
    path = tmp_path / "a"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("half")
            assert names(tmp_path) != ["a"]  # the half is beside it, under another name
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_file_in_the_way_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        EdgeconvError, match=r"cannot write .*file/a: (File exists|Not a directory)"
    ):
        write_text(tmp_path / "file" / "a", "x")


def test_what_cannot_be_written_is_known_before_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    check_writable(tmp_path / "new" / "deep" / "a.csv", "--csv")
    check_writable(tmp_path / "file", "--csv")
    check_writable(tmp_path / "new", "--output", folder=True)
    with pytest.raises(UsageError, match=r"--csv .*folder is a folder: name a file"):
        check_writable(tmp_path / "folder", "--csv")
    for path, folder in ((tmp_path / "file" / "a.csv", False), (tmp_path / "file", True)):
        with pytest.raises(UsageError, match="file is a file, not a folder"):
            check_writable(path, "--csv", folder=folder)
    (tmp_path / "link").symlink_to("gone")
    (tmp_path / "loop").symlink_to("loop")
    for link in ("link", "loop"):
        with pytest.raises(UsageError, match=f"{link} is a link to (gone|loop), where nothing is"):
            check_writable(tmp_path / link / "new", "--output", folder=True)
    long = f"--output {'a' * 300} cannot be written: File name too long"
    for name, folder in itertools.product(("a" * 300, f"{'a' * 300}/b"), (True, False)):
        with pytest.raises(EdgeconvError, match=long.replace(" cannot", "(/b)? cannot")):
            check_writable(Path(name), "--output", folder=folder)
    check_writable(tmp_path / "link", "--csv")  # a file takes the link's place
    assert names(tmp_path) == ["file", "folder", "link", "loop"]

    def refuse(**_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("edgeconv.files.tempfile.TemporaryFile", refuse)
    with pytest.raises(EdgeconvError, match=r"--csv a.csv cannot be written: .*: Read-only file"):
        check_writable(Path("a.csv"), "--csv")


def test_a_folder_in_the_way_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(EdgeconvError, match=r"cannot write .*a: Is a directory"):
        write_text(tmp_path / "a", "x")
    assert names(tmp_path) == ["a"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(EdgeconvError, match="Permission denied"):
            write_text(tmp_path / "a", "x")
    finally:
        tmp_path.chmod(0o700)


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_text(path, "old")

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:3])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(EdgeconvError, match=r"cannot write .*a: No space left on device"):
        write_text(path, "new and longer")
    monkeypatch.undo()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where one may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_is_really_full_leaves_the_old_file(small_disk: Path) -> None:
    write_bytes(small_disk / "a", b"old")
    with pytest.raises(EdgeconvError, match="No space left on device"):
        write_bytes(small_disk / "a", bytes(1 << 20))
    assert names(small_disk) == ["a"]
    assert (small_disk / "a").read_bytes() == b"old"


def test_a_killed_writer_leaves_no_final_name(tmp_path: Path) -> None:
    text = """
        import os, signal, sys
        from pathlib import Path
        from edgeconv.files import replacing

        with replacing(Path(sys.argv[1])) as part:
            part.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "a"
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), str(path)], capture_output=True, check=False
    )
    assert done.returncode < 0
    assert not path.exists()
    assert len(names(tmp_path)) == 1


def test_the_temporary_file_is_on_the_same_file_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    with replacing(tmp_path / "a") as part:
        assert part.parent == tmp_path


@pytest.mark.skipif(os.name != "posix", reason="Python chooses there")
def test_the_temporary_folder_is_chosen_without_a_file_that_tries_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or a kill meanwhile leaves that file."""
    monkeypatch.setattr(tempfile, "_get_default_tempdir", None)
    for name, chosen in ((str(tmp_path), tmp_path), (str(tmp_path / "gone"), Path("/tmp"))):
        monkeypatch.setattr(tempfile, "tempdir", None)
        monkeypatch.setenv("TMPDIR", name)
        monkeypatch.delenv("TEMP", raising=False)
        monkeypatch.delenv("TMP", raising=False)
        choose_temporary_folder()
        assert Path(tempfile.gettempdir()) == chosen
    choose_temporary_folder()
    assert tempfile.gettempdir() == "/tmp"


@pytest.mark.parametrize("size", [0, 5, (1 << 20) + 1])
def test_sha256_reads_files_of_any_size(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    assert sha256(tmp_path / "a") == hashlib.sha256(bytes(size)).hexdigest()
