"""``list_nets``: what ``edgeconv models`` prints, as data. No torch here."""

from typing import Any

from edgeconv.demo_files import find_demo
from edgeconv.models.bundle import bundled
from edgeconv.models.download import PUBLIC
from edgeconv.models.specs import SPECS, Accuracy, NetSpec, Option


def list_nets() -> list[dict[str, Any]]:
    """Return for each net its paper, options, parameters, multiply-adds and known accuracies.

    Parameters and multiply-adds hold at the default options, 1000 classes, 224x224. ``accuracies``
    are top-1 in percent: the published ones and that of the bundled weights. ``imagenet`` is the
    address of the public checkpoint, or None.
    """
    return [_describe(spec) for spec in SPECS.values()]


def _describe(spec: NetSpec) -> dict[str, Any]:
    accuracies = list(spec.accuracies)
    public = PUBLIC.get(spec.name)
    if public is not None:
        accuracies.append(Accuracy(public.top1, "ImageNet", f"{public.source} (imagenet)"))
    own = bundled().get(spec.name) if find_demo("weights") else None
    if own is not None:
        pixels = f"{own.resolution}x{own.resolution}"
        accuracies.append(Accuracy(own.top1, own.dataset, f"measured, {pixels} (bundled)"))
    return {
        "name": spec.name,
        "title": spec.title,
        "arxiv": spec.arxiv,
        "resolution": spec.resolution,
        "options": [_option(option) for option in spec.options],
        "parameters": spec.parameters,
        "multiply_adds": spec.multiply_adds,
        "accuracies": [
            {"top1": a.top1, "dataset": a.dataset, "source": a.source} for a in accuracies
        ],
        "imagenet": None if public is None else public.url,
    }


def _option(option: Option) -> dict[str, Any]:
    return {
        "name": option.name,
        "default": option.default,
        "choices": list(option.choices),
        "minimum": option.minimum,
        "maximum": option.maximum,
        "help": option.help,
        "flag": option.flag,
    }
