"""What a board says is foreign: its report is checked, and no page or command line takes it for code."""

import copy
import html.parser
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import report_of, row_of, write_model
from click.testing import CliRunner
from json_kit import Place, at, places, put, wrongs

from edgeconv.bench.html import page
from edgeconv.bench.read import report_from_json
from edgeconv.bench.text import to_csv
from edgeconv.bench.watch import Mark, Sample
from edgeconv.cli import main
from edgeconv.device import parity
from edgeconv.device.bundle import bundle_name
from edgeconv.device.ssh import Host, parse_host
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.schema import checked

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


def texts(data: Any) -> list[Place]:
    """Return the place of every text of ``data``."""
    return [place for place in places(data) if isinstance(at(data, place), str)]


class Tags(html.parser.HTMLParser):
    """Collects every tag, attribute and script of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[str, ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(name for name, _ in attrs)))


def tags(text: str) -> list[tuple[str, tuple[str, ...]]]:
    parser = Tags()
    parser.feed(text)
    return parser.found


@pytest.fixture
def report() -> dict[str, Any]:
    about = {"sha256": "0123", "bytes": 9, "precision": "int8", "accuracy": {"top1": 0.9}}
    row = row_of("net.onnx (onnxruntime, 1 thread)", range(1, 13), about=about,
                 marks=(Mark("noise", "it is noisy"),))  # fmt: skip
    other = row_of("other.onnx (onnxruntime, 1 thread)", range(2, 14))
    made = report_of(
        row,
        replace(other, summary=None, latencies_ms=(), rounds_ms=(), starts_s=(), error="crashed"),
        samples=(Sample(1.0, (1500.0,), 50.0, 0), Sample(2.0, (1500.0,), 51.0, 0)),
        governors=("ondemand",),
        diagnosis=(
            {"verdict": "it paid", "causes": [{"code": "a", "sentence": "b", "cure": "c"}]},
        ),
        regressions=({"sentence": "slower", "regressed": True},),
        notes=("a note",),
        sustained={row.label: {"at_s": [1.0, 2.0], "medians_ms": [1.0, 2.0], "retention": 0.9}},
    )
    found: dict[str, Any] = json.loads(json.dumps(made.to_json()))
    return found


def test_no_text_of_a_board_becomes_markup(report: dict[str, Any]) -> None:
    clean = tags(page(report_from_json(report)))
    hostile = copy.deepcopy(report)
    for place in texts(report):
        hostile = put(hostile, place, HOSTILE)
    hostile["references"] = {}
    made = page(report_from_json(hostile))
    assert "img" not in {tag for tag, _ in tags(made)}
    assert not [names for _, names in tags(made) if any(name.startswith("on") for name in names)]
    assert {tag for tag, _ in tags(made)} <= {tag for tag, _ in clean} | {"p", "dt", "dd", "br"}
    assert "&lt;img" in made


def test_every_field_of_a_boards_report_is_checked(report: dict[str, Any]) -> None:
    """What passes the check can be drawn and written; nothing else gets that far."""
    refused = 0
    wrong = wrongs(report)
    for place, value in wrong[:: max(1, len(wrong) // 250)]:
        try:
            found = report_from_json(put(report, place, value))
        except EdgeconvError as error:
            assert str(error).startswith(  # noqa: PT017 - reading it is no failure
                ("this is no report that bench wrote", "a report of version")
            )
            refused += 1
        else:
            assert page(found)
            assert to_csv(found)
    assert refused > 80


def test_series_of_different_lengths_are_refused_and_empty_ones_drawn(
    report: dict[str, Any],
) -> None:
    for place in (("rows", 0, "rounds_ms"), ("sustained", report["rows"][0]["label"], "at_s")):
        with pytest.raises(EdgeconvError, match="lists of different lengths"):
            report_from_json(put(report, place, [1.0]))
    for names in (("rounds_ms", "starts_s"), ("latencies_ms",)):
        less = report
        for name in names:
            less = put(less, ("rows", 0, name), [])
        assert page(report_from_json(less))


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"bench": 3, "checks": {}}', '{"bench": {}, "checks": {"a": 3}}', "[" * 9999],
)
def test_results_that_are_none_are_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text)
    said = CliRunner().invoke(main, ["bundle", "--show", str(path)])
    assert said.exit_code == 1
    assert len(said.stderr.splitlines()) == 1
    assert "results.json is not the results.json of a bundle" in said.stderr


@pytest.mark.parametrize(
    "text",
    ["ssh://-F@host", "ssh://-oProxyCommand=x@host", "ssh://user@-host", "ssh://-host", "ssh://a b",
     "ssh://host:0", "ssh://host:65536", "ssh://host:99999999", "ssh://u@h;ls", "ssh://@host"],
)  # fmt: skip
def test_a_host_that_ssh_could_take_for_an_option_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a board is ssh://user@host"):
        parse_host(text)


def test_hosts_of_all_forms_are_read() -> None:
    assert parse_host("ssh://pi-1.local") == Host("pi-1.local")
    assert parse_host("ssh://me-too@pi:65535/") == Host("pi", "me-too", 65535)


@pytest.mark.parametrize("name", ["...tar.gz", ".tar.gz", "..tar", "-x.tar.gz"])
def test_a_bundle_needs_a_name_that_a_folder_can_have(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is none"):
        bundle_name(tmp_path / name)


def test_a_bundle_says_where_it_unpacks(tmp_path: Path) -> None:
    output = tmp_path / "my model.v2.tar.gz"
    model = write_model(tmp_path, "net.onnx")
    said = CliRunner().invoke(main, ["bundle", str(model), "--output", str(output)])
    assert said.exit_code == 0, said.output
    assert "tar -xf 'my model.v2.tar.gz' && cd 'my model.v2' && python3 run.py" in said.stdout
    with tarfile.open(output) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {"my model.v2"}


class Answering:
    """A connection to a board that answers every command so."""

    host = Host("board.test")

    def __init__(self, data: bytes) -> None:
        self.data = data

    def run(self, *_: Any, **__: Any) -> bytes:
        return self.data


def _tar(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(f"{name}.npz")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return made.getvalue()


def test_outputs_of_a_board_are_rows_of_numbers_or_named_as_damaged() -> None:
    whole = io.BytesIO()
    np.savez(whole, y=np.ones((2, 3)))
    found = parity._outputs(Answering(_tar(out0=whole.getvalue())), "job")  # type: ignore[arg-type]
    assert found["out0.npz"]["y"].shape == (2, 3)
    scalar = io.BytesIO()
    np.savez(scalar, y=np.array(1.0))
    sound = _tar(out0=whole.getvalue())
    for data in (
        b"x" * 600,
        sound[:700],
        _tar(out0=b"PK"),
        _tar(out0=scalar.getvalue()),
        b"\x00" * 9,
    ):
        with pytest.raises(EdgeconvError, match=r"outputs that come from board\.test are damaged"):
            parity._outputs(Answering(data), "job")  # type: ignore[arg-type]


def test_every_wrong_value_in_what_a_board_says_of_its_cells_is_named() -> None:
    about = {"runtime": "onnxruntime", "version": "1", "threads": 1, "infer_s": 0.1, "scales": {"y": 0.5},
             "delegation": {"fallback_nodes": 1.0}, "doubts": ["no"], "integer": False}  # fmt: skip
    said = {
        "emulated": False,
        "machine": "a board",
        "cells": [{"about": about}, {"error": "crashed"}],
    }
    assert checked(said, parity.ANSWER, "it") == said
    refused = set()
    for place, wrong in wrongs(said):
        try:
            checked(put(said, place, wrong), parity.ANSWER, "it")
        except EdgeconvError:
            refused.add(place)
    assert refused == set(places(said))
