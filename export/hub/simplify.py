"""Raw ONNX to the hub graph: onnxsim in a child process, then our own passes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.hub.simplify_child import LIBRARIES
from edgeconv.export.hub.trace import HUB_OPSET
from edgeconv.export.prepare import simplify_graph
from edgeconv.files import temporary_folder
from edgeconv.isolate import Worker, call

if TYPE_CHECKING:
    import onnx

TIMEOUT_S = 600
ADMISSION_S = 120.0
"""What a foreign file may take to be opened and run once: an endless loop is none to convert."""
CHILD = "edgeconv.export.hub.simplify_child"


@dataclass(frozen=True)
class Simplified:
    """The hub graph, and a warning where onnxsim could not help."""

    hub: Graph
    warning: str | None


class Simplifier:
    """A child process that imports onnxsim while its parent does something else.

    It serves once; later calls, and those it failed before converting, start a child of their own.
    ``foreign`` is an .onnx file that it opens first: see ``admit``.
    """

    def __init__(self, foreign: Path | None = None) -> None:
        self.foreign = foreign
        value = None if foreign is None else str(foreign)
        self._child: Worker | None = Worker(f"{CHILD}:serve", value, "it")

    def admit(self) -> None:
        """Wait until the child has opened the foreign file with every library that will open it here.

        Raises EdgeconvError naming the library, the file and the signal where that crashed, or the
        time it was given.
        """
        child, path = self._child, self.foreign
        if child is None or path is None:
            return
        for library in LIBRARIES:
            child.what = f"{library} on {path}"
            child.receive(ADMISSION_S)
        child.what = "it"

    def close(self) -> None:
        """Stop a child that nobody needed."""
        child, self._child = self._child, None
        if child is not None:
            child.close(patience_s=0.0)

    def simplify(
        self, model: "onnx.ModelProto", meanwhile: Callable[[], None] = lambda: None
    ) -> Simplified:
        """Return the hub graph of ``model``; see the function of this name.

        ``meanwhile`` is called while the child works.
        """
        child, self._child = self._child, None
        return _simplify(model, child, meanwhile)


@contextmanager
def early_simplifier(foreign: Path | None = None) -> Iterator[Simplifier]:
    """Start a Simplifier; nothing of it is left at the end."""
    simplifier = Simplifier(foreign)
    try:
        yield simplifier
    finally:
        simplifier.close()


def admit(path: Path) -> None:
    """Let a child open a foreign .onnx file with onnx before this process does.

    Raises EdgeconvError naming the file and the signal where that crashed.
    """
    call(f"{CHILD}:open_foreign", ["onnx", str(path)], f"onnx on {path}", timeout_s=ADMISSION_S)


def simplify(model: "onnx.ModelProto") -> Simplified:
    """Return the hub graph of ``model``.

    Where onnxsim crashes or gives up, our passes go on from what it was given, and the
    result says so. Raises EdgeconvError where the model has dynamic shapes or its opset cannot
    be converted.
    """
    return _simplify(model, None, lambda: None)


def _simplify(
    model: "onnx.ModelProto", child: Worker | None, meanwhile: Callable[[], None]
) -> Simplified:
    import onnx

    from edgeconv.export.hub.branches import refuse_subgraphs, take_branches
    from edgeconv.export.hub.chance import refuse_chance
    from edgeconv.export.hub.graphs import opset_of
    from edgeconv.export.hub.onnx_io import from_onnx

    reason, result = _in_child(take_branches(model), child, meanwhile)
    refuse_subgraphs(result)
    refuse_chance(result)
    if reason is None:
        return Simplified(simplify_graph(from_onnx(result)), None)
    opset = opset_of(result)
    if opset < HUB_OPSET:
        raise EdgeconvError(f"the model's opset {opset} cannot be brought to {HUB_OPSET}: {reason}")
    assert isinstance(result, onnx.ModelProto)
    warning = f"onnxsim failed ({reason}); edgeconv's own passes went on without it"
    return Simplified(simplify_graph(from_onnx(result)), warning)


def _in_child(
    model: "onnx.ModelProto", child: Worker | None, meanwhile: Callable[[], None]
) -> tuple[str | None, "onnx.ModelProto"]:
    """Return (None, simplified model), or (reason, the model as far as it came)."""
    import onnx

    with temporary_folder() as folder:
        source, target = Path(folder, "raw.onnx"), Path(folder, "simple.onnx")
        onnx.save(model, str(source))
        asked = [str(source), str(target), HUB_OPSET]
        reason = None if child is None else _ask(child, asked, meanwhile)
        if child is None or not target.is_file():
            reason = _reason(lambda: call(f"{CHILD}:simplify", asked, "it", timeout_s=TIMEOUT_S))
        # what a dying child left is whole: the model at the hub's opset, perhaps simplified
        return reason, onnx.load(str(target)) if target.is_file() else model


def _ask(child: Worker, asked: list[Any], meanwhile: Callable[[], None]) -> str | None:
    def answer() -> Any:
        child.send(asked)
        meanwhile()
        return child.receive(TIMEOUT_S)

    try:
        return _reason(answer)
    finally:
        child.close(patience_s=0.0)


def _reason(convert: Callable[[], Any]) -> str | None:
    """Return why a child failed, be it dead or alive; None where it did not."""
    try:
        return None if (said := convert()) is None else str(said)
    except EdgeconvError as error:
        return str(error)
