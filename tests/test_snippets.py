"""A snippet feeds its file as edgeconv does and prints what edgeconv run prints, in every language that can run here."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from edgeconv.adapt import adapt_inputs
from edgeconv.artifact import Artifact, Preprocessing, load_artifact
from edgeconv.cli import main
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.pictures import read_picture, resize_and_crop, to_input
from edgeconv.snippet import LANGUAGES, facts, write_snippet
from edgeconv.templates import LITERALS, render

pytest.importorskip("jinja2")

ROOT = Path(__file__).parents[1]
NET = """
from torch import nn

def make():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )
"""
LABELS = ['a "b"', "é? ${x}", "back\\slash", "plain"]
# fmt: off
KINDS: dict[str, dict[str, Any]] = {
    "tflite-float": {"targets": ("tflite",), "mean": (0.485, 0.456, 0.406), "std": (0.2, 0.2, 0.3)},
    "tflite-int8": {"targets": ("tflite",), "mean": (0.5,), "std": (0.5,), "io": "int8"},
    "tflite-pixels": {"targets": ("tflite",), "embed_preprocessing": True, "io": "uint8"},
    "onnx-uint8": {
        "targets": ("onnx",), "mean": (0.5, 0.4, 0.3), "std": (0.25,), "io": "uint8",
        "crop": "letterbox", "channel_order": "bgr", "input_shape": (1, 3, 16, 24),
    },
}
# fmt: on


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make one of the KINDS of files, once."""
    torch = pytest.importorskip("torch")
    from edgeconv import export_model

    folder = tmp_path_factory.mktemp("snippets")
    (folder / "net.py").write_text(NET)
    (folder / "names.txt").write_text("\n".join(LABELS), encoding="utf-8")
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            torch.manual_seed(1)
            report = export_model(
                f"{folder / 'net.py'}:make", precision="int8", recipe="fast", calib=str(ROOT / "calib_data" / "test"), calib_count=16, verify_count=4,
                labels=folder / "names.txt", output=folder / kind, **{"crop": 0.9, "input_shape": (1, 3, 16, 16), **KINDS[kind]},
            )  # fmt: skip
            made[kind] = report.artifacts[0].path
        return made[kind]

    return make


def pictures() -> list[Path]:
    return sorted((ROOT / "calib_data" / "test").glob("*.png"))[::300]


def fed(path: Path) -> list[np.ndarray[Any, Any]]:
    """Return each picture as the file takes it, by edgeconv's own way."""
    artifact = load_artifact(path)
    assert artifact is not None
    how, spec = artifact.preprocessing, artifact.inputs[0]
    assert how is not None
    return [adapt_inputs(to_input(crop(p, how), how, 3), "nchw", spec) for p in pictures()]


def crop(path: Path, how: Preprocessing) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return resize_and_crop(read_picture(path), how.size, how.crop)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_python_program_prints_what_run_prints(
    exported: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    from edgeconv import run_model

    path = exported(kind)
    name, text = write_snippet(path, "python", tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    asked = [sys.executable, "-X", "utf8", str(tmp_path / name), *map(str, pictures())]
    done = subprocess.run(asked, capture_output=True, encoding="utf-8", check=True)
    expected = ""
    for one in run_model(path, pictures()):
        expected += f"{one.picture}\n"
        expected += "".join(
            f"  {100 * (c.probability or 0):5.1f} %  {c.name}\n" for c in one.classes
        )
    assert done.stdout == expected


@pytest.mark.slow
def test_the_python_program_says_in_one_sentence_what_it_cannot_read(
    exported: Callable[[str], Path], tmp_path: Path
) -> None:
    path = exported("tflite-float")
    name, text = write_snippet(path, "python", tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "cut.png").write_bytes(pictures()[0].read_bytes()[:200])
    (tmp_path / "text.png").write_text("no picture")

    def said(*arguments: str) -> str:
        asked = [sys.executable, "-X", "utf8", name, *arguments]
        done = subprocess.run(
            asked, cwd=tmp_path, capture_output=True, encoding="utf-8", check=False
        )
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if not line.startswith("INFO: ")]
        return line

    assert said() == f"say which pictures: python {name} PICTURE..."
    assert said("gone.png") == "gone.png cannot be read: No such file or directory"
    assert said("cut.png").startswith("cut.png cannot be read: ")
    assert said("text.png").startswith("text.png cannot be read: cannot identify")
    moved = text.replace(path.name, "gone.tflite")
    (tmp_path / name).write_text(moved, encoding="utf-8")
    assert "gone.tflite is not there" in said("gone.png")


@pytest.mark.slow
def test_the_python_program_of_arrays_names_what_does_not_fit(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from edgeconv import export_model

    net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.ReLU()).eval()
    report = export_model(net, input_shape=(1, 6), targets=("onnx",), output=tmp_path)
    path = report.artifacts[0].path
    name, text = write_snippet(path, "python", tmp_path)
    (tmp_path / name).write_text(text, encoding="utf-8")
    (spec,) = _inputs(path)
    given: Any = {spec.name: np.ones((1, 6), np.float32)}
    np.savez(tmp_path / "good.npz", **given)
    np.savez(tmp_path / "bad.npz", other=np.ones((1, 6), np.float32))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "good.npz").read_bytes()[:60])
    for file, wanted in (
        ("good.npz", ""),
        ("bad.npz", f"bad.npz cannot be read: it holds {{'other': [1, 6]}}, and the model takes {{'{spec.name}': [1, 6]}}"),
        ("cut.npz", "cut.npz cannot be read: "),
        ("gone.npz", "gone.npz cannot be read: No such file or directory"),
    ):  # fmt: skip
        asked = [sys.executable, name, file]
        done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.stderr.count("\n") == bool(wanted), done.stderr
        assert done.stderr.startswith(wanted)
        assert done.returncode == bool(wanted)


def _inputs(path: Path) -> tuple[Any, ...]:
    artifact = load_artifact(path)
    assert artifact is not None
    return artifact.inputs


needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")


def compile_here(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_c_border_fills_the_input_as_edgeconv_does(
    exported: Callable[[str], Path], kind: str, tmp_path: Path
) -> None:
    path = exported(kind)
    artifact = load_artifact(path)
    assert artifact is not None
    assert artifact.preprocessing is not None
    name, text = write_snippet(path, "c", tmp_path)
    (tmp_path / name).write_text(text)
    program = tmp_path / "check"
    compile_here(
        ["cc", "-std=c99", "-Wall", "-Werror", "-DCHECK", str(tmp_path / name), "-lm", "-o", str(program)]
    )  # fmt: skip
    for picture, expected in zip(pictures(), fed(path), strict=True):
        rgb = crop(picture, artifact.preprocessing).tobytes()
        done = subprocess.run([str(program)], input=rgb, capture_output=True, check=True)
        found = np.frombuffer(done.stdout, expected.dtype).reshape(expected.shape)
        step = 1 if expected.dtype.kind in "iu" else 1e-5  # the last bit of a float decides a tie
        assert np.abs(found.astype(np.float64) - expected.astype(np.float64)).max() <= step
        assert (np.isclose(found, expected, atol=1e-5)).mean() > 0.99
        assert done.stderr.decode().rstrip("\n").endswith(LABELS[-1])
    short = subprocess.run([str(program)], input=b"abc", capture_output=True, check=False)
    assert short.returncode == 1
    assert short.stderr.startswith(b"stdin has fewer than ")


WATCH = r"""
#define main its_main
#include "%s"
#undef main

template <typename Stored>
static float as_it_is(Stored stored) { return static_cast<float>(stored); }

int main(int argc, char **argv) {
    if (its_main(argc, argv)) return 1;
    Model model;
    std::vector<uint8_t> rgb;
    std::vector<input_t> input(static_cast<size_t>(HEIGHT) * WIDTH * CHANNELS);
    if (model.open("%s") || !read_ppm(argv[1], rgb) || !model.run(rgb.data())) return 2;
    fill_input(rgb.data(), input.data());
    std::ofstream file("moved.bin", std::ios::binary);
    const auto write = [&](const auto &values) { file.write(reinterpret_cast<const char *>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(values[0]))); };
    write(input);
    %s
}
"""
"""Around a program: what it feeds and what it reads, the integers as floats, goes to a file."""


def build_cpp(path: Path, folder: Path, watched: bool = False) -> Path:
    """Return the C++ program of a file, linked to the library in the wheel of its runtime."""
    package = "ai_edge_litert" if path.suffix == ".tflite" else "onnxruntime"
    wheel = Path(pytest.importorskip(package).__path__[0])
    found = [*wheel.glob("libLiteRt.so"), *wheel.glob("capi/libonnxruntime.so.*")]
    if sys.platform != "linux" or shutil.which("c++") is None or not found:
        pytest.skip("no C++ compiler here, or no library in the wheel")
    name, text = write_snippet(path, "cpp", folder)
    (folder / name).write_text(text, encoding="utf-8")
    if watched:
        artifact = load_artifact(path)
        assert artifact is not None
        reads = (
            f"write(model.read({k}, OUTPUT{k}_COUNT, as_it_is<output{k}_t>));"
            for k in range(len(artifact.outputs))
        )
        (folder / "watch.cpp").write_text(WATCH % (name, path, " ".join(reads)), encoding="utf-8")
        name = "watch.cpp"
    linked = folder / ("libLiteRt.so" if package == "ai_edge_litert" else "libonnxruntime.so.1")
    linked.symlink_to(found[0])
    strict = ["c++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-Wl,-rpath,{folder}"]
    compile_here([*strict, str(folder / name), str(linked), "-o", str(folder / "run")])
    return folder / "run"


def run_cpp(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    asked, folder = [str(program), *arguments], program.parent
    return subprocess.run(asked, cwd=folder, capture_output=True, encoding="utf-8", check=False)


def check_cpp(path: Path, folder: Path) -> str:
    """Hold the program's tensors to those of Python's runtime, to the bit, on one picture; return what it prints."""
    from edgeconv.runtimes.base import open_runner

    program, picture = build_cpp(path, folder, watched=True), pictures()[0]
    artifact = load_artifact(path)
    assert artifact is not None
    assert artifact.preprocessing is not None
    height, width = artifact.preprocessing.size
    head = f"P6\n{width} {height}\n255\n".encode()
    (folder / "p.ppm").write_bytes(head + crop(picture, artifact.preprocessing).tobytes())
    done = run_cpp(program, "p.ppm")
    assert done.returncode == 0, done.stderr
    moved, expected = (folder / "moved.bin").read_bytes(), fed(path)[0]
    given = np.frombuffer(moved, expected.dtype, expected.size).reshape(expected.shape)
    assert np.isclose(given, expected, atol=1e-5).mean() > 0.99, "the last bit decides a tie"
    with open_runner(path) as runner:
        taken = np.repeat(given, artifact.inputs[0].shape[0], axis=0)
        outputs = runner.infer({runner.inputs[0].name: taken})
    found = np.frombuffer(moved, np.float32, offset=given.nbytes)
    for spec in artifact.outputs:
        stored, here = outputs[spec.name], found[: outputs[spec.name].size].reshape(spec.shape)
        found = found[stored.size :]
        if (artifact.nms or {}).get(
            "final"
        ) and stored.ndim > 1:  # what follows the boxes is left as it was
            count = int(outputs["number of detections"][0])
            stored, here = stored[:, :count], here[:, :count]
        assert (here == stored).all(), spec
    assert not found.size
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "size"), [("tflite-int8", "16x16"), ("onnx-uint8", "24x16")])
def test_the_cpp_program_runs_in_the_wheels_library(
    exported: Callable[[str], Path], kind: str, size: str, tmp_path: Path
) -> None:
    from edgeconv import run_model

    path = exported(kind)
    said = [line.split(" %  ") for line in check_cpp(path, tmp_path).splitlines()[1:]]
    mine = run_model(path, [pictures()[0]])[0].classes
    assert [name for _, name in said] == [ranked.name for ranked in mine]
    assert np.allclose(
        [float(p) for p, _ in said], [100 * (r.probability or 0) for r in mine], atol=0.06
    )
    program = tmp_path / "run"
    (tmp_path / "cut.ppm").write_bytes(f"P6\n{size.replace('x', ' ')}\n255\nabc".encode())
    (tmp_path / "small.ppm").write_bytes(b"P6\n8 8\n255\n" + bytes(192))
    for given in ("gone.ppm", "cut.ppm", "small.ppm"):
        failed = run_cpp(program, given)
        assert failed.returncode == 1
        wanted = f"{given} is not there, or no binary PPM of {size} pixels"
        assert failed.stderr.splitlines()[-1] == wanted
    assert run_cpp(program).stderr.endswith("run picture.ppm...\n")


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("tflite-int8", "this LiteRT cannot run it (2.1.6 is the first that this program fits)"),
        ("onnx-uint8", "Load model from net.onnx failed:Protobuf parsing failed"),
    ],
)
def test_the_cpp_program_names_a_file_that_it_cannot_run(
    exported: Callable[[str], Path], kind: str, wrong: str, tmp_path: Path
) -> None:
    made = exported(kind)
    path = tmp_path / f"net{made.suffix}"
    for suffix in ("", ".json"):
        shutil.copy(f"{made}{suffix}", f"{path}{suffix}")
    program = build_cpp(path, tmp_path)
    path.write_bytes(b"no model")
    failed = run_cpp(program, "p.ppm")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.splitlines()[-1].startswith(f"{path.name}: {wrong}")
    path.unlink()
    assert run_cpp(program, "p.ppm").stderr == f"{path.name} is not there\n"
    if kind == "tflite-int8":
        shutil.copy(exported("tflite-float"), path)
        failed = run_cpp(program, "p.ppm")
        assert failed.returncode == 1
        assert failed.stderr.splitlines()[-1].startswith(
            f"{path.name}: its input or outputs are not "
        )


BODY = "(float[%d,3,16,16] x) => (%s) { c = Conv<strides=[2,2]>(x, w) r = Relu(c) %s }"
POOLED = "g = GlobalAveragePool(r) f = Flatten(g)"
BODIES = {
    "classifier": ("float[1,8] f", POOLED),
    "two pictures": ("float[2,8] f", POOLED),
    "label": ("int64[1] y", POOLED + " y = ArgMax<axis=1, keepdims=0>(f)"),
    "map": ("float[1,4,7,7] y", "y = Conv(r, small)"),
    "several": ("float[1,4,7,7] y, float[1,8] f", f"y = Conv(r, small) {POOLED}"),
    "boxes": ("float[1,7,49] y", "m = Conv(r, wide) n = Reshape(m, flat) s = Sigmoid(n) y = Mul(s, far)"),
}  # fmt: skip
"""What a net gives -> its outputs and what makes them; ``boxes`` as YOLOv8 does, four sides and three scores."""


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *((kind, {"precision": "int8", "io": "uint8"}) for kind in BODIES),
        ("label", {}),
        ("boxes", {}),
        ("several", {"precision": "fp16"}),
        ("classifier", {"channel_order": "bgr", "mean": (0.5, 0.4, 0.3)}),
    ],
)
def test_the_cpp_program_of_any_net(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from graph_kit import floats, model_of

    from edgeconv import export_model

    outputs, nodes = BODIES[kind]
    far = np.array([16] * 4 + [1] * 3, np.float32).reshape(1, 7, 1)
    constants = {
        "w": floats(8, 3, 3, 3), "small": floats(4, 8, 1, 1), "wide": floats(7, 8, 1, 1),
        "flat": np.array([1, 7, 49]), "far": far,
    }  # fmt: skip
    used = {
        name: value for name, value in constants.items() if re.search(rf"\b{name}\b", BODY + nodes)
    }
    onnx.save(
        model_of(BODY % (1 + (kind == "two pictures"), outputs, nodes), **used),
        tmp_path / "net.onnx",
    )
    usual: dict[str, Any] = {"mean": (0.5,), "std": (0.5,), "crop": 1.0, "verify_count": 4}
    if options.get("precision") == "int8":
        usual["calib_count"] = 16
    if kind == "boxes":
        usual["nms"] = "yolov8"
    both = kind != "boxes" and options.get("precision") != "fp16"
    targets = ("tflite", "onnx") if both else ("tflite",)
    report = export_model(
        tmp_path / "net.onnx",
        targets=targets,
        calib=str(ROOT / "calib_data" / "test"),
        output=tmp_path,
        **{**usual, **options},
    )
    for made in report.artifacts[-len(targets) :]:
        folder = tmp_path / made.path.suffix
        folder.mkdir()
        said = check_cpp(made.path, folder).splitlines()
        assert len(said) > 1
        if kind in ("classifier", "label", "map"):
            name, text = write_snippet(made.path, "python", folder)
            (folder / name).write_text(text, encoding="utf-8")
            asked = [sys.executable, str(folder / name), str(pictures()[0])]
            other = subprocess.run(asked, capture_output=True, encoding="utf-8", check=True)
            assert said[1:] == other.stdout.splitlines()[1:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "grammar"), [("kotlin", "tree_sitter_kotlin"), ("swift", "tree_sitter_swift")]
)
def test_what_is_not_compiled_is_parsed(
    exported: Callable[[str], Path], language: str, grammar: str
) -> None:
    tree_sitter, module = pytest.importorskip("tree_sitter"), pytest.importorskip(grammar)
    parser = tree_sitter.Parser(tree_sitter.Language(module.language()))
    for kind in ("tflite-float", "tflite-int8", "tflite-pixels", "onnx-uint8"):
        artifact = load_artifact(exported(kind))
        assert artifact is not None
        known = {
            **facts(artifact),
            "model": "net",
            "program": LANGUAGES[language].program.format(camel="Net"),
        }
        for key, value in (("image_input", True), ("classifier", False), ("labels", [])):
            text = render("snippets", LANGUAGES[language].template, **{**known, key: value})
            assert not parser.parse(text.encode()).root_node.has_error, text


OUTPUTS = {
    "label": [("label", [1], "int64", "")],
    "map": [("map", [1, 2, 3, 3], "float32", "nchw")],
    "boxes": [
        ("location", [1, 9, 4], "float32", ""),
        ("category", [1, 9], "float32", ""),
        ("score", [1, 9], "float32", ""),
        ("number of detections", [1], "float32", ""),
    ],
    "several": [("a", [1, 4], "float32", ""), ("b", [1], "bool", "")],
}


def _known(kind: str, suffix: str) -> dict[str, Any]:
    """Return what the templates know of a file with the outputs of ``kind`` and a picture of 3x3."""
    specs = [
        {"name": name, "shape": shape, "dtype": dtype, "layout": layout, "quantization": None}
        for name, shape, dtype, layout in (("x", [1, 3, 3, 3], "float32", "nchw"), *OUTPUTS[kind])
    ]
    how = {
        "size": [3, 3],
        "crop": 1.0,
        "order": "rgb",
        "mean": [0.5],
        "std": [0.5],
        "embedded": False,
    }
    about = {"inputs": specs[:1], "outputs": specs[1:], "preprocessing": how, "labels": LABELS}
    known = facts(Artifact(Path(f"net{suffix}"), about))
    return {**known, "detector": kind == "boxes", "model": f"net{suffix}", "program": "program"}


@needs_compiler
@pytest.mark.parametrize("kind", OUTPUTS)
def test_the_c_border_of_any_net_compiles_without_a_warning(kind: str, tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text(render("snippets", "border.c.jinja", **_known(kind, ".tflite")))
    strict = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-DCHECK", "-c"]
    compile_here([*strict, str(tmp_path / "a.c"), "-o", str(tmp_path / "a.o")])


@pytest.mark.parametrize(
    ("kind", "given", "says"),
    [
        ("label", np.array([3]), "  plain\n"),
        ("map", np.eye(18)[:4].sum(axis=0).reshape(1, 2, 3, 3), '  100.0 % of the pixels  a "b"\n'),
        (
            "map",
            -np.eye(18)[:4].sum(axis=0).reshape(1, 2, 3, 3),
            '   55.6 % of the pixels  a "b"\n   44.4 % of the pixels  é? ${x}\n',
        ),
    ],
)
def test_the_python_program_says_what_a_label_or_a_map_means(
    kind: str, given: np.ndarray[Any, Any], says: str, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    pytest.importorskip("onnxruntime")
    text = render("snippets", "run.py.jinja", **{**_known(kind, ".onnx"), "model": "net.onnx"})
    program: dict[str, Any] = {"__name__": "program", "__file__": str(tmp_path / "run.py")}
    exec(compile(text, "run.py", "exec"), program)
    (tmp_path / "net.onnx").touch()
    program["Model"] = lambda: lambda **_: {OUTPUTS[kind][0][0]: given}
    monkeypatch.setattr(sys, "argv", ["run.py", str(pictures()[0])])
    program["main"]()
    assert capsys.readouterr().out == f"{pictures()[0]}\n{says}"


def test_a_kotlin_buffer_has_room_for_its_output() -> None:
    text = render("snippets", LANGUAGES["kotlin"].template, **_known("label", ".tflite"))
    assert "allocateDirect(8)" in text, "of int64"


def test_kotlin_imports_what_its_library_has() -> None:
    """Compiled by hand with Kotlin 2.4 against declarations of Android's classes; rint is JavaScript's alone."""
    text = (ROOT / "edgeconv" / "snippets" / LANGUAGES["kotlin"].template).read_text()
    assert set(re.findall(r"import kotlin\.math\.(\w+)", text)) == {"exp", "max", "min", "round"}
    assert "rint(" not in text


@pytest.mark.slow
def test_every_language_that_no_test_runs_says_so_first(exported: Callable[[str], Path]) -> None:
    assert write_snippet(exported("tflite-int8"), "kotlin")[1].startswith("// Not compiled by")
    swift = (ROOT / "edgeconv" / "snippets" / LANGUAGES["swift"].template).read_text()
    assert swift.startswith("// Not compiled by")


@pytest.mark.slow
def test_what_no_snippet_can_do_is_refused(exported: Callable[[str], Path], tmp_path: Path) -> None:
    path = exported("tflite-int8")
    with pytest.raises(
        UsageError, match=r"--lang swift writes programs for \.mlpackage, not for .*python or cpp"
    ):
        write_snippet(path, "swift")
    (tmp_path / "net.pte").touch()
    with pytest.raises(
        UsageError, match=r"none is written for such a file: export the net as \.tfl"
    ):
        write_snippet(tmp_path / "net.pte")
    alone = tmp_path / "alone.tflite"
    shutil.copy(path, alone)
    with pytest.raises(EdgeconvError, match="no manifest beside it"):
        write_snippet(alone)
    asked = ["snippet", str(path), "--output", str(tmp_path)]
    assert CliRunner().invoke(main, asked).exit_code == 0
    again = CliRunner().invoke(main, asked)
    assert again.exit_code == 2
    assert "--force" in again.output


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_a_folder_with_the_end_of_a_comment_in_its_name_ends_none(
    exported: Callable[[str], Path], tmp_path: Path, language: str
) -> None:
    folder = tmp_path / "é *" / "b"
    shutil.copytree(exported("tflite-float").parent, folder)
    name, text = write_snippet(next(folder.glob("*.tflite")), language, tmp_path)
    first = text.splitlines()[0]
    assert "é *\\/b/" in first, "as a person reads it, but for the end of a comment"
    if language == "c":
        (tmp_path / name).write_text(text, encoding="utf-8")
        compile_here(["cc", "-std=c99", "-c", str(tmp_path / name), "-o", str(tmp_path / "a.o")])


@pytest.mark.parametrize("kind", ["tflite-float", "onnx-uint8"])
def test_a_c_program_speaks_of_a_runtime_that_takes_its_file(
    exported: Callable[[str], Path], tmp_path: Path, kind: str
) -> None:
    head = write_snippet(exported(kind), "c", tmp_path)[1].split("*/")[0]
    assert ("TensorFlow Lite Micro" in head) == kind.startswith("tflite")
    assert "fill_input" in head


@pytest.mark.parametrize("language", LITERALS)
def test_a_literal_never_ends_early(language: str) -> None:
    text = 'x"; evil(); "\n\\" ${y} \\(z) é\u2028'
    literal = LITERALS[language](text)
    assert "\n" not in literal
    assert "\u2028" not in literal
    if language == "python":
        assert eval(literal) == text
        return
    inner = literal[1:-1].replace("\\\\", "").replace('\\"', "")
    assert '"' not in inner
    if language == "kotlin":
        assert "$" not in inner.replace("\\$", "")
