"""Build a user's own net from ``path/to/file.py:factory``."""

import contextlib
import importlib.util
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import nn

from edgeconv.errors import EdgeconvError, UsageError, an, nearest
from edgeconv.foreign import refuse_no_file


def load_factory(source: str) -> nn.Module:
    """Import ``file.py`` and return what calling ``factory`` gives: a torch.nn.Module, in eval mode.

    ``source`` is ``path/file.py:factory``; the file's folder is importable while it runs, so that
    it may import its neighbours. Raises UsageError where ``source`` is not written so, EdgeconvError
    where the file or name is missing, the file or the factory fails, or no nn.Module comes out.
    """
    text, colon, name = source.rpartition(":")
    if not colon or not text.endswith(".py") or not name.isidentifier():
        raise UsageError(f"{source!r} is not written path/to/file.py:factory")
    path = Path(text)
    refuse_no_file(path)
    return call_factory(_run(path), name, str(path))


def call_factory(names: Mapping[str, object], name: str, where: str) -> nn.Module:
    """Return what ``name`` among ``names``, a module or what makes one, gives: in eval mode.

    Raises UsageError where it is missing from ``where``, EdgeconvError where it fails or gives no
    torch.nn.Module.
    """
    if name not in names:
        near = nearest(name, (one for one in names if not one.startswith("_")), "")
        raise UsageError(f"{where} defines no {name}{near and f': {near}'}")
    factory = names[name]
    if not callable(factory):
        raise EdgeconvError(f"{name} in {where} is {an(type(factory).__name__)}, not a function")
    wanted = _arguments(factory)
    if wanted:
        raise UsageError(
            f"{where}:{name} is called without arguments and wants {', '.join(wanted)}: "
            "write a function that takes none and returns the net"
        )
    try:
        module = factory if isinstance(factory, nn.Module) else factory()
    except (Exception, SystemExit) as error:
        raise EdgeconvError(f"{where}:{name} fails: {type(error).__name__}: {error}") from error
    if not isinstance(module, nn.Module):
        raise EdgeconvError(
            f"{where}:{name} returned {an(type(module).__name__)}, not a torch.nn.Module"
        )
    return in_eval_mode(module)


def in_eval_mode(module: nn.Module) -> nn.Module:
    """Return ``module`` in eval mode; what torch.export made keeps the mode that it was exported in, and lets it be set."""
    try:
        module.eval()  # torchao's own gives nothing back
        return module
    except NotImplementedError:  # which such a module raises
        for name in ("train", "eval"):
            setattr(module, name, types.MethodType(lambda self, *_: self, module))
        return module


def _arguments(factory: Callable[..., object]) -> list[str]:
    """Return the names of what ``factory`` cannot be called without; a net that is made already is not called."""
    if isinstance(factory, nn.Module):
        return []
    try:
        parameters = inspect.signature(factory).parameters.values()
    except (TypeError, ValueError):  # what is written in C need not say
        return []
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [p.name for p in named if p.default is p.empty]


def _run(path: Path) -> dict[str, object]:
    """Execute the file as a module of its own and return its names."""
    spec = importlib.util.spec_from_file_location(f"edgeconv_user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise EdgeconvError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    sys.modules[spec.name] = module  # dataclasses and pickles look their module up there
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(spec.name, None)
        raise EdgeconvError(f"{path} fails: {type(error).__name__}: {error}") from error
    finally:
        with contextlib.suppress(ValueError):  # the file may have tidied up itself
            sys.path.remove(folder)
    return vars(module)
