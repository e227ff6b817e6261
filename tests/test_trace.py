"""Modules become ONNX by one of torch's two exporters, or the user learns why neither could."""

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable

import numpy as np
import pytest
from graph_kit import floats, run

from edgeconv.errors import EdgeconvError

torch = pytest.importorskip("torch", reason="needs the extra torch")

from torch import Tensor, nn  # noqa: E402 (after the skip)

from edgeconv.export.hub import trace  # noqa: E402
from edgeconv.export.hub.trace import trace_module  # noqa: E402
from edgeconv.models.user_net import open_user_net  # noqa: E402


class Lambda(nn.Module):
    """A module of one function."""

    def __init__(self, function: Callable[..., object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: Tensor) -> object:
        return self.function(*inputs)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU6(),
        nn.Dropout(0.5),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 5),
    )


def names(values: object) -> list[str]:
    return [value.name for value in values]  # type: ignore[attr-defined]  # protobuf's own list


def agrees(module: nn.Module, *shapes: tuple[int, ...]) -> None:
    feeds = {f"x{i}": floats(*shape, seed=i) for i, shape in enumerate(shapes)}
    model = trace_module(module, {name: value.shape for name, value in feeds.items()})
    with torch.no_grad():
        expected = module(*map(torch.from_numpy, feeds.values()))
    found = run(model, feeds)[0]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)


def test_a_net_is_traced_in_eval_mode_at_the_hubs_opset() -> None:
    module = small().train()
    model = trace_module(module, {"picture": (1, 3, 8, 8)})
    assert not module.training
    assert model.opset_import[0].version == trace.HUB_OPSET == 18
    assert (names(model.graph.input), names(model.graph.output)) == (["picture"], ["output"])
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_value for d in dims] == [1, 3, 8, 8]
    agrees(module, (2, 3, 8, 8))


class Scripted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.jit.script(nn.Conv2d(3, 4, 3))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": torch.relu(self.layer(x))}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripts_inside_a_module_are_traced() -> None:
    module = Scripted().eval()
    model = trace_module(module, {"x": (1, 3, 8, 8)})
    assert names(model.graph.output) == ["y"]
    wanted = module(torch.from_numpy(floats(1, 3, 8, 8)))["y"].detach().numpy()
    np.testing.assert_allclose(run(model, {"x": floats(1, 3, 8, 8)})[0], wanted, atol=1e-5)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_script_itself_is_a_net_of_ones_own() -> None:
    """A factory may load one: what it has to be fed is in its schema, no signature of Python's."""
    net = open_user_net(torch.jit.script(small()))
    assert (net.name, net.inputs) == ("Sequential", ("input",))


def test_weights_that_are_computed_become_constants() -> None:
    parts = nn.utils.parametrizations
    layers = parts.spectral_norm(nn.Conv2d(3, 4, 3)), parts.orthogonal(nn.Linear(6, 6))
    module = nn.Sequential(*layers).eval()
    agrees(module, (1, 3, 8, 8))
    assert nn.utils.parametrize.is_parametrized(module[1])
    model = trace_module(module, {"x": (1, 3, 8, 8)})
    assert {node.op_type for node in model.graph.node} <= {"Conv", "MatMul", "Add"}


def test_adaptive_pools_take_any_size() -> None:
    functional = nn.functional

    def pools(x: Tensor) -> tuple[Tensor, ...]:
        return (
            nn.AdaptiveAvgPool2d((3, None))(x),
            functional.adaptive_max_pool2d(x, 5),
            functional.adaptive_avg_pool1d(x.flatten(2), output_size=7),
            functional.adaptive_max_pool2d(x, (x.shape[2] // 3, 5)),
        )

    x = floats(2, 3, 8, 10, seed=4)
    found = run(trace_module(Lambda(pools), {"x": x.shape}), {"x": x})
    for wanted, got in zip(pools(torch.from_numpy(x)), found, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-6)


def test_functions_that_the_exporters_lack_are_written_out() -> None:
    functional = nn.functional
    sorted_ = torch.tensor([-1.0, -0.2, 0.4, 0.4, 1.5])

    def all_of_them(x: Tensor) -> tuple[Tensor, ...]:
        small, coarse = torch.tanh(x), torch.round(x)
        near = torch.eye(4) * 3 + small[:, :4, :4]
        return (
            torch.cumprod(small, -1),
            (coarse > 0).cumprod(1),
            *torch.cummax(coarse, 1),
            *coarse.cummin(dim=-1),
            *x.median(dim=1),
            torch.median(x),
            *torch.kthvalue(x, 2, 1, keepdim=True),
            torch.searchsorted(sorted_, coarse * 0.4),
            torch.searchsorted(sorted_, coarse * 0.4, right=True),
            torch.searchsorted(x.sort(-1)[0], small),
            torch.inverse(near),
            torch.linalg.inv(near[:, :2, :2]),
            functional.threshold(x, 0.1, -0.3),
            nn.Threshold(0.2, 0.5)(x),
            torch.hypot(x, coarse),
            x.copysign(small.flip(1)),
            x.unfold(-1, 3, 2),
            functional.pairwise_distance(x, small),
            torch.cdist(x, small[:, :3], p=1),
            torch.cdist(x, small[:, :3], 3.0),
            torch.cdist(x, small[:, :3]),
            nn.PairwiseDistance(1.0, keepdim=True)(x, x),
        )

    x = floats(2, 5, 7, seed=4)
    found = run(trace_module(Lambda(all_of_them), {"x": x.shape}), {"x": x})
    for wanted, got in zip(all_of_them(torch.from_numpy(x)), found, strict=True):
        np.testing.assert_allclose(got, wanted.numpy(), atol=1e-5)


def test_the_same_module_gives_the_same_bytes() -> None:
    module = small()
    first, second = (trace_module(module, {"x": (1, 3, 8, 8)}) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(
        deterministic=True
    )


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: x * 2, ["output"]),
        (lambda x: (x * 2,), ["output"]),
        (lambda x: (x * 2, x + 1), ["output_0", "output_1"]),
        (lambda x: {"boxes": x * 2, "scores": x + 1}, ["boxes", "scores"]),
    ],
)
def test_outputs_are_named_after_what_is_returned(
    function: Callable[[Tensor], object], expected: list[str]
) -> None:
    model = trace_module(Lambda(function), {"x": (1, 4)})
    assert names(model.graph.output) == expected
    assert (run(model, {"x": floats(1, 4)})[0] == floats(1, 4) * 2).all()


def test_several_inputs_keep_their_names_and_order() -> None:
    model = trace_module(
        Lambda(lambda a, b: a - b.sum()), {"b": (1, 4), "a": (1, 2)}, output_names=["difference"]
    )
    assert (names(model.graph.input), names(model.graph.output)) == (["b", "a"], ["difference"])
    agrees(Lambda(lambda a, b: a - b.sum()), (1, 4), (1, 2))


def test_a_module_that_does_not_run_on_the_shape_names_both() -> None:
    with pytest.raises(EdgeconvError, match=r"Sequential does not run on inputs of \[1, 4, 8, 8\]"):
        trace_module(small(), {"x": (1, 4, 8, 8)})


def test_a_module_that_wants_whole_numbers_is_told_how_to_say_so() -> None:
    said = r"Say the type .*: --input-shape tokens=1,5:int64 \(in Python, input_types="
    with pytest.raises(EdgeconvError, match=said):
        trace_module(nn.Embedding(7, 4), {"tokens": (1, 5)})
    assert trace_module(nn.Embedding(7, 4), {"tokens": (1, 5)}, dtypes={"tokens": "int64"})


def test_control_flow_is_baked_in_as_the_docstring_says() -> None:
    module = Lambda(lambda x: x * 2 if x.sum() > 0 else x * 3)
    model = trace_module(module, {"x": (1, 4)})
    results = [run(model, {"x": np.full((1, 4), sign, np.float32)})[0][0, 0] for sign in (1, -1)]
    factors = [results[0], -results[1]]
    assert factors in ([2, 2], [3, 3])  # one branch for both signs: verification must find it


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (
            lambda x: nn.functional.interpolate(x, size=(5, 5), mode="bilinear", antialias=True),
            (1, 3, 8, 8),
        ),
        (lambda x: torch.addcdiv(x, x, x * x + 3), (1, 4)),
        (torch.trunc, (1, 4)),
    ],
    ids=["antialiased resize", "addcdiv", "trunc"],
)
def test_torch_export_takes_what_tracing_cannot(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...]
) -> None:
    agrees(Lambda(function), shape)


@pytest.mark.slow
def test_both_exporters_agree_on_a_net(monkeypatch: pytest.MonkeyPatch) -> None:
    module, export = small().eval(), trace._export

    def second_only(*arguments: object) -> object:
        if not arguments[-1]:
            raise RuntimeError("no tracing today")
        return export(*arguments)  # type: ignore[arg-type]  # handed on as they came

    monkeypatch.setattr(trace, "_export", second_only)
    model = trace_module(module, {"x": (1, 3, 8, 8)})
    assert (names(model.graph.input), names(model.graph.output)) == (["x"], ["output"])
    agrees(module, (1, 3, 8, 8))


@pytest.mark.slow
def test_where_neither_can_both_reasons_are_told_and_stdout_stays_clean() -> None:
    text = """
        import json, sys, torch
        from edgeconv.errors import EdgeconvError
        from edgeconv.export.hub.trace import trace_module

        class Net(torch.nn.Module):
            def forward(self, x):
                return torch.lgamma(x)

        try:
            trace_module(Net(), {"x": (1, 4)})
        except EdgeconvError as error:
            print(json.dumps(str(error)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, check=True
    )
    said = json.loads(done.stdout)  # nothing but ours
    assert said.startswith("Net cannot be traced to ONNX: torch.jit.trace says")
    assert said.count("lgamma") == 2
    assert "\x1b" not in said
    assert "Next steps" not in said


def test_an_output_called_as_an_input_gets_another_name() -> None:
    model = trace_module(Lambda(lambda x: {"x": x + 1, "y": x * 2}), {"x": (1, 3)})
    assert [value.name for value in model.graph.input] == ["x"]
    assert [value.name for value in model.graph.output] == ["x_out", "y"]
