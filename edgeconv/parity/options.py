"""What check_parity takes, by name for its callers and grouped for those who work with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from edgeconv.arguments import Named, as_values
from edgeconv.errors import UsageError, check_names
from edgeconv.judge.budget import load_budgets
from edgeconv.manifest_schema import Precision
from edgeconv.parity.data import Request
from edgeconv.parity.matrix import Settings
from edgeconv.preprocessing import check_wished

if TYPE_CHECKING:
    import torch


class ParityOptions(TypedDict, total=False):
    """The options of ``edgeconv parity`` as arguments; its help says what each does."""

    reference: "Named | torch.nn.Module | None"
    weights: Named | None
    data: Named | None
    count: int | None
    truth: Named | None
    preprocessing: Literal["imagenet", "unit", "symmetric", "raw"] | None
    mean: Sequence[float] | float | None
    std: Sequence[float] | float | None
    crop: float | Literal["letterbox"] | None
    channel_order: Literal["rgb", "bgr"] | None
    input_layout: Literal["nchw", "nhwc"] | None
    class_offset: int
    precision: Precision | None
    scores: str | Sequence[str]
    threads: int
    timeout: float | None
    layers: bool
    bisect: Named | None
    latency: bool
    also: str | Sequence[str]
    budget: Named | None
    baseline: Named | None
    update_baseline: bool
    save_outputs: Named | None
    load_outputs: Named | None
    markdown: Named | None
    junit: Named | None
    html: Named | None


@dataclass(frozen=True)
class Extras:
    """What is done besides comparing outputs.

    ``bisect`` is the folder of repros; ``also`` names runtimes that run only where asked for.
    """

    layers: bool = False
    latency: bool = False
    bisect: Path | None = None
    also: Sequence[str] = ()


@dataclass(frozen=True)
class Files:
    """What is read and written beside the models: a baseline, outputs, reports."""

    baseline: Path | None = None
    update_baseline: bool = False
    save_outputs: Path | None = None
    load_outputs: Path | None = None
    markdown: Path | None = None
    junit: Path | None = None
    html: Path | None = None


@dataclass(frozen=True)
class Asked:
    """One call's options, each in the group that its reader takes."""

    request: Request = field(default_factory=Request)
    settings: Settings = field(default_factory=Settings)
    extras: Extras = field(default_factory=Extras)
    files: Files = field(default_factory=Files)
    precision: str | None = None


def settle(options: ParityOptions) -> Asked:
    """Group ``options``. Raises UsageError for a name that is none, and for what cannot be."""
    check_names("check_parity", options, ParityOptions.__annotations__)
    given = {name: _settled(name, value) for name, value in options.items()}
    request = _group(Request, given)
    if (request.count is not None and request.count < 1) or given.get("class_offset", 0) < 0:
        raise UsageError("--count must be at least 1 and --class-offset at least 0")
    check_wished(request)
    if request.threads < 1:
        raise UsageError(f"--threads must be at least 1, not {request.threads}")
    for name in ("truth", "preprocessing", "mean", "std", "crop", "channel_order"):
        if getattr(request, name) is not None and request.data is None:
            raise UsageError(
                f"--{name.replace('_', '-')} is about the pictures of --data: name them too"
            )
    if request.weights is not None and not request.is_net:
        raise UsageError("--weights are those of a net as --reference: name one, or leave them out")
    settings = Settings(
        load_budgets(given.get("budget")),
        request.threads,
        given.get("class_offset", 0),
        given.get("input_layout"),
        given.get("scores") or None,
        given.get("timeout"),
    )
    extras, files = _group(Extras, given), _group(Files, given)
    return Asked(request, settings, extras, files, given.get("precision"))


PATHS = ("bisect", "budget", *Files.__annotations__)
TEXTS = ("reference", "weights", "data", "truth")


def _settled(name: str, value: Any) -> Any:
    """Return an argument as its reader takes it: files as text or Path, one value for several."""
    if name in ("mean", "std"):
        return as_values(value)
    if name in ("scores", "also"):
        return (value,) if isinstance(value, str) else tuple(value)
    if isinstance(value, str | Path):
        return Path(value) if name in PATHS else str(value) if name in TEXTS else value
    return value


Group = TypeVar("Group", Request, Extras, Files)


def _group(kind: type[Group], options: Mapping[str, Any]) -> Group:
    return kind(**{f.name: options[f.name] for f in fields(kind) if f.name in options})
