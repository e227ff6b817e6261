"""The library: every command as one call. Heavy packages are imported inside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.errors import UsageError

if TYPE_CHECKING:
    from edgeconv.export.options import ExportOptions
    from edgeconv.export.report import ExportReport, StageLine
    from edgeconv.predict import Prediction


def export_model(
    net: str,
    *,
    progress: Callable[[str, float], None] | None = None,
    on_line: Callable[[StageLine], None] | None = None,
    **options: Any,
) -> ExportReport:
    """Convert ``net``, verify every file from disk and return what was done.

    ``net`` is one of the four nets, ``path/to/file.py:factory`` or an .onnx file. ``options`` are the
    fields of edgeconv.export.options.ExportOptions: ``targets``, ``precision``, ``weights``,
    ``calib``, ``output`` and so on. ``progress(stage, done)`` and ``on_line(line)`` follow the work.
    The report is truthy where every file is within its budget.

    Raises UsageError for options that cannot be, EdgeconvError for files that do not fit.
    """
    from edgeconv.export.pipeline import run_export

    return run_export(make_options(net, **options), progress, on_line)


def plan_export(net: str, **options: Any) -> list[str]:
    """Return the stages that export_model would run, a line each, without running them."""
    from edgeconv.export.plan import plan

    return plan(make_options(net, **options))


def make_options(net: str, **options: Any) -> ExportOptions:
    """Return checked ExportOptions; raises UsageError for a name it does not have."""
    from edgeconv.export.options import ExportOptions

    try:
        made = ExportOptions(net, **options)
    except TypeError as error:
        raise UsageError(f"export_model: {error}") from error
    made.check()
    return made


def run_model(
    path: str | Path,
    pictures: Sequence[str | Path],
    *,
    top: int = 5,
    threads: int = 1,
    runtime: str | None = None,
) -> list[Prediction]:
    """Return the ``top`` classes of each picture in any exported file.

    The file runs in a child process. Raises EdgeconvError for a file without a manifest, a net that
    is no classifier, and a picture that cannot be read, naming it.
    """
    from edgeconv.predict import predict_isolated

    if not pictures:
        raise UsageError("name at least one picture")
    artifact = Path(path)
    if not artifact.exists():
        raise UsageError(f"{artifact} does not exist")
    return predict_isolated(artifact, [Path(p) for p in pictures], top, threads, runtime)
