"""What is inside a .pte: its delegates, the operators outside them, its borders."""

from pathlib import Path
from typing import Any

from edgeconv.artifact import load_artifact
from edgeconv.formats.pte_file import IDENTIFIER, read_program


def look_into_pte(path: Path) -> dict[str, Any]:
    """Return the fields of an Inspection: a delegate counts as one operator, by its name.

    Raises EdgeconvError where the program is damaged.
    """
    program, artifact = read_program(path), load_artifact(path)
    sides = {"input": program.inputs, "output": program.outputs}
    ends = {
        f"{side}s": tuple(
            {"name": f"{side}_{number}", "shape": list(shape), "dtype": dtype}
            for number, (shape, dtype) in enumerate(specs)
        )
        for side, specs in sides.items()
    }
    known = None if artifact is None else artifact.manifest
    outside = sum(program.operators.values())
    return {
        "form": "pte",
        **ends,
        "histogram": {**program.delegates, **program.operators},
        "compute": None,
        "int8_compute": None,
        "per_channel": None,
        "transposes": sum("permute" in name for name in program.operators.elements()),
        "conversions": sum("quantize" in name for name in program.operators.elements()),
        "description": known and {key: known.get(key) for key in ("precision", "net")},
        "read_by": f"the program itself: format {IDENTIFIER.decode()}, version {program.version}, "
        f"{outside} operators outside its delegates",
    }
