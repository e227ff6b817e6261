"""Saved programs that hold more than a net: none of it runs, and what is damaged ends no process."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from click.testing import CliRunner

from edgeconv.cli import main
from edgeconv.errors import EdgeconvError
from edgeconv.models import script_trial
from edgeconv.models.saved_code import tensors_alone
from edgeconv.models.user_net import open_user_net

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


class Writes(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "PWNED")
        return x


class Plain(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class Evil:
    def __reduce__(self) -> Any:
        return os.mkdir, ("PWNED",)


def changed(source: Path, ending: str, change: Callable[[bytes], bytes]) -> Path:
    target = source.with_name(f"changed{source.suffix}")
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith(ending) else data)
    return target


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "net.pt2"
    free = ({0: torch.export.Dim("batch")},)
    made = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(3, 2),), dynamic_shapes=free)
    torch.export.save(made, path)
    return path


def test_torchscript_that_opens_files_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    script: Any = torch.jit.script
    script(Writes()).save(str(path))
    with pytest.raises(EdgeconvError, match=r"may open files \(torch\.save in"):
        open_user_net(str(path))


@pytest.mark.parametrize(
    "lines",
    [
        'f = torch.save\n    f(x, "PWNED")', 'a = torch\n    (a).save(x, "PWNED")',
        '(torch).save(x, "PWNED")', 'getattr(torch, "save")(x, "PWNED")',
        'ops.aten.save(x, "PWNED")', 'a = ops.aten\n    a.save(x, "PWNED")',
        'a = ops\n    a.aten.save(x, "PWNED")', 'torch.\\\n      save(x, "PWNED")',
        'a = "\\\n"\n    torch.save(x, "PWNED")', 'a = 1.\n    torch.save(x, "PWNED")',
        "a = \"'\"\n    torch.save(x, 'PWNED')", 'a = """"#"""\n    torch.save(x, "PWNED")',
    ],
)  # fmt: skip
def test_torchscript_opens_no_file_under_another_name_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: str
) -> None:
    """Torch would run each: the last line shows it."""
    monkeypatch.chdir(tmp_path)
    script: Any = torch.jit.script
    script(Plain()).save("net.pt")

    def change(code: bytes) -> bytes:
        last = b"return torch.add(x, 1)"
        assert last in code
        return code.replace(last, lines.encode() + b"\n    " + last)

    path = changed(Path("net.pt"), ".py", change)
    with pytest.raises(EdgeconvError, match="may open files"):
        open_user_net(str(path))
    load: Any = torch.jit.load
    load(str(path))(torch.zeros(1, 2))
    assert Path("PWNED").exists()


class Named(torch.nn.Module):
    """Names of its own that operators have too."""

    def __init__(self) -> None:
        super().__init__()
        self.ops = torch.nn.ReLU()

    def save(self, x: torch.Tensor) -> torch.Tensor:
        assert x.dim() == 2, "see torch, or call torch.save()"
        return x + 1

    def from_file(self, x: torch.Tensor) -> torch.Tensor:
        return self.save(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        ops = self.ops
        return self.from_file(ops(x))


def test_a_net_may_call_its_own_functions_as_it_likes(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    script: Any = torch.jit.script
    script(Named()).save(str(path))
    assert torch.equal(open_user_net(str(path)).module(torch.zeros(1, 2)), torch.ones(1, 2))


class Endless(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        while self.count == 0:
            x = x + 1
        return x


class Loud(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(2):
            print("loud")
        return x + 1


def test_torchscript_that_never_ends_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.pt"
    script: Any = torch.jit.script
    script(Endless()).save(str(path))
    assert open_user_net(str(path)).loops
    monkeypatch.setattr(script_trial, "LIMIT_S", 6.0)
    with pytest.raises(EdgeconvError, match=r"net\.pt did not end within 6 s"):
        script_trial.refuse_endless(path, [((1, 2), "float32")])


def test_what_a_net_prints_is_no_part_of_a_json_answer(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    script: Any = torch.jit.script
    script(Loud()).save(str(path))
    ran = CliRunner().invoke(main, ["summary", str(path), "--input-shape", "1,2", "--json"])
    assert ran.exit_code == 0
    assert json.loads(ran.stdout)["inputs"] == [[1, 2]]
    assert "loud" in ran.stderr
    assert "Usage" in CliRunner().invoke(main, ["summary", "--json", "--help"]).stdout


def test_torchscript_whose_weights_are_cut_off_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    trace: Any = torch.jit.trace
    trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)).save(str(path))
    with pytest.raises(EdgeconvError, match=r"damaged: (weight|bias) has other bytes"):
        open_user_net(str(changed(path, "data/1", lambda _: b"")))


def test_no_pickle_of_an_exported_program_runs(program: Path) -> None:
    torch.save(Evil(), "evil.pt")
    evil = Path("evil.pt").read_bytes()
    with pytest.raises(EdgeconvError, match="no saved ExportedProgram"):
        open_user_net(str(changed(program, "sample_inputs/model.pt", lambda _: evil)))
    assert not Path("PWNED").exists()
    with tensors_alone():
        assert os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] == "1"
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ


@pytest.mark.parametrize("key", ["expr_str", "target"])
def test_no_text_of_an_exported_program_is_evaluated(program: Path, key: str) -> None:
    def evil(data: bytes) -> bytes:
        def walk(one: Any) -> Any:
            if isinstance(one, list):
                return [walk(part) for part in one]
            if not isinstance(one, dict):
                return one
            return {k: word[key] if k == key else walk(v) for k, v in one.items()}

        word = {"expr_str": "__import__('os').mkdir('PWNED')", "target": "torch.os.mkdir"}
        return json.dumps(walk(json.loads(data))).encode()

    with pytest.raises(EdgeconvError, match=r"is no (expression|operator)|torch.os.mkdir"):
        open_user_net(str(changed(program, "models/model.json", evil)))
    assert not Path("PWNED").exists()
    assert open_user_net(str(program)).inputs == ("input",)
