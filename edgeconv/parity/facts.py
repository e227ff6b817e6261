"""What reports and the verdict know of a cell beside its outputs: size, INT8 share, where its noise comes from."""

from collections.abc import Mapping
from pathlib import Path

from edgeconv.artifact import Artifact
from edgeconv.files import model_bytes
from edgeconv.judge.outputs import Outputs
from edgeconv.parity.cells import Cell
from edgeconv.recipe import load_recipe
from edgeconv.runtimes.table import RUNTIMES


def file_figures(path: Path, artifact: Artifact | None) -> dict[str, float]:
    """Return size in bytes and, from the manifest, INT8 share of compute ops and transposes."""
    found = {"bytes": float(model_bytes(path))}
    graph = {} if artifact is None else artifact.manifest.get("graph") or {}
    if graph.get("compute"):
        found["int8_share"] = graph.get("int8_compute", 0) / graph["compute"]
        found |= {key: float(graph.get(key) or 0) for key in ("compute", "int8_compute")}
    if "integer_layers" in graph:
        found["integer_layers"] = float(graph["integer_layers"])
    if "transposes" in graph:
        found["transposes"] = float(graph["transposes"])
    return found


def verified_on(artifact: Artifact) -> str | None:
    """Return the SHA-256 of the pictures that an export verified on."""
    files: Mapping[str, str] = artifact.manifest["evidence"]["files"]
    return files.get("verify.npz")


def noise_map(artifact: Artifact | None) -> dict[str, float]:
    """Return tensor -> its share of the noise, the worst first, where the recipe has a noise map."""
    if artifact is None or "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return {}
    rows = load_recipe(artifact.evidence("recipe.json")).notes.get("noise", {})
    ranked = sorted(rows, key=lambda name: -float(rows[name]["share"]))
    return {name: float(rows[name]["share"]) for name in ranked}


def described(cell: Cell, outputs: Outputs, digest: str, emulated: bool) -> Outputs:
    """Return a cell's outputs with all that reports say of it; ``digest`` is of the inputs."""
    about = {
        **outputs.about,
        "label": cell.label,
        "stage": cell.stage,
        "title": cell.title,
        "before": cell.before,
        "kind": cell.kind,
        "variant": RUNTIMES[cell.runtime].label(cell.options).removeprefix(cell.runtime),
        "emulated": cell.board if emulated else None,
        "foreign": cell.artifact is None and cell.stage not in ("raw", "hub", "prepared"),
        "inputs_sha256": digest,
    }
    about["scales"] = {**about.get("scales", {}), **_steps(cell)}
    shipped = None if cell.stage == "recipe" else cell.artifact  # it is written here, in ONNX
    about["file"] = {**file_figures(cell.path, shipped), **(outputs.about.get("delegation") or {})}
    if cell.artifact is not None:
        verified = cell.artifact.manifest.get("verification") or {}
        about |= {key: verified.get(key) or {} for key in ("explained", "halves")}
    if cell.stage == "recipe":
        about["noise"] = noise_map(cell.artifact)
    if emulated:  # seconds under emulation are no figure of the board's
        about = {key: value for key, value in about.items() if not key.endswith("_s")}
    return Outputs(outputs.arrays, about)


def _steps(cell: Cell) -> dict[str, float]:
    """Return the step of every output that the recipe quantizes: an artifact's float outputs have one too.

    Those that the export held the file to, where its manifest has them: a form without zero points has others.
    """
    if cell.artifact is None or cell.stage not in ("recipe", "int8"):
        return {}
    verified = cell.artifact.manifest.get("verification") or {}
    if cell.stage == "int8" and "steps" in verified:
        return {name: float(step) for name, step in verified["steps"].items()}
    if "recipe.json" not in cell.artifact.manifest["evidence"]["files"]:
        return {}
    activations = load_recipe(cell.artifact.evidence("recipe.json")).activations
    names = [spec.name for spec in cell.artifact.outputs]
    return {n: activations[n].scale for n in names if n in activations}
