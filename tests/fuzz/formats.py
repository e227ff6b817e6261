"""Mutations that know a format: each takes a random source and a healthy file, and writes another."""

import io
import json
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz.values import NUMBERS, ODD, mutate_bytes, mutate_json

Mutator = Callable[[Random, Path, Path], None]


def bytes_of(rng: Random, source: Path, target: Path) -> None:
    """Change bytes, of any format."""
    target.write_bytes(mutate_bytes(rng, source.read_bytes()))


def json_of(rng: Random, source: Path, target: Path) -> None:
    """Change values of a JSON file; now and then its bytes."""
    if rng.random() < 0.1:
        bytes_of(rng, source, target)
    else:
        target.write_text(mutate_json(rng, json.loads(source.read_text())))


def onnx_of(rng: Random, source: Path, target: Path) -> None:
    """Change the model's structure: shapes, types, data, names, nodes, attributes, metadata."""
    import onnx

    if rng.random() < 0.2:
        return bytes_of(rng, source, target)
    model = onnx.load(str(source))
    for _ in range(rng.choice((1, 1, 2, 3))):
        rng.choice(ONNX_STEPS)(rng, model)
    target.write_bytes(model.SerializeToString())
    return None


def _constant(rng: Random, model: Any) -> None:
    tensor = rng.choice(model.graph.initializer)
    match rng.randrange(7):
        case 0:
            tensor.data_type = rng.choice((0, 2, 3, 7, 8, 10, 16, 17, 20, 99))
        case 1:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        case 2:
            del tensor.dims[:]
            tensor.dims.extend(rng.choice(((), (0,), (1,), (-1,), (2**40, 2**40), (3, 3, 3))))
        case 3:
            tensor.name = rng.choice(("", "x", "\x1b[2J", "input"))
        case 4:
            tensor.data_location = 1
            entry = tensor.external_data.add()
            entry.key, entry.value = "location", rng.choice(("../../etc/passwd", "gone.bin", "."))
        case 5:
            tensor.raw_data = np.full(len(tensor.raw_data) // 4, np.nan, "<f4").tobytes()
        case _:
            model.graph.initializer.append(tensor)


def _node(rng: Random, model: Any) -> None:
    nodes = model.graph.node
    node = rng.choice(nodes)
    match rng.randrange(8):
        case 0:
            node.op_type = rng.choice(("Relu", "Conv", "Gemm", "Loop", "NoSuchOp", "", "Reshape"))
        case 1 if node.input:
            node.input[rng.randrange(len(node.input))] = rng.choice(("", "gone", node.output[0]))
        case 2 if node.output:
            node.output[0] = rng.choice(("", "again", nodes[0].output[0]))
        case 3:
            nodes.remove(node)
        case 4:
            node.domain = rng.choice(("com.microsoft", "evil", "ai.onnx.ml"))
        case 5 if node.input:
            node.input.append(rng.choice(node.input))
        case 6:
            nodes.append(node)
        case _:
            node.name = rng.choice(("", "\x1b]0;x\x07", "a/b", nodes[0].name))


def _attribute(rng: Random, model: Any) -> None:
    found = [a for node in model.graph.node for a in node.attribute]
    if not found:
        return
    attribute = rng.choice(found)
    match rng.randrange(5):
        case 0:
            attribute.i = rng.choice((-1, *NUMBERS))
        case 1:
            del attribute.ints[:]
            attribute.ints.extend(rng.choice((-1, *NUMBERS)) for _ in range(rng.randrange(5)))
        case 2:
            attribute.f = rng.choice((0.0, float("nan"), float("inf"), -1e38))
        case 3:
            attribute.s = rng.choice((b"", b"\xff\xfe", b"SAME_UPPER"))
        case _:
            attribute.type = rng.choice((0, 1, 2, 3, 4, 5, 7))


def _border(rng: Random, model: Any) -> None:
    value = rng.choice([*model.graph.input, *model.graph.output])
    kind = value.type.tensor_type
    match rng.randrange(6):
        case 0:
            kind.elem_type = rng.choice((0, 2, 3, 7, 8, 9, 10, 11, 16, 99))
        case 1 if kind.shape.dim:
            rng.choice(kind.shape.dim).dim_value = rng.choice((0, 2, -1, 65536, 2**62))
        case 2 if kind.shape.dim:
            rng.choice(kind.shape.dim).dim_param = "N"
        case 3:
            kind.ClearField("shape")
        case 4:
            value.name = rng.choice(("", "gone", "\u202eabc", model.graph.input[0].name))
        case _:
            kind.shape.dim.add().dim_value = 2


def _about(rng: Random, model: Any) -> None:
    match rng.randrange(4):
        case 0:
            model.opset_import[0].version = rng.choice((0, 1, 6, 11, 99))
        case 1:
            model.ir_version = rng.choice((0, 1, 99))
        case 2:
            described = {"preprocessing": rng.choice(ODD), "labels": rng.choice(ODD)}
            entry = model.metadata_props.add()
            entry.key, entry.value = "edgeconv", mutate_json(rng, described)
        case _:
            model.graph.name = rng.choice(("", "\x1b[2J"))


ONNX_STEPS = (_constant, _constant, _node, _node, _attribute, _border, _about)


def package_of(rng: Random, source: Path, target: Path) -> None:
    """Change one file of an .mlpackage, or take it away."""
    shutil.copytree(source, target)
    files = sorted(path for path in target.rglob("*") if path.is_file())
    file = rng.choice(files)
    match rng.randrange(8):
        case 0:
            file.unlink()
        case 1:
            file.unlink()
            file.symlink_to("/etc/passwd")
        case _ if file.suffix == ".json":
            json_of(rng, file, file)
        case _:
            bytes_of(rng, file, file)


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
            with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{name}.npy", npy_claiming(rng))
            return None
    np.savez_compressed(target, **arrays)
    return None


def npy_claiming(rng: Random) -> bytes:
    """Return an .npy whose header says more or other than it has."""
    shape = rng.choice(((1 << 40,), (-1,), (2, 3), (1 << 20, 1 << 20)))
    kind = rng.choice(("<f4", "|O", "|u1", "<U9", "<f99"))
    header = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(24)


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
            state = {"model": state}
            state["model"]["model"] = state
        case 7:
            state = rng.choice(([], {}, {"epoch": 3}, "text", {1: 2}, {"net": {"net": {}}}))
        case _:
            state[name] = state[name].reshape(-1)
    torch.save(state, target)
    return None


def tensors_of(rng: Random, source: Path, target: Path) -> None:
    """Change the header of a .safetensors file."""
    data = source.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = mutate_json(rng, json.loads(data[8 : 8 + length])).encode()
    said = rng.choice((len(header), len(header), len(header), 0, 2**40))
    target.write_bytes(struct.pack("<Q", said) + header + data[8 + length :])


def text_of(rng: Random, source: Path, target: Path) -> None:
    """Change a small text file: TOML, CSV, labels."""
    odd = (
        b"\xff\xfe",
        b"\x00",
        b"a=" + b"[" * 20_000,
        b"[int8]\nsqnr_db=nan",
        b"a,b,c\n,,\n",
        b"p00.png,-1",
    )
    target.write_bytes(
        rng.choice(odd) if rng.random() < 0.5 else mutate_bytes(rng, source.read_bytes())
    )


def npy_bytes(array: Any) -> bytes:
    """Return an array as an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
