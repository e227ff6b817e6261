"""What pictures really show: from a CSV, or from the names of their folders or files."""

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from edgeconv.errors import EdgeconvError
from edgeconv.foreign import read_text, refuse_no_file
from edgeconv.pictures import picture_names

MOST_CLASSES = 1 << 20
"""A larger number is no class."""
SEPARATORS = ",;\t"
NAMED = 5
"""So many classes are named in a sentence."""


def read_truth(
    source: str, folder: Path, labels: Sequence[str] | None, classes: int | None = None
) -> dict[str, int]:
    """Return picture -> class from a CSV (file, class) or, for "folders", from the folders' names.

    A class is an index or a name in ``labels``, case and punctuation apart; folder names that are neither are numbered in
    sorted order, where the net has as many ``classes`` (by default one a label). Raises EdgeconvError naming the first row
    that does not fit.
    """
    if source == "folders":
        named = None if labels is None else len(labels)
        return _by_folders(folder, labels, named if classes is None else classes)
    path = Path(source)
    refuse_no_file(path, after=" (--truth takes a CSV or the word folders)")
    truth: dict[str, int] = {}
    rows = list(_rows(path))
    if _one_hot([row[1:] for _, row in rows[1:]]):
        raise EdgeconvError(
            f"{path} has a column for each class, with a 1 in one of them: write the class's name or number into the second "
            "of two columns"
        )
    for number, (line, row) in enumerate(rows):
        known = _class(row[1].strip(), labels)
        picture = row[0].strip()
        if known is None:
            if number == 0 and not Path(picture).suffix:
                continue  # a header
            raise EdgeconvError(f"{path}, line {line}: {row[1]!r} is no class")
        if truth.setdefault(picture, known) != known:
            raise EdgeconvError(
                f"{path}, line {line}: {picture} is of class {known} here and of class {truth[picture]} before"
            )
    if not truth:
        raise EdgeconvError(f"{path} names no picture and class (two columns: file, class)")
    return truth


def check_csv(path: Path) -> None:
    """Raise EdgeconvError where ``path`` has no rows of a file and a class, whatever the classes are."""
    if not list(_rows(path)):
        raise EdgeconvError(f"{path} names no picture and class (two columns: file, class)")


def _by_folders(folder: Path, labels: Sequence[str] | None, classes: int | None) -> dict[str, int]:
    pictures = picture_names(folder)
    names = sorted({folder_name(picture, folder) for picture in pictures})
    index = {name: _class(name, labels) for name in names}
    unknown = [name for name, value in index.items() if value is None]
    if labels is not None and 0 < len(unknown) < len(names):
        found = next(p for p in pictures if folder_name(p, folder) == unknown[0])
        raise EdgeconvError(
            f"--truth folders: {folder / found} lies in {unknown[0]!r}, which is no class that --labels names: call its "
            "folder by its class"
        )
    if unknown and classes not in (None, len(names)):
        raise EdgeconvError(
            f"--truth folders: {folder}: folders with pictures: {len(names)}, classes of the net: {classes}; call the "
            "folders by the classes' names or numbers, or give a CSV"
        )
    if unknown:
        index = {name: number for number, name in enumerate(names)}
    return {picture: index[folder_name(picture, folder)] or 0 for picture in pictures}


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of each line of a CSV that is not empty, and its columns, two or more."""
    lines = _text(path).splitlines()
    first = next(filter(str.strip, lines), "")
    separator = next((s for s in SEPARATORS if s in first), ",")
    reader = csv.reader(lines, delimiter=separator)
    try:
        for row in reader:
            if len(row) > 1:
                yield reader.line_num, row
            elif row and row[0].strip():
                raise EdgeconvError(
                    f"{path} names no picture and class in line {reader.line_num} (two columns: file, class)"
                )
    except csv.Error as error:
        raise EdgeconvError(f"{path}, line {reader.line_num}: {error}") from error


def _one_hot(rows: Sequence[Sequence[str]]) -> bool:
    """Whether columns are flags of classes, one set in each row: flags of other things are set as they fall.

    >>> _one_hot([["0", "1", "0"], ["1", "0", "0"]]), _one_hot([["0", "1"], ["1", "1"]])
    (True, False)
    """
    return bool(rows) and all(
        len(row) > 1
        and {cell.strip() for cell in row} <= {"0", "1", "0.0", "1.0"}
        and sum(float(cell) for cell in row) == 1.0
        for row in rows
    )


def class_folders(folder: Path) -> list[str] | None:
    """Return the names of the folders, one a class, two or more, that hold every picture of ``folder``.

    None where pictures lie elsewhere too. Raises UsageError or EdgeconvError where there is none.
    """
    parents = {name.rpartition("/")[0] for name in picture_names(folder)}
    if len(parents) < 2 or any(parent == "" or "/" in parent for parent in parents):
        return None
    return sorted(parents)


def astray(folder: Path) -> str | None:
    """Return the first picture of ``folder`` that lies in no class folder of its own, where most others do."""
    names = picture_names(folder)
    other = [name for name in names if name.count("/") != 1]
    return other[0] if 0 < 2 * len(other) < len(names) else None


def unasked(folder: Path, asked: Iterable[str], done: str = "asked") -> str | None:
    """Say which class folders of ``folder`` hold none of the pictures ``asked``; None where each holds one.

    ``asked`` are paths relative to ``folder``, with slashes. A folder without any picture is named apart.
    ``done`` is what was not done to theirs.
    """
    names = picture_names(folder)
    there = {name.partition("/")[0] for name in names}
    empty = {
        entry.name
        for entry in folder.iterdir()
        if entry.is_dir() and entry.name not in there and not entry.name.startswith(".")
    }
    classes = {folder_name(name, folder) for name in names}
    left = sorted(classes - {folder_name(name, folder) for name in asked})
    said = []
    if len(left) == 1:
        said.append(f"class {left[0]}: none of its pictures was {done}, so nothing is known of it")
    elif left:
        said.append(
            f"classes {_several(left)}: none of their pictures was {done}, so nothing is known of them"
        )
    if empty:
        said.append(f"no picture lies in {_several(sorted(empty))}, which counts for nothing")
    return "; ".join(said) or None


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def folder_name(picture: str, folder: Path) -> str:
    """Return the name of the folder in which ``picture``, relative to ``folder``, lies.

    >>> folder_name("train/bag/1.png", Path("photos")), folder_name("1.png", Path("photos"))
    ('bag', 'photos')
    """
    return picture.rpartition("/")[0].rpartition("/")[2] or folder.name


BY_FOLDERS = "folders (the pictures lie in folders of their classes)"


def folders_name_classes(data: Path, labels: Sequence[str] | None, classes: int) -> bool:
    """Whether the class folders of ``data`` surely are those of a net with ``classes`` classes."""
    names = {folder_name(picture, data) for picture in picture_names(data)}
    if all(_class(name, labels) is not None for name in names):
        return max(_class(name, labels) or 0 for name in names) < classes
    return labels is None and len(names) == classes


def _text(path: Path) -> str:
    try:
        return read_text(path, "utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        raise EdgeconvError(f"{path} is no text in UTF-8: save it as such") from error
    except OSError as error:
        raise EdgeconvError(f"{path} cannot be read: {error.strerror or error}") from error


def _class(text: str, labels: Sequence[str] | None) -> int | None:
    whole = text.partition(".")[0] if not text.partition(".")[2].strip("0") else text
    if whole.isdecimal() and len(whole) < 10:  # 3.0 is what a table with a gap makes of 3
        return int(whole) if int(whole) < MOST_CLASSES else None
    if labels is None or text in labels:
        return None if labels is None else labels.index(text)
    alike = [index for index, label in enumerate(labels) if _plain(label) == _plain(text)]
    return alike[0] if len(alike) == 1 and _plain(text) else None


def _plain(name: str) -> str:
    """Return what is left of a class's name in a folder's: letters and digits.

    >>> _plain("T-shirt") == _plain("t_shirt")
    True
    """
    return "".join(letter for letter in name.casefold() if letter.isalnum())
