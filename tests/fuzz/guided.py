"""Coverage-guided fuzzing of our own readers: ``python -m fuzz.guided recipe --runs 20000 --base DIR``.

Needs atheris, which is no dependency of the tests. It starts from the healthy file of the case and keeps
what reaches new lines in ``--corpus``, so that a run goes on from there. A reader that raises anything but
EdgeconvError, or takes longer than 60 s, ends the run, and the input is kept.
"""

import argparse
import contextlib
import importlib
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzz.run import scratch

READERS: dict[str, tuple[str, str]] = {
    "onnx": ("tiny.onnx", "wire_graph"),
    "tflite": ("int8/tiny_int8.tflite", "flatbuffer"),
    "mil": ("int8/tiny_int8.mlpackage", "package"),
    "manifest": ("int8/tiny_int8.tflite.json", "artifact"),
    "recipe": ("recipe/recipe.json", "recipe"),
    "baseline": ("judge/baseline.json", "baseline"),
    "budget": ("judge/budget.toml", "budget"),
    "results": ("results/results.json", "results"),
    "safetensors": ("weights/weights.safetensors", "weights"),
    "truth": ("truth/truth.csv", "truth"),
}
"""What is read -> the healthy file or package, and the function of fuzz.readers that reads it."""

OURS = ["edgeconv"]
PROGRAM = Path("Data/com.apple.CoreML/model.mlmodel")
"""The file of a package that is changed."""


def one_input(target: str, healthy: Path, place: Path) -> Callable[[bytes], None]:
    """Return what lets the reader of ``target`` read bytes in the place of ``healthy``, copied into ``place``.

    It swallows EdgeconvError alone.
    """
    from edgeconv.errors import EdgeconvError

    reader = getattr(importlib.import_module("fuzz.readers"), READERS[target][1])
    path = place / healthy.name
    shutil.copytree(healthy.parent, place, dirs_exist_ok=True)
    changed = path / PROGRAM if path.is_dir() else path

    def read(data: bytes) -> None:
        changed.write_bytes(data)
        with contextlib.suppress(EdgeconvError):
            reader(path)

    return read


def seeded(corpus: Path, healthy: Path) -> None:
    """Put the healthy bytes into the corpus, where a run has something to change."""
    corpus.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(healthy / PROGRAM if healthy.is_dir() else healthy, corpus / "healthy")


def main(arguments: Sequence[str]) -> int:
    """Fuzz one reader; libFuzzer prints its figures and ends the process."""
    parser = argparse.ArgumentParser(prog="guided", description=__doc__)
    parser.add_argument("target", choices=list(READERS))
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--base", type=Path, required=True, help="healthy files, made if missing")
    parser.add_argument("--corpus", type=Path, default=Path("corpus"))
    asked = parser.parse_args(arguments)
    healthy = asked.base / READERS[asked.target][0]
    if not healthy.exists():
        from fuzz.subjects import build_base

        build_base(asked.base)
    import atheris

    corpus = (asked.corpus / asked.target).absolute()
    seeded(corpus, healthy)
    with scratch() as place:
        with atheris.instrument_imports(include=OURS):
            read = one_input(asked.target, healthy, place)
            read((corpus / "healthy").read_bytes())  # what it imports late is instrumented too
        os.environ["EDGECONV_CACHE"] = str(place)
        words = [f"-runs={asked.runs}", f"-seed={asked.seed}", "-timeout=60", "-rss_limit_mb=8192",
                 f"-artifact_prefix={corpus.parent}/{asked.target}-", "-print_final_stats=1"]  # fmt: skip
        atheris.Setup(["guided", *words, str(corpus)], read)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
