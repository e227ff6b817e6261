"""Operator by operator: from onnxruntime's own profiler, for TFLite by running each operator alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeconv.bench.engine import Progress
from edgeconv.bench.plan import Subject
from edgeconv.bench.results import Row
from edgeconv.errors import EdgeconvError
from edgeconv.isolate import call
from edgeconv.runtimes.table import RUNTIMES

LIMIT_S = 600.0
"""How long a model's operators may take."""


def profile_subjects(
    subjects: Sequence[Subject], rows: Sequence[Row], progress: Progress | None
) -> dict[str, Any]:
    """Return row label -> profile; a model that cannot be profiled has an ``error`` instead."""
    say = progress or (lambda _text, _share: None)
    medians = {row.label: row.summary.median for row in rows if row.summary is not None}
    profiles: dict[str, Any] = {}
    for number, subject in enumerate(subjects):
        say(f"profiling {subject.label}", number / len(subjects))
        asked = {**subject.to_json(), "whole_us": 1000 * medians[subject.label]}
        try:
            profiles[subject.label] = call(
                "edgeconv.bench.profile:profile_here",
                asked,
                f"profile of {subject.path}",
                timeout_s=LIMIT_S,
            )
        except EdgeconvError as error:
            profiles[subject.label] = {"error": str(error)}
    return profiles


def profile_here(asked: dict[str, Any]) -> dict[str, Any]:
    """Profile one subject in this process. Raises EdgeconvError where its runtime offers no way."""
    from edgeconv.bench import costs

    if asked["path"] is None:
        raise EdgeconvError("the operators of a PyTorch module are not timed; export it first")
    if not RUNTIMES[asked["runtime"]].profiled:
        raise EdgeconvError(f"{asked['runtime']} does not tell what each operator takes")
    suffix = Path(asked["path"]).suffix.lower()
    shapes = {name: tuple(shape) for name, shape in asked["shapes"].items()} or None
    bandwidths = costs.copy_bandwidths()
    if suffix == ".onnx":
        from edgeconv.bench import profile_onnx

        found = profile_onnx.profile(Path(asked["path"]), asked["threads"], shapes)
        rates = profile_onnx.peak_macs(asked["threads"])
        how = "timed by onnxruntime's profiler, which adds about a microsecond to each operator"
    elif suffix == ".tflite":
        from edgeconv.bench import profile_tflite

        runtime, xnnpack = asked["runtime"], asked["options"].get("xnnpack", True)
        cutter = profile_tflite.Cutter(Path(asked["path"]), runtime, asked["threads"], xnnpack)
        found = cutter.profile()
        rates = cutter.peak_macs()
        how = "each operator cut out and run alone, with its caches warm"
    else:
        raise EdgeconvError(f"the operators of {asked['path']} cannot be timed")
    peak = costs.Peak(rates[0], rates[1], bandwidths)
    return {
        "how": how,
        "ops": costs.op_table(found, peak),
        "peak": {
            "float_gmacs_per_s": None if rates[0] is None else rates[0] / 1e9,
            "int8_gmacs_per_s": None if rates[1] is None else rates[1] / 1e9,
            "gbytes_per_s": {size: rate / 1e9 for size, rate in bandwidths.items()},
        },
        "sentences": costs.sentences(found, peak, asked["whole_us"]),
    }
