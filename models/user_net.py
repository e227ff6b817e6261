"""A user's own net, however it is given: a live module, a factory, or a file that holds code and weights."""

import contextlib
import copy
import importlib
import inspect
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.foreign import open_file, refuse_no_file
from edgeconv.log import muted
from edgeconv.models.factory import call_factory, in_eval_mode, load_factory
from edgeconv.models.observers import at_rest
from edgeconv.models.saved_code import (
    has_loops,
    refuse_code,
    refuse_file_access,
    refuse_short,
    tensors_alone,
)
from edgeconv.models.script_trial import open_script, refuse_endless
from edgeconv.models.specs import stem_of


@dataclass(frozen=True)
class UserNet:
    """A module in eval mode on the CPU, in float32 whatever width it had.

    ``name`` is how the user says it, ``stem`` begins the files' names. ``inputs`` are the names of
    forward's required arguments; ``shapes`` and ``dtypes`` (numpy's names, where not float32) are
    what the file itself says of them. ``rewidened`` says that weights of another width became float32,
    ``open_batch`` that only the batch is free, for which ``shapes`` have 1, ``loops`` that refuse_endless is
    to be asked before the module runs.
    """

    module: nn.Module
    name: str
    stem: str
    inputs: tuple[str, ...]
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dtypes: Mapping[str, str] = field(default_factory=dict)
    rewidened: bool = False
    open_batch: bool = False
    loops: bool = False


def open_user_net(net: str | nn.Module) -> UserNet:
    """Return the net that ``net`` is or names (is_user_net says of which texts this is true).

    A live module stays as it is: a copy is converted where it is not in float32 on the CPU. Raises
    UsageError for what cannot be named so, EdgeconvError for what does not load or is no module.
    """
    if isinstance(net, nn.Module):
        kind = str(
            getattr(net, "original_name", type(net).__name__)
        )  # TorchScript's are all one type
        return _ours(net, kind, kind, live=True)
    before, _, function = net.rpartition(":")
    if before.endswith(".py"):
        return _ours(load_factory(net), net, stem_of(net))
    if before:
        return _ours(_imported(before, function), net, stem_of(net))
    path = Path(net)
    refuse_no_file(path)
    return _program(path) if path.suffix == ".pt2" else _script(path)


def is_user_net(net: object) -> bool:
    """Whether ``net`` is a module, file.py:factory, package.module:factory, an ExportedProgram or TorchScript."""
    if not isinstance(net, str):
        return isinstance(net, nn.Module)
    before, colon, function = net.rpartition(":")
    dotted = all(part.isidentifier() for part in before.split("."))
    if colon and function.isidentifier() and (before.endswith(".py") or dotted):
        return True
    path = Path(net)
    return path.suffix == ".pt2" or (path.suffix in (".pt", ".pth", ".ts") and _holds_script(path))


def _holds_script(path: Path) -> bool:
    """Whether a file is TorchScript: weights alone are the same kind of archive without code."""
    return path.is_file() and any("/code/" in name for name in _members(path))


def _members(path: Path) -> list[str]:
    """Return what an archive of torch holds, nothing where it is none; raise where it is cut short."""
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return archive.namelist()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise EdgeconvError(f"{path} is a damaged archive: {error}") from error
    with open_file(path) as file:
        if file.read(2) == b"PK":
            raise EdgeconvError(f"{path} is damaged or cut short")
    return []


def _imported(module: str, name: str) -> nn.Module:
    try:
        found = vars(importlib.import_module(module))
    except ModuleNotFoundError as error:
        if not f"{module}.".startswith(f"{error.name}."):
            raise EdgeconvError(f"{module} fails: {error}") from error
        raise UsageError(
            f"no package {module} is installed here; a file is named with its suffix, "
            f"{module.replace('.', '/')}.py:{name}"
        ) from error
    except (Exception, SystemExit) as error:
        raise EdgeconvError(f"{module} fails: {type(error).__name__}: {error}") from error
    return call_factory(found, name, module)


def _ours(module: nn.Module, name: str, stem: str, *, live: bool = False) -> UserNet:
    module = at_rest(module, live=live)
    tensors = [*module.parameters(), *module.buffers()]
    rewidened = any(
        p.dtype.is_floating_point and p.element_size() != 4 for p in module.parameters()
    )
    away = any(tensor.device.type != "cpu" for tensor in tensors)
    if live and (rewidened or away):
        module = copy.deepcopy(module)
    if away:
        module.cpu()
    if rewidened:
        module.float()
    return UserNet(in_eval_mode(module), name, stem, _required(module), rewidened=rewidened)


def _required(module: nn.Module) -> tuple[str, ...]:
    """Return the names of forward's arguments that have no default."""
    if isinstance(module, torch.jit.ScriptModule):
        forward: Any = module.forward
        arguments = forward.schema.arguments[1:]
        return tuple(a.name for a in arguments if not a.has_default_value())
    return tuple(
        parameter.name
        for parameter in inspect.signature(module.forward).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    )


def _program(path: Path) -> UserNet:
    if not _members(path):
        raise EdgeconvError(f"{path} is no saved ExportedProgram")
    try:
        refuse_code(path)
        with muted(), tensors_alone():
            _register_quantizers()
            program = torch.export.load(path)
        module = program.module()
    except EdgeconvError:
        raise
    except Exception as error:  # torch's readers raise of every kind
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EdgeconvError(f"{path} is no saved ExportedProgram: {reason[0]}") from error
    in_eval_mode(module)
    given, named = program.example_inputs or ((), {})
    names = _required(module)
    if named or len(given) != len(names) or not all(isinstance(x, torch.Tensor) for x in given):
        raise EdgeconvError(
            f"{path} takes other inputs than tensors in order; export it with those"
        )
    tensors: dict[str, Any] = dict(zip(names, given, strict=True))
    shapes = {n: tuple(x.shape) for n, x in tensors.items()}
    single = _of_one(program, names, shapes)
    kinds = {n: str(x.dtype).removeprefix("torch.") for n, x in tensors.items()}
    return UserNet(
        module,
        str(path),
        path.stem,
        names,
        single or shapes,
        {n: kind for n, kind in kinds.items() if kind != "float32"},
        open_batch=single is not None,
    )


def _register_quantizers() -> None:
    """Let torch know the operators that convert_pt2e leaves, as whoever quantized a program so did."""
    with contextlib.suppress(ImportError):
        importlib.import_module("torch.ao.quantization.fx._decomposed")


def _of_one(
    program: Any, names: tuple[str, ...], shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, tuple[int, ...]] | None:
    """Return the inputs' shapes with 1 for a batch that alone is free; None where that is not so."""
    held = {
        node.name: node.meta["val"].shape
        for node in program.graph.nodes
        if node.op == "placeholder"
    }
    free = {n: [i for i, s in enumerate(held.get(n, ())) if not isinstance(s, int)] for n in names}
    if not any(free.values()) or any(axes not in ([], [0]) for axes in free.values()):
        return None
    if any(int(limits.lower) > 1 for limits in program.range_constraints.values()):
        return None
    return {n: (1, *shapes[n][1:]) if free[n] else shapes[n] for n in names}


def save_program(module: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    """Write ``module`` in eval mode as an ExportedProgram for one float32 input of ``shape``."""
    try:
        with muted():
            program = torch.export.export(module.eval(), (torch.zeros(shape),), strict=False)
            torch.export.save(program, path)
    except Exception as error:  # torch's tracers raise of every kind
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EdgeconvError(
            f"{type(module).__name__} cannot be exported for {list(shape)}: {reason[0]}"
        ) from error


def _script(path: Path) -> UserNet:
    try:
        refuse_file_access(path)
        if loops := has_loops(path):
            refuse_endless(path)
        with muted():
            module = open_script(path)
    except EdgeconvError:
        raise
    except Exception as error:  # torch's readers raise of every kind
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EdgeconvError(f"{path} is no TorchScript: {reason[0]}") from error
    refuse_short(module, path)
    return UserNet(module, str(path), path.stem, _required(module), loops=loops)
