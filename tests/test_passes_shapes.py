"""The passes over changes of shape: reshapes and channel shuffles."""

import numpy as np
import pytest
from graph_kit import floats, graph_of, ints, ops, rewritten, run

from edgeconv.export.graph import Graph
from edgeconv.export.passes.base import run_passes
from edgeconv.export.passes.expand_shuffles import expand_shuffles
from edgeconv.export.passes.find_shuffles import find_shuffles
from edgeconv.export.passes.join_windows import join_windows
from edgeconv.export.passes.normalize_reshapes import normalize_reshapes


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        ("Flatten(x)", (2, 12)),
        ("Flatten<axis = 0>(x)", (1, 24)),
        ("Unsqueeze(x, first)", (1, 2, 3, 4, 1)),
        ("Squeeze(x, last)", (2, 3, 4)),
        ("Reshape(x, open)", (2, 12)),
        ("Reshape<allowzero = 1>(x, full)", (4, 6)),
    ],
)
def test_every_change_of_shape_is_a_complete_reshape(node: str, shape: tuple[int, ...]) -> None:
    border = (
        "(float[2,3,4,1] x)" if "Squeeze" in node and "Un" not in node else ("(float[2,3,4] x)")
    )
    dims = ",".join("ABCDE"[: len(shape)])
    before = graph_of(
        f"{border} => (float[{dims}] y) {{ y = {node} }}",
        first=ints(0, 4),
        last=ints(-1),
        open=ints(0, -1),
        full=ints(4, 6),
    )
    after = rewritten(before, normalize_reshapes)
    (node_,) = after.nodes
    assert (node_.op, node_.attrs) == ("Reshape", {})
    assert tuple(after.constants[node_.inputs[1]]) == shape == after.shape("y")


def test_a_chain_of_any_length_becomes_one() -> None:
    body = "\n".join(f"t{i + 1} = Reshape(t{i}, {'ab'[i % 2]})" for i in range(30))
    before = graph_of(
        f"(float[2,6] t0) => (float[N,M] y) {{ {body}\n y = Flatten(t30) }}",
        a=ints(3, 4),
        b=ints(4, 3),
    )
    assert ops(rewritten(before, normalize_reshapes)) == ["Reshape"]


def test_a_reshape_that_others_read_or_that_is_an_output_stays() -> None:
    read = graph_of(
        "(float[2,6] x) => (float[12] y, float[3,4] z) { a = Reshape(x, s)\n y = Reshape(a, t)\n"
        " z = Relu(a) }",
        s=ints(3, 4),
        t=ints(12),
    )
    assert ops(rewritten(read, normalize_reshapes)) == ["Reshape", "Reshape", "Relu"]
    output = graph_of(
        "(float[2,6] x) => (float[12] y, float[3,4] a) { a = Reshape(x, s)\n y = Reshape(a, t) }",
        s=ints(3, 4),
        t=ints(12),
    )
    assert ops(rewritten(output, normalize_reshapes)) == ["Reshape", "Reshape"]


def shuffles(count: int, groups: int = 3, merged: bool = False) -> Graph:
    body, last = [], "x"
    perm = "[0, 2, 1, 3]" if merged else "[0, 2, 1, 3, 4]"
    for i in range(count):
        out = "y" if i == count - 1 else f"o{i}"
        body.append(f"a{i} = Reshape({last}, s)\n b{i} = Transpose<perm = {perm}>(a{i})")
        body.append(f"{out} = Reshape(b{i}, t)")
        last = out
    lines = "\n".join(body)
    split = (1, groups, 12 // groups, 10) if merged else (1, groups, 12 // groups, 2, 5)
    return graph_of(
        f"(float[1,12,2,5] x) => (float[1,12,2,5] y) {{ {lines} }}",
        s=ints(*split),
        t=ints(1, 12, 2, 5),
    )


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 3, 4, 6, 12])
def test_a_shuffle_is_found_whole_and_written_back(groups: int, merged: bool) -> None:
    before = shuffles(1, groups, merged)
    found = rewritten(before, find_shuffles)
    assert ops(found) == ["ChannelShuffle"]
    assert found.nodes[0].attrs == {"groups": groups}
    x = floats(1, 12, 2, 5)
    k, g = np.divmod(np.arange(12), groups)
    assert (run(found, {"x": x})[0] == x[:, g * (12 // groups) + k]).all()
    assert ops(rewritten(found, expand_shuffles)) == ["Reshape", "Transpose", "Reshape"]


def test_thirty_shuffles_are_found() -> None:
    graph = shuffles(30)
    run_passes(graph, [find_shuffles])
    assert ops(graph) == ["ChannelShuffle"] * 30


@pytest.mark.parametrize(
    ("perm", "split", "merge"),
    [
        ([0, 1, 2, 4, 3], (1, 3, 4, 2, 5), (1, 12, 2, 5)),
        ([0, 2, 1, 3, 4], (1, 3, 2, 2, 10), (1, 12, 2, 5)),
        ([0, 2, 1, 3, 4], (1, 3, 4, 2, 5), (1, 12, 5, 2)),
        ([1, 0, 2, 3, 4], (1, 3, 4, 2, 5), (1, 12, 2, 5)),
    ],
)
def test_other_transposes_are_no_shuffles(
    perm: list[int], split: tuple[int, ...], merge: tuple[int, ...]
) -> None:
    before = graph_of(
        "(float[1,12,2,5] x) => (float[A,B,C,D] y) {"
        f" a = Reshape(x, s)\n b = Transpose<perm = {perm}>(a)\n y = Reshape(b, t) }}",
        s=ints(*split),
        t=ints(*merge),
    )
    assert ops(rewritten(before, find_shuffles)) == ["Reshape", "Transpose", "Reshape"]


def test_a_shuffle_whose_middle_others_read_stays() -> None:
    before = graph_of(
        "(float[1,12,2,5] x) => (float[1,12,2,5] y, float[1,4,3,2,5] z) { a = Reshape(x, s)\n"
        " b = Transpose<perm = [0, 2, 1, 3, 4]>(a)\n y = Reshape(b, t)\n z = Relu(b) }",
        s=ints(1, 3, 4, 2, 5),
        t=ints(1, 12, 2, 5),
    )
    assert "ChannelShuffle" not in ops(rewritten(before, find_shuffles))


@pytest.mark.parametrize(
    ("step", "turned", "new", "left"),
    [
        (3, True, 1, ["Reshape", "Transpose"]),
        (2, True, 1, ["Gather", "Transpose"]),
        (3, False, 3, ["Reshape", "Transpose"]),
        (1, False, 0, ["Gather", "Transpose"]),
    ],
)
def test_windows_of_a_tensor_are_cut_at_once(
    step: int, turned: bool, new: int, left: list[str]
) -> None:
    lines = []
    for i in range(3):
        lines.append(f"s{i} = Slice(x, n{i * step}, n{i * step + 3}, one)")
        lines.append(f"t{i} = {'Transpose<perm=[0,2,1]>' if turned else 'Relu'}(s{i})")
        lines.append(f"u{i} = Unsqueeze({'t' if turned else 's'}{i}, place)")
    body = "\n".join([*lines, f"y = Concat<axis = {new}>(u0, u1, u2)"])
    places = {f"n{n}": ints(n) for n in range(10)}
    shape = [2, 4, 3] if turned else [2, 3, 4]
    dims = ",".join(map(str, [*shape[:new], 3, *shape[new:]]))
    before = graph_of(
        f"(float[2,9,4] x) => (float[{dims}] y) {{ {body} }}",
        one=ints(1),
        place=ints(new),
        **places,
    )
    before.prune()
    assert ops(rewritten(before, join_windows)) == left


def test_cuts_that_are_not_alike_stay() -> None:
    body = (
        "(float[2,9] x) => (float[2,2,3] y, float[2,2,3] z) {"
        " a = Slice(x, n0, n3, one)\n b = Relu(a)\n c = Slice(x, n3, n9, one, n2)\n"
        " d = Unsqueeze(a, one)\n e = Unsqueeze(b, one)\n f = Unsqueeze(c, one)\n"
        " y = Concat<axis = 1>(d, e)\n z = Concat<axis = 1>(d, f) }"
    )
    numbers = {f"n{n}": ints(n) for n in (0, 2, 3, 9)}
    assert not join_windows(graph_of(body, one=ints(1), **numbers))
