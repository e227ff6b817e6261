"""What a net ends in is told by its graph: scores get one softmax, probabilities none."""

import pytest

pytest.importorskip("onnx", reason="needs the export extra")

import onnx.parser

from edgeconv.export.hub.ends import gives_probabilities

HEAD = '<ir_version: 8, opset_import: ["" : 18]> g (float[1,4] x) => (float[1,4] y)'


@pytest.mark.parametrize(
    ("body", "gives"),
    [
        ("y = Softmax<axis = 1>(x)", True),
        ("y = Sigmoid(x)", True),
        ("p = Softmax(x) y = Identity(p)", True),
        ("p = Softmax(x) a = Flatten(p) y = Flatten(a)", True),
        ("y = Relu(x)", False),
        ("y = LogSoftmax(x)", False),  # whose softmax is the net's
        ("p = Softmax(x) y = Mul(p, x)", False),
    ],
)
def test_probabilities_are_told_from_scores(body: str, gives: bool) -> None:
    assert gives_probabilities(onnx.parser.parse_model(f"{HEAD} {{ {body} }}")) is gives


def test_the_input_handed_out_is_none() -> None:
    model = onnx.parser.parse_model(HEAD.replace("=> (float[1,4] y)", "=> (float[1,4] x)") + "{}")
    assert not gives_probabilities(model)
