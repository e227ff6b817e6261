"""The healthy files that cases start from, made in code."""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fuzz import foreign, tasks

COLOURS, SIDE, CLASSES = 8, 16, 10


def build(folder: Path, whole: bool = False, makes: Sequence[str] = ()) -> None:
    """Make everything in ``folder``; ``whole`` adds what only whole commands read.

    ``makes`` are the command lines of kinds that make their own; a file that cannot be made is left out.

    By command lines that every version of edgeconv has had, so that a campaign can go over an old one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.onnx").write_bytes(tiny_model())
    _put(folder / "words/tiny.onnx", tiny_model())
    _pictures(folder / "pics")
    rng = np.random.default_rng(3)
    coarse = rng.standard_normal(
        (12, 3, SIDE // 8, SIDE // 8)
    )  # neighbours alike, as in photographs
    samples = np.kron(coarse, np.ones((8, 8))).astype(np.float32)
    np.save(folder / "calib.npy", samples)
    np.savez(folder / "calib.npz", input=samples)
    targets = "--target onnx --target tflite --target coreml"
    for options in ("", "--int8 --recipe fast"):
        output = folder / ("int8" if options else "fp32")
        _run(
            f"export {folder}/tiny.onnx {options} {targets} --calib {folder}/pics --output {output}"
        )
    made = folder / "int8" / "tiny_int8"
    _put(
        folder / "recipe/recipe.json", (made.parent / "tiny_int8.evidence/recipe.json").read_bytes()
    )
    (folder / "judge").mkdir(exist_ok=True)
    _run(f"parity {made}.tflite --count 3 --baseline {folder}/judge/baseline.json --update-baseline"
         f" --save-outputs {folder}/all")  # fmt: skip
    _put(folder / "judge/budget.toml", b"[int8]\nsqnr_db = 5.0\n[int8.outputs.logits]\nkl = 0.5\n")
    _put(
        folder / "judge/budget.json",
        b'{"int8": {"sqnr_db": 5.0, "outputs": {"logits": {"kl": 0.5}}}}',
    )
    reference = folder / "all" / "reference.npz"
    _put(folder / "saved" / "reference.npz", reference.read_bytes())
    other = next(p for p in sorted((folder / "all").glob("*.npz")) if p != reference)
    _put(folder / "saved" / "outputs.npz", other.read_bytes())
    _put(folder / "results" / "results.json", json.dumps(_results()).encode())
    _put(
        folder / "truth/truth.csv",
        b"file,class\n" + b"".join(b"p%02d.png,1\n" % i for i in range(6)),
    )
    _put(folder / "boxes/coco.json", json.dumps(_boxes()).encode())
    _put(
        folder / "defaults/edgeconv.toml",
        b'[run]\ntop = 3\n[export]\ntarget = ["tflite"]\ncrop = 0.9\nmean = [0.5, 0.5, 0.5]\n'
        b'[parity]\ncount = 2\n[bench]\nruns = 2\nwarmup = 0\nreference = false\nthreads = "1"\n'
        b'[eval]\ncount = 2\ntruth = "%s/truth/truth.csv"\n[sweep]\nprecision = ["fp32"]\nbench = false\n'
        % str(folder).encode(),
    )
    _weights(folder / "weights")
    for command in makes:
        with contextlib.suppress(Exception):
            _run(command.format(base=folder))
    if whole:
        _commands_files(folder)
        tasks.build(folder, _run)
        foreign.build(folder, _run)


def _commands_files(folder: Path) -> None:
    """Make a bench's and a sweep's files; one that cannot be made is left out."""
    job = (
        f'nets = ["{folder}/tiny.onnx"]\nprecision = ["fp32"]\ntarget = ["onnx"]\nbench = false\n'
        "count = 4\nshard = 2\nthreads = [1]\nmean = [0.5, 0.5, 0.5]\nstd = [0.5, 0.5, 0.5]\ncrop = 0.9\n"
        "budget_mb = 9.0\nmin_top1 = 0.0\n"
    )
    _put(
        folder / "sweep/job.toml",
        f'{job}calib = "{folder}/pics"\ndata = "{folder}/pics"\ntruth = "{folder}/truth/truth.csv"\n'.encode(),
    )
    (folder / "timed").mkdir(exist_ok=True)
    for command in (
        f"bench {folder}/fp32/tiny_fp32.onnx --runs 3 --warmup 0 --no-reference --history {folder}/timed",
        f"sweep {folder}/sweep/job.toml --output {folder}/sweep/kept -q",
    ):
        with contextlib.suppress(Exception):
            _run(command)
    if (kept := folder / "timed/000001.json").exists():
        _put(folder / "timed/bench.json", kept.read_bytes())


def _run(words: str) -> None:
    from edgeconv.cli import main

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            main(words.split(), standalone_mode=False)
    except SystemExit as error:
        if error.code not in (None, 0):
            raise RuntimeError(f"{words}: exit code {error.code}") from error


def _put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def tiny_model() -> bytes:
    """A convolution, a depthwise and a pointwise one, a pool and a fully connected layer."""
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(1)
    shapes = {"w0": (COLOURS, 3, 3, 3), "w1": (COLOURS, 1, 3, 3), "w2": (COLOURS, COLOURS, 1, 1),
              "w3": (CLASSES, COLOURS), "b3": (CLASSES,)}  # fmt: skip
    constants = [
        numpy_helper.from_array((0.4 * rng.standard_normal(shape)).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    pads: dict[str, Any] = {"pads": [1, 1, 1, 1]}
    nodes = [
        helper.make_node("Conv", ["input", "w0"], ["c0"], "conv0", strides=[2, 2], **pads),
        helper.make_node("Relu", ["c0"], ["r0"], "relu0"),
        helper.make_node("Conv", ["r0", "w1"], ["c1"], "dw", group=COLOURS, **pads),
        helper.make_node("Conv", ["c1", "w2"], ["c2"], "pw"),
        helper.make_node("Add", ["c2", "r0"], ["a"], "add"),
        helper.make_node("GlobalAveragePool", ["a"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["logits"], "gemm", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", 1, [1, 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("logits", 1, [1, CLASSES])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = made.SerializeToString()
    return data


def _pictures(folder: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(2)
    for number in range(6):
        buffer = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (20, 24, 3), np.uint8)).save(buffer, "PNG")
        _put(folder / f"p{number:02d}.png", buffer.getvalue())


def _weights(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from edgeconv.models.mobilenet_v1 import mobilenet_v1

    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    state = mobilenet_v1(width=0.25).state_dict()
    torch.save(state, folder / "weights.pth")
    save_file(state, folder / "weights.safetensors")


def _results() -> dict[str, Any]:
    from edgeconv.bench.results import Report, Row
    from edgeconv.bench.statistics import summarize
    from edgeconv.machine import describe

    times = tuple(float(t) for t in range(1, 13))
    row = Row("net.tflite (ai-edge-litert, 1 thread)", "ai-edge-litert", "2.0", 1, summarize(times),
              latencies_ms=times, rounds_ms=times, starts_s=times, about={"bytes": 9})  # fmt: skip
    check = {"max_difference": 0.1, "equal": 0.9, "same_top1": 1.0}
    return {
        "bench": Report("0", 0.0, describe(), {}, {}, (row,)).to_json(),
        "checks": {"net.tflite": {"runtime": "x", "samples": 3, "outputs": {"logits": check}}},
    }


def _boxes() -> dict[str, Any]:
    """Return a COCO file for the pictures."""
    images = [{"id": i, "file_name": f"p{i:02d}.png", "width": 24, "height": 20} for i in range(6)]
    box = {"category_id": 1, "bbox": [2, 2, 9, 9], "iscrowd": 0}
    marked = [{"id": i, "image_id": i, **box} for i in range(6)]
    return {"images": images, "annotations": marked, "categories": [{"id": 1, "name": "a"}]}
