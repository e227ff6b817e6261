"""What bench finds is told truly: causes, operator tables, history, CSV and the page."""

import contextlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench_kit import PEER, conv_model, report_of, row_of, write_model
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from page_kit import look_at

from edgeconv.bench import history
from edgeconv.bench.costs import OpCost, Peak, op_table, sentences
from edgeconv.bench.diagnose import causes, verdict
from edgeconv.bench.facts import ModelFacts, facts_from_json, onnx_facts, tflite_facts
from edgeconv.bench.html import page
from edgeconv.bench.pairs import pair_layers, with_pairs
from edgeconv.bench.plan import Subject
from edgeconv.bench.statistics import Interval, Ratio
from edgeconv.bench.subjects import _short_labels
from edgeconv.bench.sustained import curve
from edgeconv.bench.text import print_devices, to_csv
from edgeconv.bench.watch import Mark
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.formats.onnx_file import WireConstant, WireGraph, WireNode, read_onnx
from edgeconv.machine import describe
from edgeconv.reports import svg
from edgeconv.tables import open_console

MACHINE = replace(describe(), emulated=False, features=("avx512_vnni",))


def node(op: str, inputs: str, outputs: str) -> WireNode:
    return WireNode(op, f"n_{outputs}", tuple(inputs.split()), tuple(outputs.split()))


def qdq_with_island() -> WireGraph:
    """What onnxruntime leaves of QDQ where HardSigmoid has no quantized form."""
    return WireGraph(
        nodes=[
            node("QuantizeLinear", "x s z", "xq"),
            node("QLinearConv", "xq s z w", "a"),
            node("DequantizeLinear", "a s z", "af"),
            node("HardSigmoid", "af", "h"),
            node("QuantizeLinear", "h s z", "hq"),
            node("QLinearMul", "hq s z a s z", "m"),
            node("DequantizeLinear", "m s z", "mf"),
            node("Softmax", "mf", "y"),
        ],
        constants={name: WireConstant((), "float32") for name in ("s", "z", "w")},
        inputs=["x"],
        outputs=["y"],
    )


def test_a_float_island_between_integer_layers_is_named_and_a_float_tail_is_not() -> None:
    facts = onnx_facts(qdq_with_island())
    assert (facts.compute, facts.integer, facts.dynamic) == (1, 1, 0)
    assert [dict(i.ops) for i in facts.islands] == [{"HardSigmoid": 1}]
    found = causes(facts, row_of("a", [1.0] * 50), MACHINE)
    assert [cause.code for cause in found] == ["islands"]
    assert "HardSigmoid" in found[0].sentence
    assert facts_from_json(json.loads(json.dumps(facts.to_json()))) == facts


def test_an_island_of_fused_operators_is_named_by_what_it_makes() -> None:
    graph = qdq_with_island()
    unnamed = [replace(node, name="") for node in graph.nodes]
    (island,) = onnx_facts(replace(graph, nodes=unnamed)).islands
    assert island.example == "h"


def test_a_hub_graph_is_called_by_the_export_that_it_is_of(tmp_path: Path) -> None:
    rows = []
    for path in (tmp_path / "net_int8.evidence" / "hub.onnx", tmp_path / "net_int8.onnx"):
        rows.append(Subject(f"{path} (onnxruntime, 1 thread)", "onnxruntime", 1, path=str(path)))
    labels = [row.label.split(" ")[0] for row in _short_labels(rows)]
    assert labels == ["net_int8.evidence/hub.onnx", "net_int8.onnx"]


def test_an_island_is_seen_through_the_reorderings_around_a_float_convolution() -> None:
    graph = WireGraph(
        nodes=[
            node("QuantizeLinear", "x s z", "xq"),
            node("QLinearConv", "xq s z w", "a"),
            node("Transpose", "a", "at"),
            node("DequantizeLinear", "at s z", "af"),
            node("ReorderInput", "af", "ar"),
            node("Conv", "ar w", "c"),
            node("ReorderOutput", "c", "cr"),
            node("QuantizeLinear", "cr s z", "cq"),
            node("QLinearConv", "cq s z w", "y"),
        ],
        constants={name: WireConstant((), "float32") for name in ("s", "z", "w")},
        inputs=["x"],
        outputs=["y"],
    )
    found = causes(onnx_facts(graph), row_of("a", [1.0] * 50), MACHINE)
    assert {"islands", "float-compute"} <= {cause.code for cause in found}


def test_dynamic_range_is_named_in_onnx_and_in_tflite() -> None:
    onnx = onnx_facts(
        WireGraph([node("DynamicQuantizeLinear", "x", "q s z"), node("ConvInteger", "q w", "y")])
    )
    operator = {"op_name": "CONV_2D", "inputs": [0, 1, 2], "outputs": [3]}  # as tflite-runtime says
    kinds = (np.float32, np.int8, np.float32, np.float32)
    tensors = [{"index": i, "name": f"t{i}", "dtype": kind} for i, kind in enumerate(kinds)]
    tflite = tflite_facts([operator], tensors)
    for facts in (onnx, tflite):
        found = causes(facts, row_of("a", [1.0] * 50), MACHINE)
        assert found[0].code == "dynamic"
        assert "activations stay float" in found[0].sentence


def test_each_cause_is_told_by_its_own_sign() -> None:
    fine = ModelFacts("tflite", {"CONV_2D": 5}, 5, 5, 0, 2, 0)
    row = row_of("a", [1.0] * 50)

    def codes(facts: ModelFacts, **fields: Any) -> list[str]:
        machine = fields.pop("machine", MACHINE)
        return [cause.code for cause in causes(facts, replace(row, **fields), machine)]

    assert codes(fine) == []
    assert codes(replace(fine, integer=0, conversions=0)) == []  # a float model
    assert codes(replace(fine, integer=0)) == ["fake"]
    assert codes(replace(fine, integer=3, float_compute=("a", "b"))) == ["float-compute"]
    assert codes(replace(fine, transposes=20)) == ["transposes"]
    split = {"ops": 9, "delegated": 7, "partitions": 3, "fallback": {"GATHER": 2}}
    assert codes(fine, delegation=split) == ["partitions"]
    assert codes(fine, delegation={**split, "partitions": 0}) == ["no-delegate"]
    assert codes(fine, machine=replace(MACHINE, features=("neon",))) == ["no-dot-product"]
    assert codes(fine, marks=(Mark("threads", "1 of 4"),)) == ["threads"]


def test_the_verdict_says_whether_it_pays_and_why_not() -> None:
    a, b = row_of("a", [1.0] * 50), row_of("b", [1.0] * 50)
    assert verdict(a, b, Ratio(0.5, Interval(0.4, 0.6)), []).endswith("it pays")
    same = verdict(a, b, Ratio(1.0, Interval(0.9, 1.1)), [])
    assert "no difference can be shown" in same
    found = causes(onnx_facts(qdq_with_island()), a, MACHINE)
    assert verdict(a, b, Ratio(1.5, Interval(1.4, 1.6)), found).endswith("because of: islands")


def test_our_reader_of_onnx_agrees_with_the_onnx_package() -> None:
    onnx = pytest.importorskip("onnx")
    data = conv_model()
    theirs, ours = onnx.load_from_string(data), read_onnx(data)
    onnx.checker.check_model(theirs)
    assert [n.op for n in ours.nodes] == [n.op_type for n in theirs.graph.node]
    assert [n.inputs for n in ours.nodes] == [tuple(n.input) for n in theirs.graph.node]
    assert ours.constants == {"w": WireConstant((8, 8, 1, 1), "float32")}
    assert (ours.inputs, ours.outputs) == (["x"], ["y"])


@given(st.binary(max_size=200), st.integers(0, 400))
def test_bytes_that_are_no_model_raise_nothing_but_our_error(noise: bytes, cut: int) -> None:
    for data in (noise, conv_model(2, 2)[:cut]):
        with contextlib.suppress(EdgeconvError):
            read_onnx(data)


def test_operator_rows_carry_rate_share_and_distance_from_the_peak() -> None:
    peak = Peak(float_macs=1e11, int8_macs=4e11, bandwidths={1 << 20: 1e11, 1 << 26: 1e10})
    costs = [
        OpCost("conv", "Conv", us=100.0, macs=5_000_000, bytes=1000, integer=False),
        OpCost("qconv", "QLinearConv", us=50.0, macs=10_000_000, bytes=1000, integer=True),
        OpCost("add", "Add", us=50.0, macs=0, bytes=1_000_000, integer=False, taken=False),
    ]
    rows = {row["name"]: row for row in op_table(costs, peak)}
    assert rows["conv"]["of_peak"] == pytest.approx(0.5)
    assert rows["qconv"]["of_peak"] == pytest.approx(0.5)
    assert rows["add"]["of_peak"] is None
    assert rows["add"]["memory_bound"]
    assert not rows["conv"]["memory_bound"]
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    said = " ".join(sentences(costs, peak, 210.0))
    assert "25 % of the time goes to operators that move data" in said
    assert "1 operators outside the delegate" in said


@pytest.mark.slow
def test_profiles_count_the_multiply_adds_of_both_formats(tmp_path: Path) -> None:
    model = write_model(tmp_path, "a.onnx", 64, 32)
    names = [str(model)]
    if PEER.exists():
        pytest.importorskip("ai_edge_litert")
        names.append(str(PEER))
    arguments = ["bench", *names, "--profile", "--runs", "40", "--json", "--no-reference"]
    data = json.loads(CliRunner().invoke(main, arguments).output)
    macs = {k: sum(op["macs"] for op in p["ops"]) for k, p in data["profile"].items()}
    assert next(v for k, v in macs.items() if k.startswith("a.onnx")) == 64 * 64 * 32 * 32
    if PEER.exists():  # MobileNetV1 0.25/128: 14 M multiply-adds (arXiv 1704.04861, table 9)
        found = next(v for k, v in macs.items() if k.startswith("mobilenet_v1"))
        assert found == pytest.approx(14e6, rel=0.05)


def test_history_flags_a_regression_and_not_the_noise(tmp_path: Path) -> None:
    for median in (1.00, 1.02, 0.99, 1.01):
        kept = history.keep(report_of(row_of("a", [median] * 50)), tmp_path)
        assert not any(item["regressed"] for item in kept.regressions)
    noise = history.keep(report_of(row_of("a", [1.015] * 50)), tmp_path)
    assert "within the noise" in noise.regressions[0]["sentence"]
    slow = history.keep(report_of(row_of("a", [1.5] * 50)), tmp_path)
    assert slow.regressions[0]["regressed"]
    assert "slower" in slow.regressions[0]["sentence"]
    assert len(list(tmp_path.glob("*.json"))) == 6


def test_marked_rows_and_other_models_do_not_enter_the_comparison(tmp_path: Path) -> None:
    for _ in range(4):
        history.keep(report_of(row_of("a", [1.0] * 50, marks=(Mark("load", "busy"),))), tmp_path)
    kept = history.keep(report_of(row_of("a", [9.0] * 50)), tmp_path)
    assert kept.regressions[0]["earlier"] == 0
    (tmp_path / "000099.json").write_text("nonsense")
    with pytest.raises(EdgeconvError, match=r"000099\.json"):
        history.keep(report_of(row_of("a", [1.0] * 50)), tmp_path)


def test_an_emulated_machine_never_shows_a_latency(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = report_of(row_of("a", [1.2345] * 50))
    report = replace(report, machine=replace(report.machine, emulated=True))
    for text in (json.dumps(report.to_json()), to_csv(report), page(report)):
        assert "1.23" not in text
    assert history.keep(report, tmp_path) is report
    assert not list(tmp_path.iterdir())
    back = replace(report, rows=tuple(replace(row, summary=None) for row in report.rows))
    print_devices([("board", back)], open_console())
    assert "failed" not in capsys.readouterr().out


def test_the_retention_curve_compares_the_first_with_the_last_windows() -> None:
    found = curve([1.0, 2.0, 3.0, 4.0], [10.0, 10.0, 20.0, 20.0], [None] * 4)
    assert found["retention"] == 0.5
    assert found["worst"] == 0.5


def test_csv_has_a_line_a_row() -> None:
    lines = to_csv(report_of(row_of("a", [1.0] * 50), row_of("b", [2.0] * 50))).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith("label,runtime")


def full_report() -> Any:
    rng = np.random.default_rng(0)
    rows = [row_of(name, rng.lognormal(0, 0.1, 100)) for name in ("a", "<b>")]
    rows[0] = replace(rows[0], ratio=Ratio(0.9, Interval(0.8, 1.0)), marks=(Mark("hot", "82 °C"),))
    op = {
        "name": "conv", "op": "Conv", "us": 5.0, "macs": 1000, "bytes": 10, "integer": False,
        "taken": None, "share": 1.0, "gmacs_per_s": 0.2, "gbytes_per_s": 1.0, "intensity": 100.0,
        "of_peak": 0.1, "memory_bound": False,
    }  # fmt: skip
    peak = {"float_gmacs_per_s": 2.0, "int8_gmacs_per_s": None, "gbytes_per_s": {1024: 1.0}}
    profile = {"how": "h", "ops": [op], "peak": peak, "sentences": ["s"]}
    curves = {"a": curve([1.0, 2.0], [1.0, 1.1], [None, 50.0])}
    return report_of(*rows, profile={"a": profile}, sustained=curves)


def test_the_page_is_whole_in_itself_and_escapes_names() -> None:
    text = page(full_report())
    assert not re.search(r"(src|href)=[\"'](?!data:)|url\(|@import|<script", text)
    assert "&lt;b&gt;" in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") >= 4


@pytest.mark.slow
@pytest.mark.parametrize(("width", "dark"), [(390, True), (1280, False)])
def test_a_browser_shows_the_page_and_finds_it_accessible(
    width: int, dark: bool, tmp_path: Path
) -> None:
    path = tmp_path / "page.html"
    path.write_text(page(full_report()), encoding="utf-8")
    look_at(path, tmp_path, width, dark)


def test_the_page_begins_with_which_is_faster_or_that_it_cannot_be_told() -> None:
    slow, fast = row_of("slow", [2.0, 2.1] * 20), row_of("fast", [1.0, 1.1] * 20)
    assert "fast is the fastest: slow takes 1." in page(report_of(slow, fast))
    assert "cannot be told apart" in page(report_of(slow, row_of("same", [2.0, 2.1] * 20)))
    disturbed = replace(fast, marks=(Mark("busy", "the machine was busy"),))
    assert "not to be trusted" in page(report_of(slow, disturbed))
    assert "Which is faster" not in page(report_of(slow))


def op_of(name: str, order: int, us: float, macs: int) -> dict[str, Any]:
    return {"name": name, "order": order, "us": us, "macs": macs, "of_peak": 0.5}


def test_the_same_layers_of_two_files_stand_side_by_side_and_other_nets_do_not() -> None:
    mine = [op_of("b", 2, 3.0, 200), op_of("pad", 1, 1.0, 0), op_of("a", 0, 2.0, 130)]
    other = [op_of("A", 0, 4.0, 100), op_of("B", 1, 2.0, 200)]  # mine has a padded channel
    layers = pair_layers(mine, other)
    assert layers is not None
    assert [(one.name, one.us, one.reference_us) for one in layers] == [
        ("a", 2.0, 4.0),
        ("b", 3.0, 2.0),
        ("all that only moves data", 1.0, 0),
    ]
    assert pair_layers(mine, other[:1]) is None
    assert pair_layers(mine, [op_of("A", 0, 4.0, 100), op_of("B", 1, 2.0, 900)]) is None
    profiles: dict[str, dict[str, Any]] = {
        "int8": {"ops": mine},
        "fp32": {"ops": other},
        "broken": {"error": "x"},
    }
    paired = with_pairs(profiles, {"int8": "fp32", "broken": "fp32"})
    assert paired["int8"]["pairs"]["reference"] == "fp32"
    assert "pairs" not in paired["fp32"]
    assert "pairs" not in paired["broken"]


def test_a_name_that_is_a_formula_is_text_in_a_spreadsheet() -> None:
    lines = to_csv(report_of(row_of("=1+1.onnx", [1.0] * 50))).splitlines()
    assert lines[1].startswith("'=1+1.onnx,")


def test_series_of_a_chart_look_different_and_as_the_key_says() -> None:
    """Six colours are not enough for every runtime: the seventh series is dashed, or hollow."""
    axis = svg.Axis("x", 0, 1)
    series = [svg.Series(str(place), (0.5,), (0.5,)) for place in range(svg.LOOKS)]
    for chart in (svg.lines, svg.points):
        drawn = re.findall(r'class="(?:line|dot) (c\d p\d)"', chart(series, axis, axis, "t"))
        assert len(set(drawn)) == svg.LOOKS
        assert drawn == [svg.look(place) for place in range(svg.LOOKS)]
