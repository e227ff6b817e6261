"""Every artifact, re-read from disk, against the float reference; and the stage that departs first."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.adapt import adapt_inputs, adapt_outputs, match_names
from edgeconv.export.kinds import Precision
from edgeconv.export.reference import Arrays, Reference
from edgeconv.pictures import Feed
from edgeconv.runtimes.base import Runner, open_runner
from edgeconv.tensors import TensorSpec

FLOAT_BUDGET = 1e-4
"""Largest error of a float stage, as a fraction of the reference's range. Rounding differs by
kernel: the four nets measure 1e-7 to 1e-5."""
PIXEL_BUDGET = 3e-2
"""For the prepared graph of an INT8 export; MobileNetV2 measures 2e-3."""
FP16_BUDGET = 3e-2
"""The same with weights stored in half precision (2^-11 a weight; MobileNetV2 measures 35 dB)."""
INT8_SQNR_DB = 10.0
"""Least signal to quantization noise of an INT8 file. Sound nets measure 17 dB and more, broken ones
(per-tensor weights, a wrong zero point) below 5."""
MAX_BYTES = 256 << 20  # reference outputs held in memory


@dataclass(frozen=True)
class OutputFigures:
    """One output of one artifact against the reference; None where a metric does not apply.

    ``max_abs_error`` is in the output's unit, ``relative_error`` a fraction of the reference's
    range, ``agreement`` and top-1 are fractions, ``agreement_interval`` Wilson's at 95 %,
    ``mcnemar_p`` McNemar's exact p of the two top-1 figures.
    """

    output: str
    max_abs_error: float
    relative_error: float
    sqnr_db: float
    cosine: float
    kl: float | None = None
    agreement: float | None = None
    agreement_interval: tuple[float, float] | None = None
    top1: float | None = None
    top1_float: float | None = None
    mcnemar_p: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Return JSON data; an infinite SQNR (nothing differs) is the string "inf"."""
        data = asdict(self)
        return {k: str(v) if isinstance(v, float) and math.isinf(v) else v for k, v in data.items()}


@dataclass(frozen=True)
class Verdict:
    """What was found for one artifact: figures by output, and what missed the budget (None: nothing)."""

    runtime: str
    pictures: int
    figures: tuple[OutputFigures, ...]
    missed: str | None

    def __bool__(self) -> bool:
        return self.missed is None

    def to_json(self) -> dict[str, Any]:
        """Return the manifest's ``verification``."""
        return {
            "runtime": self.runtime,
            "pictures": self.pictures,
            "outputs": [f.to_json() for f in self.figures],
            "missed": self.missed,
        }


@dataclass(frozen=True)
class Expected:
    """Verification feeds, the reference's outputs for them, stacked, and the true classes if known."""

    feeds: Sequence[Feed]
    outputs: Arrays
    truth: NDArray[np.int64] | None

    def head(self, count: int) -> "Expected":
        """Return the first ``count`` feeds with their outputs."""
        count = min(count, len(self.feeds))
        rows = {name: len(a) // len(self.feeds) * count for name, a in self.outputs.items()}
        outputs = {name: a[: rows[name]] for name, a in self.outputs.items()}
        truth = None if self.truth is None else self.truth[:count]
        return Expected(self.feeds[:count], outputs, truth)


def expect(
    reference: Reference,
    feeds: Sequence[Feed],
    truth: Sequence[int | None],
    progress: Callable[[float], None],
) -> Expected:
    """Run the reference over ``feeds``; raises EdgeconvError naming an output that is not finite."""
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in reference.outputs}
    held = 0
    for index, feed in enumerate(feeds):
        for name, value in reference.infer(feed).items():
            metrics.check_finite(f"{name} of the float reference", value)
            rows[name].append(np.asarray(value, np.float32))
            held += value.nbytes
        progress((index + 1) / len(feeds))
        if held > MAX_BYTES:
            feeds = feeds[: index + 1]
            break
    known = [t for t in truth[: len(feeds)] if t is not None]
    classes = np.array(known, np.int64) if len(known) == len(feeds) else None
    stacked = {name: _stack(values) for name, values in rows.items()}
    return Expected(feeds, stacked, classes)


def _stack(values: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return np.concatenate([v if v.ndim else v.reshape(1) for v in values])


def run_all(
    runner: Runner,
    feeds: Sequence[Feed],
    outputs: Sequence[str],
    specs: Sequence[TensorSpec],
    results: Sequence[TensorSpec] = (),
) -> Arrays:
    """Run every feed; inputs and outputs are converted as ``specs`` (the file's inputs) declare.

    ``results`` are the file's outputs where more is known of them than the runtime sees.
    """
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in outputs}
    inputs = match_names([s.name for s in specs], list(feeds[0]), "input")
    names = match_names(list(outputs), [s.name for s in runner.outputs], "output")
    by_name = {spec.name: spec for spec in (*runner.outputs, *results)}
    for feed in feeds:
        made = runner.infer({s.name: adapt_inputs(feed[inputs[s.name]], "nchw", s) for s in specs})
        for name in outputs:
            rows[name].append(adapt_outputs(made[names[name]], by_name[names[name]]))
    return {name: _stack(values) for name, values in rows.items()}


def verify_file(
    path: Path,
    precision: Precision,
    borders: tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]],
    expected: Expected,
    threads: int,
) -> Verdict:
    """Open ``path`` in its runtime, run the feeds and judge the outputs.

    ``borders`` are the inputs and outputs that its emitter described.
    """
    with open_runner(path, threads=threads) as runner:
        got = run_all(runner, expected.feeds, list(expected.outputs), *borders)
        runtime = f"{runner.name} {runner.version}"
    figures = tuple(_figures(name, expected, got[name]) for name in expected.outputs)
    missed = next((m for f in figures if (m := _missed(f, precision)) is not None), None)
    return Verdict(runtime, len(expected.feeds), figures, missed)


def _figures(name: str, expected: Expected, got: NDArray[np.float32]) -> OutputFigures:
    want = expected.outputs[name]
    figures = OutputFigures(
        name,
        metrics.max_abs_error(want, got, name),
        metrics.relative_error(want, got, name),
        metrics.sqnr_db(want, got, name),
        metrics.cosine(want, got, name),
    )
    if want.ndim != 2 or want.shape[1] < 2:
        return figures
    same = metrics.agreeing(want, got)
    figures = replace(
        figures,
        kl=metrics.kl_softmax(want, got, name),
        agreement=float(same.mean()),
        agreement_interval=metrics.wilson_interval(int(same.sum()), len(same)),
    )
    if expected.truth is None or len(expected.truth) != len(want):
        return figures
    before = metrics.correct(want, expected.truth)
    after = metrics.correct(got, expected.truth)
    return replace(
        figures,
        top1=float(after.mean()),
        top1_float=float(before.mean()),
        mcnemar_p=metrics.mcnemar_p(before, after),
    )


def _missed(figures: OutputFigures, precision: Precision) -> str | None:
    what = f"output {figures.output}"
    if precision == "int8":
        if figures.sqnr_db < INT8_SQNR_DB:
            return f"{what}: SQNR {figures.sqnr_db:.1f} dB, wanted at least {INT8_SQNR_DB:g}"
        return None
    limit = FP16_BUDGET if precision == "fp16" else FLOAT_BUDGET
    if figures.relative_error > limit:
        return f"{what}: error {figures.relative_error:.2g} of the float range, wanted {limit:g}"
    return None


def first_departure(
    stages: Mapping[str, Path],
    expected: Expected,
    *,
    int8: bool,
    count: int = 4,
) -> str | None:
    """Return a sentence naming the first float stage whose outputs leave the reference.

    ``stages`` maps raw, hub and prepared to their .onnx, in order; ``count`` samples are run
    through each. An INT8 export's prepared graph centres pixels, which moves the border of the
    first convolution by half a pixel step.
    """
    few = expected.head(count)
    for stage, path in stages.items():
        limit = PIXEL_BUDGET if stage == "prepared" and int8 else FLOAT_BUDGET
        with open_runner(path, optimize=False) as runner:
            got = run_all(runner, few.feeds, list(few.outputs), runner.inputs)
        for name, want in few.outputs.items():
            error = metrics.relative_error(want, got[name], name)
            if error > limit:
                return (
                    f"stage {stage} is the first to depart from the float reference: output {name} "
                    f"differs by {error:.2g} of its range, wanted {limit:g}"
                )
    return None
