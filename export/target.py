"""What a target is: everything the export, its command and its pages know of a format, in one row."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeconv.export.emit import EmitRequest, Emitted
    from edgeconv.export.graph import Graph
    from edgeconv.export.op_table import Refusal
    from edgeconv.export.options import ExportOptions
    from edgeconv.recipe import Recipe


@dataclass(frozen=True)
class Target:
    """One format.

    ``needs``: (module, extra of pyproject.toml) of every package that it cannot do without.
    ``options``: fields of ExportOptions that some targets alone read; ``alone``: those that need this
    target and no other. ``refuse`` raises UsageError for options that cannot be, ``stops`` returns
    what of a graph cannot be expressed, both before any work. ``emit`` writes the file.
    ``float_outputs`` says which outputs an INT8 file with float borders does not store as integers.
    ``verified``: at most so many samples verify it (None: all). ``aborts``: its runtime ends the process
    over a file that others refuse, and is tried in a child before. ``then`` is the command to go on with.
    """

    name: str
    suffix: str
    title: str
    needs: tuple[tuple[str, str], ...]
    refuse: "Callable[[ExportOptions], None]"
    stops: "Callable[[Graph], list[Refusal]]"
    emit: "Callable[[EmitRequest, Path], Emitted]"
    options: tuple[str, ...] = ()
    alone: tuple[str, ...] = ()
    float_outputs: "Callable[[Graph, Recipe], tuple[str, ...]]" = lambda graph, recipe: ()
    verified: int | None = None
    aborts: bool = False
    then: str = "bench"

    def check(self, graph: "Graph") -> None:
        """Raise UnsupportedOpError for a graph that cannot be expressed."""
        from edgeconv.export.op_table import refuse

        refuse(self.title, self.stops(graph))
