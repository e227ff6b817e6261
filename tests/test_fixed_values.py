"""What the modules of the core fix when they are loaded: values that do not change, constants, and what loads nothing heavy."""

import ast
import dataclasses
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DECIDING = (
    "edgeconv/bench", "edgeconv/metrics", "edgeconv/judge", "edgeconv/parity", "edgeconv/parity/layers"
)  # fmt: skip
CORE = (*DECIDING, "edgeconv/mil", "edgeconv/formats", "export/quant", "export/qdq", "export/integer", "export/tflite",
        "export/coreml", "models")  # fmt: skip
CHANGING = {
    "edgeconv/bench/engine.py: Turn",
    "edgeconv/bench/watch.py: Spent",
    "edgeconv/bench/watch.py: Watch",
    "edgeconv/formats/onnx_file.py: WireGraph",
    "edgeconv/mil/evaluate.py: _Holder",
    "edgeconv/parity/layers/opened.py: Opened",
    "export/coreml/integers.py: IntegerPlan",
    "export/coreml/lowering.py: Lowering",
    "export/integer/pair.py: Pair",
    "export/qdq/emit.py: _Emitter",
    "export/qdq/strip.py: Stripped",
    "export/qdq/tensors.py: QdqTensors",
    "export/quant/contest.py: Contest",
    "export/quant/fit.py: LayerFit",
    "export/quant/gather.py: TensorStats",
    "export/quant/observe.py: Observation",
    "export/tflite/emission.py: Emission",
    "export/tflite/emission.py: Step",
    "export/tflite/reorder.py: Reorder",
    "export/tflite/row_regions.py: Region",
    "export/tflite/temporaries.py: Temporaries",
    "models/layer_order.py: _Node",
}
"""Classes that gather while something runs; all others are made once."""


def fresh(path: Path) -> ModuleType:
    """Load a module once more beside the one in use, so that nothing that another test changed is seen."""
    spec = importlib.util.spec_from_file_location(f"fresh_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module  # dataclasses look there
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[module.__name__]
    return module


def modules(package: str) -> list[tuple[Path, ModuleType]]:
    pytest.importorskip("onnx")
    return [(path, fresh(path)) for path in sorted((ROOT / package).glob("*.py"))]


@pytest.mark.parametrize("package", CORE)
def test_values_do_not_change_once_they_are_made(package: str) -> None:
    for path, module in modules(package):
        for name, one in vars(module).items():
            if (
                isinstance(one, type)
                and dataclasses.is_dataclass(one)
                and one.__module__ == module.__name__
            ):
                params: Any = one.__dataclass_params__  # type: ignore[attr-defined]
                where = f"{path.relative_to(ROOT).as_posix()}: {name}"
                assert params.frozen is (where not in CHANGING), where


@pytest.mark.parametrize("package", CORE)
def test_what_types_alone_need_is_not_loaded(package: str) -> None:
    for path, module in modules(package):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if (
                isinstance(node, ast.If)
                and isinstance(node.test, ast.Name)
                and node.test.id == "TYPE_CHECKING"
            ):
                names = {
                    alias.asname or alias.name
                    for part in node.body
                    if isinstance(part, ast.Import | ast.ImportFrom)
                    for alias in part.names
                }
                assert not names & set(vars(module)), path.name


@pytest.mark.parametrize("package", DECIDING)
def test_what_decides_is_listed_with_what_it_means(golden: Any, package: str) -> None:
    """Each number that a module fixes, and its sentence: a change of one is seen as such."""
    lines = []
    for path, module in modules(package):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names = [
                    part.id
                    for target in targets
                    for part in ast.walk(target)
                    if isinstance(part, ast.Name)
                ]
                for name in names:
                    value = vars(module)[name]
                    if numbers_alone(value):
                        lines.append(f"{path.name}: {name} = {value!r}")
                        lines += [f"    {line}" for line in sentence(after)]
    golden.check(
        f"decides_{package.rpartition('edgeconv/')[2].replace('/', '_')}.txt",
        "\n".join(lines) + "\n",
    )


def numbers_alone(value: Any) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(numbers_alone(one) for one in value.values())
    if isinstance(value, tuple):
        return bool(value) and all(numbers_alone(one) for one in value)
    return isinstance(value, int | float) and not isinstance(value, bool)


def sentence(node: ast.stmt | None) -> list[str]:
    if (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ):
        return node.value.value.splitlines()
    return []
