"""TensorFlow Lite Micro on this machine, through tflite-micro's own interpreter: numbers, never a latency."""

import importlib.metadata
import re
from pathlib import Path
from typing import Any

import numpy as np

from edgeconv.closing import Closing
from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.formats.tflite_file import border_names, check_whole
from edgeconv.runtimes.base import Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import (
    Shapes,
    check_readable,
    check_shapes,
    check_threads,
    first_line,
    picture_layout,
    unreadable,
)
from edgeconv.runtimes.quiet import quiet_stderr
from edgeconv.tensors import Quantization, TensorSpec

ARENA_BYTES = 64 << 20
"""Room enough for any mobile net; the arena that a file needs is ``edgeconv inspect --mcu``'s to say."""


def open(path: Path, *, threads: int = 1, shapes: Shapes | None = None) -> "MicroRunner":
    """Open a .tflite file in the reference kernels of TensorFlow Lite Micro, which use one thread.

    Raises EdgeconvError for a file that they do not take.
    """
    module = require("tflite_micro.python.tflite_micro.runtime", "mcu")
    check_threads(threads)
    check_readable(path)
    check_whole(path, str(path))
    data = path.read_bytes()
    problem: Exception | None = None
    with quiet_stderr() as captured:
        try:
            interpreter = module.Interpreter.from_bytes(data, arena_size=ARENA_BYTES)
        except Exception as error:  # RuntimeError or SystemError, with the reason in the log
            problem = error
    if problem is not None:
        said = [line for line in captured.text.splitlines() if line.strip()]
        raise unreadable(
            path, "tflite-micro", why_refused(said[0]) if said else problem
        ) from problem
    runner = MicroRunner(interpreter, path.name, threads, *border_names(data, path.name))
    check_shapes(path.name, runner.inputs, shapes)
    return runner


def why_refused(text: str) -> str:
    """Return the first line of its log, in words where that is of an operator it has not.

    >>> why_refused("Didn't find op for builtin opcode 'GELU'")
    'TensorFlow Lite Micro has no GELU: edgeconv inspect FILE --mcu names all that it has not'
    """
    found = re.search(r"builtin opcode '(\w+)'|registration from op code (CUSTOM)", text)
    if found is None:
        return text
    op = found[1] or "operators that are not TFLite's own"
    return (
        f"TensorFlow Lite Micro has no {op}: edgeconv inspect FILE --mcu names all that it has not"
    )


class MicroRunner(Closing):
    """An interpreter with its arena. Rank-4 tensors are NHWC."""

    name = "tflite-micro"

    def __init__(
        self,
        interpreter: Any,
        model: str,
        threads: int,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
    ) -> None:
        self.threads = threads
        self.version = importlib.metadata.version("tflite-micro")
        self._interpreter, self._model = interpreter, model
        ends = (interpreter.get_input_details, interpreter.get_output_details)
        self.inputs, self.outputs = (
            tuple(_spec(name, details(place)) for place, name in enumerate(names))
            for names, details in zip((inputs, outputs), ends, strict=True)
        )

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        check_feeds(self._model, self.inputs, feeds)
        try:
            for place, spec in enumerate(self.inputs):
                self._interpreter.set_input(np.asarray(feeds[spec.name], order="C"), place)
            self._interpreter.invoke()
            return {
                spec.name: np.array(self._interpreter.get_output(place))
                for place, spec in enumerate(self.outputs)
            }
        except Exception as error:  # RuntimeError or ValueError, by what fails
            raise EdgeconvError(
                f"tflite-micro failed on {self._model}: {first_line(error)}"
            ) from error

    def call(self, feeds: Feeds) -> PreparedCall:
        """Refuse: reference kernels on a PC say nothing of a microcontroller's latency."""
        check_feeds(self._model, self.inputs, feeds)
        raise EdgeconvError(
            f"{self._model}: tflite-micro only checks numbers here; a latency needs the chip"
        )

    def close(self) -> None:
        """Let go of the model."""
        self._interpreter = None


def _spec(name: str, detail: dict[str, Any]) -> TensorSpec:
    shape = tuple(int(size) for size in detail["shape"])
    stored = detail["quantization_parameters"]
    scales, zeros = stored["scales"], stored["zero_points"]
    quantization = Quantization(float(scales[0]), int(zeros[0])) if len(scales) else None
    dtype = np.dtype(detail["dtype"]).name
    return TensorSpec(name, shape, dtype, picture_layout(shape, "nhwc"), quantization)
