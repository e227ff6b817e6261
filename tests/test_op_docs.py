"""docs/ops.md says what the emitters' tables say."""

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the export extra")


def test_the_op_tables_are_not_stale() -> None:
    from edgeconv.export.op_docs import op_docs

    page = Path(__file__).parents[1] / "docs" / "ops.md"
    assert page.read_text() == op_docs(), "docs/ops.md is stale: make docs"
