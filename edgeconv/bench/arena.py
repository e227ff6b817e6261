"""The memory that a runtime sets aside for a model, asked in a process of its own after the timing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeconv.bench.plan import Subject
from edgeconv.bench.results import Row
from edgeconv.errors import EdgeconvError
from edgeconv.isolate import call
from edgeconv.runtimes.base import open_runner
from edgeconv.runtimes.quiet import quiet_stderr

GAP = 1 << 20
"""Bytes between two tensors from which they are taken for two allocations."""

LIMIT_S = 600.0
"""How long a model may take to open and run twice."""


def with_arena(rows: Sequence[Row], subjects: Sequence[Subject]) -> list[Row]:
    """Return the rows with their arena, MiB, where the runtime lets it be known.

    onnxruntime says it in its log (weights it packed included). TFLite's builtin kernels share one
    block, whose ends are its tensors' addresses; what XNNPACK allocates for itself nobody can see.
    """
    by_label = {subject.label: subject for subject in subjects}
    known: dict[tuple[object, ...], float | None] = {}
    found = []
    for row in rows:
        subject = by_label[row.label]
        key = (subject.path, subject.runtime, subject.threads, str(subject.options))
        if row.error is None and key not in known:
            known[key] = _ask(subject)
        found.append(replace(row, arena_mib=known.get(key)) if row.error is None else row)
    return found


def _ask(subject: Subject) -> float | None:
    if subject.path is None or subject.runtime not in (
        "onnxruntime",
        "ai-edge-litert",
        "tflite-runtime",
    ):
        return None
    try:
        what = f"arena of {subject.path}"
        asked = subject.to_json()
        size = call("edgeconv.bench.arena:arena_here", asked, what, timeout_s=LIMIT_S)["bytes"]
    except EdgeconvError:
        return None  # the row itself has been measured; this is beside it
    return None if size is None else size / 2**20


def arena_here(subject: Mapping[str, Any]) -> dict[str, int | None]:
    """Answer for one subject (``Subject.to_json``): {"bytes": size or None}."""
    from edgeconv.bench.worker import random_feeds

    path, shapes = Path(subject["path"]), {n: tuple(s) for n, s in subject["shapes"].items()}
    options = {"threads": subject["threads"], "runtime": subject["runtime"], **subject["options"]}
    if subject["runtime"] == "onnxruntime":
        import onnxruntime

        onnxruntime.set_default_logger_severity(1)  # the arena reports its growth at this level
        with quiet_stderr() as log, open_runner(path, shapes=shapes or None, **options) as runner:
            call = runner.call(random_feeds(runner))
            for _ in range(2):
                call()
        return {"bytes": onnx_arena(log.text)}
    with open_runner(path, shapes=shapes or None, **options) as runner:
        runner.call(random_feeds(runner))()
        return {"bytes": tflite_arena(runner)}


def onnx_arena(log: str) -> int | None:
    """Return the last total in onnxruntime's log, in bytes; what was reserved where it never grew.

    >>> onnx_arena("... Total allocated bytes: 7258192\\n... Total allocated bytes: 9355344")
    9355344
    """
    totals = re.findall(r"Total allocated bytes: (\d+)", log)
    if totals:
        return int(totals[-1])
    reserved = re.findall(r"Reserving memory in BFCArena for \w+ size: (\d+)", log)
    return sum(map(int, reserved)) if reserved else None


def tflite_arena(runner: Any) -> int | None:
    """Return the bytes between the first and the last computed tensor; None with a delegate."""
    operators = runner.interpreter._get_ops_details()
    if any(op["op_name"] == "DELEGATE" for op in operators):
        return None
    computed = {int(t) for op in operators for t in op["outputs"]}
    computed |= {int(d["index"]) for d in runner.interpreter.get_input_details()}
    spans = []
    for index in computed:
        try:
            array = runner.interpreter.tensor(index)()
        except ValueError:  # never allocated
            continue
        start = array.__array_interface__["data"][0]
        spans.append((start, start + array.nbytes))
    return spanned(spans)


def spanned(spans: Sequence[tuple[int, int]]) -> int | None:
    """Return the bytes that address ranges cover, small gaps between them included.

    >>> spanned([(0, 10), (64, 100), (1 << 30, (1 << 30) + 5)])
    105
    """
    total, reach = 0, None
    for start, end in sorted(spans):
        if reach is None or start > reach + GAP:
            total, reach = total + end - start, end
        elif end > reach:
            total, reach = total + end - reach, end
    return total or None
