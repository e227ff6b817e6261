"""Each pass does what it says and keeps the function: the runner, constants, no-ops, softmax."""

import numpy as np
import pytest
from graph_kit import feeds_of, floats, graph_of, ints, ops, rewritten, run, scalar

from edgeconv.errors import EdgeconvError
from edgeconv.export.graph import Graph
from edgeconv.export.passes.append_softmax import append_softmax
from edgeconv.export.passes.base import run_passes
from edgeconv.export.passes.drop_noops import drop_noops
from edgeconv.export.passes.fold_constants import MAX_ELEMENTS, fold_constants


def test_passes_run_to_a_fixpoint_and_sort() -> None:
    graph = graph_of(
        "(float[2] x) => (float[2] y) { a = Identity(x)\n b = Identity(a)\n y = Relu(b) }"
    )
    graph.nodes.reverse()
    run_passes(graph, [drop_noops])
    assert ops(graph) == ["Relu"]
    assert graph.nodes[0].inputs == ["x"]


def test_a_pass_that_never_settles_is_an_error() -> None:
    graph = graph_of("(float[2] x) => (float[2] y) { y = Relu(x) }")
    with pytest.raises(EdgeconvError, match="did not settle within 20 rounds"):
        run_passes(graph, [lambda graph: True])


def test_a_pass_that_touches_the_borders_is_an_error() -> None:
    graph = graph_of("(float[2] x) => (float[2] y) { y = Relu(x) }")

    def rename(graph: Graph) -> bool:
        graph.rename("y", "z")
        graph.outputs = ["z"]
        return False

    with pytest.raises(EdgeconvError, match="changed the model's inputs or outputs"):
        run_passes(graph, [rename])


def test_what_depends_on_constants_only_is_computed() -> None:
    before = graph_of(
        "(float[2,3] x) => (float[3,2] y) { s = Shape(x)\n a = Slice(s, one, two)\n"
        " b = Slice(s, zero, one)\n t = Concat<axis = 0>(a, b)\n y = Reshape(x, t) }",
        zero=ints(0),
        one=ints(1),
        two=ints(2),
    )
    after = rewritten(before, fold_constants)
    assert ops(after) == ["Reshape"]
    assert after.constants["t"].tolist() == [3, 2]


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [("", [2, 3, 4]), ("<start = 1>", [3, 4]), ("<end = -1>", [2, 3]), ("<start = -1>", [4])],
)
def test_a_slice_of_a_shape_is_folded(bounds: str, expected: list[int]) -> None:
    before = graph_of(
        f"(float[2,3,4] x) => (float[2,3,4] y) {{ s = Shape{bounds}(x)\n f = Cast<to = 1>(s)\n"
        " m = ReduceSum<keepdims = 0>(f)\n y = Mul(x, m) }"
    )
    assert ops(rewritten(before, fold_constants)) == ["Mul"]
    fold_constants(before)
    assert before.constants["s"].tolist() == expected


def test_a_filled_tensor_is_folded_with_its_type() -> None:
    before = graph_of(
        "(float[2,3] x) => (float[2,3] y) {"
        " c = ConstantOfShape<value = float[1] {2.5}>(s)\n y = Add(x, c) }",
        s=ints(2, 3),
    )
    after = rewritten(before, fold_constants)
    assert after.constants["c"].dtype == np.float32
    assert (after.constants["c"] == 2.5).all()


def test_every_output_of_a_split_constant_is_folded() -> None:
    before = graph_of(
        "(float[2] x) => (float[2] y) { a, b = Split<num_outputs = 2>(c)\n p = Add(x, a)\n"
        " y = Sub(p, b) }",
        c=floats(4),
    )
    assert ops(rewritten(before, fold_constants)) == ["Add", "Sub"]


def test_constant_outputs_random_numbers_and_giants_are_not_folded() -> None:
    output = graph_of(
        "(float[2] x) => (float[2] y, float[2] z) { z = Neg(c)\n y = Relu(x) }", c=floats(2)
    )
    assert ops(rewritten(output, fold_constants)) == ["Neg", "Relu"]
    random = graph_of(
        "(float[2] x) => (float[2] y) { r = RandomNormalLike(c)\n y = Add(x, r) }", c=floats(2)
    )
    assert not fold_constants(random)
    giant = graph_of(
        "(float[1] x) => (float[1] y) { g = ConstantOfShape(s)\n"
        " m = ReduceMax<keepdims = 0>(g)\n y = Add(x, m) }",
        s=ints(MAX_ELEMENTS + 1),
    )
    assert not fold_constants(giant)


@pytest.mark.parametrize(
    "node",
    [
        "Identity(x)",
        "Dropout(x)",
        "Dropout(x, half, no)",
        "Reshape(x, shape)",
        "Flatten(x)",
        "Expand(x, shape)",
        "Tile(x, once)",
        "Slice(x, zero, far, axis, step)",
        "Slice(x, zero, far)",
        "Pad(x, nothing)",
        "Transpose<perm = [0, 1]>(x)",
        "Concat<axis = 0>(x)",
        "Sum(x)",
        "Max(x)",
        "Cast<to = 1>(x)",
    ],
)
def test_a_noop_is_dropped(node: str) -> None:
    before = graph_of(
        f"(float[2,3] x) => (float[2,3] y) {{ a = {node}\n y = Relu(a) }}",
        half=scalar(0.5),
        no=np.array(False),
        shape=ints(2, 3),
        zero=ints(0),
        far=ints(1 << 40),
        axis=ints(1),
        step=ints(1),
        nothing=ints(0, 0, 0, 0),
        once=ints(1, 1),
    )
    after = rewritten(before, drop_noops)
    assert ops(after) == ["Relu"]
    assert after.nodes[0].inputs == ["x"]


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        ("Slice(x, end, before, axis, back)", "float"),
        ("Pad(x, one_row)", "float"),
        ("Pad(x, shifted)", "float"),
        ("Transpose(x)", "float"),
        ("Concat<axis = 0>(x, x)", "float"),
        ("Cast<to = 10>(x)", "float16"),
        ("Reshape(x, turned)", "float"),
    ],
)
def test_what_changes_something_stays(node: str, kind: str) -> None:
    before = graph_of(
        f"(float[3,3] x) => ({kind}[N,M] y) {{ a = {node}\n y = Neg(a) }}",
        end=ints(-1),
        before=ints(-(1 << 40)),
        axis=ints(0),
        back=ints(-1),
        one_row=ints(1, 0, 0, 0),
        shifted=ints(1, 0, -1, 0),
        turned=ints(1, 9),
    )
    after = rewritten(before, drop_noops)
    assert ops(after) == ops(before)


def test_bounds_that_are_infinite_bound_nothing() -> None:
    before = graph_of(
        "(float[2] x) => (float[2] y) { a = Max(none, x)\n b = Min(a, all, half)\n y = Relu(b) }",
        none=scalar(-np.inf),
        all=scalar(np.inf),
        half=scalar(0.5),
    )
    after = rewritten(before, drop_noops)
    assert ops(after) == ["Min", "Relu"]
    assert after.nodes[0].inputs == ["x", "half"]
    widens = graph_of(
        "(float[2] x) => (float[3,2] y) { y = Max(none, x) }",
        none=np.full((3, 2), -np.inf, np.float32),
    )
    assert not drop_noops(widens)


def test_a_slice_of_computed_steps_stays() -> None:
    graph = graph_of("(float[3] x, int64[1] s) => (float[3] y) { y = Relu(x) }")
    graph.nodes[0].op, graph.nodes[0].inputs = "Slice", ["x", "s", "s", "s", "s"]
    assert not drop_noops(graph)


def test_dropout_in_training_mode_stays() -> None:
    graph = graph_of(
        "(float[9] x) => (float[9] y) { a = Dropout(x, half, yes)\n y = Relu(a) }",
        half=scalar(0.5),
        yes=np.array(True),
    )
    assert not drop_noops(graph)


def test_a_mask_that_nobody_reads_does_not_keep_dropout() -> None:
    unread = graph_of("(float[9] x) => (float[9] y) { a, mask = Dropout(x)\n y = Relu(a) }")
    assert ops(rewritten(unread, drop_noops)) == ["Relu"]
    read = graph_of(
        "(float[9] x) => (float[9] y, bool[9] mask) { a, mask = Dropout(x)\n y = Relu(a) }"
    )
    assert not drop_noops(read)


def test_a_noop_before_an_output_hands_its_name_on() -> None:
    before = graph_of("(float[2] x) => (float[2] y) { a = Relu(x)\n b = Neg(a)\n y = Identity(b) }")
    after = rewritten(before, drop_noops)
    assert ops(after) == ["Relu", "Neg"]
    assert after.nodes[-1].outputs == ["y"]


@pytest.mark.parametrize(
    "body",
    [
        "(float[2] x) => (float[2] y) { y = Identity(x) }",
        "(float[2] x) => (float[2] y, float[2] z) { y = Relu(x)\n z = Identity(y) }",
        "(float[2] x) => (float[2] y, float[2] z) { y = Relu(x)\n z = Identity(c) }",
    ],
)
def test_a_noop_between_two_borders_stays(body: str) -> None:
    before = graph_of(body, c=floats(2))
    assert ops(rewritten(before, drop_noops))[-1] == "Identity"


def test_softmax_turns_logits_into_probabilities() -> None:
    before = graph_of("(float[2,9] x) => (float[2,9] y) { y = Relu(x)\n unused = Neg(y) }")
    after = before.clone()
    assert append_softmax(after)
    assert after.outputs == ["y"]
    feeds = feeds_of(before)
    logits, found = run(before, feeds)[0], run(after, feeds)[0]
    powers = np.exp(logits - logits.max(1, keepdims=True))
    np.testing.assert_allclose(found, powers / powers.sum(1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    "body",
    [
        "(float[2,9] x) => (float[2,9] y, float[2,9] z) { y = Relu(x)\n z = Neg(x) }",
        "(float[1,2,3,3] x) => (float[1,2,3,3] y) { y = Relu(x) }",
    ],
)
def test_softmax_needs_one_row_of_scores(body: str) -> None:
    with pytest.raises(EdgeconvError, match="--softmax needs a net with one output"):
        append_softmax(graph_of(body))
