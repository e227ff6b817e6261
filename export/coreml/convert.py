"""The three calls into coremltools: a program, its conversion, and the specification that comes out."""

import io
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import Order, Preprocessing
from edgeconv.deps import require, unseen
from edgeconv.errors import EdgeconvError, UnsupportedOpError
from edgeconv.export.coreml.integers import IntegerPlan
from edgeconv.export.coreml.lowering import Lowering
from edgeconv.export.coreml.table import OPS
from edgeconv.export.coreml.wide import halved
from edgeconv.export.graph import Graph
from edgeconv.log import muted

UNUSED = ("torch", "torchvision", "torchaudio", "torchao", "sklearn", "transformers")
"""What coremltools imports where it is installed, for converters other than ours: it takes ten times as long."""


@contextmanager
def quiet() -> Iterator[None]:
    """Silence coremltools' progress bars, version warnings and failed loads of macOS libraries."""
    with muted(), redirect_stderr(io.StringIO()):
        yield


@contextmanager
def _converter_errors() -> Iterator[None]:
    """Turn what coremltools raises of itself into a refusal."""
    try:
        yield
    except (EdgeconvError, OSError):  # a full disk says nothing of the graph
        raise
    except Exception as error:  # its passes and operators raise of every kind
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnsupportedOpError(f"coremltools cannot convert this graph: {reason[0]}") from error


@dataclass(frozen=True)
class Border:
    """How the model meets its callers: pictures in, probabilities by label out.

    ``image`` makes picture inputs and is the preprocessing to put in front of the net, unless its
    ``embedded`` says that the net begins with it (None: float tensors in); ``labels`` make a
    classifier, whose softmax is added unless the net gives ``probabilities``.
    """

    image: Preprocessing | None = None
    labels: Sequence[str] | None = None
    probabilities: bool = False


@contextmanager
def _temporaries_in(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


@dataclass(frozen=True)
class Converted:
    """A converted program: its specification (coremltools' protobuf), weight file, and names.

    ``names`` maps prepared tensors to the MIL names that the lowering asked for.
    """

    spec: Any
    weights: Path | None
    names: dict[str, str]
    outputs: tuple[str, ...]


def convert(
    graph: Graph,
    integers: IntegerPlan | None,
    *,
    half: bool,
    min_ios: int,
    border: Border,
    folder: Path,
    coarse: Collection[str] = (),
) -> Converted:
    """Lower ``graph`` and run coremltools' passes and backend on it (float32 borders always).

    ``half`` computes in float16 inside, but for the last layers of the graph's outputs ``coarse``. What coremltools writes on the way, the weight file among it, goes
    into ``folder``: it would leave it in TMPDIR where the process is killed. Raises EdgeconvError where coremltools is missing or the
    shapes it infers differ from the graph's.
    """
    with quiet():
        with unseen(*UNUSED):
            ct = require("coremltools", "coreml")
        with _converter_errors():
            program, lowering, outputs = build_program(ct, graph, integers, min_ios, border)
        inputs = None
        if border.image is not None:
            inputs = [
                _image_type(ct, graph.shape(tensor), name, border.image.order)
                for tensor, name in zip(graph.inputs, lowering.inputs, strict=True)
            ]
        classifier = None
        if border.labels is not None:
            classifier = ct.ClassifierConfig(
                list(border.labels), predicted_probabilities_output=outputs[0]
            )
        wide = [name for of, name in zip(graph.outputs, outputs, strict=True) if of in coarse]
        precision = ct.precision.FLOAT16
        if border.labels is not None:  # whose probabilities are no figures around 500
            wide = []
        if wide or lowering.exact:
            selector = halved(wide, lowering.exact)
            precision = ct.transform.FP16ComputePrecision(op_selector=selector)
        passes = ct.PassPipeline()
        # it asks stored integer weights for the dtype of their values where a Transpose and an Add
        # follow a convolution; our own passes have folded what can be
        passes.remove_passes({"common::fuse_conv_bias"} if integers is not None else ())
        with _converter_errors(), _temporaries_in(folder):
            model = ct.convert(
                program,
                pass_pipeline=passes,
                source="milinternal",
                convert_to="mlprogram",
                minimum_deployment_target=getattr(ct.target, f"iOS{min_ios}"),
                compute_precision=precision if half else ct.precision.FLOAT32,
                inputs=inputs,
                classifier_config=classifier,
                skip_model_load=True,
            )
        weights = Path(model.weights_dir) / "weight.bin" if model.weights_dir else None
        return Converted(
            model.get_spec(),
            weights if weights is not None and weights.is_file() else None,
            lowering.names,
            tuple(outputs),
        )


def build_program(
    ct: Any, graph: Graph, integers: IntegerPlan | None, min_ios: int, border: Border
) -> tuple[Any, Lowering, list[str]]:
    """Return the MIL program of ``graph``, the finished lowering, and the outputs' MIL names."""
    from coremltools.converters.mil import Builder
    from coremltools.converters.mil.mil import Function, Program, types

    target = getattr(ct.target, f"iOS{min_ios}")
    lowering = Lowering(Builder, graph, min_ios, integers, ops=OPS)
    borders = {tensor: lowering.name(tensor) for tensor in graph.inputs}
    lowering.inputs = tuple(borders.values())
    specs = {
        name: Builder.TensorSpec(
            shape=graph.shape(tensor) or (1,),  # Core ML has no scalars at its borders
            dtype=types.fp32 if graph.dtype(tensor) == np.float32 else types.int32,
        )
        for tensor, name in borders.items()
    }
    program = Program()
    with Function(specs, opset_version=target) as function:
        for tensor, name in borders.items():
            lowering.names[tensor] = name
            lowering.values[tensor] = function.inputs[name]
            if not graph.shape(tensor):
                lowering.values[tensor] = Builder.squeeze(x=function.inputs[name], axes=[0])
            if graph.dtype(tensor) == np.bool_:  # it feeds numbers
                lowering.values[tensor] = Builder.cast(x=lowering.values[tensor], dtype="bool")
            _embed(lowering, tensor, border.image)
        for node in graph.nodes:
            lowering.lower(node, OPS[node.op])
        outputs = [_output(lowering, tensor, border) for tensor in graph.outputs]
        function.set_outputs(outputs)
        program.add_function("main", function)
    return program, lowering, [variable.name for variable in outputs]


def _embed(lowering: Lowering, tensor: str, image: Preprocessing | None) -> None:
    """Turn raw pixels into what the net wants: our own Mul and Add, channel by channel.

    ImageType's own scale takes one value only; a list of them fails in conversion.
    """
    if image is None or image.embedded:
        return
    name = lowering.names[tensor]
    mean, std = (np.asarray(v, np.float64) for v in (image.mean, image.std))
    scale = (1 / (255 * std)).astype(np.float32).reshape(1, -1, 1, 1)
    bias = (-mean / std).astype(np.float32).reshape(1, -1, 1, 1)
    pixels, scaled = lowering.values[tensor], lowering.name(f"{name}_scaled")
    made = lowering.mb.mul(x=pixels, y=scale, name=scaled)
    lowering.names[tensor] = lowering.name(f"{name}_preprocessed")
    lowering.values[tensor] = lowering.mb.add(x=made, y=bias, name=lowering.names[tensor])


def _output(lowering: Lowering, tensor: str, border: Border) -> Any:
    """Return the output's variable; a classifier's logits get the softmax that makes probabilities."""
    if tensor in lowering.graph.constants:
        return lowering.mb.const(val=lowering.tensor(tensor), name=lowering.name(tensor))
    variable = lowering.values[tensor]
    if not lowering.shape(tensor):
        name = lowering.name(f"{lowering.names[tensor]}_scalar")
        variable = lowering.mb.expand_dims(x=variable, axes=[0], name=name)
    if border.labels is not None and not border.probabilities:
        name = lowering.name(f"{lowering.names[tensor]}_probabilities")
        return lowering.mb.softmax(x=variable, axis=-1, name=name)
    if tensor in lowering.graph.inputs:  # a net that hands its input through
        name = lowering.name(f"{lowering.names[tensor]}_out")
        return lowering.mb.identity(x=variable, name=name)
    if lowering.graph.dtype(tensor) == np.bool_:  # and returns them
        name = lowering.name(f"{lowering.names[tensor]}_number")
        return lowering.mb.cast(x=variable, dtype="int32", name=name)
    return variable


def _image_type(ct: Any, shape: tuple[int, ...], name: str, order: Order) -> Any:
    """Return a picture input of (1, C, H, W); its scaling is in the program."""
    colours = {"rgb": ct.colorlayout.RGB, "bgr": ct.colorlayout.BGR}
    layout = ct.colorlayout.GRAYSCALE if shape[1] == 1 else colours[order]
    return ct.ImageType(name=name, shape=shape, color_layout=layout)
