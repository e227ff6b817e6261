"""The child process of simplify.py: ``python -m edgeconv.export.simplify_child IN OUT OPSET``.

onnxsim and onnx's version converter are native code that can crash; here they take nothing with
them.
"""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx


def main() -> int:
    """Convert to the hub's opset and simplify; print a reason and return 1 where that fails."""
    import onnx
    from onnx import version_converter

    source, target, opset = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        model = onnx.load(source)
        now = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        if now != opset:
            model = version_converter.convert_version(model, opset)
            _save(model, target)
        # onnxsim imports torch where it is installed, for what is not used here: two seconds
        sys.modules["torch"] = None  # type: ignore[assignment]
        import onnxsim

        simplified, passed = onnxsim.simplify(model)
        if not passed:
            print("onnxsim's own check of its result failed", file=sys.stderr)
            return 1
        _save(simplified, target)
    except Exception as error:
        lines = str(error).strip().splitlines()
        reason = lines[0].rpartition("failed: ")[2] if lines else ""  # not the place in onnx
        print(reason or type(error).__name__, file=sys.stderr)
        return 1
    return 0


def _save(model: "onnx.ModelProto", target: str) -> None:
    """Write in one step: the parent reads ``target`` even where this process dies."""
    import onnx

    onnx.save(model, f"{target}.part")
    os.replace(f"{target}.part", target)


if __name__ == "__main__":
    sys.exit(main())
