"""Files of other makers, and of what exports know beyond a classifier: the kinds, and how they begin."""

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from fuzz import archives, formats, operators
from fuzz.external import external_of
from fuzz.kind import Kind, of_file, of_foreign, of_tflite
from fuzz.onnx_models import onnx_of
from fuzz.operators import operator_of
from fuzz.values import mutate_bytes

SIDE = 16
FOLDERS = (
    "operators",
    "operator_nets",
    "others",
    "programs",
    "labelled",
    "image_input",
    "boxed",
    "project",
    "frozen",
    "external",
)


def build(folder: Path, run: Callable[[str], None]) -> None:
    """Make everything below ``folder``, which holds the classifier's files; ``run`` runs a command line."""
    for name in FOLDERS:
        (folder / name).mkdir(parents=True, exist_ok=True)
    operators.build(folder)
    _programs(folder / "programs")
    pictures = f"--calib {folder}/pics --verify-count 2"
    for output in ("labelled --target tflite", "image_input --target coreml --image-input"):
        run(f"export {folder}/tiny.onnx --labels {folder}/labels/labels.txt --int8 --recipe fast {pictures}"
            f" --output {folder}/{output}")  # fmt: skip
    run(f"export {folder}/detector/detector.onnx --nms yolov8 --preprocessing unit {pictures}"
        f" --target tflite --target coreml --output {folder}/boxed")  # fmt: skip
    defaults = "\n" + (folder / "defaults/edgeconv.toml").read_text()
    (folder / "project/pyproject.toml").write_text(defaults.replace("\n[", "\n[tool.edgeconv."))
    np.save(folder / "frozen/value.npy", np.ones((1, 3, SIDE, SIDE), np.float32))
    (folder / "external/net.onnx").write_bytes((folder / "tiny.onnx").read_bytes())
    (folder / "frozen/two.onnx").write_bytes(_two_inputs())


def _programs(folder: Path) -> None:
    """Save a small module as an ExportedProgram and as TorchScript."""
    import torch
    from torch import nn

    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)
    )
    inputs = torch.zeros(1, 3, SIDE, SIDE)
    torch.export.save(torch.export.export(module.eval(), (inputs,)), folder / "net.pt2")
    trace: Any = torch.jit.trace
    trace(module, inputs).save(str(folder / "net.pt"))


def _two_inputs() -> bytes:
    from onnx import helper

    borders = [
        helper.make_tensor_value_info(name, 1, [1, 3, SIDE, SIDE])
        for name in ("input", "more", "sum")
    ]
    nodes = [
        helper.make_node("Add", ["input", "more"], ["a"]),
        helper.make_node("Relu", ["a"], ["sum"]),
    ]
    graph = helper.make_graph(nodes, "two", borders[:2], borders[2:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    data: bytes = made.SerializeToString()
    return data


def segments_of(rng: Random, source: Path, target: Path) -> None:
    """Change a file of tables: one of its numbers, the archive behind it, or its bytes."""
    match rng.randrange(5):
        case 0:
            target.write_bytes(mutate_bytes(rng, source.read_bytes()))
        case 1 | 2 if source.suffix == ".tflite":
            archives.archive_of(rng, source, target)
        case _:
            archives.tables_of(rng, source, target)


TRUTHS = (
    "file,class\n",
    "file,class,weight\n",
    "class,file\n",
    "\ufefffile,class\n",
    "file;class\n",
    "",
)
ROWS = ("p00.png,1\n", "p01.png,9\n", "p02.png,10\n", "p03.png,-1\n", "p04.png,1.5\n", "p05.png,class 3\n", "gone.png,1\n",
        "p00.png,2\n", '"p01.png",1\n', "p02.png\n", "p03.png,1,2,3\n", "\n", "../pics/p04.png,1\n", "/etc/passwd,1\n",
        "p05.png,99999999999999999999\n", "p00.png,\x1b[2J\n", "p01.png,é\n", "P02.PNG,3\n", 'p03.png,"1\n')  # fmt: skip


def truth_of(rng: Random, source: Path, target: Path) -> None:
    """Write a table of classes whose lines are right, wrong and odd ones."""
    lines = [rng.choice(TRUTHS), *rng.choices(ROWS, k=rng.choice((0, 1, 3, 6, 12)))]
    if rng.random() < 0.5:
        lines[1:] = source.read_text().splitlines(keepends=True)[1:] + lines[1:3]
    end = rng.choice(("\n", "\n", "\r\n", "\r"))
    target.write_text("".join(lines).replace("\n", end), errors="surrogateescape")


def classes_of(rng: Random, source: Path, target: Path) -> None:
    """Change a folder of class folders: files, names, links to itself, nested and empty ones."""
    formats.folder_of(rng, source, target)
    match rng.randrange(8):
        case 0:
            (target / rng.choice(("2", ".hidden", "\x1b[2J", "é", "00"))).mkdir()
        case 1:
            (target / "loop").symlink_to(target)
        case 2:
            (target / "0").rename(target / "a,b <img src=x>")
        case 3:
            (target / "0").rename(target / "1" / "0")
        case 4:
            (target / "2").symlink_to(target / "0")
        case 5:
            for picture in list((target / "0").iterdir()):
                picture.unlink()


def script_of(rng: Random, source: Path, target: Path) -> None:
    """Change what a manifest says that programs and pages quote: names, labels and units of any text."""
    made = json.loads(source.read_text())
    odd = ('"', "'''", '"""', "\\", "*/", "//", "\n", "\u2028", "a\nimport os; os.system('touch PWNED')#", "${x}", "\\(x)",
           "</script><img src=x>", "%s", "{0}", "'); DROP", "\ud800", "\x00", "x" * 5000)  # fmt: skip
    for _ in range(rng.choice((1, 1, 2))):
        match rng.randrange(4):
            case 0 if made.get("labels"):
                made["labels"][rng.randrange(len(made["labels"]))] = rng.choice(odd)
            case 1:
                rng.choice(made["inputs"])["name"] = rng.choice(odd)
            case 2:
                rng.choice(made["outputs"])["name"] = rng.choice(odd)
            case _:
                made[rng.choice(("net", "file", "weights", "edgeconv"))] = rng.choice(odd)
    target.write_text(json.dumps(made))


MARKUP = "<img src=x>\"'`</script><!--{{7*7}}\u202e\x1b[31m"


def marked_of(rng: Random, source: Path, target: Path) -> None:
    """Let some texts of a JSON file, keys among them, hold markup, a template's braces and a terminal's commands."""
    made = json.loads(source.read_text())
    holders = [made]
    for one in holders:
        inner = one.values() if isinstance(one, dict) else one
        holders += [part for part in inner if isinstance(part, dict | list)]
    texts = [
        (one, key)
        for one in holders
        for key in (list(one) if isinstance(one, dict) else range(len(one)))
        if isinstance(one[key], str) or rng.random() < 0.05
    ]
    for one, key in rng.sample(texts, min(len(texts), rng.choice((1, 2, 9)))):
        if isinstance(one[key], str):
            one[key] += MARKUP
        elif isinstance(key, str):
            one[f"{key}{MARKUP}"] = one.pop(key)
    target.write_text(json.dumps(made))


OUT = "--output out"
NODE = (
    f"export net.onnx --target tflite {OUT}", f"export net.onnx --target coreml {OUT} --json",
    f"export net.onnx --target onnx {OUT}", f"export net.onnx --fp16 --target coreml --target tflite {OUT}",
    f"export net.onnx --int8 --recipe fast --calib calib.npz --target tflite {OUT} --json",
    f"export net.onnx --int8 --recipe fast --calib calib.npz --target onnx --target coreml {OUT}",
    f"quantize net.onnx --calib calib.npz --recipe fast {OUT} --json", "summary net.onnx --json", "inspect net.onnx --json",
    "parity net.onnx --count 2 --json", "rescue net.onnx --calib calib.npz --recipe fast --minutes 0.001 --json",
)  # fmt: skip
EXTERNAL = (
    f"export net.onnx --calib {{base}}/calib.npz --target tflite {OUT} --json",
    f"quantize net.onnx --calib {{base}}/pics --recipe fast {OUT}", "summary net.onnx --json", "inspect net.onnx --json",
    "run net.onnx {base}/pics/p00.png --preprocessing unit --json", "bundle net.onnx --output b.tar.gz",
    "parity net.onnx --reference {base}/tiny.onnx --data {base}/calib.npz --count 2 --json",
)  # fmt: skip
PROGRAM = (
    f"export {{0}} --input-shape 1,3,16,16 --target onnx --verify-count 2 {OUT}", f"export {{0}} --target tflite {OUT} --json",
    f"export {{0}} --int8 --recipe fast --calib {{{{base}}}}/pics --target onnx {OUT}", "summary {0} --json",
    "summary {0} --input-shape 1,3,16,16",
)  # fmt: skip
EVAL = "eval {base}/fp32/tiny_fp32.onnx --data {base}/pics"
CLASS = "--resolution 32 --epochs 1 --batch 2 --output w.safetensors --json"
SNIPPETS = tuple(
    f"snippet tiny_int8.tflite --lang {lang} --output app"
    for lang in ("python", "cpp", "kotlin", "c")
)
RESCUE = "rescue {0} --calib {{base}}/pics --minutes 0.001 --json"
INT8 = "labelled/tiny_int8"
DETECTOR = {"reference": "detector/detector.onnx", "truth": "boxes/coco.json --head yolov8"}
PAGE = "report tiny_int8.tflite --html page.html"


def _filled(lines: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(line.format(name) for line in lines)


KINDS = (
    Kind("operator", "operators/net.onnx", operator_of, NODE),
    Kind("qoperator", "others/qoperator.onnx", onnx_of, (
        f"export qoperator.onnx --int8 --target tflite {OUT} --json", f"export qoperator.onnx --int8 --target onnx {OUT}",
        f"export qoperator.onnx --int8 --target coreml {OUT}", "summary qoperator.onnx", *of_foreign("qoperator.onnx"))),
    Kind("qdq foreign", "others/qdq.onnx", onnx_of, (
        f"export qdq.onnx --int8 --target tflite {OUT} --json", f"export qdq.onnx --int8 --target coreml {OUT}",
        "summary qdq.onnx --json", *of_foreign("qdq.onnx"))),
    Kind("external data", "external/net.onnx", external_of, EXTERNAL),
    Kind("pt2", "programs/net.pt2", archives.archive_of, _filled(PROGRAM, "net.pt2")),
    Kind("torchscript", "programs/net.pt", archives.archive_of, _filled(PROGRAM, "net.pt")),
    Kind("labelled", f"{INT8}.tflite", segments_of, of_tflite("tiny_int8.tflite")),
    Kind("image input", "image_input/tiny_int8.mlpackage", formats.folder_of, of_file("tiny_int8.mlpackage")),
    Kind("boxed", "boxed/detector_fp32.tflite", segments_of, of_tflite("detector_fp32.tflite", **DETECTOR)),
    Kind("boxed package", "boxed/detector_fp32.mlpackage", formats.folder_of, of_file("detector_fp32.mlpackage", **DETECTOR)),
    Kind("pte tables", "pte/tiny_fp32.pte", segments_of, (*of_file("tiny_fp32.pte"), "inspect tiny_fp32.pte --json")),
    Kind("quoted", f"{INT8}.tflite.json", script_of, (*SNIPPETS, *SNIPPETS, PAGE)),
    Kind("marked manifest", f"{INT8}.tflite.json", marked_of, (PAGE, "parity tiny_int8.tflite --count 2 --html page.html")),
    Kind("marked recipe", "recipe/recipe.json", marked_of, (
        "recipe show recipe.json --html page.html", "recipe diff recipe.json {base}/recipe/recipe.json")),
    Kind("marked bench", "timed/bench.json", marked_of, (
        "report {base}/fp32/tiny_fp32.onnx --bench bench.json --html page.html",)),
    Kind("marked baseline", "judge/baseline.json", marked_of, (
        "parity {base}/int8/tiny_int8.tflite --count 2 --baseline baseline.json --html page.html --junit out.xml",)),
    Kind("missed", "int8/tiny_int8.tflite.json", formats.json_of, _filled((RESCUE,), "tiny_int8.tflite")),
    Kind("npu", "int8/tiny_int8.tflite", segments_of, (
        "inspect tiny_int8.tflite --mcu --npu ethos-u55-128 --json",)),
    Kind("project", "project/pyproject.toml", formats.toml_of, (
        "run {base}/fp32/tiny_fp32.onnx {base}/pics/p00.png", "export {base}/tiny.onnx --output out --dry-run",
        f"{EVAL} --json", "parity {base}/int8/tiny_int8.tflite --json")),
    Kind("truth rows", "truth/truth.csv", truth_of, (
        f"{EVAL} --truth truth.csv --json", f"{EVAL} --truth truth.csv",
        "export {base}/tiny.onnx --int8 --recipe fast --calib {base}/pics --truth truth.csv --target onnx --output out",
        "parity {base}/fp32/tiny_fp32.onnx --data {base}/pics --truth truth.csv --count 3 --json",
        "sweep {base}/tiny.onnx --data {base}/pics --truth truth.csv --target onnx --precision fp32 --no-bench --output kept")),
    Kind("frozen value", "frozen/value.npy", formats.array_of, (
        f"export {{base}}/frozen/two.onnx --freeze-input more=value.npy --target tflite {OUT}",
        "summary {base}/frozen/two.onnx --json")),
    Kind("class folders", "classes", classes_of, (
        f"train mobilenet_v1 --width 0.25 --data classes {CLASS}",
        f"train mobilenet_v1 --width 0.25 --data {{base}}/classes --held-out classes {CLASS}",
        "eval {base}/fp32/tiny_fp32.onnx --data classes --truth folders --json",
        f"export {{base}}/tiny.onnx --int8 --recipe fast --calib classes --truth folders --target onnx {OUT}",
        "sweep {base}/tiny.onnx --data classes --truth folders --target onnx --precision fp32 --no-bench --output swept --json")),
)  # fmt: skip
