"""Class names from a text file, or of an exported file."""

from pathlib import Path

from edgeconv.artifact import load_artifact
from edgeconv.errors import EdgeconvError
from edgeconv.foreign import read_text

LONGEST = 1000
"""Characters of a class name: every manifest, page and program of the net repeats it."""


def read_labels(path: Path) -> list[str]:
    """Return the class names of a text file, one a line, or those of an exported file; raises EdgeconvError where there are none."""
    if (artifact := load_artifact(path)) is not None:
        if artifact.labels is None:
            raise EdgeconvError(f"--labels {path} was exported without class names")
        return list(artifact.labels)
    try:
        names = [line.strip() for line in read_text(path, "utf-8-sig").splitlines()]
    except UnicodeDecodeError as error:
        raise EdgeconvError(f"--labels {path} is no UTF-8 text: save it as UTF-8") from error
    except OSError as error:
        raise EdgeconvError(f"--labels {path} cannot be read: {error}") from error
    while names and not names[-1]:
        names.pop()
    if not names:
        raise EdgeconvError(f"--labels {path} holds no name")
    for number, name in enumerate(names, 1):
        if not name:
            raise EdgeconvError(
                f"--labels {path}: line {number} is empty, and every line names a class"
            )
        if len(name) > LONGEST or "\0" in name:
            wrong = "a NUL" if "\0" in name else f"{len(name)} characters"
            raise EdgeconvError(f"--labels {path}: line {number} has {wrong}, which is no name")
    return names
