"""One table says what is true of each operator; whatever an emitter takes is in it."""

import pytest

pytest.importorskip("onnx", reason="needs the export extra")

from edgeconv.export.coreml.table import OPS as COREML
from edgeconv.export.op_traits import RULES, TRAITS, Is, operators
from edgeconv.export.quant.batching import _CHECKS
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
