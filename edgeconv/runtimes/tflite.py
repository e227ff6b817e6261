"""What ai-edge-litert and tflite-runtime share: one interpreter API, from two packages."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeconv.closing import Closing
from edgeconv.errors import EdgeconvError
from edgeconv.formats.tflite_file import check_whole
from edgeconv.runtimes.base import Delegation, Feeds, Outputs, PreparedCall, check_feeds
from edgeconv.runtimes.checks import (
    Shapes,
    Source,
    check_known_inputs,
    check_readable,
    check_threads,
    first_line,
    fixed_shape,
    label,
    picture_layout,
    unreadable,
)
from edgeconv.runtimes.quiet import quiet_stderr
from edgeconv.tensors import Quantization, TensorSpec

GAP = 1 << 20
"""Bytes between two tensors from which they are taken for two allocations."""


def open_interpreter(
    module: Any,
    name: str,
    version: str,
    source: Source,
    threads: int,
    xnnpack: bool,
    shapes: Shapes | None,
) -> "TfliteRunner":
    """Open ``source`` with the Interpreter of ``module``.

    Raises EdgeconvError for a file that is no TFLite model or that the interpreter refuses.
    """
    check_threads(threads)
    check_readable(source)
    check_whole(source, label(source))
    resolver = module.OpResolverType
    kind = resolver.AUTO if xnnpack else resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    content = (
        {"model_content": source} if isinstance(source, bytes) else {"model_path": str(source)}
    )
    problem: Exception | None = None
    with quiet_stderr() as captured:
        try:
            interpreter = module.Interpreter(
                **content, num_threads=threads, experimental_op_resolver_type=kind
            )
            _resize(interpreter, label(source), shapes)
            interpreter.allocate_tensors()
        except (
            Exception
        ) as error:  # ValueError, RuntimeError, SystemError, depending on the version
            problem = error
    if problem is not None:
        if isinstance(problem, EdgeconvError):
            raise problem
        raise unreadable(source, name, _reason(problem, captured.text)) from problem
    return TfliteRunner(interpreter, name, version, label(source), threads)


def _reason(error: BaseException, log: str) -> str:
    """Return the exception's own first line, or the log's where the exception says nothing."""
    text = first_line(error)
    errors = [line.partition("ERROR:")[2].strip() for line in log.splitlines() if "ERROR:" in line]
    return errors[0] if errors and len(text) < 12 else text


def _resize(interpreter: Any, model: str, shapes: Shapes | None) -> None:
    details = _bordering(interpreter, "inputs")
    check_known_inputs(model, list(details), shapes)
    for name, wanted in (shapes or {}).items():
        signature = [int(d) for d in details[name]["shape_signature"]]
        shape = fixed_shape(model, name, signature, {name: wanted})
        if shape != tuple(int(d) for d in details[name]["shape"]):
            interpreter.resize_tensor_input(details[name]["index"], list(shape), strict=True)


def _bordering(interpreter: Any, side: str) -> dict[str, dict[str, Any]]:
    """Name -> details of the inputs or outputs: the signature's names, else the tensors' own."""
    inputs = side == "inputs"
    details = interpreter.get_input_details() if inputs else interpreter.get_output_details()
    by_index = {detail["index"]: detail for detail in details}
    signatures = interpreter.get_signature_list()
    if len(signatures) == 1:
        runner = interpreter.get_signature_runner(next(iter(signatures)))
        named = runner.get_input_details() if inputs else runner.get_output_details()
        if {d["index"] for d in named.values()} == set(by_index):
            order = {detail["index"]: place for place, detail in enumerate(details)}
            ranked = sorted(named.items(), key=lambda item: order[item[1]["index"]])
            return {name: by_index[detail["index"]] for name, detail in ranked}
    return {detail["name"]: detail for detail in details}


class TfliteRunner(Closing):
    """An interpreter with its tensors allocated. Rank-4 tensors are NHWC."""

    def __init__(self, interpreter: Any, name: str, version: str, model: str, threads: int) -> None:
        self.name = name
        self.version = version
        self.threads = threads
        self.interpreter = interpreter
        self._model = model
        inputs = _bordering(interpreter, "inputs")
        outputs = _bordering(interpreter, "outputs")
        self._input_indices = {n: d["index"] for n, d in inputs.items()}
        self._output_indices = {n: d["index"] for n, d in outputs.items()}
        self.inputs = tuple(_spec(n, d) for n, d in inputs.items())
        self.outputs = tuple(_spec(n, d) for n, d in outputs.items())

    def _set(self, feeds: Feeds) -> None:
        check_feeds(self._model, self.inputs, feeds)
        for name, array in feeds.items():
            self.interpreter.set_tensor(self._input_indices[name], array)

    def infer(self, feeds: Feeds) -> Outputs:
        """Run the model once."""
        self._set(feeds)
        try:
            self.interpreter.invoke()
        except Exception as error:  # RuntimeError or ValueError, depending on the version
            raise EdgeconvError(
                f"{self.name} failed on {self._model}: {first_line(error)}"
            ) from error
        return {n: self.interpreter.get_tensor(i) for n, i in self._output_indices.items()}

    def call(self, feeds: Feeds) -> PreparedCall:
        """Set the inputs once; the call is the interpreter's own ``invoke``."""
        self._set(feeds)
        invoke: PreparedCall = self.interpreter.invoke
        return invoke

    def delegation(self) -> Delegation:
        """Count what the delegate took, from the interpreter's own list of operators."""
        return count_delegation(self.interpreter._get_ops_details())

    def arena_bytes(self, feeds: Feeds) -> int | None:
        """Return the bytes between the first and the last computed tensor; None with a delegate.

        The builtin kernels share one block; what XNNPACK allocates for itself nobody can see.
        """
        self.call(feeds)()
        operators = self.interpreter._get_ops_details()
        if any(op["op_name"] == "DELEGATE" for op in operators):
            return None
        computed = {int(t) for op in operators for t in op["outputs"]}
        computed |= set(self._input_indices.values())
        spans = []
        for index in computed:
            try:
                array = self.interpreter.tensor(index)()
            except ValueError:  # never allocated
                continue
            start = array.__array_interface__["data"][0]
            spans.append((start, start + array.nbytes))
        return spanned(spans)

    def close(self) -> None:
        """Let go of the model."""
        self.interpreter = None


def count_delegation(operators: list[dict[str, Any]]) -> Delegation:
    """Tell delegated operators from the rest.

    The list holds the file's operators and, behind them, one DELEGATE for each partition.
    """
    plain = [op for op in operators if op["op_name"] != "DELEGATE"]
    partitions = len(operators) - len(plain)
    taken = taken_operators(operators)
    left = Counter(op["op_name"] for place, op in enumerate(plain) if place not in taken)
    return Delegation(len(plain), len(taken), partitions, dict(sorted(left.items())))


def taken_operators(operators: list[dict[str, Any]]) -> set[int]:
    """Return the numbers of the operators that delegates took.

    An operator was taken when a delegate's outputs depend on it without passing the delegate's inputs.
    """
    plain = [op for op in operators if op["op_name"] != "DELEGATE"]
    producer = {int(t): place for place, op in enumerate(plain) for t in op["outputs"]}
    taken: set[int] = set()
    for delegate in operators[len(plain) :]:
        border = {int(t) for t in delegate["inputs"]}
        waiting = [int(t) for t in delegate["outputs"]]
        while waiting:
            tensor = waiting.pop()
            place = producer.get(tensor)
            if tensor in border or place is None or place in taken:
                continue
            taken.add(place)
            waiting.extend(int(t) for t in plain[place]["inputs"])
    return taken


def spanned(spans: Sequence[tuple[int, int]]) -> int | None:
    """Return the bytes that address ranges cover, small gaps between them included.

    >>> spanned([(0, 10), (64, 100), (1 << 30, (1 << 30) + 5)])
    105
    """
    total, reach = 0, None
    for start, end in sorted(spans):
        if reach is None or start > reach + GAP:
            total, reach = total + end - start, end
        elif end > reach:
            total, reach = total + end - reach, end
    return total or None


def _spec(name: str, detail: dict[str, Any]) -> TensorSpec:
    scale, zero_point = detail["quantization"]
    quantization = Quantization(float(scale), int(zero_point)) if scale else None
    shape = tuple(int(d) for d in detail["shape"])
    dtype = np.dtype(detail["dtype"]).name
    return TensorSpec(name, shape, dtype, picture_layout(shape, "nhwc"), quantization)
