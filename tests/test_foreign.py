"""Whoever opens a foreign file neither waits for a pipe nor reads a device to its end."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeconv.errors import EdgeconvError
from edgeconv.foreign import read_bytes, read_text

if not hasattr(os, "mkfifo"):
    pytest.skip("no named pipes here", allow_module_level=True)


def arrays(path: Path) -> object:
    from edgeconv.arrays import read_arrays

    return read_arrays(path)


def budget(path: Path) -> object:
    from edgeconv.judge.budget import load_budgets

    return load_budgets(path)


def job(path: Path) -> object:
    from edgeconv.sweep.job import read_job

    return read_job(path)


def json_data(path: Path) -> object:
    from edgeconv.schema import read_json

    return read_json(path, "a manifest")


def labels(path: Path) -> object:
    pytest.importorskip("torch")
    from edgeconv.export.source import read_labels

    return read_labels(path)


def package(path: Path) -> object:
    from edgeconv.formats.mlpackage import open_package

    (path.parent / "net.mlpackage").mkdir()
    path.rename(path.parent / "net.mlpackage" / "Manifest.json")
    return open_package(path.parent / "net.mlpackage")


def picture(path: Path) -> object:
    pytest.importorskip("PIL")
    from edgeconv.pictures import read_picture

    return read_picture(path)


READERS = (arrays, budget, job, json_data, labels, package, picture)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_what_is_no_file_is_refused(
    reader: Callable[[Path], object], kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "given.json"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(EdgeconvError, match="no file but a pipe"):
        reader(path)


def test_a_folder_and_a_file_beyond_the_limit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no file but a pipe, a device or a folder"):
        read_bytes(tmp_path)
    with (large := tmp_path / "large.json").open("wb") as file:
        file.truncate(257 << 20)  # takes no room
    with pytest.raises(OSError, match="it has 257 MiB"):
        read_text(large)


def test_limits_that_are_no_table_are_named(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text("[int8.outputs]\nlogits = 3\n")
    with pytest.raises(EdgeconvError, match=r"int8\.outputs\.logits is no table"):
        budget(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat\ndog\0\n", "line 2 has a NUL"),
        ("x" * 1001, "line 1 has 1001 characters"),
        ("\n", "no name"),
        ("cat\n\ndog\n", "line 2 is empty"),
    ],
)
def test_lines_that_are_no_class_names_are_refused(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text)
    with pytest.raises(EdgeconvError, match=said):
        labels(path)


def test_class_names_are_read_however_an_editor_saved_them(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes("tench, Tinca tinca\r\ncaf\u00e9 \r\n\u732b\r\n\r\n".encode("utf-8-sig"))
    assert labels(path) == ["tench, Tinca tinca", "caf\u00e9", "\u732b"]
    path.write_bytes("cat\ndog\n".encode("utf-16"))
    with pytest.raises(EdgeconvError, match="is no UTF-8 text: save it as UTF-8"):
        labels(path)
