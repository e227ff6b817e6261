"""Read a checkpoint file into a flat table of float tensors, never running code from it."""

import errno
import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError, UsageError, an, reading
from edgeconv.files import sha256
from edgeconv.manifest_schema import TRAINED
from edgeconv.schema import checked, parse_json

PICKLED = (".pt", ".pth", ".ckpt", ".bin", ".tar")
NESTED = ("ema", "model_ema", "state_dict_ema", "state_dict", "model_state_dict", "model", "net")
"""Where trainers put the weights, best first: the averaged ones are what was evaluated."""

PREFIXES = ("module.", "_orig_mod.", "model.", "net.")
MAX_DEPTH = 8
"""Dicts within dicts that are looked through: one that holds itself has no end."""

DESCRIBED = "edgeconv"
"""Key of what ``edgeconv train`` says of its weights, in a safetensors file's own metadata."""

COUNTERS = ("num_batches_tracked", "total_ops", "total_params")


@dataclass(frozen=True)
class Checkpoint:
    """The weights of a file in its own order and names, float32, counters left out.

    ``ordered`` is False where the format loses the order of the layers (safetensors sorts names);
    ``inside`` names the nested dict the weights were found in. ``described`` is what ``edgeconv train``
    says of its net, preprocessing, labels and accuracy; empty for the files of others.
    """

    path: Path
    tensors: dict[str, Tensor]
    sha256: str
    ordered: bool
    inside: str | None
    described: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a .safetensors, or a file of one of PICKLED's endings with torch's weights_only.

    Raises UsageError for another ending or a missing file, EdgeconvError where it is truncated, holds
    code instead of tensors, or holds integers, NaN or Inf (naming the tensor).
    """
    if not path.is_file():
        raise UsageError(
            f"no weights file {path}: --weights takes bundled, imagenet, random or a file"
        )
    inside: str | None = None
    raw: dict[str, Any]
    if path.suffix == ".safetensors":
        raw = _read_safetensors(path)
    elif path.suffix in PICKLED:
        raw, inside = _unwrap(_read_pickled(path), path)
    else:
        endings = ", ".join((".safetensors", *PICKLED))
        raise UsageError(f"{path} does not look like weights: the endings are {endings}")
    tensors = {
        key: value
        for key, value in _strip(raw).items()
        if isinstance(value, Tensor) and not key.endswith(COUNTERS)
    }
    if not tensors:
        raise EdgeconvError(f"{path} holds no tensors: save net.state_dict()")
    return Checkpoint(
        path,
        _all_checked(path, tensors),
        sha256(path),
        path.suffix != ".safetensors",
        inside,
        _description(path) if path.suffix == ".safetensors" else {},
    )


def _description(path: Path) -> Mapping[str, Any]:
    """Return what we wrote into the metadata of a safetensors file that was read before."""
    with require("safetensors", "export").safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(DESCRIBED)
    if text is None:
        return {}
    what = f"{path}: what edgeconv says of itself in the file"
    found: Mapping[str, Any] = checked(parse_json(text, what), TRAINED, what)
    return found


def _read_safetensors(path: Path) -> dict[str, Any]:
    reader = require("safetensors", "export")
    load_file = require("safetensors.torch", "export").load_file
    try:
        tensors: dict[str, Any] = load_file(path)
    except OSError as error:
        raise EdgeconvError(f"cannot read {path}: {error.strerror or error}") from error
    except (reader.SafetensorError, ValueError, KeyError) as error:
        raise EdgeconvError(f"{path} is truncated or not a safetensors file: {error}") from error
    return tensors


def _read_pickled(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old pickles: what matters is raised below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" in str(error) and "GLOBAL" in str(error):
            raise EdgeconvError(
                f"{path} holds more than tensors, and edgeconv does not run code from a file: "
                "save net.state_dict() and give that"
            ) from error
        raise EdgeconvError(f"{path} is truncated or not a PyTorch file") from error
    except OSError as error:
        if error.errno in (None, errno.EINVAL):  # torch seeks to where an archive should end
            raise EdgeconvError(f"{path} is truncated or not a PyTorch file") from error
        raise EdgeconvError(f"cannot read {path}: {error.strerror or error}") from error
    except MemoryError:
        raise
    except Exception as error:
        if "TorchScript" in str(error):
            raise EdgeconvError(
                f"{path} is a TorchScript program: save its state_dict() and give that"
            ) from error
        raise EdgeconvError(f"{path} is truncated or not a PyTorch file") from error


def _unwrap(loaded: Any, path: Path) -> tuple[dict[str, Any], str | None]:
    """Return the dict that holds the tensors, and the path of keys to it."""
    steps: list[str] = []
    while isinstance(loaded, dict) and not _is_state(loaded) and len(steps) < MAX_DEPTH:
        step = next((key for key in NESTED if isinstance(loaded.get(key), dict)), None)
        if step is None:
            break
        steps.append(step)
        loaded = loaded[step]
    if not isinstance(loaded, dict):
        raise EdgeconvError(
            f"{path} holds {an(type(loaded).__name__)}, not weights: save net.state_dict()"
        )
    return {str(key): value for key, value in loaded.items()}, ".".join(steps) or None


def _is_state(data: dict[Any, Any]) -> bool:
    """Tell whether most entries are tensors (a trainer's dict holds a few beside its settings)."""
    return 2 * sum(isinstance(value, Tensor) for value in data.values()) > len(data)


def _strip(raw: dict[str, Any]) -> dict[str, Any]:
    """Remove the wrappers' prefixes that every key carries (DataParallel, torch.compile, ...)."""
    again = True
    while again:
        again = False
        for prefix in PREFIXES:
            if raw and all(key.startswith(prefix) for key in raw):
                raw = {key.removeprefix(prefix): value for key, value in raw.items()}
                again = True
    return raw


def _all_checked(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Check every tensor; what they take in memory is believed only where the file can hold it."""
    for key, value in tensors.items():
        if value.layout != torch.strided or value.device.type != "cpu":
            kind = value.device.type if value.layout == torch.strided else str(value.layout)
            raise EdgeconvError(f"{path}: tensor {key} is {kind.removeprefix('torch.')}, not dense")
        held = value.untyped_storage().nbytes()
        if value.numel() * value.element_size() > held:
            raise EdgeconvError(
                f"{path}: tensor {key} says that it is {list(value.shape)}, of which the file holds "
                f"{held} bytes: save tensors that are not expanded"
            )
    with reading(f"{path} cannot be read"):
        return {key: _checked(path, key, value) for key, value in tensors.items()}


def _checked(path: Path, key: str, value: Tensor) -> Tensor:
    """Return ``value`` as float32; refuse quantized, integer and non-finite tensors."""
    if not value.is_floating_point() or value.is_quantized:
        raise EdgeconvError(f"{path}: tensor {key} is {value.dtype}, not floating point")
    wide = value.to(torch.float32)  # what float32 cannot hold is infinite there
    if not bool(torch.isfinite(wide).all()):
        wrong = "NaN" if bool(torch.isnan(wide).any()) else "Inf"
        raise EdgeconvError(f"{path}: tensor {key} holds {wrong}: the training diverged")
    return wide
