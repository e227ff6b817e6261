"""The child process of simplify.py: ``python -m edgeconv.export.hub.simplify_child [IN OUT OPSET]``.

onnxsim and onnx's version converter are native code that can crash; here they take nothing with
them. Without arguments it imports onnxsim, which takes a second, and waits for them on a line of
standard input, as a JSON list.
"""

import json
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def main() -> int:
    """Convert to the hub's opset and simplify; print a reason and return 1 where that fails."""
    arguments = sys.argv[1:]
    try:
        if not arguments:
            _import_onnxsim()
            line = sys.stdin.readline()
            if not line:  # nobody needed it
                return 0
            arguments = json.loads(line)
        source, target, opset = arguments
        return _simplify(source, target, int(opset))
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = lines[0].rpartition("failed: ")[2] if lines else ""  # not the place in onnx
        print(reason or type(error).__name__, file=sys.stderr)
        return 1


def _import_onnxsim() -> None:
    # it imports torch where that is installed, for what is not used here: two seconds
    sys.modules["torch"] = None  # type: ignore[assignment]
    import onnxsim  # noqa: F401


def _simplify(source: str, target: str, opset: int) -> int:
    import onnx
    from onnx import version_converter

    model = onnx.load(source)
    now = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
    if now != opset:
        model = version_converter.convert_version(model, opset)
        _save(model, target)
    _import_onnxsim()
    import onnxsim

    simplified, passed = onnxsim.simplify(model)
    if not passed:
        print("onnxsim's own check of its result failed", file=sys.stderr)
        return 1
    _save(simplified, target)
    return 0


def _save(model: "onnx.ModelProto", target: str) -> None:
    """Write in one step: the parent reads ``target`` even where this process dies."""
    import onnx

    onnx.save(model, f"{target}.part")
    os.replace(f"{target}.part", target)


if __name__ == "__main__":
    sys.exit(main())
