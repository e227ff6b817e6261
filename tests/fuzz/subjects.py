"""The kinds of cases, and the healthy files that they start from."""

import subprocess
import sys
from pathlib import Path

from fuzz import boards, foreign, formats, lines, more_lines, readers
from fuzz.kind import Kind, of_file, of_tflite, untouched
from fuzz.ncnn_pairs import pair_of
from fuzz.onnx_models import onnx_of
from fuzz.tasks import TRAIN
from fuzz.tflite_models import tflite_of

KEPT = "export {base}/tiny.onnx --calib {base}/calib.npz --output out --target tflite"
BOARD = "ssh://pi@board.test"
SOURCE = "export {base}/tiny.onnx --output out"
BOX_EXPORT = (
    "export detector.onnx --calib {base}/pics --preprocessing unit --target tflite --output out"
)
EXPORT = "export tiny.onnx --calib {base}/calib.npz --output out"
MODEL = (
    "inspect tiny.onnx --json", "summary tiny.onnx --json", f"{EXPORT} --target tflite",
    f"{EXPORT} --target coreml --json", f"{EXPORT} --int8 --target onnx --recipe fast",
    "quantize tiny.onnx --calib {base}/pics --output out --recipe fast --json",
    "bundle tiny.onnx --output out/b.tar.gz", f"{EXPORT} --input-shape 1,3,16,16 --dry-run",
    "recipe check {base}/recipe/recipe.json --model tiny.onnx",
)  # fmt: skip
QDQ = (
    "export tiny_int8.onnx --int8 --target tflite --output out --json", "summary tiny_int8.onnx",
    "export tiny_int8.onnx --int8 --target onnx --calib {base}/calib.npz --output out",
    "quantize tiny_int8.onnx --calib {base}/pics --output out --recipe fast",
)  # fmt: skip


CLASSES = "--data {base}/classes --output w.safetensors --json"
BOXES = "eval {base}/detector/detector.onnx --head yolov8 --preprocessing unit --data {base}/pics"
WEIGHTS = "export mobilenet_v1 --width 0.25 --resolution 32 --verify-count 2 --output out --weights"
SWEEP = "sweep job.toml --output kept"
MADE = "int8/tiny_int8"

ALL = (
    Kind("onnx", "tiny.onnx", onnx_of, MODEL, readers.graph),
    Kind("onnx int8", f"{MADE}.onnx", onnx_of, of_file("tiny_int8.onnx"), readers.graph),
    Kind("qdq", f"{MADE}.onnx", onnx_of, QDQ),
    Kind("tflite", "fp32/tiny_fp32.tflite", tflite_of, of_tflite("tiny_fp32.tflite"), readers.flatbuffer),
    Kind("tflite int8", f"{MADE}.tflite", tflite_of, of_tflite("tiny_int8.tflite"), readers.flatbuffer),
    Kind("mlpackage", f"{MADE}.mlpackage", formats.folder_of, of_file("tiny_int8.mlpackage"), readers.package),
    Kind("mlmodel", "fp32/tiny_fp32.mlpackage", formats.folder_of, of_file("tiny_fp32.mlpackage"), readers.package),
    Kind("pte", "pte/tiny_fp32.pte", formats.bytes_of, of_file("tiny_fp32.pte"),
         make="export {base}/tiny.onnx --target executorch --output {base}/pte"),
    Kind("ncnn", "ncnn/tiny_fp32.param", pair_of, of_file("tiny_fp32.param"), readers.pair,
         make="export {base}/tiny.onnx --target ncnn --output {base}/ncnn"),
    Kind("manifest", f"{MADE}.tflite.json", formats.json_of, of_file("tiny_int8.tflite"), readers.artifact),
    Kind("manifest float", "fp32/tiny_fp32.onnx.json", formats.json_of, of_file("tiny_fp32.onnx"), readers.artifact),
    Kind("manifest package", f"{MADE}.mlpackage.json", formats.json_of, of_file("tiny_int8.mlpackage")),
    Kind("evidence", f"{MADE}.evidence", formats.folder_of, (
        "parity tiny_int8.tflite --count 2 --json", "parity tiny_int8.tflite --count 2 --layers --json",
        "report tiny_int8.tflite --html page.html", "recipe show tiny_int8.evidence/recipe.json",
        "bench tiny_int8.tflite --runs 2 --warmup 0 --json")),
    Kind("recipe", "recipe/recipe.json", formats.json_of, (
        "recipe show recipe.json --json", "recipe check recipe.json --model {base}/tiny.onnx",
        "quantize {base}/tiny.onnx --calib {base}/pics --recipe recipe.json --output out --json",
        "sweep {base}/tiny.onnx --recipe recipe.json --precision int8 --target onnx --no-bench --data {base}/pics --output kept",
        "export {base}/tiny.onnx --int8 --recipe recipe.json --verify {base}/pics --target coreml --output out --json",
        "recipe show recipe.json", "recipe show recipe.json --html page.html", "recipe diff recipe.json {base}/recipe/recipe.json",
        "export {base}/tiny.onnx --int8 --recipe recipe.json --calib {base}/pics --output out",
    ), readers.recipe),
    Kind("baseline", "judge/baseline.json", formats.json_of, (
        "parity {base}/int8/tiny_int8.tflite --count 2 --baseline baseline.json --json",
        "parity {base}/int8/tiny_int8.tflite {base}/fp32/tiny_fp32.onnx --count 2 --baseline baseline.json --junit out.xml",
        "parity {base}/int8/tiny_int8.tflite --count 2 --baseline baseline.json --update-baseline --html page.html"), readers.baseline),
    Kind("budget", "judge/budget.toml", formats.toml_of, (
        "parity {base}/int8/tiny_int8.tflite --count 2 --budget budget.toml --json",), readers.budget),
    Kind("budget json", "judge/budget.json", formats.json_of, (
        "parity {base}/int8/tiny_int8.tflite --count 2 --budget budget.json --json",), readers.budget),
    Kind("outputs", "saved/outputs.npz", formats.outputs_of, ("parity --load-outputs . --json",), readers.outputs),
    Kind("results", "results/results.json", formats.json_of, ("bundle --show results.json",), readers.results),
    Kind("bench result", "timed/bench.json", formats.json_of, (
        "report {base}/fp32/tiny_fp32.onnx --bench bench.json --html page.html",)),
    Kind("history", "timed/000001.json", formats.json_of, (
        "bench {base}/fp32/tiny_fp32.onnx --runs 2 --warmup 0 --no-reference --history . --json",)),
    Kind("job", "sweep/job.toml", formats.toml_of, (
        f"{SWEEP} --dry-run", f"{SWEEP} --json", f"{SWEEP} --dry-run --json")),
    Kind("kept cells", "sweep/kept", formats.folder_of, (
        f"{SWEEP} --json", f"{SWEEP} --html page.html --csv cells.csv")),
    Kind("defaults", "defaults/edgeconv.toml", formats.toml_of, (
        "parity {base}/int8/tiny_int8.tflite --json", "bench {base}/fp32/tiny_fp32.onnx --json",
        "eval {base}/fp32/tiny_fp32.onnx --data {base}/pics --json", "sweep {base}/tiny.onnx --dry-run",
        "run {base}/fp32/tiny_fp32.onnx {base}/pics/p00.png", "inspect {base}/fp32/tiny_fp32.onnx",
        "export {base}/tiny.onnx --output out --dry-run")),
    Kind("coco", "boxes/coco.json", formats.json_of, (
        "eval {base}/boxed/detector_fp32_nms.tflite --data {base}/pics --truth coco.json --json",)),
    Kind("calib npz", "calib.npz", formats.archive_of, (
        "export {base}/tiny.onnx --int8 --calib calib.npz --recipe fast --output out",
        "parity {base}/fp32/tiny_fp32.onnx --data calib.npz --count 2 --json"), readers.samples),
    Kind("calib npy", "calib.npy", formats.array_of, (
        "export {base}/tiny.onnx --int8 --calib calib.npy --recipe fast --output out",), readers.samples),
    Kind("picture", "pics/p00.png", formats.picture_of, (
        "run {base}/fp32/tiny_fp32.onnx p00.png --json", "run {base}/int8/tiny_int8.tflite p00.png",
        "export {base}/tiny.onnx --int8 --calib . --recipe fast --output out"), readers.picture),
    Kind("pth", "weights/weights.pth", formats.checkpoint_of, (f"{WEIGHTS} weights.pth",), readers.weights),
    Kind("safetensors", "weights/weights.safetensors", formats.tensors_of,
         (f"{WEIGHTS} weights.safetensors",), readers.weights),
    Kind("trained", "trained/weights.safetensors", formats.described_of, (
        f"{WEIGHTS} weights.safetensors", f"train mobilenet_v1 --epochs 1 --weights weights.safetensors {CLASSES}")),
    Kind("unfinished", "unfinished/w.safetensors.unfinished", formats.standing_of, (f"{TRAIN} {CLASSES}",)),
    Kind("kept export", "kept/.cache", formats.folder_of, (KEPT, f"{KEPT} --json")),
    Kind("labels", "labels/labels.txt", formats.text_of, (
        f"{SOURCE} --labels labels.txt --target tflite", f"{SOURCE} --labels labels.txt --target coreml --image-input",
        "sweep {base}/tiny.onnx --labels labels.txt --precision fp32 --target onnx --no-bench --data {base}/calib.npz --output kept")),
    Kind("photos", "photos", formats.folder_of, (
        f"{SOURCE} --int8 --recipe fast --calib photos", "run {base}/fp32/tiny_fp32.onnx photos/photo.jpg photos/photo.gif --json",
        "parity {base}/int8/tiny_int8.tflite --data photos --json", "quantize {base}/tiny.onnx --calib photos --recipe fast")),
    Kind("yolo labels", "marked/yolo", formats.folder_of, (f"{BOXES} --truth yolo --json", f"{BOXES} --truth yolo --draw drawn")),
    Kind("coco boxes", "boxes/coco.json", formats.json_of, (f"{BOXES} --truth coco.json --json", f"{BOXES} --truth coco.json")),
    Kind("masks", "marked/masks", formats.folder_of, (
        "eval {base}/segmenter/segmenter.onnx --preprocessing unit --data {base}/pics --truth masks --json",)),
    Kind("detector", "detector/detector.onnx", onnx_of, (
        "run detector.onnx {base}/pics/p00.png --head yolov8 --preprocessing unit --draw drawn", f"{BOX_EXPORT} --json",
        "eval detector.onnx --head yolov8 --preprocessing unit --data {base}/pics --truth {base}/boxes/coco.json --json",
        f"{BOX_EXPORT} --nms yolov8 --json")),
    Kind("segmenter", "segmenter/segmenter.onnx", onnx_of, (
        "run segmenter.onnx {base}/pics/p00.png --preprocessing unit --draw drawn",
        "export segmenter.onnx --calib {base}/pics --preprocessing unit --int8 --recipe fast --target tflite --output out",
        "eval segmenter.onnx --preprocessing unit --data {base}/pics --truth {base}/marked/masks --json")),
    Kind("manifest pte", "pte/tiny_fp32.pte.json", formats.json_of, of_file("tiny_fp32.pte")),
    Kind("reference", "saved/reference.npz", formats.outputs_of, (
        "parity {base}/int8/tiny_int8.tflite --reference reference.npz --json",
        "parity {base}/int8/tiny_int8.tflite --load-outputs . --json")),
    Kind("sweep samples", "samples/calib.npz", formats.archive_of, (
        "sweep {base}/tiny.onnx --data calib.npz --target onnx --precision fp32 --no-bench --output kept --json",
        "sweep {base}/tiny.onnx --data {base}/calib.npz --calib calib.npz --target onnx --precision int8 --recipe fast"
        " --no-bench --output kept --json")),
    Kind("board", "board/seed.txt", boards.board_of, (
        f"device info {BOARD}", f"device info {BOARD} --json",
        f"bench {{base}}/fp32/tiny_fp32.onnx --device {BOARD} --runs 2 --warmup 0 --no-reference --json",
        f"parity {{base}}/fp32/tiny_fp32.onnx --device {BOARD} --count 2 --json",
        f"sweep {{base}}/tiny.onnx --precision fp32 --target onnx --device {BOARD} --seconds 0.1 --data {{base}}/pics --output kept --json")),
    Kind("truth", "truth/truth.csv", formats.text_of, (
        "parity {base}/fp32/tiny_fp32.onnx --data {base}/pics --truth truth.csv --count 3 --json",), readers.truth),
    Kind("command line", "words/tiny.onnx", untouched, lines.LINES, twist=lines.odd_line),
    Kind("file name", "words/tiny.onnx", untouched, lines.LINES, twist=lines.odd_name),
    Kind("no file", "words/tiny.onnx", untouched, lines.LINES, twist=lines.no_file),
    *foreign.KINDS,
    *more_lines.KINDS,
)  # fmt: skip

KINDS = {kind.name: kind for kind in ALL}


def build_base(folder: Path, whole: bool = False) -> None:
    """Make the healthy files: a net of five layers, pictures, every export, parity's files, weights.

    ``whole``: also those that only commands read, such as a sweep's and an ExecuTorch export.
    """
    makes = [kind.make for kind in ALL if kind.make and (whole or kind.reader)]
    # in a process that is started: threads of runtimes would not survive the forks of the cases, nor
    # would a fork of a process in which they ran survive them (ncnn's OpenMP waits for ever)
    code = f"from pathlib import Path; from fuzz.base import build; build(Path({str(folder)!r}), {whole}, {makes!r})"
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run([sys.executable, "-c", code], cwd=tests)
    assert done.returncode == 0, "the healthy files cannot be made"
