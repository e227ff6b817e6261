"""What an export carries from stage to stage, and what a stage is."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeconv.ahead import Beside
from edgeconv.export.graph import Graph
from edgeconv.export.hub.ends import gives_probabilities
from edgeconv.export.options import ExportOptions
from edgeconv.export.prepare import Prepared
from edgeconv.export.stages import Stages
from edgeconv.export.targets import TARGETS

if TYPE_CHECKING:
    import onnx

    from edgeconv.ahead import Early
    from edgeconv.export.data import Data
    from edgeconv.export.emit import Emitted
    from edgeconv.export.hub.simplify import Simplifier
    from edgeconv.export.qdq.read import QuantizedModel
    from edgeconv.export.quant.calibration import PictureCheck
    from edgeconv.export.report import ExportReport
    from edgeconv.export.source import Source
    from edgeconv.export.verify import Expected, Promise
    from edgeconv.recipe import Form, Recipe
    from edgeconv.runtimes.probe import EarlyProbe
    from edgeconv.samples import Feed


@dataclass(frozen=True)
class Lowered:
    """All forms of the net on its way: raw, hub (with what was appended), and what emitters read."""

    raw: "onnx.ModelProto"
    hub: Graph
    prepared: Prepared
    own: "QuantizedModel | None" = None
    """What a file that is quantized already says itself."""
    nms: str | None = None
    """The head that --nms decodes."""


@dataclass
class Work:
    """One export: what was asked, and what its stages have found so far, in the order they find it.

    ``dry``: nothing is calibrated or written, and nothing is refused for standing in the way.
    ``hinting`` is the folder whose pictures may hint at another scaling.
    What is begun early goes on ``beside`` the stages until one asks for it. ``given`` is the recipe of a file. ``refused`` is target -> why it does not take the net.
    """

    options: ExportOptions
    stages: Stages
    threads: int
    simplifier: "Simplifier"
    beside: Beside
    dry: bool = False
    given: "Recipe | None" = None
    notes: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    source: "Source" = field(init=False)
    raw: "onnx.ModelProto" = field(init=False)
    labels: list[str] | None = field(init=False)
    data: "Data" = field(init=False)
    lowered: Lowered = field(init=False)
    calibration: "Early[tuple[Sequence[Feed], PictureCheck]] | None" = field(
        init=False, default=None
    )
    reference: "Early[tuple[Expected, str]]" = field(init=False)
    hinting: str | None = field(init=False, default=None)
    hint: "Early[str | None] | None" = field(init=False, default=None)
    expected: "Expected" = field(init=False)
    names: list[str] = field(init=False)
    graph: Graph = field(init=False)
    recipe: "Recipe | None" = field(init=False, default=None)
    place: Path = field(init=False)
    description: Mapping[str, Any] = field(init=False)
    promises: "dict[tuple[bool, Form, frozenset[str]], Early[Promise]]" = field(
        init=False, default_factory=dict
    )
    evidence: "Early[dict[str, bytes]]" = field(init=False)
    departure: "Early[str | None]" = field(init=False)
    emitted: "dict[str, Emitted]" = field(default_factory=dict)
    probes: "dict[str, EarlyProbe]" = field(init=False, default_factory=dict)
    report: "ExportReport" = field(init=False)

    @property
    def stem(self) -> str:
        """How every file of the export begins."""
        return f"{self.source.stem}_{self.options.suffix}"

    @property
    def classifier(self) -> list[str] | None:
        """The class names of a Core ML classifier."""
        return self.labels if self.options.image_input and self.options.nms is None else None

    @property
    def softmax_inside(self) -> bool:
        """Whether every target's graph ends in a softmax of ours; else Core ML's emitter gives its own file one."""
        return self.softmax and (self.options.softmax or len(self.options.targets) > 1)

    @property
    def softmax(self) -> bool:
        """Whether the files end in probabilities that the net itself does not give."""
        return self.options.softmax or (self.classifier is not None and not self.probabilities)

    @property
    def reference_first(self) -> bool:
        """Whether the recipe is judged by the reference, or nothing beside finds that it does not repeat itself."""
        return self.options.max_drop is not None or (self.threads == 1 and not self.dry)

    @cached_property
    def probabilities(self) -> bool:
        """Whether the net itself ends in probabilities; known once it is traced."""
        return gives_probabilities(self.raw)

    def file(self, target: str, folder: Path) -> Path:
        """Return where a target's file lies in ``folder``."""
        return folder / f"{self.stem}{TARGETS[target].suffix}"


@dataclass(frozen=True)
class Stage:
    """One step: ``run`` does it and says so; ``plans`` says (stage, text) for each line it would say.

    A stage without ``plans`` is cheap: --dry-run runs it. ``when`` says whether an export has it.
    """

    run: Callable[[Work], None]
    plans: Callable[[Work], Sequence[tuple[str, str]]] | None = None
    when: Callable[[Work], bool] = lambda _: True
