"""Rows as CSV, which people open in a spreadsheet."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet computes instead of showing it (CWE-1236)."""


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Return a heading and a line a row; what a row lacks, or has as None, is an empty cell.

    Text that would be a formula (a file may be called ``=1+1.onnx``) stands behind an apostrophe.
    """
    made = io.StringIO()
    writer = csv.DictWriter(made, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _shown(row.get(name)) for name in columns} for row in rows)
    return made.getvalue()


def _shown(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
