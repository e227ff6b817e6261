"""Statistics, masks and identity matrices: what few runtimes give is written for all."""

from pathlib import Path

import numpy as np
from any_net_kit import same_everywhere
from graph_kit import floats, model_of, ops


def test_statistics_masks_and_identity_matrices_are_right_everywhere(tmp_path: Path) -> None:
    model = model_of(
        "(float[2,3,4] x) => (float[2,3,4] y, float[2,1,1] m, float[2,1,1] v, float[2,3,4] z, float[2,3,1] n,"
        " float[2,3,4] d, bool[2,3,4] kept, int64[3,4] e, float[2,3,3] p) {"
        " y, m, v = LayerNormalization<axis = 1, epsilon = 0.25>(x, s)\n z, n = LayerNormalization(x, t)\n"
        " d, kept = Dropout(x)\n e = EyeLike<k = 1, dtype = 7>(t34)\n i = EyeLike<k = -1>(t34)\n"
        " turned = Transpose<perm = [1, 0]>(i)\n p = MatMul(x, turned) }",
        17,
        s=floats(3, 4),
        t=floats(4),
        t34=floats(3, 4),
    )
    graph = same_everywhere(model, {"x": 2 * floats(2, 3, 4) + 1}, tmp_path)
    assert not {"EyeLike", "Dropout"} & {*ops(graph)}
    assert [len(node.outputs) for node in graph.of("LayerNormalization")] == [1, 1]


def test_a_crop_is_filled_with_any_value(tmp_path: Path) -> None:
    model = model_of(
        "(float[1,2,6,8] x) => (float[1,2,5,6] y) {"
        ' y = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize",'
        " extrapolation_value = 3.5>(x, region, none, size) }",
        region=np.array([0, 0, -0.2, 0, 1, 1, 1.3, 0.9], np.float32),
        none=np.zeros(0, np.float32),
        size=np.array([1, 2, 5, 6]),
    )
    same_everywhere(model, {"x": floats(1, 2, 6, 8)}, tmp_path)
