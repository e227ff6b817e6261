"""Where cells run: in a Python on this machine, on an emulated board, on boards over SSH."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgeconv.errors import EdgeconvError
from edgeconv.judge.outputs import Outputs, inputs_hash
from edgeconv.parity.cells import Cell
from edgeconv.parity.child import run_cell, save_feeds
from edgeconv.parity.facts import described
from edgeconv.parity.matrix import Samples, Settings, job_for

Found = list[tuple[Cell, Outputs | str]]
"""Each cell with its outputs, or the sentence that says why there are none."""


class Place(Protocol):
    """Somewhere else that the files among a run's cells can run as well."""

    def run(
        self, cells: Sequence[Cell], samples: Samples, settings: Settings, scratch: Path
    ) -> Found:
        """Run what of ``cells`` (those of this machine) runs there; ``scratch`` is an empty folder.

        The cells returned are the place's own, each after the cell here that it is held against.
        Raises EdgeconvError where the place cannot be had at all.
        """
        ...


class Here:
    """This machine: a child process for each cell, in the Python that the cell names."""

    def run(
        self, cells: Sequence[Cell], samples: Samples, settings: Settings, scratch: Path
    ) -> Found:
        """Run each cell; a failure is the sentence in place of outputs."""
        if samples.count == 0:
            raise EdgeconvError("there is no sample to compare on")
        feeds = save_feeds(samples.inputs, scratch)
        digest = inputs_hash(samples.inputs)
        done: Found = []
        for number, cell in enumerate(cells):
            job = job_for(cell, feeds, samples, settings, scratch / f"cell{number}.npz")
            try:
                outputs = run_cell(job, cell.python, settings.timeout_s)
            except EdgeconvError as error:
                done.append((cell, str(error)))
                continue
            done.append((cell, described(cell, outputs, digest, bool(cell.board))))
        return done


def left_out(paths: Sequence[Path], ran: Found) -> list[str]:
    """Say which of ``paths`` each board has no runtime for, where it has one for others.

    ``ran`` is each cell with what came of it; a board of which sentences came alone may have run none.
    """
    there: dict[str, set[Path]] = {}
    answered = {cell.board for cell, found in ran if not isinstance(found, str)}
    for cell, _ in ran:
        if cell.board is not None:
            there.setdefault(cell.board, set()).add(cell.path)
    return [
        f"{path.name} does not run on {board}, which has no runtime for it"
        for board, known in there.items()
        for path in paths
        if board in answered and path not in known
    ]
