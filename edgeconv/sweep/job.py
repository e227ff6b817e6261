"""What a sweep is asked for, from options or from a TOML file, checked before any work."""

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_args

from edgeconv.artifact import Crop, Order
from edgeconv.device.ssh import parse_host
from edgeconv.errors import UsageError
from edgeconv.export.kinds import RECIPES, Cpu, Io, Precision
from edgeconv.export.targets import TARGETS
from edgeconv.files import check_writable
from edgeconv.foreign import read_text, refuse_missing, refuse_no_file
from edgeconv.preprocessing import NAMED, ORDERS, check_wished
from edgeconv.sweep.address import check_workers

MEBIBYTE = 1 << 20
UNITS = {"": 1, "k": 1 << 10, "m": MEBIBYTE, "g": 1 << 30}

SECONDS = 2.0
"""That a file is timed for, at least."""


@dataclass(frozen=True)
class Job:
    """One sweep. Every tuple is an axis; an empty one leaves the net's own default.

    ``weights`` may hold {net}, {width}, {groups}, {ratio} and {resolution}. ``data`` is what every
    form is evaluated on, ``calib`` what INT8 is calibrated on. ``budget_ms`` bounds the upper end
    of the latency's interval, ``min_top1`` (percent) the lower end of the accuracy's. ``workers`` and
    ``scheduler`` say where it runs, ``html`` and ``csv`` what is written besides ``output``, ``force``
    that what is kept there is forgotten.
    """

    nets: tuple[str, ...]
    width: tuple[float, ...] = ()
    groups: tuple[int, ...] = ()
    ratio: tuple[int, ...] = ()
    resolution: tuple[int, ...] = ()
    precision: tuple[str, ...] = ("fp32", "int8")
    recipe: tuple[str, ...] = ("std",)
    target: tuple[str, ...] = ("onnx", "tflite")
    cpu: tuple[str, ...] = ("any",)
    io: tuple[str, ...] = ("float",)
    threads: tuple[int, ...] = (1,)
    device: tuple[str, ...] = ()
    weights: str | None = None
    classes: int | None = None
    input_shape: tuple[int, ...] = ()
    calib: str | None = None
    calib_count: int = 128
    data: str | None = None
    truth: str | None = None
    labels: str | None = None
    preprocessing: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop: Crop | None = None
    channel_order: Order | None = None
    count: int | None = None
    shard: int = 1000
    seconds: float = SECONDS
    bench: bool = True
    adaptive: bool = False
    budget_ms: float | None = None
    budget_mb: float | None = None
    budget_arena: str | None = None
    min_top1: float | None = None
    workers: int | None = None
    scheduler: str | None = None
    output: Path = Path("sweep")
    html: Path | None = None
    csv: Path | None = None
    force: bool = False

    def check(self) -> None:
        """Raise UsageError naming the first field that cannot be right."""
        if not self.nets:
            raise UsageError("name at least one net or file to sweep")
        self._check_bench()
        for name in ("count", "shard", "calib_count", "classes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, not {value}")
        for name in ("seconds", "budget_ms", "budget_mb"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"--{name.replace('_', '-')} must be positive, not {value:g}")
        for name in ("threads", "resolution", "groups", "ratio"):
            low = min(getattr(self, name), default=1)
            if low < 1:
                raise UsageError(f"--{name} must be at least 1, not {low}")
        if self.min_top1 is not None and not 0 <= self.min_top1 <= 100:
            raise UsageError(f"--min-top1 is a percentage, not {self.min_top1:g}")
        self.arena_bytes()
        self._check_names()
        self._check_outputs()
        if self.truth is not None and self.data is None:
            raise UsageError("--truth says what the pictures of --data show: give --data too")
        check_wished(self)
        check_workers(self.workers, self.scheduler)

    def _check_bench(self) -> None:
        """Raise UsageError for what is about timing, where nothing is timed."""
        usual = {"threads": (1,), "seconds": SECONDS, "device": (), "budget_ms": None, "budget_arena": None}  # fmt: skip
        said = next((name for name, value in usual.items() if getattr(self, name) != value), None)
        if said is not None and not self.bench:
            raise UsageError(
                f"--{said.replace('_', '-')} is about timing files, and --no-bench times none: leave one out"
            )

    def _check_names(self) -> None:
        """Raise UsageError for what has to be one of a few words, or a file that is there."""
        words = {"channel_order": ORDERS, "preprocessing": tuple(NAMED)}
        for name, known in words.items():
            if getattr(self, name) not in (None, *known):
                said = f"--{name.replace('_', '-')} {getattr(self, name)}"
                raise UsageError(f"{said} is unknown: {', '.join(known)}")
        for recipe in self.recipe:
            if recipe not in RECIPES and not recipe.endswith(".json"):
                raise UsageError(f"--recipe {recipe}: {', '.join(RECIPES)} or a .json file")
        recipes = [recipe for recipe in self.recipe if recipe.endswith(".json")]
        truth = [] if self.truth in (None, "folders") else [str(self.truth)]
        for path in (*recipes, *truth, *filter(None, (self.calib, self.labels))):
            refuse_missing(Path(path))
        for device in self.device:
            parse_host(device)

    def _check_outputs(self) -> None:
        """Raise where a page or a table cannot be written at the end."""
        for name in ("html", "csv"):
            path = getattr(self, name)
            if path is not None:
                check_writable(path, f"--{name}")
        if self.html is not None and self.html.absolute() == (self.csv or Path()).absolute():
            raise UsageError(f"--html and --csv both name {self.html}")

    def arena_bytes(self) -> int | None:
        """Return ``budget_arena`` in bytes: 524288 or 512K or 2M."""
        text = self.budget_arena
        if text is None:
            return None
        number, unit = text.strip(), ""
        if number and number[-1].lower() in "kmg":
            number, unit = number[:-1], number[-1].lower()
        try:
            found = int(float(number) * UNITS[unit])
        except (ValueError, OverflowError):
            found = 0
        if found < 1:
            raise UsageError(f"--budget-arena {text}: write bytes, or 512K, 2M")
        return found


AXES = {
    "width": float,
    "groups": int,
    "ratio": int,
    "resolution": int,
    "precision": str,
    "recipe": str,
    "target": str,
    "cpu": str,
    "io": str,
    "threads": int,
    "device": str,
}
"""Axis -> the type of its values; each is given by comma, by repeating, or as a TOML list."""

LISTS = {**AXES, "mean": float, "std": float, "input_shape": int, "nets": str}
CHOICES = {
    "precision": get_args(Precision),
    "io": get_args(Io),
    "target": tuple(TARGETS),
    "cpu": get_args(Cpu),
}

WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
"""Type of a TOML value -> how it is called."""


def listed(name: str, values: Iterable[Any]) -> tuple[Any, ...]:
    """Return the values of axis ``name``, each once, in order; texts are cut at commas.

    Raises UsageError naming the axis and the value that is not of its type or not among its choices.

    >>> listed("width", ["0.25,0.5", "0.5"])
    (0.25, 0.5)
    """
    kind: Callable[[Any], Any] = LISTS[name]
    found = []
    for value in values:
        whole = name == "nets" and Path(str(value)).exists()
        for part in [str(value)] if whole else str(value).split(","):
            if not part.strip():
                said = "the net" if name == "nets" else f"--{name.replace('_', '-')}"
                raise UsageError(f"{said} {str(value)!r} has an empty part")
            try:
                made = kind(part.strip())
            except ValueError:
                numbers = "whole numbers" if kind is int else "numbers"
                raise UsageError(
                    f"--{name.replace('_', '-')} takes {numbers}, not {part!r}"
                ) from None
            if name in CHOICES and made not in CHOICES[name]:
                raise UsageError(f"--{name} {made} is unknown: {', '.join(CHOICES[name])}")
            found.append(made)
    keep_all = name in ("mean", "std", "input_shape")
    return tuple(found) if keep_all else tuple(dict.fromkeys(found))


def job_from(given: Mapping[str, Any]) -> Job:
    """Return a checked Job of the fields in ``given`` that are not None; raise UsageError for an empty one."""
    made: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        _refuse_empty(name.replace("_", "-"), value)
        if name in LISTS:
            value = listed(name, value if isinstance(value, (list, tuple)) else [value])
        if name == "crop" and isinstance(value, int):
            value = float(value)
        if name == "budget_arena":
            value = str(value)
        made[name] = Path(value) if name in ("output", "html", "csv") else value
    made.setdefault("nets", ())
    job = Job(**made)
    job.check()
    return job


def read_job(path: Path) -> dict[str, Any]:
    """Return the fields of a TOML file by the names of Job.

    Raises UsageError for a file that cannot be read or is no TOML, and for a key that is unknown
    or of the wrong type, naming the nearest that is.
    """
    refuse_no_file(path)
    try:
        data = tomllib.loads(read_text(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError and numbers of too many digits
        raise UsageError(f"{path} is not TOML: {error}") from error
    known = {field.name: field for field in fields(Job)}
    found: dict[str, Any] = {}
    for key, value in data.items():
        name = key.replace("-", "_")
        if isinstance(value, dict):
            raise UsageError(f"{path}: {key} is a table; every key stands at the top level")
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            keys = ", ".join(name.replace("_", "-") for name in known)
            hint = f": did you mean {near[0].replace('_', '-')}?" if near else f": it takes {keys}"
            raise UsageError(f"{path}: unknown key {key}{hint}")
        _check_type(path, key, name, value)
        if name in found:
            raise UsageError(f"{path}: {key} stands there twice, with - and with _")
        found[name] = value
    return found


def _refuse_empty(said: str, value: Any) -> None:
    if value in ("", []):
        raise UsageError(f"{said} is empty: give a value or leave it out")


def _check_type(path: Path, key: str, name: str, value: Any) -> None:
    _refuse_empty(f"{path}: {key}", value)
    if isinstance(value, list) and name not in LISTS:
        raise UsageError(f"{path}: {key} takes one value, not a list")
    default = next(field.default for field in fields(Job) if field.name == name)
    number = name in ("seconds", "budget_ms", "budget_mb", "min_top1")
    wanted: tuple[type, ...] | None = None
    if isinstance(default, bool):
        wanted = (bool,)
    elif number:
        wanted = (int, float)
    elif name in ("count", "shard", "calib_count", "classes", "workers"):
        wanted = (int,)
    elif name == "crop":
        wanted = (int, float, str)
    elif name == "budget_arena":
        wanted = (int, str)
    elif name not in LISTS:
        wanted = (str,)
    wrong = wanted is not None and (
        not isinstance(value, wanted) or (isinstance(value, bool) and wanted != (bool,))
    )
    if wrong:
        names = " or ".join(
            WORDS[kind] for kind in wanted or () if kind is not int or float not in (wanted or ())
        )
        raise UsageError(f"{path}: {key} takes {names}, not {value!r}")
