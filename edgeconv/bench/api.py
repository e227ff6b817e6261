"""``edgeconv bench`` as one library call."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Union, Unpack

from edgeconv.api import left_as_it_was
from edgeconv.arguments import speaking_of_arguments
from edgeconv.bench.engine import Progress
from edgeconv.bench.options import BenchOptions, settle
from edgeconv.bench.results import Report
from edgeconv.bench.run import bench
from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.files import temporary_folder

if TYPE_CHECKING:
    import torch

Model = Union[str, Path, "torch.nn.Module"]


def bench_models(
    models: Model | Sequence[Model],
    *,
    progress: Progress | None = None,
    **options: Unpack[BenchOptions],
) -> Report:
    """Measure ``models`` and say what can be said of the figures.

    Each is a file, a net's name, what names a module of yours, or a live module (with
    ``input_shape``), which the measuring process gets as an exported program.
    ``progress(what, share)`` follows the work. Raises UsageError or EdgeconvError for arguments that
    cannot be right. A model that cannot be opened or crashes is a row with its ``error``; an
    interrupt gives a partial report.
    """
    given = models if isinstance(models, Sequence) and not isinstance(models, str) else [models]
    with speaking_of_arguments(BenchOptions), temporary_folder() as folder:
        shape = options.get("input_shape")
        names = [
            str(model) if isinstance(model, str | Path) else _saved(model, shape, folder / str(n))
            for n, model in enumerate(given)
        ]
        return bench(settle(names, options), progress)


def _saved(model: "torch.nn.Module", shape: Sequence[int] | None, folder: Path) -> str:
    """Write a live module as an exported program into ``folder``; return the file."""
    if not hasattr(model, "forward"):
        raise UsageError(
            f"{type(model).__name__} is no net: give a torch.nn.Module, a name or a file"
        )
    if shape is None:
        raise UsageError(f"{type(model).__name__} is a live module: say its input_shape")
    require("torch", "torch")
    from edgeconv.models.user_net import save_program

    folder.mkdir()
    path = folder / f"{type(model).__name__}.pt2"
    with left_as_it_was(model):
        save_program(model, tuple(shape), path)
    return str(path)
