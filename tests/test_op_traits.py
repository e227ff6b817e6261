"""One table says what is true of each operator; whatever an emitter takes is in it."""

from dataclasses import fields

import numpy as np
import pytest

from edgeconv.errors import UnsupportedOpError, UsageError

pytest.importorskip("onnx", reason="needs the export extra")

from edgeconv.export.coreml.table import OPS as COREML
from edgeconv.export.graph import Graph, Node
from edgeconv.export.op_table import Entry, merged
from edgeconv.export.op_traits import RULES, TRAITS, Is, operators
from edgeconv.export.options import ExportOptions
from edgeconv.export.quant.batching import _CHECKS
from edgeconv.export.targets import TARGETS, readers, special_fields
from edgeconv.export.tflite.table import OPS as TFLITE


@pytest.mark.parametrize("table", [TFLITE, COREML], ids=["tflite", "coreml"])
def test_every_operator_of_an_emitter_has_its_traits(table: dict[str, object]) -> None:
    assert not table.keys() - TRAITS.keys(), "add a row to export/op_traits.py"


def test_every_operator_with_traits_is_taken_by_some_emitter() -> None:
    assert not TRAITS.keys() - TFLITE.keys() - COREML.keys()


def test_what_always_treats_pictures_alone_needs_no_look_at_its_attributes() -> None:
    assert not operators(Is.PER_PICTURE) & _CHECKS.keys()


def test_tflite_says_int8_of_nothing_that_no_recipe_covers() -> None:
    assert [op for op, entry in TFLITE.items() if entry.int8 and op not in RULES] == []


def test_a_homogeneous_operator_moves_no_channel() -> None:
    moved = operators(Is.HOMOGENEOUS) & {
        op for op, rule in RULES.items() if rule.kind == "weighted"
    }
    assert not moved
    assert "Relu" in operators(Is.HOMOGENEOUS)
    assert "Clip" not in operators(Is.HOMOGENEOUS)


def test_an_operator_with_two_entries_is_refused() -> None:
    one = {"Relu": Entry("first")}
    with pytest.raises(ValueError, match="two entries of the X operator table are called Relu"):
        merged("X", one, {"Abs": Entry("abs")}, one)


def test_every_target_refuses_in_the_same_words() -> None:
    graph = Graph("net", 18, ["x"], ["y"], [Node("Strange", "n", ["x"], ["y"])])
    graph.declare("x", (1, 3), np.float32)
    graph.declare("y", (1, 3), np.float32)
    for target in TARGETS.values():
        if target.name == "onnx":
            target.check(graph)  # keeps every operator
            continue
        with pytest.raises(UnsupportedOpError) as caught:
            target.check(graph)
        assert str(caught.value) == (
            f"edgeconv has no {target.title} form of Strange (node n): none is written yet; the nearest "
            "supported form is a composition of the supported operators"
        )


def test_what_only_some_targets_read_is_a_field_of_the_options_that_the_others_refuse() -> None:
    known = {field.name for field in fields(ExportOptions)}
    assert set(special_fields()) <= known
    assert readers("min_ios") == ["coreml"]
    with pytest.raises(UsageError, match="--min-ios needs --target coreml"):
        ExportOptions("net", targets=("onnx", "tflite"), min_ios=16).check()
    with pytest.raises(UsageError, match="--image-input needs --target coreml"):
        ExportOptions("net", targets=("tflite",), image_input=True).check()
