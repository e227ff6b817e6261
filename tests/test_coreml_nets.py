"""Whole nets: our lowering and Apple's own, both run by the evaluator, against PyTorch."""

import io
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from coreml_kit import sqnr_db

from edgeconv.export.coreml.emit import emit_coreml
from edgeconv.export.graph import Graph
from edgeconv.mil import open_program

torch = pytest.importorskip("torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.slow

NETS: dict[str, dict[str, Any]] = {
    "mobilenet_v1": {"width": 0.5},
    "mobilenet_v2": {"width": 0.5},
    "shufflenet_v1": {},
    "ghostnet": {"width": 0.5},
}
SIZE = 64


@pytest.fixture(scope="module", params=NETS)
def net(request: pytest.FixtureRequest) -> Any:
    """A net whose activations have a sane size: batch norm statistics come from its own inputs."""
    from edgeconv.models import build

    torch.manual_seed(0)
    module = build(request.param, classes=10, **NETS[request.param])
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = None
    with torch.no_grad():
        module.train()(torch.randn(8, 3, SIZE, SIZE))
    return module.eval()


def hub(module: Any, size: int = SIZE) -> Graph:
    import onnx

    from edgeconv.export.hub.onnx_io import from_onnx
    from edgeconv.export.prepare import prepare

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (torch.zeros(1, 3, size, size),),
            buffer,
            dynamo=False,
            opset_version=18,
            input_names=["x"],
            output_names=["y"],
        )
    return prepare(from_onnx(onnx.load_from_string(buffer.getvalue()))).graph


def apple(module: Any, half: bool, target: str, path: Path) -> None:
    """Convert by Apple's torch lowering, which shares nothing with ours but MIL."""
    from edgeconv.export.coreml.convert import quiet

    with quiet(), pytest.MonkeyPatch.context() as patch:
        import coremltools as ct
        from coremltools.converters.mil.frontend.torch import ops

        convert = ops._cast

        class Whole(int):
            """coremltools 9.0 calls int() on arrays of one element, which numpy 2.4 refuses."""

            def __new__(cls, value: Any) -> Any:
                return int(np.asarray(value).reshape(-1)[0])

        def cast(context: Any, node: Any, dtype: Any, name: str) -> Any:
            return convert(context, node, Whole if dtype is int else dtype, name)

        patch.setattr(ops, "_cast", cast)
        traced = torch.jit.trace(module, torch.zeros(1, 3, SIZE, SIZE))
        precision = ct.precision.FLOAT16 if half else ct.precision.FLOAT32
        ct.convert(
            traced,
            inputs=[ct.TensorType(name="x", shape=(1, 3, SIZE, SIZE), dtype=np.float32)],
            outputs=[ct.TensorType(name="y", dtype=np.float32)],
            minimum_deployment_target=getattr(ct.target, target),
            compute_precision=precision,
            skip_model_load=True,
        ).save(str(path))


def feeds() -> Any:
    return np.random.default_rng(1).standard_normal((1, 3, SIZE, SIZE)).astype(np.float32)


def by_pytorch(net: Any, x: Any) -> tuple[Any, float]:
    """Return the float32 output, and how near half-precision PyTorch comes to it in dB."""
    import copy

    with torch.no_grad():
        wanted = net(torch.from_numpy(x)).numpy()
        halved = copy.deepcopy(net).half()(torch.from_numpy(x).half()).float().numpy()
    return wanted, sqnr_db(wanted, halved)


def test_our_lowering_agrees_with_pytorch_and_with_half_precision_pytorch(
    net: Any, tmp_path: Path
) -> None:
    graph, x = hub(net), feeds()
    wanted, halved = by_pytorch(net, x)
    full = emit_coreml(graph, path=tmp_path / "full.mlpackage").path
    assert sqnr_db(wanted, open_program(full).run({"x": x})["y"]) > 90
    half = emit_coreml(graph, path=tmp_path / "half.mlpackage", precision="fp16").path
    made = sqnr_db(wanted, open_program(half).run({"x": x})["y"])
    assert made > halved - 3


APPLES = [(half, ios) for half in (False, True) for ios in ("iOS15", "iOS16", "iOS17", "iOS18")]
QUICK = ((True, "iOS15"),)
"""Half precision for the oldest; `make test-long` has the rest."""


@pytest.mark.parametrize(
    ("half", "target"),
    [pytest.param(*one, marks=() if one in QUICK else pytest.mark.long) for one in APPLES],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_the_evaluator_runs_apples_own_lowering(
    half: bool, target: str, net: Any, tmp_path: Path
) -> None:
    path, x = tmp_path / "apple.mlpackage", feeds()
    apple(net, half, target, path)
    wanted, halved = by_pytorch(net, x)
    program = open_program(path)
    made = program.run({program.parsed.inputs[0][0]: x})[program.parsed.outputs[0]]
    assert sqnr_db(wanted, made) > (halved - 3 if half else 90)


def test_mobilenet_v2_is_lowered_and_evaluated_within_its_budget(tmp_path: Path) -> None:
    """CPU seconds, which other load on the machine hardly moves."""
    from edgeconv.models import build

    graph = hub(build("mobilenet_v2").eval(), 224)
    start = time.process_time()
    path = emit_coreml(graph, path=tmp_path / "v2.mlpackage").path
    lowered = time.process_time() - start
    program = open_program(path)
    x = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    program.run({"x": x})
    start = time.process_time()
    program.run({"x": x})
    assert time.process_time() - start < 0.6  # 0.3 s on an idle core; CPU time counts BLAS threads
    assert lowered < 16
