"""scripts/packages.py and build_wheels.py: other contents are seen, licences are listed, modes do not matter."""

import importlib.metadata
import os
from pathlib import Path

import packages
import pytest


def distribution(folder: Path, text: str = "x = 1\n") -> importlib.metadata.Distribution:
    """Return an installed package of one file, whose record is of ``x = 1``."""
    about = folder / "thing-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nLicense: MIT\n"
    )
    digest = "QDnCFZMLq_e_DrJi0JuXDDOpD5KjEUUwfcI5fGLGFvg"
    (about / "RECORD").write_text(
        f"thing.py,sha256={digest},6\nthing-1.0.dist-info/INSTALLER,sha256={digest},4\n../../bin/thing,,\n"
    )
    (folder / "thing.py").write_text(text)
    return importlib.metadata.PathDistribution(about)


def test_a_file_that_is_not_what_the_wheel_held_is_named(tmp_path: Path) -> None:
    found = distribution(tmp_path)
    assert [name for name, _ in packages.recorded(found)] == ["thing.py"]
    assert packages.changed(found) == ["thing.py"]  # the record is of another text


def test_another_wheel_of_the_same_version_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = distribution(tmp_path)
    monkeypatch.setattr(packages, "installed", lambda: {"thing": found})
    monkeypatch.setattr(packages, "changed", lambda _: [])
    assert packages.check(packages.lock()) == []
    assert packages.check("thing 1.0 0000\n") == ["thing 1.0 is another wheel than the lock's"]
    assert packages.check("thing 2.0 0000\n") == []
    assert packages.versions("thing 1.0 0000\nother 2.0+cpu 0000\n") == "thing==1.0\nother==2.0"
    assert "thing 1.0: the lock has 2.0" in capsys.readouterr().out
    assert packages.licence(found) == "MIT"


def test_every_requirement_has_its_licence_in_the_docs_and_its_hash_in_the_lock() -> None:
    page = packages.LICENCES.read_text()
    named = {one for one in packages.named(packages.required()) if packages.installed().get(one)}
    assert [one for one in sorted(named) if f"| {one} |" not in page] == []
    assert named <= packages.pinned(packages.LOCK.read_text()).keys()
    for place, what, licence in packages.DATA:
        assert f"| {place} | {what} | {licence} |" in page
        assert all((packages.ROOT / part).exists() for part in place.split(", "))


@pytest.mark.long
def test_a_wheel_is_the_same_bytes_whatever_the_umask(tmp_path: Path) -> None:
    import build_wheels

    before = os.umask(0o022)
    try:
        build_wheels.build(tmp_path / "one", ["demo"])
        os.umask(0o077)
        build_wheels.build(tmp_path / "two", ["demo"])
    finally:
        os.umask(before)
    assert build_wheels.hashes(tmp_path / "one") == build_wheels.hashes(tmp_path / "two")
