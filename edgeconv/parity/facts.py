"""What a file is, apart from its outputs: size, INT8 share, transposes, where its noise comes from."""

from pathlib import Path

from edgeconv.artifact import Artifact
from edgeconv.recipe import load_recipe


def file_figures(path: Path, artifact: Artifact | None) -> dict[str, float]:
    """Return size in bytes and, from the manifest, INT8 share of compute ops and transposes."""
    size = (
        sum(f.stat().st_size for f in path.rglob("*") if f.is_file())
        if path.is_dir()
        else path.stat().st_size
    )
    found = {"bytes": float(size)}
    graph = {} if artifact is None else artifact.manifest.get("graph") or {}
    if graph.get("compute"):
        found["int8_share"] = graph.get("int8_compute", 0) / graph["compute"]
        found |= {key: float(graph.get(key) or 0) for key in ("compute", "int8_compute")}
    if "transposes" in graph:
        found["transposes"] = float(graph["transposes"])
    return found


def noise_map(artifact: Artifact | None) -> dict[str, float]:
    """Return tensor -> its share of the noise, the worst first, where the recipe has a noise map."""
    if artifact is None or "recipe.json" not in artifact.manifest["evidence"]["files"]:
        return {}
    rows = load_recipe(artifact.evidence("recipe.json")).notes.get("noise", {})
    ranked = sorted(rows, key=lambda name: -float(rows[name]["share"]))
    return {name: float(rows[name]["share"]) for name in ranked}
