"""Write docs/ops.md from the emitters' own tables: ``python -m edgeconv.export.op_docs FILE``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.files import write_text

if TYPE_CHECKING:
    from edgeconv.export.op_table import Entry
    from edgeconv.export.op_traits import Traits

HEADER = """# Supported operators

Made from the emitters' own tables by `make docs`; a test fails when it is stale.

ONNX targets keep every standard operator in float. The table says what the other targets express, and for
TFLite and ncnn as what. ExecuTorch: what runs the operator, XNNPACK (the delegate) or ExecuTorch's portable kernels outside
of it; the export says which of a net's are outside. INT8 columns: what the recipe makes of an operator in an ONNX
file (a dash: it computes in float), whether TFLite and ExecuTorch compute it on int8 too ("by form": some
attributes only; a dash: on floats, between integers), and whether Core ML reads integers there. ncnn takes no INT8 of ours.

| ONNX | TFLite | limits | Core ML | ExecuTorch | ncnn | INT8 in ONNX | in TFLite | in ExecuTorch | in Core ML |
|---|---|---|---|---|---|---|---|---|---|
"""
ALSO_WRITTEN = (
    *(
        "a Conv or ConvTranspose with computed weights or bias",
        "Einsum",
        "EyeLike",
        "GatherElements",
        "GatherND",
    ),
    *("MaxUnpool", "MeanVarianceNormalization", "ReverseSequence"),
)
"""What passes of their own write out."""


def op_docs() -> str:
    """Return the page: a row an operator, made from what the emitters check against."""
    from edgeconv.export.coreml.table import OPS as COREML
    from edgeconv.export.executorch.table import OPS as EXECUTORCH
    from edgeconv.export.ncnn.table import OPS as NCNN
    from edgeconv.export.op_traits import TRAITS, Is
    from edgeconv.export.passes.expand_rare import WRITTEN
    from edgeconv.export.tflite.table import OPS as TFLITE

    lines = []
    for op in sorted(TFLITE.keys() | COREML.keys() | EXECUTORCH.keys() | NCNN.keys()):
        entry, traits = TFLITE.get(op), TRAITS[op]
        cells = (
            op,
            entry.becomes if entry else "-",
            entry.nearest if entry else "",
            "yes" if op in COREML else "-",
            EXECUTORCH[op].becomes if op in EXECUTORCH else "-",
            NCNN[op].becomes if op in NCNN else "-",
            traits.int8.kind if traits.int8 else "-",
            _on_integers(entry, traits),
            _on_integers(EXECUTORCH.get(op), traits),
            "yes" if Is.COREML_INT8 in traits.true else "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    others = {*WRITTEN, *ALSO_WRITTEN}
    rare = (
        f"\nWritten as compositions of these first: {', '.join(sorted(others, key=str.lower))}.\n"
    )
    return HEADER + "\n".join(lines) + "\n" + rare


def _on_integers(entry: "Entry[Any] | None", traits: "Traits") -> str:
    """Return whether a target computes an operator on int8."""
    native = traits.int8 is not None and entry is not None and entry.int8
    return "by form" if callable(native) else "yes" if native else "-"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), op_docs())
