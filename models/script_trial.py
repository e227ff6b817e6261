"""TorchScript that has loops runs in a child first: within a process nothing ends one that never does."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from edgeconv.isolate import call
from edgeconv.models.frozen import Frozen

LIMIT_S = 45.0
"""For loading torch and the net, and two runs."""


def open_script(path: Path) -> Any:
    """Return TorchScript in eval mode on the CPU; raises what torch's reader does."""
    load: Any = torch.jit.load
    return load(str(path), map_location="cpu").eval()


def refuse_endless(
    path: Path,
    inputs: Sequence[tuple[Sequence[int], str]] = (),
    names: Sequence[str] = (),
    frozen: Mapping[str, Any] | None = None,
) -> None:
    """Raise EdgeconvError where TorchScript crashes, or does not end within 45 s: opened, run on ``inputs``.

    These are shapes and numpy's names of types; without any it is only opened. ``frozen`` holds the
    tensors and numbers of arguments that are fixed, ``names`` are those of the others. What it raises
    is left to whoever runs it in earnest.
    """
    fixed = {
        name: [value.tolist(), str(value.dtype).removeprefix("torch.")]
        if isinstance(value, torch.Tensor)
        else [value, None]
        for name, value in (frozen or {}).items()
    }
    asked = [str(path), [[list(shape), kind] for shape, kind in inputs], list(names), fixed]
    call(f"{__name__}:run_here", asked, f"TorchScript {path}", timeout_s=LIMIT_S)


def run_here(asked: Sequence[Any]) -> None:
    """Open and run what ``refuse_endless`` asks for, in the child: on zeros, and on others."""
    path, inputs, names, fixed = asked
    frozen = {
        name: value if kind is None else torch.tensor(value, dtype=getattr(torch, kind))
        for name, (value, kind) in fixed.items()
    }
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
        contextlib.suppress(Exception),
        torch.no_grad(),
    ):
        module = open_script(Path(path))
        if frozen:
            module = Frozen(module, names, frozen)
        for fill in (torch.zeros, torch.randn) if inputs else ():
            module(*(fill(shape).to(getattr(torch, kind)) for shape, kind in inputs))
