"""The scores behind an output of labels, in float: how sure each label is, and what may turn it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from edgeconv import metrics
from edgeconv.export.graph import Graph
from edgeconv.export.hub.decisions import Decision, decisions, opened
from edgeconv.export.kinds import Precision
from edgeconv.judge.budget import DEFAULTS
from edgeconv.judge.run import run_feeds
from edgeconv.samples import Feed

Array = NDArray[Any]
OF_RANGE = {
    "fp32": DEFAULTS["fp32"].limits["float_error"],
    "fp16": DEFAULTS["fp16"].limits["half_error"],
}
"""What a score may be off by in a float file, as a share of the scores' range."""


@dataclass(frozen=True)
class Scores:
    """The float ``values`` behind an output's labels, (samples, ...), and the labels' ``margins``, (samples, labels)."""

    values: Array
    margins: Array

    def explained(self, precision: Precision, noise: float | None) -> float | None:
        """Return the widest margin that a sound file may turn; ``noise`` is what the recipe adds to a score.

        None where nothing is known of an INT8 file's recipe.
        """
        if precision == "int8":
            return None if noise is None else metrics.explained_margin(noise)
        return 2.0 * OF_RANGE[precision] * metrics.value_range(self.values)


def float_scores(graph: Graph, feeds: Sequence[Feed]) -> dict[str, Scores]:
    """Run the float graph and return the scores behind each output of labels; empty without any."""
    from edgeconv.export.hub.onnx_io import save_model, to_onnx
    from edgeconv.runtimes.onnxrt import open_model

    decided = decisions(graph)
    if not decided:
        return {}
    with open_model(save_model(to_onnx(opened(graph, decided)))) as runner:
        made, _ = run_feeds(runner, feeds, runner.inputs, runner.outputs)
    return {n: Scores(made[d.scores], d.margins(made[d.scores])) for n, d in decided.items()}


def score_noise(
    made: Mapping[str, Array], decided: Mapping[str, Decision], scores: Mapping[str, Scores]
) -> dict[str, float]:
    """Return by output how far the scores that a recipe ``made`` are from the float ones, as an rms error."""
    return {
        name: metrics.rms_error(scores[name].values, made[decision.scores], name)
        for name, decision in decided.items()
        if name in scores and made[decision.scores].shape == scores[name].values.shape
    }
