"""A user's checkpoint into a user's own module: by name, else by order and shape."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgeconv.errors import EdgeconvError
from edgeconv.models.checkpoint import read_checkpoint
from edgeconv.models.key_layouts import group_layers
from edgeconv.models.layer_order import Mismatch, match_by_order

if TYPE_CHECKING:
    import torch


def fit_module(module: "torch.nn.Module", path: Path) -> tuple[str, str]:
    """Load ``path`` into ``module``; return how the tensors were matched and the file's SHA-256.

    Raises EdgeconvError naming the first tensor that does not fit.
    """
    checkpoint = read_checkpoint(path)
    own = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    if own.keys() == checkpoint.tensors.keys():
        for key, value in own.items():
            if value.shape != checkpoint.tensors[key].shape:
                raise EdgeconvError(
                    f"{path}: tensor {key} is {list(checkpoint.tensors[key].shape)} in the file and "
                    f"{list(value.shape)} in {type(module).__name__}"
                )
        module.load_state_dict(checkpoint.tensors, strict=False)
        return "matched by name", checkpoint.sha256
    ours = group_layers((k, tuple(v.shape)) for k, v in own.items())
    theirs = group_layers((k, tuple(v.shape)) for k, v in checkpoint.tensors.items())
    found = match_by_order(ours, theirs)
    if isinstance(found, Mismatch):
        raise EdgeconvError(
            f"{path} does not fit {type(module).__name__}: the first layer that differs is "
            f"{found.ours or 'none'} in the module and {found.theirs or 'none'} in the file"
        )
    state = {
        f"{prefix}.{name}": checkpoint.tensors[f"{found[prefix]}.{name}"]
        for prefix, shapes in ours.items()
        for name in shapes
    }
    module.load_state_dict(state, strict=False)
    return "matched by order and shape", checkpoint.sha256
