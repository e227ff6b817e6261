"""What is installed is what is in the tree, and a bare install is light."""

import ast
import fnmatch
import functools
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from conftest import ROOT, Golden

import edgeconv
from edgeconv.cli import COMMANDS, main
from edgeconv.demo_files import KEPT
from edgeconv.deps import PACKAGES
from edgeconv.recipe import Activation, Recipe

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = {
    "edgeconv": ROOT / "edgeconv",
    "edgeconv.models": ROOT / "models",
    "edgeconv.export": ROOT / "export",
}
LINKS = ("models", "export")
DEMO = {ROOT / folder for folder in KEPT.values()}
HEAVY = [
    "torch",
    "onnx",
    "onnxruntime",
    "onnxsim",
    "onnxscript",
    "coremltools",
    "ai_edge_litert",
    "tflite_runtime",
    "PIL",
    "flatbuffers",
    "safetensors",
    "google",
]
FORBIDDEN = {"tensorflow", "tf", "keras", "jax", "jaxlib", "flax", "transformers"}


def walk(folder: Path) -> Iterator[Path]:
    """Yield the files below ``folder``, not through links, what Python caches or edgeconv-demo has."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name == "__pycache__" or path in DEMO:
            continue
        if path.is_dir():
            yield from walk(path)
        else:
            yield path


@functools.cache
def packages() -> dict[str, Path]:
    """Return every folder with Python files, by the name it is imported under."""
    found = {}
    for name, folder in FOLDERS.items():
        for path in walk(folder):
            if path.suffix == ".py":
                inner = path.parent.relative_to(folder).parts
                found[".".join([name, *inner])] = path.parent
    return found


def test_every_package_of_the_tree_is_installed() -> None:
    expected = {name: path.relative_to(ROOT).as_posix() for name, path in packages().items()}
    assert sorted(SETUPTOOLS["packages"]) == sorted(expected), "pyproject: packages"
    assert SETUPTOOLS["package-dir"] == expected, "pyproject: package-dir"


def test_every_package_has_an_init() -> None:
    missing = [name for name, path in packages().items() if not (path / "__init__.py").is_file()]
    assert not missing


def test_every_data_file_of_a_package_is_installed() -> None:
    patterns: dict[str, list[str]] = SETUPTOOLS["package-data"]
    lost = []
    for name, folder in FOLDERS.items():
        for path in walk(folder):
            if path.suffix in {".py", ".pyc"} or path.name.startswith("."):
                continue
            owner = max((p for p, home in packages().items() if path.is_relative_to(home)), key=len)
            inside = path.relative_to(packages()[owner]).as_posix()
            if not any(fnmatch.fnmatch(inside, pattern) for pattern in patterns.get(owner, [])):
                lost.append(f"{name}: {path.relative_to(ROOT)}")
    assert not lost, "pyproject: package-data"


@pytest.mark.parametrize("name", LINKS)
def test_the_links_that_type_checkers_follow_are_committed(name: str) -> None:
    link = ROOT / "edgeconv" / name
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: an sdist needs no links")
    assert link.is_symlink()
    assert os.readlink(link) == f"../{name}"
    listed = subprocess.run(
        ["git", "ls-files", "-s", f"edgeconv/{name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert listed.startswith("120000 ")


def named(requirement: str) -> str:
    """Return the name of a requirement, as PEP 503 normalises it."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def test_the_core_needs_click_numpy_and_rich_only() -> None:
    assert {named(item) for item in PROJECT["project"]["dependencies"]} == {
        "click",
        "numpy",
        "rich",
    }


def test_the_extras_are_those_that_error_texts_name() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert {key: {named(item) for item in value} for key, value in extras.items()} == {
        "onnx": {"onnxruntime"},
        "tflite": {"ai-edge-litert"},
        "tflite-runtime": {"tflite-runtime", "numpy"},
        "images": {"pillow"},
        "pages": {"jinja2"},
        "export": {
            "onnx",
            "onnxruntime",
            "onnxsim",
            "flatbuffers",
            "ai-edge-litert",
            "pillow",
            "safetensors",
            "jinja2",
        },
        "torch": {"torch", "onnxscript"},
        "coreml": {"coremltools"},
        "executorch": {"executorch", "torch", "onnx"},
        "ncnn": {"ncnn"},
        "mcu": {"ethos-u-vela", "tflite-micro"},
        "openvino": {"openvino"},
        "coco": {"pycocotools"},
        "sweep": {"dask", "distributed"},
        "demo": {"edgeconv-demo"},
        "all": {"edgeconv"},
    }
    everything = set(re.findall(r"\[(.*)\]", extras["all"][0])[0].split(","))
    assert everything == set(extras) - {
        "all",
        "tflite-runtime",
        "executorch",
    }  # numpy 1; 35 packages


def test_edgeconv_demo_has_the_version_of_edgeconv() -> None:
    demo = tomllib.loads((ROOT / "demo" / "pyproject.toml").read_text())
    assert demo["project"]["version"] == PROJECT["project"]["version"] == edgeconv.__version__


def test_no_list_names_tensorflow_jax_or_transformers() -> None:
    lists = [
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
        *PROJECT["dependency-groups"].values(),
        [
            line
            for line in (ROOT / "constraints.txt").read_text().splitlines()
            if line[:1].isalnum()
        ],
    ]
    for requirements in lists:
        for item in requirements:
            assert not {part for part in named(item).split("-")} & FORBIDDEN


def imported(path: Path) -> set[str]:
    """Return the top-level names that a file imports or requires, wherever it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "require" and node.args:
            found.add(
                str(ast.literal_eval(node.args[0]))
                if isinstance(node.args[0], ast.Constant)
                else "sys"
            )
    return {name.partition(".")[0] for name in found}


def test_every_import_is_of_a_declared_dependency() -> None:
    known = {**PACKAGES, "google": "protobuf"}
    declared = {"edgeconv", "protobuf"}  # onnx and coremltools bring protobuf
    for items in (
        PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"].values(),
    ):
        declared |= {named(item) for item in items}
    for folder in FOLDERS.values():
        for path in walk(folder):
            if path.suffix != ".py":
                continue
            # edgeconv.testing is a pytest plugin: pytest is what loads it
            allowed = {"pytest"} if path == ROOT / "edgeconv" / "testing.py" else set()
            for name in imported(path) - sys.stdlib_module_names - allowed:
                package = named(known.get(name, name))
                assert package in declared, f"{path.relative_to(ROOT)} imports {name}"


def python(text: str, *arguments: str, **environment: str) -> str:
    """Run a script in a new interpreter; return its stdout."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_edgeconv_or_asking_for_help_loads_nothing_heavy() -> None:
    script = """
        import json, sys
        import edgeconv
        first = set(sys.modules)
        from edgeconv.cli import main
        try:
            main(["--help"])
        except SystemExit as done:
            assert not done.code
        print(json.dumps(sorted(first | set(sys.modules))))
    """
    modules = json.loads(python(script).splitlines()[-1])
    assert not {name.partition(".")[0] for name in modules} & {*HEAVY, *FORBIDDEN, "numpy", "rich"}


def test_the_light_side_and_every_help_work_without_the_extras() -> None:
    script = """
        import importlib, json, pkgutil, sys
        for name in sys.argv[1:]:
            sys.modules[name] = None  # importing it fails, as where it is not installed
        import click
        import edgeconv
        from edgeconv.cli import COMMANDS, main
        for found in pkgutil.walk_packages(edgeconv.__path__, "edgeconv."):
            top = found.name.split(".")[1]
            lazy = found.name == "edgeconv.parity.layers.surgery_onnx"  # loaded where onnx is at hand
            if not lazy and top not in ("models", "export", "train", "__main__"):
                importlib.import_module(found.name)
        import edgeconv.export, edgeconv.export.options, edgeconv.models
        import edgeconv.train.options, edgeconv.train.run
        for name in COMMANDS:
            try:
                main([name, "--help"])
            except SystemExit as done:
                assert not done.code
    """
    python(script, *HEAVY)


def test_a_bare_install_says_in_a_sentence_what_an_onnx_file_needs(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"never read")
    recipe = Recipe("std", "asymmetric", {"x": Activation(0.1, 0, -1.0, 1.0)}, {})
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_json()))
    script = """
        import sys
        net, recipe, *heavy = sys.argv[1:]
        for name in heavy:
            sys.modules[name] = None  # importing it fails, as where it is not installed
        sys.stderr = sys.stdout
        from edgeconv.cli import main
        for line in (["export", net], ["export", net, "--dry-run"], ["export", net, "--target", "tflite"],
                     ["quantize", net, "--calib", "x.npz"], ["recipe", "check", recipe, "--model", net],
                     ["demo"]):
            try:
                main(line)
            except SystemExit as done:
                assert done.code == 1, (line, done.code)
    """
    done = python(script, str(tmp_path / "net.onnx"), str(tmp_path / "recipe.json"), *HEAVY)
    lines = done.splitlines()
    assert len(lines) == 6
    assert [line for line in lines if " not installed: pip install 'edgeconv[" in line] == lines
    assert "onnx, onnxruntime, flatbuffers, ai-edge-litert and torch" in lines[-1]  # all at once
    assert "pip install 'edgeconv[export,torch" in lines[-1]


def commands() -> dict[str, click.Command]:
    """Return every command and subcommand by its words."""
    found: dict[str, click.Command] = {"": main}

    def descend(group: click.Group, words: str) -> None:
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None, f"{words} {name} cannot be imported"
            found[f"{words} {name}".strip()] = command
            if isinstance(command, click.Group):
                descend(command, f"{words} {name}".strip())

    descend(main, "")
    return found


ALL = commands()


def test_the_command_line_knows_every_command_module() -> None:
    modules = {path.stem for path in (ROOT / "edgeconv" / "commands").glob("*.py")}
    used = {
        command.callback.__module__.rpartition(".")[2]
        for command in ALL.values()
        if command.callback
    }
    assert set(COMMANDS) <= modules
    helpers = {"__init__", "progress"}
    text = "".join(path.read_text() for path in (ROOT / "edgeconv" / "commands").glob("*.py"))
    unused = modules - used - helpers - set(COMMANDS)
    assert not {name for name in unused if f"edgeconv.commands.{name}" not in text}


@pytest.mark.parametrize("words", ALL)
def test_every_command_has_help_for_itself_and_its_options(words: str) -> None:
    command = ALL[words]
    assert command.help or command.short_help
    named_options = [p for p in command.params if isinstance(p, click.Option)]
    silent = [p.opts[0] for p in named_options if not p.help and not p.hidden]
    assert set(silent) <= {"--threads"}, "an option without help"


@pytest.mark.parametrize("words", ALL)
def test_help_is_the_golden_text(words: str, golden: Golden) -> None:
    result = CliRunner().invoke(
        main,
        [*words.split(), "--help"],
        prog_name="edgeconv",
        terminal_width=80,
        max_content_width=80,
    )
    assert result.exit_code == 0, result.output
    assert max(map(len, result.output.splitlines())) <= 100
    golden.check(f"help_{words.replace(' ', '_') or 'edgeconv'}.txt", result.output)


def test_a_golden_text_without_a_command_is_gone() -> None:
    expected = {f"help_{words.replace(' ', '_') or 'edgeconv'}.txt" for words in ALL}
    assert {path.name for path in (ROOT / "tests" / "golden").glob("help_*.txt")} == expected


@pytest.mark.slow
def test_help_takes_at_most_150_ms_of_processor_time() -> None:
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(
            "import sys; from edgeconv.cli import main; sys.argv = ['edgeconv', '--help']; main()"
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) <= 0.15


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged: builds leave folders behind."""
    source = tmp_path_factory.mktemp("build") / "source"
    source.mkdir()
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    for name in ("edgeconv", *LINKS, "demo", "calib_data"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignore)
    return source


def build(source: Path, out: Path) -> Path:
    """Return the wheel that is built from the sdist of ``source``."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tree: Path) -> Path:
    return build(tree, tree.parent / "wheel")


@pytest.fixture(scope="module")
def demo_wheel(tree: Path) -> Path:
    return build(tree / "demo", tree.parent / "demo_wheel")


@pytest.mark.slow
def test_the_wheel_holds_the_package_whole_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    assert {name.split("/")[0] for name in names} == {"edgeconv", "edgeconv-0.2.0.dist-info"}
    assert not [name for name in names if "test_" in name or "conftest" in name]
    expected = set()
    for package, folder in packages().items():
        for path in folder.iterdir():
            if path.is_file() and not path.name.startswith("."):
                expected.add(f"{package.replace('.', '/')}/{path.name}")
    for kind in ("*/*.jinja", "*/*.css"):
        expected |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "edgeconv").glob(kind)}
    assert {name for name in names if name.startswith("edgeconv/")} == expected
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_wheel_is_small_enough_for_a_board(wheel: Path) -> None:
    assert wheel.stat().st_size <= 1.5e6


@pytest.mark.slow
def test_the_bundled_weights_and_pictures_are_a_wheel_within_their_budget(demo_wheel: Path) -> None:
    infos = zipfile.ZipFile(demo_wheel).infolist()
    kept = {
        f"edgeconv_demo/{part}/{path.relative_to(ROOT / folder).as_posix()}"
        for part, folder in KEPT.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
    }
    assert kept <= {info.filename for info in infos}
    weights = [i for i in infos if i.filename.endswith(".safetensors")]
    assert sum(i.file_size for i in weights) <= 24e6
    pictures = [i.filename for i in infos if i.filename.endswith(".png")]
    assert sum("/calibration/" in name for name in pictures) == 256
    assert sum("/test/" in name for name in pictures) == 1000


@pytest.mark.slow
def test_the_installed_wheels_run(wheel: Path, demo_wheel: Path, tmp_path: Path) -> None:
    for path, name in ((wheel, "edgeconv"), (demo_wheel, "demo")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(tmp_path / name)
    script = """
        import sys
        from pathlib import Path
        import edgeconv
        from edgeconv.cli import main
        if len(sys.argv) > 2:
            sys.modules["edgeconv_demo"] = None  # as where it is not installed
        from edgeconv.demo_files import find_demo
        assert Path(edgeconv.__file__).is_relative_to(sys.argv[1])
        print([find_demo("weights"), find_demo("pictures")])
        main(["models"])
    """
    home, demo = tmp_path / "edgeconv", tmp_path / "demo" / "edgeconv_demo"
    alone = python(script, str(home), "alone", PYTHONPATH=str(home))
    assert alone.startswith("[None, None]")
    assert "shufflenet_v1" in alone
    assert "(bundled)" not in alone
    both = python(script, str(home), PYTHONPATH=f"{home}{os.pathsep}{demo.parent}")
    assert both.startswith(str([demo / "weights", demo / "pictures"]))
    assert "(bundled)" in both


def test_a_checkout_without_links_builds_the_demo_all_the_same(tmp_path: Path) -> None:
    pytest.importorskip("setuptools")  # environments of Python 3.12 and later begin without it
    demo, bundled = tmp_path / "demo", tmp_path / "models" / "bundled"
    (demo / "edgeconv_demo").mkdir(parents=True)
    bundled.mkdir(parents=True)
    (bundled / "index.json").write_text("{}")
    (tmp_path / "calib_data" / "test").mkdir(parents=True)
    (tmp_path / "calib_data" / "test" / "0.png").write_bytes(b"a picture")
    for name in ("pyproject.toml", "setup.py", "README.md", "edgeconv_demo/__init__.py"):
        (demo / name).write_bytes((ROOT / "demo" / name).read_bytes())
    build = [sys.executable, "-c", "import setuptools.build_meta as b; b.build_wheel('.')"]
    for folder, target in {"weights": "models/bundled", "pictures": "calib_data"}.items():
        (demo / "edgeconv_demo" / folder).write_text(
            f"../../{target}"
        )  # as git writes a link there
    subprocess.run(build, cwd=demo, check=True, capture_output=True)
    names = zipfile.ZipFile(next(demo.glob("*.whl"))).namelist()
    assert {"edgeconv_demo/weights/index.json", "edgeconv_demo/pictures/test/0.png"} <= set(names)
    (demo / "edgeconv_demo" / "weights").write_text("../../gone")
    failed = subprocess.run(build, cwd=demo, check=False, capture_output=True, text=True)
    assert failed.returncode
    assert "git config core.symlinks true" in failed.stderr


def test_a_checkout_without_links_installs_models_and_export_from_where_they_are() -> None:
    found = PROJECT["tool"]["setuptools"]["package-dir"]
    links = [path for path in (ROOT / "edgeconv").iterdir() if path.is_symlink()]
    for path in links:
        assert (ROOT / found[f"edgeconv.{path.name}"]).resolve() == path.resolve()
        assert not (ROOT / found[f"edgeconv.{path.name}"]).is_symlink()
    assert {path.name for path in links} <= {"models", "export"}
