"""Mutations that know a format: each takes a random source and a healthy file, and writes another."""

import json
import math
import os
import shutil
import struct
import tomllib
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.onnx_models import onnx_of
from fuzz.values import mutate_bytes, mutate_json
from fuzz.wire import mutate_message

Mutator = Callable[[Random, Path, Path], object]


def bytes_of(rng: Random, source: Path, target: Path) -> None:
    """Change bytes, of any format."""
    target.write_bytes(mutate_bytes(rng, source.read_bytes()))


def json_of(rng: Random, source: Path, target: Path) -> None:
    """Change values of a JSON file; now and then its bytes."""
    if rng.random() < 0.1:
        bytes_of(rng, source, target)
    else:
        target.write_text(mutate_json(rng, json.loads(source.read_text())))


def folder_of(rng: Random, source: Path, target: Path) -> None:
    """Change one file of a folder by its format, or take it away, or put something else in its place."""
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    file = rng.choice(files)
    match rng.randrange(10):
        case 0:
            file.unlink()
        case 1:
            file.unlink()
            file.symlink_to(rng.choice(("/etc/passwd", "/dev/zero", "gone")))
        case 2:
            file.unlink()
            rng.choice((Path.mkdir, os.mkfifo))(file)
        case _:
            BY_SUFFIX.get(file.suffix, bytes_of)(rng, file, file)


def message_of(rng: Random, source: Path, target: Path) -> None:
    """Change the fields of a protobuf message; now and then its bytes."""
    change = mutate_bytes if rng.random() < 0.2 else mutate_message
    target.write_bytes(change(rng, source.read_bytes()))


def archive_of(rng: Random, source: Path, target: Path) -> None:
    """Change the arrays of an .npz: types, shapes, headers that claim, members that are none."""
    with np.load(source, allow_pickle=False) as stored:
        arrays: dict[str, Any] = dict(stored)
    name = rng.choice(sorted(arrays))
    match rng.randrange(8):
        case 0:
            arrays[name] = rng.choice(
                (np.array(3), np.zeros((0, 3)), np.array(["a"]), np.array([1j]))
            )
        case 1:
            arrays[name] = np.full(arrays[name].shape, rng.choice((np.nan, np.inf, -1e38)))
        case 2:
            del arrays[name]
        case 3:
            arrays[rng.choice(("about", "names", "truth", "\x1b[2J"))] = np.array(
                rng.choice(("{", "[]"))
            )
        case 4:
            arrays[name] = arrays[name].reshape(-1)[:1]
        case 5:
            arrays[name] = np.array([{"a": 1}], dtype=object)  # a pickle
        case 6:
            return bytes_of(rng, source, target)
        case _:
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                if rng.random() < 0.9:
                    archive.writestr(f"{name}.npy", npy_claiming(rng))
                else:
                    _inflating(archive, name)
            return None
    np.savez_compressed(target, **arrays)
    return None


def outputs_of(rng: Random, source: Path, target: Path) -> None:
    """Change what saved outputs say of themselves; half the time their arrays."""
    if rng.random() < 0.5:
        return archive_of(rng, source, target)
    with np.load(source, allow_pickle=False) as stored:
        arrays: dict[str, Any] = dict(stored)
    arrays["about"] = np.array(mutate_json(rng, json.loads(str(arrays["about"]))))
    np.savez(target, **arrays)
    return None


def npy_claiming(rng: Random) -> bytes:
    """Return an .npy whose header says more or other than it has."""
    shape = rng.choice(((1 << 40,), (-1,), (2, 3), (1 << 20, 1 << 20)))
    kind = rng.choice(("<f4", "|O", "|u1", "<U9", "<f99"))
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(24)


def _inflating(archive: zipfile.ZipFile, name: str) -> None:
    """Write an array of 1.2 GB that takes some megabytes here."""
    shape = (400_000, 3, 16, 16)
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".encode()
    with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
        member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        for _ in range(4 * math.prod(shape) >> 20):
            member.write(bytes(1 << 20))


def array_of(rng: Random, source: Path, target: Path) -> None:
    """Change an .npy."""
    if rng.random() < 0.5:
        target.write_bytes(npy_claiming(rng))
    else:
        bytes_of(rng, source, target)


def picture_of(rng: Random, source: Path, target: Path) -> None:
    """Change a PNG: its size, its bytes, or what kind of thing lies there."""
    data = source.read_bytes()
    match rng.randrange(6):
        case 0:
            size = struct.pack(">II", *rng.choices((0, 1, 9, 20_000, 2**31 - 1), k=2))
            head = b"IHDR" + size + data[24:29]
            target.write_bytes(data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:])
        case 1:
            os.mkfifo(target)
        case 2:
            target.symlink_to(rng.choice(("/dev/zero", "/", "gone")))
        case 3:
            target.write_bytes(
                rng.choice((b"", b"GIF89a", b"\xff\xd8\xff", b"BM", b"II*\x00", b"P6 9 9 9 "))
            )
        case _:
            bytes_of(rng, source, target)


def checkpoint_of(rng: Random, source: Path, target: Path) -> None:
    """Change a PyTorch checkpoint: what it holds, or its bytes."""
    import torch

    if rng.random() < 0.3:
        return bytes_of(rng, source, target)
    state: Any = torch.load(source, weights_only=True)
    name = rng.choice(sorted(state))
    match rng.randrange(9):
        case 0:
            state[name] = torch.eye(3).to_sparse()
        case 1:
            state[name] = torch.ones(2, device="meta")
        case 2:
            state[name] = torch.ones(1).expand(rng.choice((8, 1 << 40)))
        case 3:
            state[name] = state[name].to(rng.choice((torch.int8, torch.complex64, torch.bfloat16)))
        case 4:
            state[name] = torch.full_like(state[name], float("nan"), dtype=torch.float32)
        case 5:
            del state[name]
        case 6:
            around = {"model": state}
            rng.choice((around, state))["model"] = (
                around  # without end, with tensors on the way or none
            )
            state = around
        case 7:
            state = rng.choice(([], {}, {"epoch": 3}, "text", {1: 2}, {"net": {"net": {}}}))
        case _:
            state[name] = state[name].reshape(-1)
    torch.save(state, target)
    return None


def standing_of(rng: Random, source: Path, target: Path) -> None:
    """Change what an unfinished training left: its job and epochs (JSON texts), its tensors, its fields."""
    import torch

    if rng.random() < 0.2:
        return bytes_of(rng, source, target)
    standing: Any = torch.load(source, weights_only=True)
    name = rng.choice(sorted(standing))
    match standing[name]:
        case str() as said if rng.random() < 0.8:
            standing[name] = mutate_json(rng, json.loads(said))
        case dict() as inner if rng.random() < 0.8:
            key = rng.choice(list(inner))
            inner[key] = rng.choice((torch.ones(3), torch.zeros(()), 1, None, "x", []))
        case _ if rng.random() < 0.3:
            del standing[name]
        case _:
            standing[name] = rng.choice((None, 0, -1, 10**9, "", [], {}, (1.0,), torch.ones(2)))
    torch.save(rng.choice((standing, standing, standing, standing, [], {}, [standing])), target)
    return None


def described_of(rng: Random, source: Path, target: Path) -> None:
    """Change what a .safetensors file of ``edgeconv train`` says of itself."""
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    about = header["__metadata__"]
    name = rng.choice(sorted(about))
    about[name] = mutate_json(rng, json.loads(about[name]))
    text = json.dumps(header).encode()
    target.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def tensors_of(rng: Random, source: Path, target: Path) -> None:
    """Change the header of a .safetensors file."""
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = mutate_json(rng, json.loads(data[8 : 8 + length])).encode()
    said = rng.choice((len(header), len(header), len(header), 0, 2**40))
    target.write_bytes(struct.pack("<Q", said) + header + data[8 + length :])


ODD_TEXTS = (
    b"\xff\xfe", b"\x00", b"a=" + b"[" * 20_000, b"[int8]\nsqnr_db=nan", b"a,b,c\n,,\n", b"p00.png,-1",
    b"", b'"', b'"' + b"a" * 200_000, b"crop = " + b"9" * 5000, b"\x1b[2J,1\n", b"a\n" * 50_000,
    b"a\0b\n" * 10, b"a" * 10_000_000 + b"\n" + b"b\n" * 9, "\ufeffa\n".encode("utf-16"),
)  # fmt: skip


def text_of(rng: Random, source: Path, target: Path) -> None:
    """Change a small text file: TOML, CSV, labels."""
    target.write_bytes(
        rng.choice(ODD_TEXTS) if rng.random() < 0.3 else mutate_bytes(rng, source.read_bytes())
    )


def toml_of(rng: Random, source: Path, target: Path) -> None:
    """Change values of a TOML file; now and then its text."""
    try:
        made = json.loads(mutate_json(rng, tomllib.loads(source.read_text())))
    except (ValueError, RecursionError):
        made = None
    if not isinstance(made, dict) or rng.random() < 0.2:
        return text_of(rng, source, target)
    target.write_text("".join(f"{json.dumps(key)} = {_toml(made[key])}\n" for key in made))
    return None


def _toml(value: Any) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case float() if not math.isfinite(value):
            return repr(value)
        case None:
            return '""'
    return json.dumps(value)


BY_SUFFIX: dict[str, Mutator] = {
    ".json": json_of, ".onnx": onnx_of, ".npz": archive_of, ".mlmodel": message_of,
}  # fmt: skip
