"""What a training leaves on disk: the checkpoint that export takes, and where an unfinished one stands."""

import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeconv.deps import require
from edgeconv.errors import EdgeconvError
from edgeconv.files import write_bytes
from edgeconv.models.checkpoint import DESCRIBED
from edgeconv.schema import anything, checked, items, mapping, number, parse_json, table, whole

State = dict[str, Tensor]


EPOCHS = items(
    table({"loss": number(), "held_out_loss": number(), "right": whole(0), "seconds": number()}),
    least=1,
)
"""What a standing says of the epochs that are done."""


@dataclass
class Standing:
    """How far a training is: whole ``epochs`` done, and the best of them (``best_epoch`` from 1).

    ``optimizer`` is its state dict, ``scaler`` that of mixed precision. ``score`` is (share right, -loss) of the held-out pictures.
    """

    epochs: list[dict[str, Any]] = field(default_factory=list)
    net: State = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    best: State = field(default_factory=dict)
    best_epoch: int = 0
    score: tuple[float, float] = (-1.0, 0.0)
    scaler: dict[str, Any] = field(default_factory=dict)


def unfinished(output: Path) -> Path:
    """Return where the standing of the training of ``output`` is kept."""
    return output.with_name(f"{output.name}.unfinished")


def save_standing(path: Path, standing: Standing, job: Mapping[str, Any]) -> None:
    """Write ``standing`` and the ``job`` it belongs to, whole or not at all."""
    data = {**vars(standing), "epochs": json.dumps(standing.epochs), "job": json.dumps(job)}
    made = io.BytesIO()  # torch and safetensors name no full disk
    torch.save(data, made)
    write_bytes(path, made.getvalue())


def load_standing(path: Path, job: Mapping[str, Any], net: nn.Module) -> Standing:
    """Return the standing in ``path`` of a training of ``net``, a new one where there is none.

    Raises EdgeconvError where it is damaged or belongs to another job, naming what differs.
    """
    if not path.exists():
        return Standing()
    again = f"give --force to start anew, or delete {path}"
    try:
        with zipfile.ZipFile(path) as packed:
            if (torn := packed.testzip()) is not None:  # torch reads past its checksums
                raise ValueError(f"{torn} has changed")
        data = torch.load(path, map_location="cpu", weights_only=True)
        before, epochs = parse_json(data.pop("job"), ""), parse_json(data.pop("epochs"), "")
        standing = Standing(epochs=checked(epochs, EPOCHS, "epochs"), **data)
        checked(before, mapping(anything), "job")
        _check_standing(standing, net)
    except (EdgeconvError, OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError,
            EOFError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise EdgeconvError(f"{path} is damaged: {again}") from error
    now = json.loads(json.dumps(job))
    for key in now:
        if before.get(key) != now[key]:
            raise EdgeconvError(
                f"{path} is of an unfinished training with {key.replace('_', '-')} {before.get(key)}, "
                f"which is {now[key]} now: {again}"
            )
    return standing


def _check_standing(standing: Standing, net: nn.Module) -> None:
    """Raise ValueError where ``standing`` cannot be one of ``net``."""
    shapes = {key: value.shape for key, value in net.state_dict().items()}
    for state in (standing.net, standing.best):
        if {key: value.shape for key, value in state.items()} != shapes:
            raise ValueError("other weights")
    best = standing.best_epoch
    if not (isinstance(best, int) and 1 <= best <= len(standing.epochs)):
        raise ValueError("another epoch")
    share, loss = standing.score
    if not (0 <= share <= 1 and isinstance(loss, float)):
        raise ValueError("another score")


def on_processor(state: Mapping[str, Tensor]) -> State:
    """Return a copy of a state dict in main memory."""
    return {key: value.detach().cpu().clone() for key, value in state.items()}


def save_weights(net: nn.Module, path: Path, described: Mapping[str, Any]) -> None:
    """Write snapped weights as .safetensors with what they are; batch norm's counters are left out.

    Half floats where nothing is lost by it, so all but what a batch norm keeps.
    """
    save = require("safetensors.torch", "export").save
    state = {}
    for key, value in net.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            value = value.detach().cpu()
            half = value.to(torch.float16)
            state[key] = (half if torch.equal(half.float(), value) else value).contiguous()
    write_bytes(path, save(state, metadata={DESCRIBED: json.dumps(described)}))
