"""Weights whose batch norms fold exactly in half precision.

Folding multiplies a convolution's weights by gamma / sqrt(variance + eps). Weights stored as half
floats lose precision there once more. Here the factor is moved into the weights before they are
rounded, and what the batch norm keeps is a factor of 1: what is folded is what is stored.
"""

import numpy as np
import torch
from torch import Tensor, nn

Pair = tuple[nn.Conv2d, nn.BatchNorm2d]


def pairs(net: nn.Module, size: tuple[int, int]) -> list[Pair]:
    """Return each convolution with the batch norm that reads its output, found by running ``net``."""
    made: dict[int, nn.Conv2d] = {}
    outputs: list[Tensor] = []  # kept, so that no two have one id
    found: list[Pair] = []

    def wrote(module: nn.Module, _given: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        made[id(output)] = module
        outputs.append(output)

    def reads(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        assert isinstance(module, nn.BatchNorm2d)
        if id(given[0]) in made:
            found.append((made[id(given[0])], module))

    hooks = [m.register_forward_hook(wrote) for m in net.modules() if isinstance(m, nn.Conv2d)]
    hooks += [
        m.register_forward_pre_hook(reads) for m in net.modules() if isinstance(m, nn.BatchNorm2d)
    ]
    training = net.training
    try:
        parameter = next(net.parameters())
        with torch.no_grad():
            net.eval()(torch.zeros(1, 3, *size, device=parameter.device))
    finally:
        net.train(training)
        for hook in hooks:
            hook.remove()
    return found


def snap(net: nn.Module, size: tuple[int, int]) -> None:
    """Round ``net`` in place to half precision such that folding its batch norms is exact.

    The function stays the same but for one rounding of each folded weight; the statistics of every
    batch norm stay true, so that training can go on. What no batch norm follows is rounded as it is.
    """
    scaled = pairs(net, size)
    with torch.no_grad():
        for convolution, norm in scaled:
            _move_scale(convolution, norm)
        for module in net.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                for parameter in module.parameters(recurse=False):
                    parameter.copy_(_half(parameter))


def _move_scale(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """Multiply the weights by the norm's factor and the statistics with them; leave it a factor of 1."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None
    assert variance is not None
    # in its own precision, so that the factor of a net that was snapped before is 1 and changes nothing
    factor = (norm.weight / exact_root(variance + norm.eps)).double()
    centre = mean.double()
    if convolution.bias is not None:
        centre -= convolution.bias.double()
        convolution.bias.zero_()
    convolution.weight.copy_(convolution.weight.double() * factor.view(-1, 1, 1, 1))
    shift = norm.bias.double() - centre * factor
    # a mean of few bits, so that adding it to the shift and taking it away again changes nothing
    mean.copy_(_half((centre * factor).float()))
    variance.copy_(variance.double() * factor**2)
    norm.weight.copy_(exact_root(variance + norm.eps))
    norm.bias.copy_(_half(shift.float()) + mean)


def exact_root(value: Tensor) -> Tensor:
    """Return the square root that IEEE 754 prescribes; torch's is MKL's, which processors do not round alike."""
    return torch.from_numpy(np.sqrt(value.detach().cpu().numpy())).to(value.device)


def _half(value: Tensor) -> Tensor:
    return value.to(torch.float16).to(value.dtype)
