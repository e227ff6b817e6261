"""Which cells have their layers compared, and with what."""

from collections.abc import Sequence
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.parity.cells import Cell
from edgeconv.parity.child import save_feeds
from edgeconv.parity.data import Request
from edgeconv.parity.layers.figures import LayerReport
from edgeconv.parity.layers.run import run_layers
from edgeconv.parity.matrix import Samples, Settings, job_for
from edgeconv.runtimes.table import RUNTIMES

PICTURES = 8
"""Pictures that layers are compared on: a kernel that is wrong is wrong on the first."""


def layer_reference(cell: Cell, cells: Sequence[Cell], request: Request) -> Path | None:
    """Return the ONNX file whose layers those of ``cell`` are held against; None: nothing to do.

    An artifact is held against its prepared graph, a stage against the stage before it, a foreign
    .onnx against an .onnx reference.
    """
    if cell.artifact is not None:
        return None if cell.stage == "recipe" else cell.artifact.evidence("prepared.onnx")
    if cell.stage in ("raw", "hub", "prepared"):
        before = next((other for other in cells if other.label == cell.before), None)
        return None if before is None else before.path
    if isinstance(request.reference, str) and request.reference.endswith(".onnx"):
        return Path(request.reference)
    return None


def layer_reports(
    cells: Sequence[Cell],
    samples: Samples,
    settings: Settings,
    request: Request,
    scratch: Path,
    bisect: Path | None = None,
) -> tuple[dict[str, LayerReport], list[str], list[str]]:
    """Return the layer report of each cell by label, notes, and a sentence for each that failed.

    ``bisect`` is a folder for repros: a folder of its own for each cell that has a layer to show.
    """
    feeds = save_feeds(samples.inputs, scratch)
    found: dict[str, LayerReport] = {}
    notes: list[str] = []
    failed: list[str] = []
    for number, cell in enumerate(cells):
        reference = layer_reference(cell, cells, request)
        if reference is None:
            continue
        if not RUNTIMES[cell.runtime].lays_open:
            notes.append(f"layers of {cell.label}: {cell.runtime} does not open edited files")
            continue
        job = job_for(cell, feeds, samples, settings, scratch / f"layers{number}.npz")
        try:
            found[cell.label] = run_layers(
                job,
                reference,
                cell.label,
                kind=cell.kind,
                count=PICTURES,
                bisect=None if bisect is None else bisect / _stem(cell.label),
                timeout_s=settings.timeout_s,
            )
        except EdgeconvError as error:
            failed.append(f"layers of {cell.label}: {error}")
            continue
        first = found[cell.label].first
        if bisect is not None and first is not None:
            notes.append(f"repro of {first.node}: {bisect / _stem(cell.label)}")
    if bisect is not None and not any(report.first for report in found.values()):
        notes.append("no single layer departs, so there is no repro to write")
    return found, notes, failed


def _stem(label: str) -> str:
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in label)
