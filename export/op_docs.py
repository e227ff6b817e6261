"""Write docs/ops.md from the emitters' own tables: ``python -m edgeconv.export.op_docs FILE``."""

import sys
from pathlib import Path

from edgeconv.files import write_text

HEADER = """# Supported operators

Made from the emitters' own tables by `make docs`; a test fails when it is stale.

ONNX targets keep every standard operator in float. The table says what TFLite and Core ML can express and,
for TFLite, in which form. INT8 columns: what the recipe makes of an operator in an ONNX file (a dash: it computes in
float), whether TFLite computes it on int8 too ("by form": some attributes only), and whether Core ML reads
integers there.

| ONNX | TFLite | limits | Core ML | INT8 in ONNX | in TFLite | in Core ML |
|---|---|---|---|---|---|---|
"""
ALSO_WRITTEN = (
    *("a Conv with computed weights", "Einsum", "GatherElements", "GatherND"),
    *("MaxUnpool", "MeanVarianceNormalization", "ReverseSequence"),
)
"""What passes of their own write out."""


def op_docs() -> str:
    """Return the page: a row an operator, made from what the emitters check against."""
    from edgeconv.export.coreml.table import OPS as COREML
    from edgeconv.export.op_traits import TRAITS, Is
    from edgeconv.export.passes.expand_rare import WRITTEN
    from edgeconv.export.tflite.table import OPS as TFLITE

    lines = []
    for op in sorted(TFLITE.keys() | COREML.keys()):
        entry, traits = TFLITE.get(op), TRAITS[op]
        native = traits.int8 is not None and entry is not None and entry.int8
        cells = (
            op,
            entry.becomes if entry else "-",
            entry.nearest if entry else "",
            "yes" if op in COREML else "-",
            traits.int8.kind if traits.int8 else "-",
            "by form" if callable(native) else "yes" if native else "-",
            "yes" if Is.COREML_INT8 in traits.true else "-",
        )
        lines.append(f"| {' | '.join(cells)} |")
    others = {*WRITTEN, *ALSO_WRITTEN}
    rare = (
        f"\nWritten as compositions of these first: {', '.join(sorted(others, key=str.lower))}.\n"
    )
    return HEADER + "\n".join(lines) + "\n" + rare


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), op_docs())
