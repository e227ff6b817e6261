"""What a layer's values on some pictures amount to: when it departs."""

import numpy as np
import pytest

from edgeconv.parity.layers.figures import Tally


def test_one_wrong_channel_among_a_thousand_departs() -> None:
    real = np.linspace(-1.0, 1.0, 16 * 1024, dtype=np.float32).reshape(1, 1024, 4, 4)
    stored = real.copy()
    stored[:, 7] += 0.1
    tally = Tally()
    tally.add(real, stored, stored, real, (0.01, -1.28, 1.27))
    layer = tally.layer("t", "n", "Conv", "int8", None)
    assert (layer.mean_quanta or 0.0) < 0.02
    assert (layer.beyond_share or 0.0) < 0.002
    assert layer.channel_quanta == pytest.approx(10.0, rel=1e-4)
    assert layer.departs


@pytest.mark.parametrize(("error", "departs"), [(2.0**-12, False), (2.0**-7, True), (np.nan, True)])
def test_half_precision_may_round_a_tensor_that_hardly_moves(error: float, departs: bool) -> None:
    real = np.linspace(0.5, 0.501, 32, dtype=np.float32).reshape(1, 32, 1, 1)
    tally = Tally()
    tally.add(real, real + error, real + error, None, None)
    assert tally.layer("t", "n", "HardSigmoid", "fp16", None).departs is departs
