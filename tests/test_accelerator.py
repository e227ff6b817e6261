"""Training on a GPU: what it gives, twice, interrupted, and refused where there is none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from quant_nets import pictures, residual_net  # noqa: E402

from edgeconv import export_model  # noqa: E402
from edgeconv.accelerator import device, repeatable  # noqa: E402
from edgeconv.errors import EdgeconvError  # noqa: E402
from edgeconv.export.quant.engine import quantize  # noqa: E402
from edgeconv.export.quant.judge import run_recipe, score  # noqa: E402
from edgeconv.export.quant.observe import observe  # noqa: E402
from edgeconv.export.twin.distil import distil  # noqa: E402
from edgeconv.files import sha256  # noqa: E402
from edgeconv.train import loop  # noqa: E402
from edgeconv.train.options import TrainOptions  # noqa: E402
from edgeconv.train.run import train  # noqa: E402

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA device here")


@pytest.mark.skipif(torch.cuda.is_available(), reason="PyTorch sees a CUDA device here")
def test_an_accelerator_that_is_not_there_is_named_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r'accelerator="cuda": torch .* sees no such device'):
        export_model(
            "mobilenet_v1",
            precision="int8",
            targets=["onnx"],
            recipe="best",
            accelerator="cuda",
            output=tmp_path,
        )
    assert not list(tmp_path.iterdir())


def test_what_a_processor_does_is_left_as_it_is() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with repeatable(device("cpu")):
        assert torch.are_deterministic_algorithms_enabled() == before


def photos(folder: Path, each: int = 24) -> Path:
    """Write noise of three colours as three classes."""
    rng = np.random.default_rng(1)
    for index, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for place in range(each):
            pixels = rng.integers(0, 120, (32, 32, 3), np.uint8)
            pixels[..., index] += 110
            Image.fromarray(pixels).save(folder / name / f"{place:02}.png")
    return folder


@cuda
def test_a_gpu_trains_interrupted_or_not_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos(tmp_path / "photos")

    def run(name: str, net: str = "mobilenet_v2", **options: Any) -> Any:
        path = tmp_path / f"{name}.safetensors"
        given: dict[str, Any] = {"width": 0.25, "resolution": 32, "epochs": 4, "batch": 8}
        return train(
            TrainOptions(net, data, output=path, **{**given, "accelerator": "cuda", **options})
        )

    still: dict[str, Any] = {
        "net": "mobilenet_v1",
        "rate": 1e-6,
        "epochs": 1,
    }  # it drops nothing out
    gpu, processor = run("gpu", **still), run("processor", accelerator="cpu", **still)
    assert gpu.epochs[0]["loss"] == pytest.approx(processor.epochs[0]["loss"], rel=0.01)
    whole = run("whole")
    assert run("again").sha256 == whole.sha256

    epoch, ran = loop._epoch, list[int]()

    def stops(*given: Any) -> float:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(1)
        return epoch(*given)

    monkeypatch.setattr(loop, "_epoch", stops)
    with pytest.raises(KeyboardInterrupt):
        run("cut")
    monkeypatch.setattr(loop, "_epoch", epoch)
    assert sha256(run("cut").path) == whole.sha256


@cuda
def test_a_gpu_trains_integers_that_help_and_repeat() -> None:
    graph = residual_net()
    feeds, fresh = pictures(graph, 20), pictures(graph, 16, seed=9)
    wanted = observe(graph, fresh).outputs
    plain = quantize(graph, feeds, recipe="fast", reduce_range=True).recipe
    made = [
        distil(graph, plain, feeds, minutes=60, limit=63, steps=60, accelerator=where).recipe
        for where in ("cuda", "cuda", "cpu")
    ]
    before, first, again, processor = (
        score(graph, wanted, run_recipe(graph, recipe, fresh, 1)).noise for recipe in (plain, *made)
    )
    assert first == again
    assert first < 1.02 * before
    assert abs(first - processor) < 0.1 * processor


@cuda
def test_qat_on_a_gpu(tmp_path: Path) -> None:
    data = photos(tmp_path / "photos", each=20)
    options = TrainOptions(
        "mobilenet_v1", data, width=0.25, resolution=32, epochs=2, batch=8, qat=1,
        output=tmp_path / "w.safetensors", accelerator="cuda",
    )  # fmt: skip
    done = train(options)
    assert done.integers is not None
    assert done.integers.epochs == 1
