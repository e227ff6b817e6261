"""Write docs/ops.md from the emitters' own tables: ``python -m edgeconv.export.op_docs FILE``."""

import sys
from pathlib import Path

from edgeconv.files import write_text


def op_docs() -> str:
    """Return the page: one table a target, made from what the emitters check against."""
    from edgeconv.export.integer.rules import RULES
    from edgeconv.export.tflite import op_table

    lines = [
        "# Supported operators",
        "",
        "Made from the emitters' own tables by `make docs`; a test fails when it is stale.",
        "",
        "ONNX targets keep every standard operator in float. The table says what TFLite can express; the",
        "last column what INT8 makes of an operator (operators without an INT8 form compute in float).",
        "",
        "| ONNX | TFLite | limits | INT8 |",
        "|---|---|---|---|",
    ]
    for row in op_table():
        rule = RULES.get(row["op"])
        kind = "float" if rule is None else rule.kind
        lines.append(f"| {row['op']} | {row['tflite']} | {row['limits']} | {kind} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_text(Path(sys.argv[1]), op_docs())
