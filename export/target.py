"""What a target is: everything the export, its command and its pages know of a format, in one row."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    ``options``: fields of ExportOptions that some targets alone read. ``refuse`` raises UsageError for such of them that contradict, ``stops`` returns
    what of a graph cannot be expressed, both before any work. ``emit`` writes the file.
    ``float_outputs`` says which outputs an INT8 file with float borders does not store as integers.
    ``verified``: at most so many samples verify it (None: all). ``aborts``: its runtime ends the process
    over a file that others refuse, and is tried in a child before. ``halves_tensors``: in half precision it computes, and not only stores. ``then`` is the command to go on with.
    ``lacks``: form as it is typed (fp16, int8, int8-weights, io int8, io uint8) -> why the target has none;
    it is refused then, and other targets go on. ``modules`` are those of ours that it imports when it is
    asked: an export does so while it waits for a child.
    """

    name: str
    suffix: str
    title: str
    needs: tuple[tuple[str, str], ...]
    stops: "Callable[[Graph], list[Refusal]]"
    emit: "Callable[[EmitRequest, Path], Emitted]"
    options: tuple[str, ...] = ()
    refuse: "Callable[[ExportOptions], None]" = lambda options: None
    float_outputs: "Callable[[Graph, Recipe], tuple[str, ...]]" = lambda graph, recipe: ()
    verified: int | None = None
    aborts: bool = False
    halves_tensors: bool = False
    then: str = "bench"
    lacks: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()

    def check(self, graph: "Graph") -> None:
        """Raise UnsupportedOpError for a graph that cannot be expressed."""
        from edgeconv.export.op_table import refuse

        refuse(self.title, self.stops(graph))
