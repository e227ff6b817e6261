"""Equal exports are kept: the second takes no conversion, and nothing else passes for equal."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quant_nets import residual_net

from edgeconv import export_model
from edgeconv.errors import EdgeconvError
from edgeconv.export.hub.onnx_io import save_model, to_onnx
from edgeconv.export.kept import shelf as shelves
from edgeconv.export.kept.again import made_again
from edgeconv.export.kept.key import key_of
from edgeconv.export.options import ExportOptions
from edgeconv.export.stages import Stages
from edgeconv.files import digest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own that keeps exports."""
    monkeypatch.setenv("EDGECONV_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(shelves.LIMIT, "64")
    return tmp_path / "cache" / "exports"


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """What the library is given for a small INT8 export."""
    (tmp_path / "net.onnx").write_bytes(save_model(to_onnx(residual_net())))
    walk = np.random.default_rng(0).normal(0, 0.2, (12, 3, 16, 16)).cumsum(axis=3)
    np.savez(tmp_path / "calib.npz", x=walk.astype(np.float32))
    return {
        "targets": ["onnx"],
        "precision": "int8",
        "recipe": "fast",
        "calib": tmp_path / "calib.npz",
    }


def files(folder: Path) -> dict[str, str]:
    """Digests of every file below ``folder``."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path) for path in found}


@pytest.mark.slow
def test_an_equal_export_is_copied_and_a_torn_or_altered_one_is_not(
    tmp_path: Path, cache: Path, given: dict[str, Any]
) -> None:
    net = tmp_path / "net.onnx"
    first = export_model(net, output=tmp_path / "a", **given)
    again = export_model(net, output=tmp_path / "b", **given)
    assert [line.stage for line in again.stages] == ["kept", "pictures", "onnx", "verify"]
    assert files(tmp_path / "b") == files(tmp_path / "a")
    told, other = first.to_json(), again.to_json()
    for report, folder in ((told, "a"), (other, "b")):
        report["stages"] = []
        text = json.dumps(report).replace(str(tmp_path / folder), "OUT")
        report["text"] = text
    assert told["text"] == other["text"]
    with pytest.raises(EdgeconvError, match="exists"):
        export_model(net, output=tmp_path / "b", **given)
    (kept,) = cache.iterdir()
    (held,) = kept.rglob("*.onnx.json")
    held.write_bytes(held.read_bytes().replace(b"int8", b"int9", 1))
    made = export_model(net, output=tmp_path / "c", force=True, **given)
    assert made.stages[0].stage != "kept"
    assert files(tmp_path / "c") == files(tmp_path / "a")
    (kept,) = cache.iterdir()
    shelf = shelves.Shelf(kept, 1 << 26)
    fresh = ExportOptions(str(net), fresh=True)
    assert made_again(fresh, shelf, Stages()) is None
    for torn in ("", "{", '{"files": {}}', '{"files": {}, "report": {"stages": 1}}'):
        kept.mkdir(exist_ok=True)
        (kept / shelves.ENTRY).write_text(torn)
        assert made_again(ExportOptions(str(net), output=tmp_path / "d"), shelf, Stages()) is None


def test_whatever_could_change_a_byte_changes_the_key(
    tmp_path: Path, given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    net, calib = tmp_path / "net.onnx", given["calib"]

    def key(**more: Any) -> str | None:
        fields = {"targets": ("onnx",), "precision": "int8", "calib": str(calib)}
        return key_of(ExportOptions(**{"net": str(net), **fields, **more}))

    first = key()
    assert first is not None
    assert first == key(output=Path("elsewhere"), force=True, threads=1)
    others = [key(recipe="best"), key(targets=("tflite",)), key(mean=(0.5,)), key(net="ghostnet")]
    net.write_bytes(net.read_bytes() + b"\x00")
    others.append(key())
    np.savez(calib, x=np.zeros((2, 3, 16, 16), np.float32))
    others.append(key())
    monkeypatch.setattr("edgeconv.__version__", "0")
    others.append(key())
    assert len({first, *others}) == 1 + len(others)
    assert key(net="net.py:make") is None  # whose code may read anything
    assert key(calib="pictures.py:make") is None
    net.write_bytes(b"... location weights.bin")
    assert key() is None  # weights in a file of their own


def test_what_is_kept_is_bounded_and_the_last_used_stays(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "file").write_bytes(bytes(1 << 20))
    for number in range(5):
        shelf = shelves.Shelf(cache / str(number), 3 << 20)
        shelf.keep(folder, {"number": number})
        taken = tmp_path / f"into{number}"
        taken.mkdir()
        assert shelves.Shelf(cache / str(number), 3 << 20).take(taken) == {"number": number}
    assert sorted(path.name for path in cache.iterdir()) == ["3", "4"]
    held = cache / "3" / shelves.FILES / "file"
    held.unlink()
    held.symlink_to(os.devnull)
    into = tmp_path / "no device"
    into.mkdir()
    assert shelves.Shelf(cache / "3", 1).take(into) is None
    assert not any(into.iterdir())  # /dev/zero would be copied without end
    (folder / "file").write_bytes(bytes(2 << 20))
    shelves.Shelf(cache / "large", 3 << 20).keep(folder, {})
    assert not (cache / "large").exists()
    outside = json.dumps({"files": {"../out": ""}, "report": {}})
    noted = {"sha256": hashlib.sha256(outside.encode()).hexdigest(), "entry": json.loads(outside)}
    altered = (cache / "4" / shelves.ENTRY).read_text().replace('"number": 4', '"number": null')
    for text in (json.dumps(noted), altered, "[" * 50_000):
        (cache / "4").mkdir(exist_ok=True)
        (cache / "4" / shelves.ENTRY).write_text(text)
        assert shelves.Shelf(cache / "4", 1).take(tmp_path) is None
        assert not (cache / "4").exists()


def test_the_limit_is_a_number_and_none_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shelves.LIMIT, "0")
    assert shelves.shelf_of("key") is None
    monkeypatch.setenv(shelves.LIMIT, "much")
    with pytest.raises(EdgeconvError, match="EDGECONV_KEPT_MIB is how many MiB"):
        shelves.shelf_of("key")
