"""One archive for a board without a network: models, inputs, expected outputs, our code, one command."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgeconv import __version__
from edgeconv.artifact import manifest_path
from edgeconv.device.checks import record
from edgeconv.device.payload import archive, sources
from edgeconv.device.wheels import Platform, resolve, runtime_for
from edgeconv.errors import UsageError
from edgeconv.files import digest, model_files, write_bytes
from edgeconv.runtimes.table import BOARD_SUFFIXES
from edgeconv.schema import checked, either, mapping, number, read_json, table, text, whole

RUN = '''#!/usr/bin/env python3
"""python3 run.py [options of edgeconv bench]: bench and check the models here, write results.json."""

import os
import pathlib
import sys
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
SITE = HERE / "site"
if (HERE / "wheels").is_dir() and not SITE.is_dir():
    part = HERE / "site.part"
    for wheel in sorted((HERE / "wheels").glob("*.whl")):
        zipfile.ZipFile(wheel).extractall(part)
    part.rename(SITE)
paths = [str(HERE / "src"), str(SITE)]
sys.path[:0] = paths
known = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = os.pathsep.join(paths + ([known] if known else []))

from edgeconv.device.onboard import main

sys.exit(main(HERE, sys.argv[1:]))
'''

README = """edgeconv bundle
On the board, with Python 3.11 or later:  python3 run.py
It needs numpy and the runtime of the models (onnxruntime for .onnx, ai-edge-litert or tflite-runtime
for .tflite); where a folder wheels/ is here, they are in it. Bring results.json back and read it with
edgeconv bundle --show results.json
"""


def bundle_name(output: Path) -> str:
    """Return the folder that an archive unpacks to; raises UsageError where its name can be none."""
    root = output.name.removesuffix(".gz").removesuffix(".tar").removesuffix(".tgz")
    if root.strip(".") == "" or root.startswith("-") or "\\" in root:
        raise UsageError(
            f"--output {output}: the bundle unpacks to a folder of its name, which is none"
        )
    return root


def make_bundle(
    models: Sequence[Path],
    output: Path,
    platform: Platform | None = None,
    cache: Path | None = None,
) -> dict[str, int]:
    """Write ``output`` (.tar.gz) and return the bytes of its parts.

    With ``platform`` the board's wheels go along (kept in ``cache`` between calls). Raises UsageError
    for a model that no board here runs.
    """
    root = bundle_name(output)
    names = [model.name for model in models]
    for model in models:
        if model.suffix.lower() not in BOARD_SUFFIXES:
            raise UsageError(f"{model}: a bundle takes {', '.join(BOARD_SUFFIXES)}")
        if names.count(model.name) > 1:
            raise UsageError(f"two models are called {model.name}: a bundle needs different names")
    entries = [(f"src/{name}", content) for name, content in sources()]
    entries += [("run.py", RUN.encode()), ("README", README.encode())]
    listed = []
    for model in models:
        recorded = io.BytesIO()
        np.savez(recorded, **record(model))  # type: ignore[arg-type] # names become keywords
        entries.append((f"checks/{model.name}.npz", recorded.getvalue()))
        entries += [(f"models/{file.name}", file.read_bytes()) for file in model_files(model)]
        if manifest_path(model).is_file():
            entries.append((f"models/{model.name}.json", manifest_path(model).read_bytes()))
        listed.append({"name": model.name, "sha256": digest(model)})
    if platform is not None:
        runtimes = runtime_for([m.suffix.lower() for m in models], platform)
        wheels = resolve(runtimes, platform, cache or Path("."))
        entries += [(f"wheels/{wheel.name}", wheel.read_bytes()) for wheel in wheels]
    about = {"edgeconv_bundle": 1, "edgeconv": __version__, "models": listed}
    entries.append(("bundle.json", (json.dumps(about, indent=1) + "\n").encode()))
    write_bytes(output, archive([(f"{root}/{n}", c) for n, c in entries], gzip=True))
    sizes: dict[str, int] = {}
    for name, content in entries:
        part = name.partition("/")[0]
        sizes[part] = sizes.get(part, 0) + len(content)
    return sizes


RESULTS = table(
    {
        "bench": table({}),
        "checks": mapping(
            either(
                table({"error": text}),
                table(
                    {
                        "runtime": text,
                        "samples": whole(0),
                        "outputs": mapping(
                            table(
                                {
                                    "max_difference": number(finite=False),
                                    "equal": number(finite=False),
                                    "same_top1": number(finite=False),
                                }
                            )
                        ),
                    }
                ),
            )
        ),
    }
)


def read_results(path: Path) -> dict[str, object]:
    """Read a board's results.json. Raises EdgeconvError where it is not one."""
    ours = "the results.json of a bundle"
    found: dict[str, object] = checked(read_json(path, ours), RESULTS, f"{path} is not {ours}")
    return found
