"""The library: every command as one call. Heavy packages are imported inside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from edgeconv.arguments import (
    ExportArguments,
    as_paths,
    as_values,
    settled,
    speaking_of_arguments,
)
from edgeconv.errors import UsageError, check_names

if TYPE_CHECKING:
    import torch

    from edgeconv.export.options import ExportOptions
    from edgeconv.export.report import ExportReport, StageLine
    from edgeconv.predict import Prediction


def export_model(
    net: str | Path | torch.nn.Module,
    *,
    progress: Callable[[str, float], None] | None = None,
    on_line: Callable[[StageLine], None] | None = None,
    **options: Unpack[ExportArguments],
) -> ExportReport:
    """Convert ``net``, verify every file from disk and return what was done.

    ``net`` is a torch.nn.Module (with ``input_shape``; it is left in the mode it was in), one of the
    four nets, ``path/to/file.py:factory``, ``"package.module:factory"``, an .onnx file, a saved
    ExportedProgram (.pt2) or a TorchScript file (.pt). ``progress(stage, done)`` and ``on_line(line)``
    follow the work. The report is truthy where every file is within its budget.

    Raises UsageError for arguments that cannot be, EdgeconvError for files that do not fit.
    """
    from edgeconv.export.pipeline import run_export

    check_names("export_model", options, ExportArguments.__annotations__)
    with speaking_of_arguments(), left_as_it_was(net):
        return run_export(make_options(net, **settled(options)), progress, on_line)


def plan_export(net: str | Path | torch.nn.Module, **options: Unpack[ExportArguments]) -> list[str]:
    """Return the stages that export_model would run, a line each, without running them."""
    from edgeconv.export.pipeline import plan

    check_names("plan_export", options, ExportArguments.__annotations__)
    with speaking_of_arguments(), left_as_it_was(net):
        return plan(make_options(net, **settled(options)))


@contextmanager
def left_as_it_was(net: object) -> Iterator[None]:
    """Give every part of a live module its training mode back at the end."""
    parts = getattr(net, "modules", None)
    modes = [] if isinstance(net, (str, Path)) or parts is None else list(parts())
    before = [(part, part.training) for part in modes]
    try:
        yield
    finally:
        for part, training in before:
            part.training = training


def make_options(net: str | Path | torch.nn.Module, **options: Any) -> ExportOptions:
    """Return checked ExportOptions; raises UsageError for a name it does not have."""
    from edgeconv.export.options import ExportOptions

    if not isinstance(net, (str, Path)) and not hasattr(net, "forward"):
        raise UsageError(
            f"{type(net).__name__} is no net: give a torch.nn.Module, a name or a file"
        )
    try:
        made = ExportOptions(str(net) if isinstance(net, Path) else net, **options)
    except TypeError as error:
        raise UsageError(f"export_model: {error}") from error
    made.check()
    return made


def run_model(
    path: str | Path,
    pictures: str | Path | Sequence[str | Path],
    *,
    top: int = 5,
    threads: int = 1,
    runtime: str | None = None,
    preprocessing: str | None = None,
    mean: Sequence[float] | float | None = None,
    std: Sequence[float] | float | None = None,
    crop: float | Literal["letterbox"] | None = None,
    channel_order: Literal["rgb", "bgr"] | None = None,
) -> list[Prediction]:
    """Return the ``top`` classes of each picture in any exported file, or anyone's.

    The file runs in a child process; ``preprocessing`` and what follows say how pictures are prepared
    where no manifest does, or in spite of it. Raises EdgeconvError for a net that is no classifier, and
    for a picture that cannot be read, naming it.
    """
    from edgeconv.evaluate.run import Asked, open_subject
    from edgeconv.predict import predict

    if not pictures:
        raise UsageError("name at least one picture")
    with speaking_of_arguments():
        asked = Asked(
            preprocessing,
            as_values(mean),
            as_values(std),
            crop,
            channel_order,
            runtime=runtime,
            threads=threads,
        )
        return predict(open_subject(Path(path), asked), as_paths(pictures), top)
