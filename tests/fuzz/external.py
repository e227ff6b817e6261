"""An ONNX model whose weights lie in a file beside it: where, how long and of what kind that is."""

import os
from pathlib import Path
from random import Random
from typing import Any

DATA = "weights.bin"
PLACES = (
    "gone.bin", "/etc/passwd", "../../../etc/passwd", ".", "", "net.onnx", "a/../weights.bin", "weights.bin/", "..\\weights.bin",
    "a\0b", "\x1b[31m", "x" * 300, "/dev/zero", "link.bin",
)  # fmt: skip
NUMBERS = ("-1", "0", "1", "17", "1.5", "x", "", "0x10", " 4 ", "1e3", "9" * 30, "9" * 5000, str(2**62), str(2**63), "\u0663")  # fmt: skip


def external_of(rng: Random, source: Path, target: Path) -> None:
    """Move the weights of ``source`` into a file beside ``target``, and change what the model says of it, or the file."""
    import onnx
    from onnx import numpy_helper

    model: Any = onnx.load(str(source))
    data = b""
    for tensor in model.graph.initializer:
        raw = numpy_helper.to_array(tensor).tobytes()
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", DATA), ("offset", len(data)), ("length", len(raw))):
            tensor.external_data.add(key=key, value=str(value))
        data += raw
    for _ in range(rng.choice((0, 1, 1, 2))):
        entries = rng.choice(model.graph.initializer).external_data
        entry = rng.choice(entries)
        match rng.randrange(5):
            case 0:
                entries.remove(entry)
            case 1:
                entry.key = rng.choice(("location", "offset", "length", "checksum", "x"))
            case _:
                entry.value = rng.choice(PLACES if entry.key == "location" else NUMBERS)
        if not entries:
            break
    target.write_bytes(model.SerializeToString())
    _write(rng, target.with_name(DATA), data)


def _write(rng: Random, path: Path, data: bytes) -> None:
    match rng.randrange(12):
        case 0:
            path.symlink_to(rng.choice(("/etc/passwd", "/dev/zero", "gone", DATA)))
        case 1:
            os.mkfifo(path)
        case 2:
            path.mkdir()
        case 3 | 4:
            path.write_bytes(data[: rng.randrange(len(data))])
        case 5:
            path.write_bytes(b"")
        case _:
            path.write_bytes(data)
    if rng.random() < 0.2:
        path.with_name("link.bin").symlink_to(rng.choice((DATA, "/etc/passwd")))
