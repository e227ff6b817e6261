"""The INT8 recipe: every integer weight, scale and zero point, computed once, as data.

It speaks of a prepared graph (export/prepare.py): activations by tensor name, weights by node
name. Emitters write it bit for bit; none of them computes a scale.

The integers follow the TFLite 8-bit quantization specification
(https://ai.google.dev/edge/litert/models/quantization_spec): activations int8 per tensor,
weights int8 per output channel in [-127, 127] with zero point 0, bias int32 at s_in * s_w.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.files import write_text
from edgeconv.foreign import refuse_no_file
from edgeconv.recipe_schema import RECIPE
from edgeconv.schema import anything, checked, read_json, table

Form = Literal["zero-point-free", "asymmetric"]
"""zero-point-free: zero point -128 (unsigned) or 0 (symmetric) wherever an operator reads the
integers; asymmetric: any."""

FREE: Form = "zero-point-free"
ASYMMETRIC: Form = "asymmetric"
WITHOUT_ZERO_POINTS = ("coreml",)
"""Targets whose files take that form of any recipe."""
VERSION = 1
FROM_FILE = "from the file"
"""The name of a recipe that holds a quantized file's own integers."""
PLACES = "it makes places in the picture of those that are constants"
"""Why what makes boxes of the last convolutions computes in float."""


@dataclass(frozen=True)
class Activation:
    """Quantization of one tensor: real = scale * (q - zero_point), q int8 in [-128, 127].

    ``low`` and ``high`` are the real range that calibration chose (both forms derive from it).
    ``fixed`` marks a scale that no calibration may move (softmax, sigmoid, exact pixels). ``final``
    marks an output that no operator reads, what is only moved into such and what operators read in float
    alone: nothing computes with its integers, so a zero point costs it nothing in any runtime and it has
    one in both forms.
    """

    scale: float
    zero_point: int
    low: float
    high: float
    fixed: bool = False
    final: bool = False


@dataclass(frozen=True)
class Weights:
    """Integers of one convolution or fully connected node.

    ``values`` int8 in the layout of the node's ONNX weight input (OIHW; Gemm (out, in);
    ConvTranspose IOHW), ``scales`` float32 (out,), ``bias`` int32 (out,) at s_in * scales,
    ``float_bias`` float32 (out,), the bias-corrected real bias that ``bias`` rounds.
    ``axis`` is the output-channel axis of ``values``.
    """

    values: NDArray[np.int8]
    scales: NDArray[np.float32]
    bias: NDArray[np.int32]
    float_bias: NDArray[np.float32]
    axis: int = 0


@dataclass(frozen=True)
class Recipe:
    """A whole net's INT8 data.

    ``activations``: tensor name -> Activation, for every tensor that is stored as int8, the
    constant operands of element-wise operators included. ``weights``: node name -> Weights.
    ``float_nodes``: names of nodes that compute in float. ``notes``: what was chosen and why, the
    calibration manifest, figures; never needed to emit. ``equalized``: tensor name -> float32
    factors of its channels, where weights were equalised; layers in float need them too.
    ``float_outputs``: target -> outputs that its integer layers give in float where the file's
    borders are float, because that costs its runtime nothing; integer borders hold their integers.
    ``free_bias``: node name -> what ``float_bias`` is in the form without zero points, where that differs.
    ``free_zero_points``: tensors that keep their zero points in that form, as it would cost too much.
    ``copies``: first tensor of a chain -> how often each channel is made (export/quant/copies.py).
    """

    name: str
    form: Form
    activations: Mapping[str, Activation]
    weights: Mapping[str, Weights]
    float_nodes: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    equalized: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    float_outputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    copies: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    free_bias: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    free_zero_points: tuple[str, ...] = ()

    def on(
        self, target: str, float_borders: bool = True, inputs: Mapping[str, str] | None = None
    ) -> "Recipe":
        """Return what a file for ``target`` holds: fewer integer outputs with float borders, and its form.

        ``inputs`` as ``with_form`` takes them, without which the form stays.
        """
        real = self.float_outputs.get(target, ()) if float_borders else ()
        kept = {name: a for name, a in self.activations.items() if name not in real}
        held, form = replace(self, activations=kept, float_outputs={}), form_on(target, self.form)
        return held if inputs is None or form == self.form else held.with_form(form, inputs)

    def with_form(self, form: Form, inputs: Mapping[str, str]) -> "Recipe":
        """Return the same ranges, integer weights and weight scales in the other form.

        ``inputs`` maps each node in ``weights`` to the tensor it reads, because the int32 bias
        depends on that tensor's scale.
        """
        forms = dict.fromkeys(self.free_zero_points, ASYMMETRIC)
        activations = {
            name: a if a.fixed or a.final else choose_scale(a.low, a.high, forms.get(name, form))
            for name, a in self.activations.items()
        }
        own = self.free_bias if form == FREE else {}
        weights = {
            name: replace(w, float_bias=own.get(name, w.float_bias))
            for name, w in self.weights.items()
        }
        weights = {
            name: replace(w, bias=bias_integers(w, activations[inputs[name]].scale))
            for name, w in weights.items()
        }
        return replace(self, form=form, activations=activations, weights=weights, free_bias={})

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON data; floats round-trip exactly, integers are base64."""
        return {
            "edgeconv_recipe": VERSION,
            "name": self.name,
            "form": self.form,
            "activations": {name: asdict(a) for name, a in self.activations.items()},
            "weights": {
                name: {
                    "shape": list(w.values.shape),
                    "axis": w.axis,
                    "scales": [float(s) for s in w.scales],
                    "float_bias": [float(b) for b in w.float_bias],
                    "bias": [int(b) for b in w.bias],
                    "values_base64": base64.b64encode(
                        np.ascontiguousarray(w.values).tobytes()
                    ).decode(),
                }
                for name, w in self.weights.items()
            },
            "float_nodes": list(self.float_nodes),
            "equalized": {t: [float(f) for f in factors] for t, factors in self.equalized.items()},
            "float_outputs": {target: list(names) for target, names in self.float_outputs.items()},
            "copies": {tensor: list(each) for tensor, each in self.copies.items()},
            "free_bias": {n: [float(b) for b in bias] for n, bias in self.free_bias.items()},
            "free_zero_points": list(self.free_zero_points),
            "notes": dict(self.notes),
        }

    def save(self, path: Path) -> None:
        """Write the recipe as JSON."""
        write_text(path, json.dumps(self.to_json(), indent=1) + "\n")


def form_on(target: str, form: Form) -> Form:
    """Return the form in which a file for ``target`` holds a recipe of ``form``."""
    return FREE if target in WITHOUT_ZERO_POINTS else form


def choose_scale(low: float, high: float, form: Form) -> Activation:
    """Return scale and zero point that cover [low, high] (0 always included).

    The zero-point-free form is unsigned (zero point -128) where nothing is below half a step under 0, else
    symmetric (zero point 0): the two forms in which Core ML computes in integers.

    >>> choose_scale(0.0, 6.0, "asymmetric").zero_point
    -128
    >>> [choose_scale(low, 3.0, "zero-point-free").zero_point for low in (-1.0, -0.005)]
    [0, -128]
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high - low < 1e-30:
        return Activation(1.0, -128, low, high)  # a tensor that is always zero
    scale = float(np.float32((high - low) / 255))
    zero_point = int(np.clip(np.rint(-128 - low / scale), -128, 127))
    if form == FREE and zero_point > -128:
        return Activation(float(np.float32(max(-low, high) / 127)), 0, low, high)
    return Activation(scale, zero_point, low, high)


def bias_integers(weights: Weights, input_scale: float) -> NDArray[np.int32]:
    """Round the float bias to int32 at ``input_scale * scales``; a dead channel saturates."""
    step = np.float64(np.float32(input_scale)) * weights.scales.astype(np.float64)
    limit = 2**31 - 1
    steps = np.rint(weights.float_bias.astype(np.float64) / step)
    integers: NDArray[np.int32] = np.clip(steps, -limit, limit).astype(np.int32)
    return integers


def quantize_values(real: NDArray[Any], quantization: Activation) -> NDArray[np.int8]:
    """Round real values to int8 (half to even, saturating): the rule for constant operands."""
    with np.errstate(over="ignore"):  # what stands for infinity saturates too
        steps = np.rint(np.asarray(real, np.float32) / np.float32(quantization.scale))
    integers: NDArray[np.int8] = np.clip(steps + quantization.zero_point, -128, 127).astype(np.int8)
    return integers


def load_recipe(path: Path) -> Recipe:
    """Read a recipe written by Recipe.save.

    Raises UsageError where there is none, EdgeconvError naming what does not fit.
    """
    refuse_no_file(path, before="the recipe ")
    ours = "a recipe that edgeconv wrote"
    source = f"{path} is not {ours}"
    read = checked(read_json(path, ours), table({"edgeconv_recipe": anything}), source)
    if (version := read["edgeconv_recipe"]) != VERSION:
        raise EdgeconvError(f"{path} is a recipe of version {version}, not {VERSION}")
    data = checked(read, RECIPE, source)
    try:
        return Recipe(
            name=data["name"],
            form=data["form"],
            activations={name: _activation(a) for name, a in data["activations"].items()},
            weights={name: _weights(w) for name, w in data["weights"].items()},
            float_nodes=tuple(data["float_nodes"]),
            notes=data["notes"],
            equalized={t: np.array(f, np.float32) for t, f in data.get("equalized", {}).items()},
            float_outputs={t: tuple(o) for t, o in data.get("float_outputs", {}).items()},
            copies={t: tuple(each) for t, each in data.get("copies", {}).items()},
            free_bias={n: np.array(b, np.float32) for n, b in data.get("free_bias", {}).items()},
            free_zero_points=tuple(data.get("free_zero_points", ())),
        )
    except ValueError as error:  # the integers are fewer or more than their shape says
        raise EdgeconvError(f"{source}: {error}") from error


def _activation(data: Mapping[str, Any]) -> Activation:
    known = ("scale", "zero_point", "low", "high", "fixed", "final")
    return Activation(**{key: data[key] for key in known if key in data})


def _weights(data: Mapping[str, Any]) -> Weights:
    values = np.frombuffer(base64.b64decode(data["values_base64"]), np.int8)
    return Weights(
        values=values.reshape(data["shape"]),
        scales=np.array(data["scales"], np.float32),
        bias=np.array(data["bias"], np.int32),
        float_bias=np.array(data["float_bias"], np.float32),
        axis=data["axis"],
    )
