"""The quantization engine: prepared graph and pictures in, integers out.

One pass of the float net gathers what is needed; then each candidate of the recipe is fitted
layer by layer on four fifths of the pictures and judged on all: a fifth it has never seen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeconv.errors import EdgeconvError, UsageError, refuse_unknown
from edgeconv.export.feeds import Chosen
from edgeconv.export.graph import Graph, Node
from edgeconv.export.integer.rules import is_pixel_shift, why_float
from edgeconv.export.op_traits import WEIGHTED
from edgeconv.export.quant import islands
from edgeconv.export.quant.apart import kept_apart
from edgeconv.export.quant.bias import channel_axis, is_vector
from edgeconv.export.quant.blas import one_blas_thread
from edgeconv.export.quant.budget import without_coarse
from edgeconv.export.quant.candidates import RECIPES, Candidate
from edgeconv.export.quant.contest import Contest
from edgeconv.export.quant.enclosed import enclosed
from edgeconv.export.quant.finer import mapped, with_copies
from edgeconv.export.quant.float_outputs import logits
from edgeconv.export.quant.judge import decibels
from edgeconv.export.quant.observe import Feeds, Floats, Progress, observe
from edgeconv.export.quant.ranges import conflicts, fixed_scales
from edgeconv.export.quant.relative import relative
from edgeconv.export.quant.task import Quantized, Task
from edgeconv.recipe import Form, Recipe

__all__ = ["Quantized", "float_nodes", "quantize"]

FloatOutputs = Callable[[Graph, Recipe], tuple[str, ...]]
FLOAT_OUTPUTS: Mapping[str, FloatOutputs] = {"onnx": logits}

MOST_LEARNT = 80
"""Pictures that layers are fitted on; ranges use all that are given."""
LIVE_BYTES, LEAST_LEARNT = 48 << 20, 12
"""What the pictures of a layer's input and output may take, and how many are taken all the same."""
LEAST_WHOLE = 32
"""Pictures whose tensors are sampled at least; of the others only extremes count."""
MOST_HELD = 200
"""Pictures that judge."""
HELD_EVERY = 5


def quantize(
    graph: Graph,
    feeds: Sequence[Mapping[str, Floats]],
    *,
    recipe: str = "std",
    threads: int = 1,
    progress: Progress | None = None,
    input_scale: Mapping[str, tuple[float, int]] | None = None,
    keep_float: Sequence[str] = (),
    form: Form | None = None,
    reduce_range: bool = False,
    copies: float = 0.0,
    minutes: float = 0.0,
    accelerator: str = "cpu",
    float_outputs: Mapping[str, FloatOutputs] = FLOAT_OUTPUTS,
) -> Quantized:
    """Return the INT8 recipe of a prepared graph.

    ``feeds`` are calibration samples, input name -> array of the input's shape and type. ``input_scale`` holds the
    prescribed (scale, zero point) of exactly stored pixels. ``keep_float`` names nodes that stay
    in float. ``form`` prescribes a form instead of letting held-out pictures judge.
    ``reduce_range`` keeps weights in [-63, 63], for x86 without VNNI. ``copies`` is the share
    of multiply-adds that copies of noisy channels may add. ``minutes`` is how long PyTorch may train
    what was found (export/twin/), and ``accelerator`` where. ``float_outputs``: target -> what says which outputs its files
    give in float. ``progress`` is called with the share of the work done. The same arguments give the
    same recipe, where training ends before its minutes do.

    Raises UsageError for an unknown recipe or node, EdgeconvError where there are no feeds or a
    value is not finite.
    """
    if recipe not in RECIPES:
        raise UsageError(f"there is no recipe {recipe}: {', '.join(RECIPES)} or a .json file")
    _check_feeds(graph, feeds)
    whole, graph = graph, _computed(graph)
    if not graph.outputs:
        raise EdgeconvError(
            "no output depends on what is fed: there is nothing to quantize, export it in float"
        )
    floats = float_nodes(graph, keep_float, input_scale or {})
    with one_blas_thread():
        report = progress or (lambda _: None)
        limit = 63 if reduce_range else 127
        candidates = RECIPES[recipe]
        task = _observe(graph, feeds, input_scale or {}, floats, threads, limit, candidates, report)
        contested = 0.5 if minutes else 1.0
        contest = Contest(task, candidates, lambda p: report(0.3 + (contested - 0.3) * p))
        made = contest.run(recipe, form)
        taken = 0.0
        while recipe in islands.RECIPES:
            island, share = islands.noisy_island(made, task, taken)
            if not island:
                break
            other = islands.in_float(task, island, input_scale or {})
            again = Contest(other, candidates, lambda _: None)
            found = again.run(recipe, form)
            before, after = (islands.picked_score(m.recipe)["noise"] for m in (made, found))
            if decibels(before, after) < (islands.MORE_DB if taken else islands.WORTH_DB):
                break
            task, contest, made, taken = other, again, found, taken + share
        if copies:
            made = with_copies(made, contest.seen(made), task, copies)
        made = Quantized(made.graph, without_coarse(made.graph, made.recipe))
        said = {target: of(made.graph, made.recipe) for target, of in float_outputs.items()}
        real = {target: names for target, names in said.items() if names}
        made = Quantized(made.graph, replace(made.recipe, float_outputs=real))
        if minutes:
            from edgeconv.export.twin.guarded import train

            made = train(
                made,
                task,
                minutes,
                accelerator,
                lambda p: report(contested + (1 - contested) * p),
            )
        if copies or minutes:
            made = mapped(made, task)
        return Quantized(_restored(made.graph, whole), made.recipe)


def _computed(graph: Graph) -> Graph:
    """Return the graph without outputs that no picture changes: inputs, constants, copies of them."""
    core = graph.clone()
    changing = {out for node in graph.nodes if not _still(graph, node) for out in node.outputs}
    core.outputs = [name for name in graph.outputs if name in changing]
    core.prune()
    return core


def _restored(core: Graph, whole: Graph) -> Graph:
    """Return ``core`` with the outputs of ``whole``, and what makes them."""
    missing = [node for node in whole.nodes if _still(whole, node)]
    missing = [node for node in missing if node.output not in core.producers()]
    restored = core.clone()
    restored.outputs = list(whole.outputs)
    restored.nodes[:0] = missing
    for name in [n for node in missing for n in node.inputs] + whole.outputs:
        if name in whole.constants:
            restored.constants[name] = whole.constants[name]
    for node in missing:
        for out in node.outputs:
            restored.declare(out, whole.shape(out), whole.dtype(out).type)
    return restored


def _still(graph: Graph, node: Node) -> bool:
    return all(name in graph.constants for name in node.inputs if name)


def _learnt(count: int) -> list[int]:
    """Return the places of the pictures that may be learnt from: not every fifth, which judges.

    With fewer than HELD_EVERY pictures all are learnt from, and judge.
    """
    if count < HELD_EVERY:
        return list(range(count))
    return [place for place in range(count) if place % HELD_EVERY != HELD_EVERY - 1]


def _widest(graph: Graph) -> int:
    """Return the most values that one node reads and makes of a picture."""
    return max(
        sum(
            int(np.prod(graph.shape(t))) for t in [*node.inputs, *node.outputs] if t in graph.shapes
        )
        for node in graph.nodes
    )


def _thinned(places: list[int], most: int) -> list[int]:
    kept = np.linspace(0, len(places) - 1, min(most, len(places))).round().astype(int)
    return [places[i] for i in kept]


def _observe(
    graph: Graph,
    feeds: Feeds,
    input_scale: Mapping[str, tuple[float, int]],
    floats: Mapping[str, str],
    threads: int,
    limit: int,
    candidates: Sequence[Candidate],
    report: Progress,
) -> Task:
    most = int(np.clip(LIVE_BYTES // _widest(graph), LEAST_LEARNT, MOST_LEARNT))
    learnt = _thinned(_learnt(len(feeds)), most)
    unlearnt = [place for place in range(len(feeds)) if place not in learnt]
    first = [*learnt, *_thinned(unlearnt, MOST_HELD)]
    rest = sorted(set(range(len(feeds))) - set(first))
    weighted = [n for n in graph.nodes if n.op in WEIGHTED and n.name not in floats]
    after = any(candidate.bias == "after" for candidate in candidates)
    seen = observe(
        graph,
        Chosen(feeds, [*first, *rest]),
        summed={n.inputs[0] for n in weighted},
        counts={len(learnt)},
        averaged=_averaged(graph, weighted, after=after),
        whole=max(len(learnt), LEAST_WHOLE),
        threads=threads,
        progress=lambda p: report(0.3 * p),
    )
    floats = {**kept_apart(graph, seen), **relative(graph, seen), **floats}
    floats = {**floats, **enclosed(graph, floats)}
    fixed = fixed_scales(graph, input_scale, frozenset(floats))
    pictures = Chosen(feeds, first)
    return Task(graph, seen, pictures, len(learnt), fixed, floats, threads, limit)


def _averaged(graph: Graph, weighted: Sequence[Node], *, after: bool) -> dict[str, int]:
    """Return tensors whose means are wanted, a picture and channel, with the axis of the channels.

    Those of inputs without a plane are the inputs themselves. ``after``: outputs behind activations too.
    """
    found = {n.inputs[0]: 1 for n in weighted if n.op == "Conv" or is_vector(graph, n)}
    if after:
        found |= {
            n.output: channel_axis(n, len(graph.shape(n.output))) for n in weighted if n.clamp
        }
    return found


def _check_feeds(graph: Graph, feeds: Feeds) -> None:
    if not feeds:
        raise EdgeconvError("calibration needs at least one picture")
    for number, feed in enumerate(feeds):
        for name in graph.inputs:
            if name not in feed:
                raise EdgeconvError(f"calibration sample {number} lacks the input {name}")
            if tuple(feed[name].shape) != graph.shape(name):
                raise EdgeconvError(
                    f"calibration sample {number}: {name} is {list(graph.shape(name))}, "
                    f"got {list(feed[name].shape)}"
                )
            if not np.isfinite(feed[name]).all():
                raise EdgeconvError(f"calibration sample {number} holds NaN or Inf in {name}")


def float_nodes(
    graph: Graph,
    keep_float: Sequence[str] = (),
    input_scale: Mapping[str, tuple[float, int]] | None = None,
) -> dict[str, str]:
    """Return the nodes that compute in float, with the reason.

    Raises UsageError where ``keep_float`` names a node the graph does not have.
    """
    refuse_unknown("node", keep_float, {node.name for node in graph.nodes}, "the net")
    found = dict.fromkeys(keep_float, "kept in float on request")
    for node in graph.nodes:
        reason = why_float(graph, node)
        if reason is not None and node.name not in found:
            found[node.name] = reason
    fixed = fixed_scales(graph, input_scale or {}, frozenset(found))
    for name, reason in conflicts(graph, fixed).items():
        found.setdefault(name, reason)
    return {
        node.name: found[node.name]
        for node in graph.nodes
        if node.name in found and not is_pixel_shift(graph, node)
    }
