"""Odd command lines of what came later: other formats, jobs, pages, truths, programs and logs, a group each."""

from collections.abc import Mapping
from pathlib import Path
from random import Random

from fuzz import lines
from fuzz.kind import Kind, untouched

PTE = "{base}/pte/tiny_fp32.pte"
PARAM = "{base}/ncnn/tiny_fp32.param"
BOXES = "{base}/detector/detector.onnx"
PACKAGE = "{base}/image_input/tiny_int8.mlpackage"
FLOAT = "{base}/fp32/tiny_fp32.onnx"
INT8 = "{base}/int8/tiny_int8.tflite"
CLASS = "--resolution 32 --epochs 1 --batch 2 --output out/w.safetensors --json"

GROUPS: Mapping[str, tuple[str, ...]] = {
    "pte lines": (
        "export {base}/tiny.onnx --calib {base}/calib.npz --target executorch --output out --json",
        f"run {PTE} {{base}}/pics/p00.png --json", f"parity {PTE} --count 2 --json", f"inspect {PTE} --json",
        f"bench {PTE} --runs 2 --warmup 0 --no-reference --json", f"report {PTE} --html out/page.html",
        f"eval {PTE} --data {{base}}/pics --truth {{base}}/truth/truth.csv --json",
        f"bundle {PTE} --output out/b.tar.gz",
    ),
    "ncnn lines": (
        "export {base}/tiny.onnx --calib {base}/calib.npz --target ncnn --fp16 --output out --json",
        f"run {PARAM} {{base}}/pics/p00.png --json", f"parity {PARAM} --count 2 --json", f"inspect {PARAM} --json",
        f"bench {PARAM} --runs 2 --warmup 0 --no-reference --json",
        f"eval {PARAM} --data {{base}}/pics --truth {{base}}/truth/truth.csv --json", f"report {PARAM} --html out/page.html",
        f"bundle {PARAM} --output out/b.tar.gz",
    ),
    "job lines": (
        "sweep {base}/sweep/job.toml --output kept --json", "sweep {base}/sweep/job.toml --dry-run",
        "sweep {base}/sweep/job.toml --output kept --html out/page.html --csv out/cells.csv",
        "sweep {base}/sweep/job.toml {base}/tiny.onnx --adaptive --output kept -q",
        "sweep {base}/sweep/job.toml --target ncnn,executorch --precision fp32,fp16 --dry-run --json",
    ),
    "page lines": (
        f"report {FLOAT} --html out/page.html --bench {{base}}/timed/bench.json", f"report {INT8} --html out/page.html --json",
        "report {base}/boxed/detector_fp32.mlpackage --html out/page.html", f"snippet {INT8} --lang cpp --output app",
        f"snippet {INT8} --lang kotlin --output app --json", f"snippet {PACKAGE} --lang swift --output app",
        "snippet {base}/boxed/detector_fp32.tflite --lang c --output app", f"snippet {FLOAT} --output app --force",
    ),
    "truth lines": (
        f"eval {FLOAT} {INT8} --data {{base}}/pics --truth {{base}}/truth/truth.csv --json",
        f"eval {BOXES} --head yolov8 --preprocessing unit --data {{base}}/pics --truth {{base}}/boxes/coco.json --json",
        f"eval {BOXES} --head yolov8 --preprocessing unit --data {{base}}/pics --truth {{base}}/boxes/coco.json --draw out",
        f"eval {FLOAT} --data {{base}}/classes --truth folders --json",
        "eval {base}/segmenter/segmenter.onnx --preprocessing unit --data {base}/pics --truth {base}/marked/masks --json",
    ),
    "picture lines": (
        "export {base}/tiny.onnx --calib {base}/pics --target coreml --image-input --output out --json",
        "export {base}/tiny.onnx --calib {base}/pics --target coreml --image-input --labels {base}/labels/labels.txt --int8"
        " --recipe fast --output out",
        f"export {BOXES} --nms yolov8 --preprocessing unit --calib {{base}}/pics --target coreml --target tflite --output out --json",
        f"run {PACKAGE} {{base}}/pics/p00.png --json", "parity {base}/boxed/detector_fp32.tflite --count 2 --json",
        "run {base}/boxed/detector_fp32_nms.tflite {base}/pics/p00.png --json", f"inspect {PACKAGE} --json",
    ),
    "training lines": (
        f"train mobilenet_v2 --width 0.25 --data {{base}}/classes --held-out {{base}}/classes {CLASS}",
        f"train mobilenet_v1 --width 0.25 --data {{base}}/classes --weights {{base}}/weights/weights.pth {CLASS}",
        f"rescue {INT8} --calib {{base}}/pics --minutes 0.001 --json",
        "rescue {base}/tiny.onnx --calib {base}/pics --target onnx --recipe fast --minutes 0.001 --json",
    ),
}  # fmt: skip
"""Group -> its healthy lines."""

LEVELS = ("debug", "info", "warning", "error", "DEBUG", "", "trace", "10", "\x1b[31m", "debug,info")


def any_twist(rng: Random, words: list[str], base: Path, work: Path) -> list[str]:
    """Change words and options, a file's name, or what lies there; some lines stay as they are."""
    twists = (lines.odd_line, lines.odd_line, lines.odd_line, lines.odd_name, lines.no_file)
    return words if rng.random() < 0.05 else rng.choice(twists)(rng, words, base, work)


def logged(rng: Random, words: list[str], base: Path, work: Path) -> list[str]:
    """Log at some level, or at none that there is, what a healthy or odd line does."""
    made = words if rng.random() < 0.5 else any_twist(rng, words, base, work)
    level = rng.choice(LEVELS[:4] if rng.random() < 0.8 else LEVELS)
    return rng.choice((["--log-level", level], [f"--log-level={level}"], ["--log-level"])) + made


KINDS = (
    *(Kind(name, "words/tiny.onnx", untouched, found, twist=any_twist) for name, found in GROUPS.items()),
    Kind("logged", "words/tiny.onnx", untouched, tuple(line for found in GROUPS.values() for line in found), twist=logged),
)  # fmt: skip
