"""``edgeconv bench`` as one library call."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from edgeconv.bench.engine import Progress
from edgeconv.bench.options import BenchOptions, settle
from edgeconv.bench.results import Report
from edgeconv.bench.run import bench


def bench_models(
    models: str | Path | Sequence[str | Path],
    *,
    progress: Progress | None = None,
    **options: Unpack[BenchOptions],
) -> Report:
    """Measure ``models`` (files, or names of nets) and say what can be said of the figures.

    ``progress(what, share)`` follows the work. Raises UsageError or EdgeconvError for arguments that
    cannot be right. A model that cannot be opened or crashes is a row with its ``error``; an
    interrupt gives a partial report.
    """
    given = [models] if isinstance(models, str | Path) else models
    return bench(settle([str(model) for model in given], options), progress)
