"""Plant faults in what a healthy file gives, and ask the default verdict about each: kinds that no graph shows.

    python scripts/plant_outputs.py run --lines outputs.jsonl --work DIR [--kinds plain,unet] [--seeds 0:1] [--forms "int8 tflite,fp32 onnx"]
    python scripts/plant_outputs.py run --lines outputs.jsonl --work DIR --drawn FILE.py [NAME ...]
    python scripts/plant_faults.py table --lines outputs.jsonl

``run`` exports the nets of scene_nets.py, or of a file's ``nets()``, as plant_faults.py does, changes the outputs of each file as a broken
runtime, driver or loop around it would, and appends what the export's own verify stage says, and of the healthy file too.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
from json_lines import Line, read_lines
from numpy.typing import NDArray
from plant_faults import added, said, verdict_of
from planted_nets import Net, drawn_nets, exported, trained_nets

from edgeconv.export.work import Work
from edgeconv.files import temporary_folder
from edgeconv.judge.run import run_feeds
from edgeconv.judge.verdict import Verdict

Array = NDArray[Any]
Change = Callable[[Array, np.random.Generator], Array]


def _channel(values: Array, rng: np.random.Generator, change: Callable[[Array], Array]) -> Array:
    """Change one of axis 1."""
    made = values.copy()
    if made.ndim > 1:
        own = int(rng.integers(made.shape[1]))
        made[:, own] = change(made[:, own])
    return made


def _place(values: Array, rng: np.random.Generator, change: Callable[[Array], Array]) -> Array:
    """Change one of the last axis, of outputs that have more than channels."""
    made = values.copy()
    if made.ndim > 2:
        own = int(rng.integers(made.shape[-1]))
        made[..., own] = change(made[..., own])
    return made


def _some(values: Array, rng: np.random.Generator, share: float) -> Array:
    """Return which samples are meant: ``share`` of them, one at least."""
    count = max(1, round(share * len(values)))
    chosen: Array = rng.choice(len(values), count, replace=False)
    return chosen


def _replaced(values: Array, rows: Array, by: Array | float) -> Array:
    made = values.copy()
    made[rows] = by
    return made


def _spread(values: Array) -> float:
    return float(values.std(axis=0, dtype=np.float64).mean())


def _wrapped(values: Array) -> Array:
    low, high = float(values.min()), float(np.quantile(values, 0.97))
    return np.where(values > high, values - (high - low), values).astype(values.dtype)


def _half_swapped(values: Array) -> Array:
    half = values.shape[1] // 2 if values.ndim > 1 else 0
    return values if not half else np.concatenate([values[:, half:], values[:, :half]], axis=1)


def _mixed(values: Array, rng: np.random.Generator) -> Array:
    """Make one of axis 1 the mean of itself and the next."""
    made = values.copy()
    if made.ndim > 1 and made.shape[1] > 1:
        own = int(rng.integers(made.shape[1]))
        made[:, own] = (values[:, own] + values[:, (own + 1) % made.shape[1]]) / 2
    return made


def _every(
    values: Array, step: int, change: Callable[[Array], Array], *, whole: bool = False
) -> Array:
    """Change every ``step``th number of each sample as it lies in memory; ``whole``: of what all become."""
    flat = values.reshape(len(values), -1).copy()
    first = min(step, flat.shape[1]) - 1
    flat[:, first::step] = change(flat)[:, first::step] if whole else change(flat[:, first::step])
    return flat.reshape(values.shape)


def _tail(values: Array) -> Array:
    """Leave the last numbers of each sample as they were for the first: those that fill no block of eight."""
    flat = values.reshape(len(values), -1).copy()
    left = max(1, flat.shape[1] % 8)
    flat[:, -left:] = flat[:1, -left:]
    return flat.reshape(values.shape)


CHANGES: dict[str, Change] = {
    "the picture before": lambda v, rng: np.roll(v, 1, axis=0),
    "a tenth from the picture before": lambda v, rng: _replaced(
        v, rows := _some(v, rng, 0.1), v[rows - 1]
    ),
    "two pictures exchanged": lambda v, rng: _replaced(v, rows := _some(v, rng, 0.03), v[rows[::-1] - 1]),
    "NaN on one picture": lambda v, rng: _replaced(v, _some(v, rng, 0.0), np.nan),
    "infinity in one value": lambda v, rng: _replaced(
        v.reshape(-1), _some(v.reshape(-1), rng, 0.0), np.inf
    ).reshape(v.shape),
    "a tenth zero": lambda v, rng: _replaced(v, _some(v, rng, 0.1), 0),
    "a twentieth the mean": lambda v, rng: _replaced(v, _some(v, rng, 0.05), v.mean(axis=0)),
    "the last fifth repeated": lambda v, rng: _replaced(v, np.arange(len(v) * 4 // 5, len(v)), v[len(v) * 4 // 5 - 1]),
    "a quarter as noise": lambda v, rng: _replaced(
        v, rows := _some(v, rng, 0.25), v[rows] + _spread(v) * rng.normal(size=v[rows].shape)
    ),
    "drift over the pictures": lambda v, rng: v + (0.5 * _spread(v) * np.linspace(0, 1, len(v))).reshape(-1, *[1] * (v.ndim - 1)),
    "0.8 times": lambda v, rng: v * 0.8,
    "1.2 times": lambda v, rng: v * 1.2,
    "a third of the spread more": lambda v, rng: v + _spread(v) / 3,
    "the other sign": lambda v, rng: -v,
    "squared tops": lambda v, rng: np.where(v > np.quantile(v, 0.8), np.quantile(v, 0.8), v),
    "bottoms cut": lambda v, rng: np.maximum(v, np.quantile(v, 0.2)),
    "tops wrapped": lambda v, rng: _wrapped(v),
    "absolute": lambda v, rng: np.abs(v - np.median(v)) + np.median(v),
    "halves of the channels exchanged": lambda v, rng: _half_swapped(v),
    "channels in reverse": lambda v, rng: np.flip(v, 1) if v.ndim > 1 else v,
    "channels further by one": lambda v, rng: np.roll(v, 1, axis=1) if v.ndim > 1 else v,
    "a channel the other sign": lambda v, rng: _channel(v, rng, lambda c: -c),
    "a channel half": lambda v, rng: _channel(v, rng, lambda c: c * 0.5),
    "a channel from the picture before": lambda v, rng: _channel(v, rng, lambda c: np.roll(c, 1, axis=0)),
    "a channel still": lambda v, rng: _channel(v, rng, lambda c: np.broadcast_to(c.mean(axis=0), c.shape)),
    "a channel higher": lambda v, rng: _channel(v, rng, lambda c: c + max(1e-6, 1.5 * _spread(c))),
    "a channel in 8 levels": lambda v, rng: _channel(
        v, rng, lambda c: np.rint(c / (step := max(float(np.ptp(c)) / 8, 1e-9))) * step
    ),
    "places in reverse": lambda v, rng: np.flip(v, -1) if v.ndim > 2 else v,
    "places further by one": lambda v, rng: np.roll(v, 1, axis=-1) if v.ndim > 2 else v,
    "rows for columns": lambda v, rng: v.swapaxes(2, 3) if v.ndim == 4 and v.shape[2] == v.shape[3] else v,
    "every other place its neighbour": lambda v, rng: np.repeat(v[..., ::2], 2, axis=-1)[..., : v.shape[-1]] if v.ndim > 2 else v,
    "a place zero": lambda v, rng: _place(v, rng, lambda p: p * 0),
    "a place from the picture before": lambda v, rng: _place(v, rng, lambda p: np.roll(p, 1, axis=0)),
    "a place 1.5 times": lambda v, rng: _place(v, rng, lambda p: p * 1.5),
    "another layout's order": lambda v, rng: np.ascontiguousarray(np.moveaxis(v, 1, -1)).reshape(v.shape) if v.ndim > 2 else v,
    "a layout's rows of 16 with gaps": lambda v, rng: np.roll(v.reshape(len(v), -1), 4, axis=1).reshape(v.shape),
    "5 bits of a float kept": lambda v, rng: np.ldexp(np.rint(np.frexp(v)[0] * 16) / 16, np.frexp(v)[1]),
    "10 levels": lambda v, rng: np.rint(v / (step := max(float(np.ptp(v)) / 10, 1e-9))) * step,
    "20 levels": lambda v, rng: np.rint(v / (step := max(float(np.ptp(v)) / 20, 1e-9))) * step,
    "powers of two": lambda v, rng: np.sign(v) * np.exp2(np.rint(np.log2(np.maximum(np.abs(v), 1e-12)))),
    "a softmax too much": lambda v, rng: np.exp(v - v.max(axis=1, keepdims=True)) / np.exp(v - v.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True) if v.ndim > 1 and v.shape[1] > 1 else v,
    "a sigmoid too much": lambda v, rng: 1 / (1 + np.exp(-np.clip(v, -60, 60))),
    "a tenth of the picture before in each": lambda v, rng: 0.9 * v + 0.1 * np.roll(v, 1, axis=0),
    "one picture the one before": lambda v, rng: _replaced(v, rows := _some(v, rng, 0.0), v[rows - 1]),
    "one picture zero": lambda v, rng: _replaced(v, _some(v, rng, 0.0), 0),
    "one picture a third off": lambda v, rng: _replaced(v, rows := _some(v, rng, 0.0), v[rows] + _spread(v)),
    "the mean of two pictures": lambda v, rng: 0.5 * (v + np.roll(v, 1, axis=0)),
    "every second picture the one before": lambda v, rng: _replaced(v, rows := np.arange(1, len(v), 2), v[rows - 1]),
    "0.95 times": lambda v, rng: v * 0.95,
    "a tenth of the spread more": lambda v, rng: v + _spread(v) / 10,
    "a channel half a spread higher": lambda v, rng: _channel(v, rng, lambda c: c + max(1e-6, 0.5 * _spread(c))),
    "a channel the mean of two": lambda v, rng: _mixed(v, rng),
    "every 16th value zero": lambda v, rng: _every(v, 16, lambda values: values * 0),
    "every 8th value its neighbour": lambda v, rng: _every(v, 8, lambda values: np.roll(values, 1, axis=-1), whole=True),
    "the last values not written": lambda v, rng: _tail(v),
    "a value in a thousand wild": lambda v, rng: np.where(rng.random(v.shape) < 1e-3, v + 8 * _spread(v), v),
    "every other place a tenth less": lambda v, rng: np.concatenate([v[..., :1] * 0.9, v[..., 1:]], -1) if v.ndim < 3 else v * np.where(np.arange(v.shape[-1]) % 2, 0.9, 1.0),
    "half a place further": lambda v, rng: 0.5 * (v + np.roll(v, 1, axis=-1)) if v.ndim > 2 else v,
    "the upper hundredth cut": lambda v, rng: np.minimum(v, np.quantile(v, 0.9)),
    "quarters in another order": lambda v, rng: np.concatenate([p for i in (0, 2, 1, 3) for p in [np.array_split(v, 4, -1)[i]]], -1),
    "the second half of the pictures 0.9 times": lambda v, rng: _replaced(v, rows := np.arange(len(v) // 2, len(v)), v[rows] * 0.9),
    "small values zero": lambda v, rng: np.where(np.abs(v) < np.quantile(np.abs(v), 0.3), 0, v),
    "cubed": lambda v, rng: v * np.abs(v) / max(1e-9, float(np.abs(v).mean())),
}  # fmt: skip
"""By name what turns the outputs (samples, ...) of a sound file into those of a broken one."""


@click.group()
def main() -> None:
    """Plant faults in outputs, count what is named."""


@main.command()
@click.argument("names", nargs=-1)
@click.option("--lines", type=click.Path(path_type=Path), required=True)
@click.option("--work", type=click.Path(path_type=Path), required=True, help="trained nets")
@click.option("--kinds", default="", help="of scene_nets.py, all without it")
@click.option("--seeds", default="0:1", show_default=True, help="FIRST:END of the trained nets")
@click.option("--steps", default=150, show_default=True, help="of their training")
@click.option("--drawn", type=click.Path(exists=True, path_type=Path), help="a file with nets()")
@click.option("--each", default=len(CHANGES), show_default=True, help="kinds of faults in a file")
@click.option("--forms", default="int8 onnx,int8 tflite,fp16 tflite,fp32 onnx", show_default=True)
def run(
    names: tuple[str, ...],
    lines: Path,
    work: Path,
    kinds: str,
    seeds: str,
    steps: int,
    drawn: Path | None,
    each: int,
    forms: str,
) -> None:
    """Export nets, change what their files give, append lines."""
    done = {line["case"] for line in read_lines(lines)}
    first, end = map(int, seeds.split(":"))
    found = (
        trained_nets(kinds.split(",") if kinds else (), range(first, end), work, steps)
        if drawn is None
        else drawn_nets(drawn, names, work)
    )
    for net in found:
        for form in forms.split(","):
            if f"{net.name} {form}" not in done:
                with lines.open("a", encoding="utf-8") as file:
                    for line in cases(net, form, each):
                        file.write(json.dumps(line) + "\n")


def cases(net: Net, form: str, each: int) -> Iterator[Line]:
    """Yield the line of a healthy file, and of each fault in one of its outputs of real numbers."""
    precision, target = form.split()
    case = f"{net.name} {form}"
    about = {"net": net.name, "form": form}
    with temporary_folder() as place:
        work = exported(net, precision, (target,), place)
        sound = verdict_of(work, target)
        assert sound is not None
        rng = np.random.default_rng(zlib.crc32(case.encode()))
        for name in rng.permutation(list(CHANGES))[:each]:
            found = changed(work, target, CHANGES[name], rng)
            if found is not None:
                line = {"added": min(1e6, float(added(found, sound))), **said(found)}
                yield {"case": f"{case} {name}", **about, "fault": str(name), **line}
        yield {"case": case, **about, **said(sound)}


def changed(work: Work, target: str, change: Change, rng: np.random.Generator) -> Verdict | None:
    """Return what the verify stage says where one output is changed; None where nothing changes."""
    moved: list[bool] = []

    def broken(*given: Any, **options: Any) -> Any:
        outputs, seconds = run_feeds(*given, **options)
        real = [name for name, value in outputs.items() if value.dtype.kind == "f"]
        if real:
            own = real[int(rng.integers(len(real)))]
            made = np.asarray(change(outputs[own], rng), outputs[own].dtype)
            moved.append(not np.array_equal(made, outputs[own]))
            outputs = {**outputs, own: made}
        return outputs, seconds

    with mock.patch("edgeconv.export.verify.run_feeds", broken):
        found = verdict_of(work, target)
    return found if any(moved) else None


if __name__ == "__main__":
    main()
