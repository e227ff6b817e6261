"""What a file promises: the recipe it was made from, in the form that its target takes."""

from collections.abc import Mapping

from edgeconv.artifact import Artifact
from edgeconv.recipe import WITHOUT_ZERO_POINTS, form_on
from edgeconv.schema import checked, items, mapping, one_of, read_json, table, text

FLOAT_OUTPUTS = table(
    {"form": one_of("zero-point-free", "asymmetric")}, {"float_outputs": mapping(items(text))}
)
"""What is read here of a recipe, by a side that has no engine."""


def evidence_of(artifact: Artifact) -> Mapping[str, str]:
    """Return file name -> SHA-256 of the evidence that the manifest names."""
    files: Mapping[str, str] = artifact.manifest["evidence"]["files"]
    return files


def promise_of(artifact: Artifact) -> str:
    """Return what tells recipes apart: the digest, the form, what is rounded, and the outputs that the file holds in float."""
    digest = evidence_of(artifact).get("recipe.json", "")
    if not digest:
        return ""
    file = artifact.evidence("recipe.json")
    recipe = checked(read_json(file, "a recipe"), FLOAT_OUTPUTS, str(file))
    real = recipe.get("float_outputs", {}) if artifact.real_outputs else {}
    form = f"{form_on(artifact.target, recipe['form'])} {artifact.target in WITHOUT_ZERO_POINTS}"
    return " ".join([digest, form, *real.get(artifact.target, ())])
