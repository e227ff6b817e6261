"""Run a checked program op by op, with every result held to the shape and type it declares."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgeconv.errors import EdgeconvError
from edgeconv.formats.mil_types import TensorType
from edgeconv.formats.mlpackage import open_package
from edgeconv.formats.protobuf import CorruptFileError
from edgeconv.mil import ops_compute, ops_layers, ops_move, ops_store
from edgeconv.mil.call import Array, Call, Rule, Value
from edgeconv.mil.half import round_to_half
from edgeconv.mil.program import Operation, Parsed, Reference, parse
from edgeconv.tensors import TensorSpec

Rounding = Literal["declared", "exact"]
Watch = Callable[[str, Array], Array | None]

OPS: dict[str, Rule] = {
    **ops_compute.OPS,
    **ops_layers.OPS,
    **ops_move.OPS,
    **ops_store.OPS,
}
MAIN_ARGUMENTS = ("x", "input", "values", "data", "quantized_data")
HALF_STEP = 2.0**-11
"""Half a unit in the last place of float16, relative."""


@dataclass(frozen=True)
class Noise:
    """Random relative errors after every half-precision result, ``steps`` half-steps at most.

    They stand for an accumulation order and width that no document states.
    """

    steps: float
    seed: int = 0


class Program:
    """A package's program, ready to run.

    ``run`` computes in float32 and rounds each result to its declared type ("declared"), or in
    float64 without any rounding ("exact"), which tells rounding from mistakes.
    """

    def __init__(self, path: Path, parsed: Parsed) -> None:
        self.path, self.parsed = path, parsed
        for operation in parsed.operations:
            _check_operation(operation, parsed)
        self._last = _last_uses(parsed)
        self._constants: dict[tuple[int, str], dict[str, list[Value]]] = {}
        self._expressions: dict[tuple[int, str], Array] = {}

    def tensors(self) -> dict[str, str]:
        """Map every value the program makes to its type in words."""
        return {name: str(kind) for name, kind in self.parsed.types.items()}

    def op_types(self) -> list[str]:
        """Return the kind of every operation, constants apart, in program order."""
        return [operation.kind for operation in self.parsed.operations]

    def input_specs(self) -> tuple[TensorSpec, ...]:
        """Return what ``run`` takes: pictures are NCHW floats of 0..255."""
        return tuple(
            TensorSpec(
                name, kind.shape, kind.dtype.name, "nchw" if len(kind.shape) == 4 else "other"
            )
            for name, kind in self.parsed.inputs
        )

    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Return what ``run`` gives as arrays: a classifier's probabilities in label order."""
        found = []
        for name in self.parsed.outputs:
            kind = self.parsed.types[name]
            if isinstance(kind, TensorType):
                layout = "nchw" if len(kind.shape) == 4 else "other"
                dtype = "float32" if kind.dtype.kind == "f" else kind.dtype.name
                found.append(TensorSpec(name, kind.shape, dtype, layout))  # type: ignore[arg-type]
            elif kind.kind == "dictionary" and (labels := self.labels()) is not None:
                found.append(TensorSpec(name, (1, len(labels)), "float32", "other"))
        return tuple(found)

    def labels(self) -> list[Any] | None:
        """Return a classifier's labels; None for other models."""
        for operation in self.parsed.operations:
            if operation.kind == "classify":
                classes = operation.arguments["classes"][0]
                if isinstance(classes, list):
                    return list(classes)
                if isinstance(classes, np.ndarray):
                    return list(classes.reshape(-1).tolist())
        return None

    def run(
        self,
        feeds: Mapping[str, NDArray[Any]],
        *,
        rounding: Rounding = "declared",
        watch: Watch | None = None,
        noise: Noise | None = None,
    ) -> dict[str, Value]:
        """Run the program once; outputs by name, floats as float32 (float64 when "exact").

        ``watch`` sees every array result by name and may return another to go on with.
        Raises EdgeconvError for feeds that do not fit, CorruptFileError where a result has not
        the shape it declares or an operation cannot be computed.
        """
        compute = np.dtype(np.float64 if rounding == "exact" else np.float32)
        values = self._fed(feeds, compute)
        hold = _Holder(compute, rounding, noise)
        with np.errstate(all="ignore"):
            for index, operation in enumerate(self.parsed.operations):
                key = (index, compute.char)
                made = [self._expressions[key]] if key in self._expressions else None
                if made is None:
                    made = self._compute(index, operation, values, compute, hold)
                for (name, _), value in zip(operation.results, made, strict=True):
                    if watch is not None and isinstance(value, np.ndarray):
                        other = watch(name, value)
                        value = value if other is None else hold.like(value, other)
                    values[name] = value
                if operation.kind.startswith("constexpr"):
                    self._expressions[key] = made[0]
                for name in self._last[index]:
                    values.pop(name, None)
        return {name: self._output(name, values) for name in self.parsed.outputs}

    def _output(self, name: str, values: Mapping[str, Value]) -> Value:
        value = values[name] if name in values else self.parsed.constants[name]
        if isinstance(value, dict):
            return value
        return np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value

    def _fed(self, feeds: Mapping[str, NDArray[Any]], compute: np.dtype[Any]) -> dict[str, Value]:
        values: dict[str, Value] = {}
        for name, kind in self.parsed.inputs:
            if name not in feeds:
                raise EdgeconvError(f"{self.path.name} got no input {name}; it has {sorted(feeds)}")
            fed = np.asarray(feeds[name])
            if fed.shape != kind.shape:
                raise EdgeconvError(
                    f"{self.path.name}: input {name} is {list(kind.shape)}, got {list(fed.shape)}"
                )
            if kind.dtype == np.float16:
                fed = fed.astype(np.float16)
            values[name] = fed.astype(compute if kind.dtype.kind == "f" else kind.dtype)
        return values

    def _compute(
        self,
        index: int,
        operation: Operation,
        values: Mapping[str, Value],
        compute: np.dtype[Any],
        hold: "_Holder",
    ) -> list[Value]:
        arguments = self._arguments(index, operation, values, compute)
        rule = OPS[operation.kind]
        try:
            made = rule.kernel(Call(operation, arguments, compute))
        except EdgeconvError:
            raise
        except (ValueError, IndexError, KeyError, OverflowError, MemoryError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CorruptFileError(f"{operation.what} cannot be computed: {reason}") from error
        results = made if isinstance(made, list) else [made]
        if len(results) != len(operation.results):
            raise CorruptFileError(
                f"{operation.what} makes {len(results)} values, declares {len(operation.results)}"
            )
        return [
            hold(operation, name, kind, value, rule.moves)
            for (name, kind), value in zip(operation.results, results, strict=True)
        ]

    def _arguments(
        self,
        index: int,
        operation: Operation,
        values: Mapping[str, Value],
        compute: np.dtype[Any],
    ) -> dict[str, list[Value]]:
        key = (index, compute.char)
        if key not in self._constants:
            self._constants[key] = {
                name: [_as_computed(item, compute) for item in items]
                for name, items in operation.arguments.items()
            }
        return {
            name: [values[item.name] if isinstance(item, Reference) else item for item in items]
            for name, items in self._constants[key].items()
        }


@dataclass
class _Holder:
    """Holds a result to its declared shape and type, in the dtype of computation."""

    compute: np.dtype[Any]
    rounding: Rounding
    noise: Noise | None

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(0 if self.noise is None else self.noise.seed)

    def __call__(
        self, operation: Operation, name: str, kind: Any, value: Value, moves: bool
    ) -> Value:
        if not isinstance(kind, TensorType):
            return value
        array = np.asarray(value)
        if array.shape != kind.shape:
            raise CorruptFileError(
                f"{operation.kind} {name} declares {list(kind.shape)}, computes {list(array.shape)}"
            )
        if kind.dtype.kind != "f":
            return array.astype(kind.dtype, copy=False)
        if self.rounding == "exact" or kind.dtype != np.float16 or moves:
            return array.astype(self.compute, copy=False)
        if self.noise is not None:
            factors = self.random.uniform(-1, 1, array.shape) * (self.noise.steps * HALF_STEP)
            array = array * (1 + factors)
        return round_to_half(array.astype(np.float32, copy=False))

    def like(self, value: Array, other: Array) -> Array:
        """Return what a watcher gave, as the value it stands in for."""
        if other.shape != value.shape:
            raise EdgeconvError(f"a watcher gave {list(other.shape)} for {list(value.shape)}")
        return other.astype(value.dtype, copy=False)


def _as_computed(item: Value, compute: np.dtype[Any]) -> Value:
    if isinstance(item, np.ndarray) and item.dtype.kind == "f":
        return item.astype(compute)
    return item


def _check_operation(operation: Operation, parsed: Parsed) -> None:
    """Raise CorruptFileError for an unknown kind or a result of an impossible type."""
    rule = OPS.get(operation.kind)
    if rule is None:
        raise CorruptFileError(
            f"{operation.what}: the evaluator has no {operation.kind}, so it cannot check this package"
        )
    declared = operation.results[0][1]
    if not isinstance(declared, TensorType) or rule.result == "any":
        return
    if rule.result in ("dtype", "output_dtype"):
        named = next(iter(operation.arguments.get(rule.result, [])), None)
        wanted = ops_store.named_dtype(named, operation.what) if isinstance(named, str) else None
    elif rule.result == "scale":
        wanted = next((kind.dtype for kind in _types(operation, "scale", parsed)), None)
    else:
        kinds = [k for key in MAIN_ARGUMENTS for k in _types(operation, key, parsed)]
        wanted = kinds[0].dtype if kinds else None
    if wanted is not None and wanted != declared.dtype:
        raise CorruptFileError(
            f"{operation.what} declares {declared.dtype.name}, its arguments make {wanted.name}"
        )


def _types(operation: Operation, key: str, parsed: Parsed) -> Iterator[TensorType]:
    for item in operation.arguments.get(key, []):
        if isinstance(item, Reference):
            kind = parsed.types[item.name]
            if isinstance(kind, TensorType):
                yield kind
        elif isinstance(item, np.ndarray):
            yield TensorType(item.dtype, item.shape)


def _last_uses(parsed: Parsed) -> list[list[str]]:
    """Return, for each operation, the values that nothing after it reads."""
    last: dict[str, int] = {}
    for index, operation in enumerate(parsed.operations):
        for items in operation.arguments.values():
            for item in items:
                if isinstance(item, Reference):
                    last[item.name] = index
    freed: list[list[str]] = [[] for _ in parsed.operations]
    for name, index in last.items():
        if name not in parsed.outputs:
            freed[index].append(name)
    return freed


def open_program(path: Path, function: str | None = None) -> Program:
    """Open and check a package (a folder); raises CorruptFileError with the first fault found."""
    return Program(path, parse(open_package(path), function))
