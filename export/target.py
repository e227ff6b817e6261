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
    ``options``: fields of ExportOptions that some targets alone read. ``refuse`` raises UsageError for options that cannot be, ``stops`` returns
    what of a graph cannot be expressed, both before any work. ``emit`` writes the file.
    ``float_outputs`` says which outputs an INT8 file with float borders does not store as integers.
    ``verified``: at most so many samples verify it (None: all). ``aborts``: its runtime ends the process
    over a file that others refuse, and is tried in a child before. ``then`` is the command to go on with.
    ``halves``: it has an FP16 form. ``no_int8`` says why it takes no recipe; it is refused in INT8
    then, and other targets go on.
    """

    name: str
    suffix: str
    title: str
    needs: tuple[tuple[str, str], ...]
    refuse: "Callable[[ExportOptions], None]"
    stops: "Callable[[Graph], list[Refusal]]"
    emit: "Callable[[EmitRequest, Path], Emitted]"
    options: tuple[str, ...] = ()
    float_outputs: "Callable[[Graph, Recipe], tuple[str, ...]]" = lambda graph, recipe: ()
    verified: int | None = None
    aborts: bool = False
    then: str = "bench"
    halves: bool = True
    no_int8: str = ""

    def check(self, graph: "Graph", *, integer: bool = False) -> None:
        """Raise UnsupportedOpError for a graph that cannot be expressed, or not as an INT8 file."""
        from edgeconv.errors import UnsupportedOpError
        from edgeconv.export.op_table import refuse

        if integer and self.no_int8:
            raise UnsupportedOpError(f"{self.title} takes no INT8 of ours: {self.no_int8}")
        refuse(self.title, self.stops(graph))
