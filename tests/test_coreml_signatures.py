"""The macOS path, which cannot run elsewhere: every call fits the installed coremltools.

A stand-in for Core ML accepts only arguments that the real signatures accept. Tests marked
``macos`` run the real framework.
"""

import inspect
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from coreml_kit import convolution_net, expected, feeds_for, prepared, sqnr_db

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError, UsageError
from edgeconv.runtimes import coreml
from edgeconv.runtimes.base import open_runner
from edgeconv.runtimes.table import RUNTIMES, UNITS

pytest.importorskip("coremltools")
MAC = sys.platform == "darwin"


def coremltools() -> Any:
    from edgeconv.export.coreml.convert import quiet

    with quiet():
        import coremltools
    return coremltools


def bound(real: Any, *args: Any, **kwargs: Any) -> None:
    """Raise TypeError unless the real callable takes these arguments."""
    inspect.signature(real).bind(*args, **kwargs)


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    from edgeconv.export.coreml.emit import emit_coreml

    folder = tmp_path_factory.mktemp("mac")
    model = convolution_net()
    graph = prepared(model)
    plain = Preprocessing((0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, (16, 16))
    labels = ["ant", "bee", "cat", "dog", "eel"]
    return {
        "plain": emit_coreml(graph, path=folder / "plain.mlpackage").path,
        "image": emit_coreml(
            graph, path=folder / "image.mlpackage", image_input=plain, labels=labels
        ).path,
        "labels": labels,
        "feeds": feeds_for(graph),
        "wanted": expected(model, feeds_for(graph))[0],
    }


def filled(kind: Any, **given: Any) -> Any:
    """Return an instance of one of coremltools' dataclasses; what is not given is None."""
    fields = inspect.signature(kind).parameters
    assert given.keys() <= fields.keys(), f"{kind.__name__} has only {sorted(fields)}"
    return kind(**{name: given.get(name) for name in fields})


class FakeCoreml:
    """Records what a runner does, checking each call against the real signatures."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, results: dict[str, Any]) -> None:
        ct = coremltools()
        self.calls: list[str] = []
        self.fed: dict[str, Any] = {}
        self.units: list[str] = []
        calls, outer = self.calls, self
        real = ct.models.MLModel

        class Model:
            last_predict_duration_in_nano_seconds = 2_500_000

            def __init__(self, *args: Any, **kwargs: Any) -> None:
                bound(real.__init__, self, *args, **kwargs)
                outer.units.append(kwargs["compute_units"].name)

            def predict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
                bound(real.predict, self, *args, **kwargs)
                calls.append("predict")
                outer.fed = dict(args[0])
                return results

        fake = SimpleNamespace(
            __version__=ct.__version__,
            ComputeUnit=ct.ComputeUnit,
            models=SimpleNamespace(
                MLModel=Model, utils=SimpleNamespace(compile_model=self.compile)
            ),
        )
        self.real_compile = ct.models.utils.compile_model
        monkeypatch.setattr(coreml, "_coremltools", lambda: fake)

    def compile(self, *args: Any, **kwargs: Any) -> str:
        bound(self.real_compile, *args, **kwargs)
        self.calls.append("compile")
        return "compiled.mlmodelc"


@pytest.mark.skipif(MAC, reason="Core ML is here")
def test_off_macos_the_runtime_is_not_offered_and_refuses(packages: dict[str, Any]) -> None:
    assert not RUNTIMES["coreml-runtime"].installed()
    with open_runner(packages["plain"]) as runner:
        assert runner.name == "mil-reference"
    with pytest.raises(EdgeconvError, match="macOS only"):
        coreml.open(packages["plain"])
    with pytest.raises(EdgeconvError, match="macOS only"):
        coreml.compute_plan(packages["plain"])


def test_on_macos_core_ml_comes_before_the_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    names = [r.name for r in RUNTIMES.values() if ".mlpackage" in r.suffixes and r.installed()]
    assert names == ["coreml-runtime", "mil-reference"]


def test_on_macos_parity_runs_every_compute_unit_and_the_evaluator(
    packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgeconv.runtimes.choose import ways

    monkeypatch.setattr(sys, "platform", "darwin")
    wanted = [f"coreml-runtime/{unit}" for unit in UNITS]
    assert [way.label for way in ways(packages["plain"])] == [*wanted, "mil-reference"]


@pytest.mark.parametrize("unit", UNITS)
def test_predictions_go_through_mlmodel_for_every_compute_unit(
    unit: Any, packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakeCoreml(monkeypatch, {"logits": packages["wanted"]})
    with coreml.open(packages["plain"], compute_unit=unit) as runner:
        assert runner.name == f"coreml-runtime/{unit}"
        made = runner.infer(packages["feeds"])
        runner.call(packages["feeds"])()
        assert runner.last_predict_ms() == 2.5
    assert fake.units == [unit]
    assert fake.calls == ["predict", "predict"]
    assert made["logits"].shape == (1, 5)


def test_image_inputs_become_pictures_and_labels_become_an_array(
    packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chances = {label: (i + 1) / 15 for i, label in enumerate(packages["labels"])}
    pixels = np.arange(3 * 256, dtype=np.float32).reshape(1, 3, 16, 16) % 256
    with open_runner(packages["image"], runtime="mil-reference") as reference:
        (spec,) = reference.outputs
    shuffled = dict(sorted(chances.items(), reverse=True))
    fake = FakeCoreml(monkeypatch, {"classLabel": "eel", spec.name: shuffled})
    with coreml.open(packages["image"]) as runner:
        made = runner.infer({"x": pixels})
    assert np.allclose(made[spec.name], [list(chances.values())])
    picture = fake.fed["x"]
    assert (picture.mode, picture.size) == ("RGB", (16, 16))
    assert np.array_equal(np.asarray(picture).transpose(2, 0, 1), pixels[0])


def test_an_unknown_compute_unit_is_refused(packages: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="CPU_ONLY"):
        coreml.open(packages["plain"], compute_unit="NPU")  # type: ignore[arg-type]


def test_the_benchmarker_is_called_as_it_is_declared(
    packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    coremltools()
    from coremltools.models.ml_program.experimental import perf_utils

    real = perf_utils.MLModelBenchmarker

    class Benchmarker:
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            bound(real.__init__, self, *args, **kwargs)

        async def benchmark_predict(self, *args: Any, **kwargs: Any) -> Any:
            bound(real.benchmark_predict, self, *args, **kwargs)
            return filled(real.Measurement, samples=[1.0, 2.0])

    monkeypatch.setattr(perf_utils, "MLModelBenchmarker", Benchmarker)
    FakeCoreml(monkeypatch, {"logits": packages["wanted"]})
    with coreml.open(packages["plain"]) as runner:
        assert runner.benchmark(packages["feeds"], 2) == [1.0, 2.0]


def test_without_the_benchmarker_core_mls_own_durations_are_taken(
    packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    coremltools()
    name = "coremltools.models.ml_program.experimental.perf_utils"
    monkeypatch.setitem(sys.modules, name, None)
    fake = FakeCoreml(monkeypatch, {"logits": packages["wanted"]})
    with coreml.open(packages["plain"]) as runner:
        assert runner.benchmark(packages["feeds"], 3) == [2.5, 2.5, 2.5]
    assert len(fake.calls) == 4  # one to warm up


def test_the_compute_plan_is_read_as_its_classes_declare(
    packages: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    coremltools()
    from coremltools.models import compute_device, compute_plan

    real = compute_plan.MLComputePlan
    cpu = object.__new__(compute_device.MLCPUComputeDevice)
    engine = object.__new__(compute_device.MLNeuralEngineComputeDevice)
    value = filled(compute_plan.MLModelStructureProgramNamedValueType, name="c0")
    conv = filled(
        compute_plan.MLModelStructureProgramOperation, operator_name="ios17.conv", outputs=[value]
    )
    block = filled(compute_plan.MLModelStructureProgramBlock, operations=[conv])
    function = filled(compute_plan.MLModelStructureProgramFunction, block=block)
    program = filled(compute_plan.MLModelStructureProgram, functions={"main": function})

    class Plan:
        model_structure = SimpleNamespace(program=program)

        @classmethod
        def load_from_path(cls, *args: Any, **kwargs: Any) -> "Plan":
            bound(real.load_from_path, *args, **kwargs)
            return cls()

        def get_compute_device_usage_for_mlprogram_operation(self, *args: Any) -> Any:
            bound(real.get_compute_device_usage_for_mlprogram_operation, self, *args)
            return filled(
                compute_plan.MLComputePlanDeviceUsage,
                preferred_compute_device=engine,
                supported_compute_devices=[cpu, engine],
            )

        def get_estimated_cost_for_mlprogram_operation(self, *args: Any) -> Any:
            bound(real.get_estimated_cost_for_mlprogram_operation, self, *args)
            return compute_plan.MLComputePlanCost(weight=0.25)

    monkeypatch.setattr(compute_plan, "MLComputePlan", Plan)
    fake = FakeCoreml(monkeypatch, {})
    found = coreml.compute_plan(packages["plain"])
    assert fake.calls == ["compile"]
    assert found == [
        coreml.Placement("ios17.conv", "c0", "neural engine", ("cpu", "neural engine"), 0.25)
    ]


def test_every_device_class_has_a_name_in_reports() -> None:
    coremltools()
    from coremltools.models import compute_device

    for name in coreml.DEVICES:
        assert inspect.isclass(getattr(compute_device, name))


# With the real framework


@pytest.mark.macos
@pytest.mark.skipif(not MAC, reason="needs macOS")
@pytest.mark.parametrize("unit", UNITS)
def test_core_ml_agrees_with_the_reference(unit: Any, packages: dict[str, Any]) -> None:
    with coreml.open(packages["plain"], compute_unit=unit) as runner:
        made = runner.infer(packages["feeds"])["logits"]
    assert sqnr_db(packages["wanted"], made) > 60


@pytest.mark.macos
@pytest.mark.skipif(not MAC, reason="needs macOS")
def test_core_ml_classifies_a_picture(packages: dict[str, Any]) -> None:
    pixels = np.arange(3 * 256, dtype=np.float32).reshape(1, 3, 16, 16) % 256
    with open_runner(packages["image"], runtime="mil-reference") as reference:
        wanted = reference.infer({"x": pixels})
    with coreml.open(packages["image"]) as runner:
        made = runner.infer({"x": pixels})
    for name, value in wanted.items():
        assert np.allclose(made[name], value, atol=1e-3)


@pytest.mark.macos
@pytest.mark.skipif(not MAC, reason="needs macOS")
def test_core_ml_times_predictions_and_plans_placement(packages: dict[str, Any]) -> None:
    with coreml.open(packages["plain"]) as runner:
        samples = runner.benchmark(packages["feeds"], 5)
    assert len(samples) == 5
    assert min(samples) > 0
    assert any(p.kind.endswith("conv") for p in coreml.compute_plan(packages["plain"]))
