"""Class names from a text file."""

from pathlib import Path

from edgeconv.errors import EdgeconvError


def read_labels(path: Path) -> list[str]:
    """Return the class names of a text file, one a line; raises EdgeconvError where there are none."""
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise EdgeconvError(f"--labels {path} cannot be read: {error}") from error
    while names and not names[-1]:
        names.pop()
    if not names:
        raise EdgeconvError(f"--labels {path} holds no name")
    return names
