"""The net that is trained: from weights, with a head for the user's classes."""

from dataclasses import replace

import torch
from torch import nn

from edgeconv.errors import EdgeconvError
from edgeconv.models.weights import LoadedWeights, load_weights
from edgeconv.preprocessing import OWN, scaling, sentence
from edgeconv.train.options import TrainOptions


def start(options: TrainOptions, names: tuple[str, ...]) -> tuple[nn.Module, LoadedWeights]:
    """Return the net with a head of ``names`` classes, and the weights it starts from.

    The head is new unless the weights know the same classes. ``preprocessing`` and the size of the
    returned weights are those of the training.
    """
    source = options.source()
    classes = len(names) if source == "random" else None
    loaded = load_weights(
        options.net, options.net_options(), source, classes=classes, seed=options.seed
    )
    how = loaded.preprocessing
    if options.preprocessing is not None or source == "random":
        mean, std = scaling(options.preprocessing or "symmetric")
        how = replace(how, mean=mean, std=std)
    if source == "random":
        how = replace(how, crop=1.0)  # what is small is seen whole
    if options.resolution is not None:
        how = replace(how, size=(options.resolution, options.resolution))
    if how.size[0] != how.size[1]:
        raise EdgeconvError(f"{source} is fed {how.size[0]}x{how.size[1]}: give --resolution")
    kept = replace(loaded, preprocessing=how)
    if not renewed(options, kept, names):
        return kept.build(), kept
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        fresh = replace(kept, classes=len(names), labels=names, state=_without_head(kept)).build()
    return fresh, kept


def told(options: TrainOptions, loaded: LoadedWeights) -> str:
    """Return one line that says how pictures become the tensor, and who says so."""
    origin = OWN
    if options.preprocessing is not None:
        origin = "given"
    elif options.source() == "random":
        origin = "the custom here for random weights"
    elif loaded.assumed:
        origin = f"ASSUMED, {options.source()} does not say it: give --preprocessing"
    return f"pictures: {sentence(loaded.preprocessing, origin)}"


def renewed(options: TrainOptions, loaded: LoadedWeights, names: tuple[str, ...]) -> bool:
    """Whether the last layer begins anew: the weights know other classes than ``names``."""
    return options.source() != "random" and loaded.labels != names


def _without_head(loaded: LoadedWeights) -> dict[str, torch.Tensor]:
    """Return the weights of all layers but the last, whose classes are others."""
    head = list(loaded.state)[-1].rpartition(".")[0]
    return {k: v for k, v in loaded.state.items() if k.rpartition(".")[0] != head}


def head_of(net: nn.Module) -> nn.Linear:
    """Return the layer that gives the classes: the last linear one."""
    return [module for module in net.modules() if isinstance(module, nn.Linear)][-1]


def learn(net: nn.Module, tune: str) -> None:
    """Put ``net`` into training mode; with ``tune`` "head" all other layers stay as they are."""
    net.train(tune == "all")
    if tune == "head":
        net.requires_grad_(False)
        head_of(net).requires_grad_(True).train()
