"""The one decider of what NET_OR_FILE is."""

from pathlib import Path

from edgeconv.deps import require
from edgeconv.errors import UsageError
from edgeconv.export.options import ExportOptions
from edgeconv.export.source.found import Source
from edgeconv.export.source.onnx_file import from_onnx
from edgeconv.export.source.user import from_user
from edgeconv.export.source.zoo import from_zoo, stem_ahead
from edgeconv.models.specs import SPECS, WEIGHTS_SUFFIXES, is_own, stem_of


def foretold_stem(options: ExportOptions) -> str | None:
    """Return how the files of the export will begin, where that is known before the net is opened."""
    name = options.net
    if not isinstance(name, str):
        return None
    if name.endswith(".onnx") or is_own(name):
        return stem_of(name)
    return stem_ahead(options) if name in SPECS else None


def open_source(options: ExportOptions) -> Source:
    """Find what ``options.net`` names; raises UsageError or EdgeconvError saying what is wrong."""
    name = options.net
    if not isinstance(name, str):
        return from_user(options)
    if name.endswith(".onnx"):
        return from_onnx(Path(name), options)
    if is_own(name):
        require("torch", "torch")
        from edgeconv.models.user_net import is_user_net

        if is_user_net(name):
            return from_user(options)
    if name.endswith(".py"):
        raise UsageError(f"{name}: say which function makes the net, {name}:factory")
    if Path(name).suffix in WEIGHTS_SUFFIXES:
        raise UsageError(f"{name} holds weights, not a net: edgeconv export NET --weights {name}")
    return from_zoo(options)
