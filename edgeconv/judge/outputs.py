"""A set of outputs and where it came from: kept in memory, or saved on one machine for another."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeconv.arrays import read_arrays
from edgeconv.errors import EdgeconvError
from edgeconv.files import replacing
from edgeconv.judge.whole import WHOLES
from edgeconv.manifest_schema import PRECISIONS
from edgeconv.schema import (
    checked,
    flag,
    items,
    mapping,
    maybe,
    number,
    one_of,
    parse_json,
    table,
    text,
    whole,
)

Array = NDArray[Any]
VERSION = 1

ABOUT = table(
    {},
    {
        "label": text,
        "stage": text,
        "title": text,
        "kind": one_of(*PRECISIONS, "lowered", "kernels"),
        "precision": maybe(text),
        "inputs_sha256": maybe(text),
        "class_offset": whole(0, 1 << 20),
        "scales": mapping(number(above=0.0)),
        "names": maybe(items(text)),
        "truth": maybe(items(whole())),
        "source": maybe(text),
        "file": mapping(number()),
        "cuts": maybe(mapping(items(whole(0), 2))),
        "whole": maybe(mapping(one_of(*WHOLES))),
        "runtime": maybe(text),
        "version": maybe(text),
        "threads": whole(0),
        "infer_s": number(low=0.0),
        "loop_s": number(low=0.0),
        "load_s": number(low=0.0),
        "delegation": mapping(number()),
        "doubts": items(text),
        "integer": flag,
        "machine": maybe(text),
        "emulated": maybe(text),
        "before": maybe(text),
        "rows": maybe(items(whole(0))),
        "foreign": flag,
        "weights": maybe(text),
        "noise": mapping(number()),
        "explained": mapping(number(low=0.0)),
        "halves": mapping(mapping(number())),
    },
)
"""What ``about`` of saved outputs must hold, where it holds it."""


@dataclass(frozen=True)
class Outputs:
    """Real-valued outputs of one run, name -> (pictures, ...), in the hub's layout.

    ``about`` says what ran: label, stage, precision, file, runtime, version, threads, machine,
    inputs_sha256, seconds, scales (output -> quantization step), rows (the pictures it ran, where not
    all). ``margins`` tell of a reference how sure its labels are, (pictures, labels).
    """

    arrays: Mapping[str, Array]
    about: Mapping[str, Any] = field(default_factory=dict)
    margins: Mapping[str, Array] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """How reports call this run."""
        return str(self.about.get("label", "outputs"))

    @property
    def rows(self) -> NDArray[np.intp]:
        """Which of the run's pictures it has: its rows are theirs.

        Raises EdgeconvError where it does not say so of each of its rows.
        """
        count = min((len(array) for array in self.arrays.values()), default=0)
        told = self.about.get("rows")
        if told is None:
            return np.arange(count)
        if len(told) != count or len(set(told)) != count:
            raise EdgeconvError(f"{self.label}: rows names {len(told)} samples, it has {count}")
        return np.array(told, np.intp)

    @property
    def scales(self) -> dict[str, float]:
        """Quantization step by output, where the file has one."""
        return {name: float(step) for name, step in dict(self.about.get("scales", {})).items()}


def inputs_hash(inputs: Mapping[str, Array]) -> str:
    """SHA-256 over names, types, shapes and bytes of the inputs: the same pictures, or not."""
    digest = hashlib.sha256()
    for name in sorted(inputs):
        array = np.ascontiguousarray(inputs[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def save_outputs(path: Path, outputs: Outputs) -> None:
    """Write outputs as .npz: ``output:<name>`` arrays and ``about``, JSON text."""
    about = json.dumps({"edgeconv_outputs": VERSION, **outputs.about}, sort_keys=True)
    arrays = {f"output:{name}": array for name, array in outputs.arrays.items()}
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, about=np.array(about), **arrays)  # type: ignore[arg-type]


def load_outputs(path: Path) -> Outputs:
    """Read outputs from .npz: our own, or plain arrays by output name.

    Raises EdgeconvError where the file is unreadable or holds no array.
    """
    arrays = read_arrays(path, rows=False)
    about: Any = {}
    if "about" in arrays:
        said = parse_json(str(arrays.pop("about")), f"{path}: about is no JSON")
        about = checked(said, ABOUT, f"{path}: about")
    for name, array in arrays.items():
        if array.ndim == 0 or array.dtype.kind not in "biuf":
            raise EdgeconvError(f"{path}: {name} holds no rows of numbers")
    named = {k.removeprefix("output:"): a for k, a in arrays.items() if k.startswith("output:")}
    if not (named or arrays):
        raise EdgeconvError(f"{path} holds no outputs")
    return Outputs(named or arrays, about or {"label": path.stem})


def load_folder(folder: Path) -> list[Outputs]:
    """Read every .npz of ``folder``, sorted by name; raises EdgeconvError where there is none."""
    paths = sorted(folder.glob("*.npz"))
    if not paths:
        raise EdgeconvError(f"{folder} holds no saved outputs (.npz)")
    return [load_outputs(path) for path in paths]
