"""Odd command lines: words and options of every command changed, and files under names nobody expects."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from fuzz.values import ODD

Twist = Callable[[Random, list[str], Path, Path], list[str]]
"""(random source, healthy words, folder of healthy files, the case's folder) -> odd words."""

EXPORT = "export {base}/tiny.onnx --calib {base}/calib.npz --output out"
LINES = (
    f"{EXPORT} --target tflite --json", f"{EXPORT} --int8 --recipe fast --target onnx",
    f"{EXPORT} --fp16 --target coreml --dry-run",
    "export mobilenet_v1 --width 0.25 --resolution 32 --weights {base}/weights/weights.pth"
    " --calib {base}/pics --target tflite --verify-count 2 --output out",
    "quantize {base}/tiny.onnx --calib {base}/pics --recipe fast --output out --json",
    "run {base}/int8/tiny_int8.tflite {base}/pics/p00.png --top 3",
    "run {base}/fp32/tiny_fp32.onnx {base}/pics/p00.png --json --threads 1",
    "run {base}/int8/tiny_int8.mlpackage {base}/pics/p01.png --runtime mil-reference",
    "parity {base}/int8/tiny_int8.tflite --count 2 --json",
    "parity {base}/fp32/tiny_fp32.onnx --data {base}/pics --truth {base}/truth/truth.csv --count 3",
    "bench {base}/fp32/tiny_fp32.onnx --runs 3 --warmup 0 --no-reference --json",
    "inspect {base}/int8/tiny_int8.tflite --tensors", "inspect {base}/fp32/tiny_fp32.onnx --json",
    "inspect {base}/int8/tiny_int8.tflite --mcu --json", "inspect {base}/int8/tiny_int8.mlpackage",
    "inspect {base}/int8/tiny_int8.tflite --c-array out.h",
    "summary {base}/tiny.onnx --json", "summary mobilenet_v2 --width 0.25 --resolution 32",
    "models", "recipe show {base}/recipe/recipe.json",
    "recipe check {base}/recipe/recipe.json --model {base}/tiny.onnx",
    "recipe diff {base}/recipe/recipe.json {base}/recipe/recipe.json",
    "report {base}/int8/tiny_int8.tflite --html page.html",
    "snippet {base}/int8/tiny_int8.tflite", "snippet {base}/fp32/tiny_fp32.onnx --lang c --output app",
    "eval {base}/fp32/tiny_fp32.onnx --data {base}/pics --truth {base}/truth/truth.csv",
    "sweep {base}/tiny.onnx --precision fp32 --target onnx --no-bench --data {base}/pics --output kept",
    "sweep mobilenet_v1 --width 0.25 --resolution 32,48 --weights {base}/weights/weights.pth --dry-run",
    "bundle {base}/int8/tiny_int8.tflite --output out/b.tar.gz", "bundle --show {base}/results/results.json",
    "train mobilenet_v1 --width 0.25 --resolution 32 --data {base}/classes --epochs 1 --batch 2 --output out/w.safetensors --json",
    "rescue {base}/tiny.onnx --calib {base}/pics --target tflite --recipe fast --minutes 0.001 --json",
    "eval {base}/detector/detector.onnx --head yolov8 --preprocessing unit --data {base}/pics --truth {base}/marked/yolo --json",
    "export {base}/detector/detector.onnx --nms yolov8 --preprocessing unit --calib {base}/pics --target tflite --output out",
    "run {base}/segmenter/segmenter.onnx {base}/pics/p00.png --preprocessing unit --draw out/drawn --json",
    "doctor --json", "device info ssh://127.0.0.1:9", "device setup ssh://127.0.0.1:9",
)  # fmt: skip

LONG = ("--mlperf", "--sustained", "--emulate", "--wheels", "--also", "--npu", "--scheduler")
"""Options that are meant to take long, or that fetch something."""

TIMES = ("--seconds", "--runs", "--warmup", "--timeout", "--budget-ms", "--workers", "--shard")
NOWHERE = "nowhere"
"""A link to nothing in the case's folder."""
WORDS: tuple[Any, ...] = (
    *ODD, "-1", "0", "--", "-", "1,2", "nan", "1e999", "gone.py:f", "/dev/null", "/proc/self/mem", ".", "ö",
    "a,b", "1,3,16,16", "1,3,0,0", "x=1", "-oProxyCommand=touch PWNED", "$(touch PWNED)", "[red]x[/]",
    "ssh://-oProxyCommand=touch%20PWNED/", "ssh://", "ssh://a b", "\udc80", "a\\b", "%s", "{x}",
    NOWHERE, f"{NOWHERE}/x", "a" * 300, f"{'a' * 300}/x",
)  # fmt: skip
TIMED_WORDS = ("-1", "0", "", "nan", "x", "1")


def odd_line(rng: Random, words: list[str], base: Path, work: Path) -> list[str]:
    """Drop, double, swap or replace words; add options of the command with values of any kind."""
    (work / NOWHERE).symlink_to("gone")
    as_json = "--json" in words
    made = [word for word in words if word != "--json"]
    for _ in range(rng.choice((1, 1, 2, 3))):
        place = rng.randrange(len(made))
        match rng.randrange(8):
            case 0:
                del made[place]
            case 1:
                made.insert(place, made[place])
            case 2:
                made[place], made[0 if rng.random() < 0.1 else -1] = made[-1], made[place]
            case 3 | 4:
                made[place] = _value(rng, made[place - 1])
            case _:
                made += _option(rng, words[0])
        if not made:
            break
    if as_json:
        made.insert(2 if made[:1] == ["recipe"] else 1, "--json")
    return made


def _option(rng: Random, name: str) -> list[str]:
    """Return an option of command ``name`` with a value that may suit it."""
    import click

    from edgeconv.cli import main

    context = click.Context(main)
    command = main.get_command(context, name)
    if isinstance(command, click.Group):
        command = command.get_command(context, rng.choice(command.list_commands(context)))
    found = [p for p in command.params if isinstance(p, click.Option)] if command else []
    found = [p for p in found if p.opts[0] not in (*LONG, "--json")]
    if not found:
        return ["--no-such-option"]
    option = rng.choice(found)
    word = rng.choice([*option.opts, *option.secondary_opts])
    if option.is_flag or option.count:
        return [word]
    if isinstance(option.type, click.Choice) and rng.random() < 0.7:
        return [word, str(rng.choice(list(option.type.choices)))]
    value = _value(rng, word)
    return rng.choice(([word, value], [word, value], [f"{word}={value}"], [word]))


def _value(rng: Random, before: str) -> str:
    words = TIMED_WORDS if before in TIMES else WORDS
    return str(rng.choice(words)).replace("\0", "")


STEMS = (
    "-x", " ", "a b", "é", "\udcff", "\x1b[31m", "\u202egnp", "a\nb", "a" * 240, "", ".", "{x}", "%s",
    "$(touch PWNED)", "`touch PWNED`", ";touch PWNED;", "a:b", "<img src=x>", "[red]x[/]", "a\\b", "*", "'\"",
    "con", "a,b", "x=y", "a.py:f", "~", "#", "@x", "ssh://x",
)  # fmt: skip


def odd_name(rng: Random, words: list[str], base: Path, work: Path) -> list[str]:
    """Give a file of the command line, or its output, another name: an odd stem, or a wrong suffix."""
    made = list(words)
    files = [n for n, word in enumerate(made) if word.startswith(str(base)) and Path(word).exists()]
    place = rng.choice(files or [len(made) - 1])
    old = Path(made[place])
    suffixes = (old.suffix, old.suffix, old.suffix, old.suffix.upper(), "", ".tflite", ".json")
    name = f"{rng.choice(STEMS)}{rng.choice(suffixes)}".replace("/", "_") or "x"
    if not files or name in (".", ".."):
        made[place] = name
        return made
    (shutil.copytree if old.is_dir() else shutil.copy)(old, work / name)
    for other in (
        old.with_name(f"{old.name}.json"),
        old.with_name(f"{old.stem}.evidence"),
        old.with_suffix(".bin"),
    ):
        if other.exists() and other != old and len(other.name) < 200:
            beside = {".json": f"{name}.json", ".bin": f"{Path(name).stem}.bin"}.get(
                other.suffix, other.name
            )
            if len(beside.encode(errors="surrogateescape")) < 255:
                (work / beside).symlink_to(other)
    made[place] = rng.choice((name, f"./{name}", str(work / name)))
    return made


def no_file(rng: Random, words: list[str], base: Path, work: Path) -> list[str]:
    """Put a pipe, a device, a folder or a link to nothing in the place of a file of the command line."""
    files = [Path(word) for word in words if word.startswith(str(base)) and Path(word).is_file()]
    if not files:
        return words
    path = rng.choice(files)
    path.unlink()
    match rng.randrange(5):
        case 0 | 1:
            os.mkfifo(path)
        case 2:
            path.mkdir()
        case _:
            path.symlink_to(rng.choice(("/dev/zero", "/dev/null", "gone", path)))
    return words
