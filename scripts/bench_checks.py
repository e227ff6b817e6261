"""What scripts/make_bench_results.py checks of the bench itself: other clocks, repeats, coverage, diagnosis."""

import importlib
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.bench.plan import Plan
from edgeconv.bench.results import Report
from edgeconv.bench.run import Request, bench
from edgeconv.bench.statistics import mean_interval
from edgeconv.bench.subjects import Choice

LOOP = """
import statistics, sys, time
import numpy as np
path, seconds = sys.argv[1], float(sys.argv[2])
rng = np.random.default_rng(0)
if path.endswith(".onnx"):
    import onnxruntime as ort
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    one = session.get_inputs()[0]
    feeds = {one.name: rng.standard_normal(one.shape).astype(np.float32)}
    run = lambda: session.run(None, feeds)
else:
    from ai_edge_litert.interpreter import Interpreter
    net = Interpreter(model_path=path, num_threads=1)
    net.allocate_tensors()
    one = net.get_input_details()[0]
    net.set_tensor(one["index"], rng.standard_normal(one["shape"]).astype(one["dtype"]))
    run = net.invoke
end = time.perf_counter() + 0.5
while time.perf_counter() < end:
    run()
times, end = [], time.perf_counter() + seconds
while time.perf_counter() < end:
    start = time.perf_counter()
    run()
    times.append(time.perf_counter() - start)
print(1000 * statistics.median(times))
"""
"""The loop anyone writes: nothing of ours in it."""


def ours(paths: Sequence[Path], seconds: float, **fields: Any) -> Report:
    """Bench files with one thread and no added reference."""
    request = Request(
        tuple(map(str, paths)),
        choice=Choice(reference=False),
        plan=Plan(seconds=seconds),
        **fields,
    )
    return bench(request)


def median_ms(report: Report) -> float:
    """The first row's median. Raises RuntimeError where it failed."""
    row = report.rows[0]
    if row.summary is None:
        raise RuntimeError(row.error)
    return row.summary.median


def by_loop(path: Path, seconds: float) -> float:
    """Return the median latency of the bare loop in a process of its own, ms."""
    command = [sys.executable, "-c", LOOP, str(path), str(seconds)]
    return float(subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout)


def by_litert(path: Path, seconds: float, guess_ms: float) -> float | None:
    """Return the median of Google's own litert-benchmark, ms; None where it is not installed."""
    tool = Path(sys.executable).with_name("litert-benchmark")
    if path.suffix != ".tflite" or not tool.is_file():
        return None
    runs = max(10, round(1000 * seconds / guess_ms))
    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "result.json"
        command = [str(tool), "--model", str(path), "--num_runs", str(runs), "--num_threads", "1"]
        command += ["--warmup_runs", str(max(3, runs // 4)), "--result_json", str(saved)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8")
        if done.returncode or not saved.is_file():
            return None
        found: dict[str, Any] = json.loads(saved.read_text(encoding="utf-8"))
    return _median_of(found)


def _median_of(found: dict[str, Any]) -> float | None:
    """Find a median in milliseconds, whatever its key is called in this version."""
    for key, value in found.items():
        if isinstance(value, dict):
            inner = _median_of(value)
            if inner is not None:
                return inner
        elif isinstance(value, int | float) and ("median" in key or "p50" in key):
            return float(value) / (1000 if key.endswith("us") else 1)
    return None


def other_clocks(paths: Sequence[Path], seconds: float, repeats: int) -> list[list[str]]:
    """Rows of: file, our median, the loop's, their ratio [of repeats], litert-benchmark's, ratio.

    The three take turns, in another order each time.
    """
    rows = []
    for path in paths:
        first = median_ms(ours([path], seconds / 4))
        clocks: dict[str, Callable[[], float | None]] = {
            "ours": partial(_ours, path, seconds),
            "loop": partial(by_loop, path, seconds),
            "tool": partial(by_litert, path, seconds, first),
        }
        found: dict[str, list[float]] = {name: [] for name in clocks}
        for number in range(repeats):
            for name in clocks if number % 2 else reversed(clocks):
                value = clocks[name]()
                if value is not None:
                    found[name].append(value)
        mine = found["ours"]
        others = [cell for name in ("loop", "tool") for cell in _beside(mine, found[name])]
        rows.append([path.name, f"{statistics.median(mine):.3f}", *others])
    return rows


def _ours(path: Path, seconds: float) -> float:
    return median_ms(ours([path], seconds))


def _beside(mine: Sequence[float], other: Sequence[float]) -> list[str]:
    if len(other) != len(mine):
        return ["-", "-"]
    ratios = [a / b for a, b in zip(mine, other, strict=True)]
    text = f"{statistics.geometric_mean(ratios):.3f} [{min(ratios):.3f}, {max(ratios):.3f}]"
    return [f"{statistics.median(other):.3f}", text]


def repeated(
    paths: Sequence[Path], seconds: float, repeats: int
) -> tuple[list[list[str]], list[str]]:
    """Bench the same files again and again; return rows of each repeat and sentences on their spread."""
    reports = [ours(paths, seconds) for _ in range(repeats)]
    rows, said = [], []
    for number, report in enumerate(reports):
        for row in report.rows:
            s = row.summary
            if s is None or s.median_interval is None or s.interval is None:
                continue
            m, i = s.median_interval, s.interval
            marks = ", ".join(mark.code for mark in row.marks) or "-"
            rows.append([str(number + 1), row.label.partition(" ")[0], f"{s.median:.4f}",
                         f"[{m.low:.4f}, {m.high:.4f}]", f"{s.mean:.4f}", f"[{i.low:.4f}, {i.high:.4f}]", marks])  # fmt: skip
    for place, path in enumerate(paths):
        found = [r.rows[place].summary for r in reports]
        summaries = [s for s in found if s is not None and s.interval is not None]
        means = [s.mean for s in summaries]
        widths = [s.interval.half_width / s.mean for s in summaries if s.interval is not None]
        grand = statistics.mean(means)
        inside = sum(s.interval.low <= grand <= s.interval.high for s in summaries if s.interval)
        medians = [s.median for s in summaries]
        said.append(
            f"{path.name}: the medians of {len(medians)} repeats lie within"
            f" {100 * (max(medians) / min(medians) - 1):.1f} % of each other, the means'"
            f" standard deviation is {100 * statistics.stdev(means) / grand:.2f} % beside a reported"
            f" half width of {100 * statistics.median(widths):.2f} % (median);"
            f" {inside} of {len(means)} intervals hold the mean of all"
        )
    return rows, said


def coverage(repeats: int) -> list[list[str]]:
    """Rows of: latencies, autocorrelation, how often a 95 % interval of the mean holds the truth, textbook's."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    simulation = importlib.import_module("test_bench_statistics")
    rows = []
    for kind in ("lognormal", "pareto", "student", "spikes"):
        for phi in (0.0, 0.5, 0.8):
            series = simulation.synthetic(kind, phi, repeats, seed=7)
            intervals = [mean_interval(one) for one in series]
            hits = [i is not None and i.low <= simulation.TRUE_MEAN <= i.high for i in intervals]
            reach = 1.96 * series.std(1, ddof=1) / np.sqrt(series.shape[1])
            naive = np.abs(series.mean(1) - simulation.TRUE_MEAN) <= reach
            rows.append(
                [kind, f"{phi:g}", f"{100 * np.mean(hits):.1f} %", f"{100 * naive.mean():.1f} %"]
            )
    return rows


def dynamic_range(float_model: Path, target: Path) -> None:
    """Write onnxruntime's own dynamic-range INT8 of a float model."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(float_model), str(prepared), skip_symbolic_shape=True)
    quantize_dynamic(prepared, target, weight_type=QuantType.QInt8, op_types_to_quantize=["Conv", "Gemm", "MatMul"])  # fmt: skip
    prepared.unlink()


def diagnosed(model: Path, against: Path, seconds: float) -> list[str]:
    """Return the verdict on ``model`` and every cause found, one sentence each."""
    report = ours([model], seconds, against=str(against))
    said = []
    for item in report.diagnosis:
        said.append(item["verdict"])
        said += [f"{c['code']}: {c['sentence']}" for c in item["causes"]]
    return said or [row.error or "no diagnosis" for row in report.rows]
