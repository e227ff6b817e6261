"""ncnn on the CPU, for its own .param with the .bin beside it."""

import importlib.metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.artifact import Artifact, load_artifact
from edgeconv.closing import Closing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.files import partner
from edgeconv.formats.ncnn_file import NcnnFile, own_shape, read_pair
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import (
    Shapes,
    check_known_inputs,
    check_readable,
    check_shapes,
    check_threads,
    fixed_shape,
    picture_layout,
    unreadable,
)
from edgeconv.runtimes.quiet import quiet_stderr
from edgeconv.tensors import TensorSpec

HALVES = (
    "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_packed", "use_bf16_storage",
)  # fmt: skip
"""ncnn's switches for numbers of 16 bits in the place of float32."""


def open(
    path: Path, *, threads: int = 1, shapes: Shapes | None = None, half: bool = False
) -> "NcnnRunner":
    """Load a .param and its .bin for the CPU.

    It computes in float32, whatever type the weights are stored in. ``half`` leaves ncnn's own switches
    as they are: it then computes in float16 where the processor can, as an app does that sets nothing.
    Raises EdgeconvError for a pair that is damaged or that ncnn refuses.
    """
    check_threads(threads)
    check_readable(path)
    found, weights = read_pair(path), partner(path)
    artifact = load_artifact(path)
    module = require("ncnn", "ncnn")
    with quiet_stderr() as said:
        net = module.Net()
        net.opt.use_vulkan_compute = False
        net.opt.num_threads = threads
        if not half:
            for switch in filter(lambda name: hasattr(net.opt, name), HALVES):  # some came later
                setattr(net.opt, switch, False)
        code = net.load_param(str(path)) or net.load_model(str(weights))
    if code:
        raise unreadable(path, "ncnn", said.text.strip() or f"it ends with code {code}")
    inputs = _inputs(found, path, artifact, shapes)
    return NcnnRunner(module, net, path, threads, inputs, found, artifact)


def _inputs(
    found: NcnnFile, path: Path, artifact: Artifact | None, shapes: Shapes | None
) -> tuple[TensorSpec, ...]:
    """Return the inputs: the manifest's where there is one, else with a batch of one before ncnn's axes."""
    if artifact is not None:
        mine = {spec.name: own_shape(spec.shape) for spec in artifact.inputs}
        if mine != found.inputs:
            raise EdgeconvError(
                f"{path.name} is not the file that its manifest describes: export it again"
            )
        check_shapes(path.name, artifact.inputs, shapes)
        return artifact.inputs
    check_known_inputs(path.name, list(found.inputs), shapes)
    made = []
    for name, known in found.inputs.items():
        if known is None and name not in (shapes or {}):
            raise EdgeconvError(
                f"{path.name}: the file does not say the shape of input {name}; settle it with "
                f"--shape {name}=1,3,224,224 (your own numbers)"
            )
        shape = (1, *known) if known is not None else (shapes or {})[name]
        shape = fixed_shape(path.name, name, shape, shapes)
        made.append(TensorSpec(name, shape, "float32", picture_layout(shape, "nchw")))
    return tuple(made)


class NcnnRunner(Closing):
    """A loaded net. Tensors have a batch of one before ncnn's axes, and are NCHW where they have four."""

    name = "ncnn"

    def __init__(
        self,
        module: Any,
        net: Any,
        path: Path,
        threads: int,
        inputs: tuple[TensorSpec, ...],
        found: NcnnFile,
        artifact: Artifact | None,
    ) -> None:
        self.version = importlib.metadata.version("ncnn")
        self.threads, self.inputs = threads, inputs
        self._module, self._net, self._model = module, net, path.name
        self.outputs: tuple[TensorSpec, ...] = ()
        if artifact is not None:
            self.outputs = artifact.outputs
            return
        zeros = {spec.name: np.zeros(spec.shape, np.float32) for spec in inputs}
        with quiet_stderr():
            made = self._run(self._fed(zeros), found.outputs)
        self.outputs = tuple(
            TensorSpec(
                name, (1, *value.shape), "float32", picture_layout((1, *value.shape), "nchw")
            )
            for name, value in zip(found.outputs, made, strict=True)
        )

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        check_feeds(self._model, self.inputs, feeds)
        made = self._run(self._fed(feeds), [spec.name for spec in self.outputs])
        outputs: Outputs = {}
        for spec, value in zip(self.outputs, made, strict=True):
            if value.shape != own_shape(spec.shape):
                raise EdgeconvError(
                    f"ncnn gives {spec.name} of {list(value.shape)} where {self._model} was to give "
                    f"{list(own_shape(spec.shape))}"
                )
            outputs[spec.name] = value.reshape(spec.shape)
        return outputs

    def _fed(self, feeds: Feeds) -> list[tuple[str, Any]]:
        """Return the inputs as ncnn's own: it computes in place, and reads whole vectors of aligned memory."""
        fed = []
        for spec in self.inputs:
            value = np.ascontiguousarray(feeds[spec.name], np.float32).reshape(
                own_shape(spec.shape)
            )
            fed.append((spec.name, self._module.Mat(value).clone()))
        return fed

    def _extracted(self, fed: list[tuple[str, Any]], names: Any) -> list[Any]:
        extractor = self._net.create_extractor()
        codes = [extractor.input(name, value) for name, value in fed]
        made = []
        for name in names:
            code, value = extractor.extract(name)
            codes.append(code)
            made.append(value)
        if any(codes) or any(value.empty() for value in made):
            raise EdgeconvError(
                f"ncnn failed on {self._model}: a layer gives nothing (codes {codes})"
            )
        return made

    def _run(self, fed: list[tuple[str, Any]], names: Any) -> list[Any]:
        return [np.array(value) for value in self._extracted(fed, names)]

    def call(self, feeds: Feeds) -> PreparedCall:
        """Lay the inputs out once; a call makes an extractor and takes every output of it."""
        check_feeds(self._model, self.inputs, feeds)
        fed, names = self._fed(feeds), [spec.name for spec in self.outputs]
        return lambda: self._extracted(fed, names)

    def close(self) -> None:
        """Let go of the model."""
        self._net = None
