"""The truth comes from a CSV or from folders, and what fits neither is named."""

from pathlib import Path

import pytest

from edgeconv.artifact import Preprocessing
from edgeconv.errors import EdgeconvError
from edgeconv.samples import InputSpec, load_samples
from edgeconv.truth import astray, class_folders, read_truth, unasked

LABELS = ["cat", "dog", "snail"]


def table(folder: Path, text: str) -> str:
    path = folder / "truth.csv"
    path.write_text(text, encoding="utf-8")
    return str(path)


def pictures(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def test_a_csv_takes_indices_and_names_with_or_without_a_header(tmp_path: Path) -> None:
    rows = "a.png,2\nsub/b.png, dog \n\n"
    expected = {"a.png": 2, "sub/b.png": 1}
    assert read_truth(table(tmp_path, rows), tmp_path, LABELS) == expected
    assert read_truth(table(tmp_path, f"file,class\n{rows}"), tmp_path, LABELS) == expected


def test_a_csv_of_a_spreadsheet_may_start_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert read_truth(table(tmp_path, "\ufeffa.png,2\n"), tmp_path, None) == {"a.png": 2}


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_of_another_separator_and_with_floats_is_read(tmp_path: Path, separator: str) -> None:
    rows = "file,class\na.png,2.0\nb.png,1.\n".replace(",", separator)
    assert read_truth(table(tmp_path, rows), tmp_path, None) == {"a.png": 2, "b.png": 1}


def test_a_picture_of_two_classes_and_a_first_row_that_does_not_fit_are_named(
    tmp_path: Path,
) -> None:
    with pytest.raises(
        EdgeconvError, match=r"line 3: a.png is of class 2 here and of class 1 before"
    ):
        read_truth(table(tmp_path, "a.png,1\nb.png,1\na.png,2\n"), tmp_path, None)
    with pytest.raises(EdgeconvError, match=r"line 1: 'horse' is no class"):
        read_truth(table(tmp_path, "a.png,horse\nb.png,1\n"), tmp_path, LABELS)
    with pytest.raises(EdgeconvError, match=r"line 1: '99999999999999999999' is no class"):
        read_truth(table(tmp_path, "a.png,99999999999999999999\n"), tmp_path, None)


def test_folders_are_numbered_only_where_there_are_as_many_as_classes(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "n01/a.png", "n02/b.png")
    assert read_truth("folders", folder, None, 2) == {"n01/a.png": 0, "n02/b.png": 1}
    for labels, classes in ((None, 10), (LABELS, None)):
        with pytest.raises(
            EdgeconvError, match=r"folders with pictures: 2, classes of the net: (10|3);"
        ):
            read_truth("folders", folder, labels, classes)


@pytest.mark.parametrize("text", ["horse", "-1", "1.5", "²", ""])
def test_a_class_that_is_none_names_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(EdgeconvError, match=rf"truth\.csv, line 3: '{text}' is no class"):
        read_truth(table(tmp_path, f"file,class\na.png,1\nb.png,{text}\n"), tmp_path, LABELS)


@pytest.mark.parametrize("text", ["", "file,class\n", "a.png 1\nb.png 2\n", "a.png,1\nb.png\n"])
def test_a_csv_without_two_columns_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(EdgeconvError, match=r"truth\.csv names no picture and class"):
        read_truth(table(tmp_path, text), tmp_path, LABELS)


def test_a_csv_that_is_missing_or_binary_is_named(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"gone\.csv does not exist"):
        read_truth(str(tmp_path / "gone.csv"), tmp_path, None)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EdgeconvError, match=r"b\.csv is no text in UTF-8"):
        read_truth(str(tmp_path / "b.csv"), tmp_path, None)


def test_folders_are_indices_where_they_are_numbers(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "7/a.png", "0/b.png", "7/c.png")
    assert read_truth("folders", folder, None) == {"7/a.png": 7, "0/b.png": 0, "7/c.png": 7}


def test_folders_are_labels_where_labels_name_them(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "snail/a.png", "cat/b.png")
    assert read_truth("folders", folder, LABELS) == {"snail/a.png": 2, "cat/b.png": 0}


def test_folders_name_labels_whatever_case_and_punctuation(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "t-shirt/a.png", "ankle_boot/b.png")
    found = read_truth("folders", folder, ["Ankle boot", "Bag", "T-shirt"])
    assert found == {"t-shirt/a.png": 2, "ankle_boot/b.png": 0}


def test_folders_are_numbered_in_order_where_nothing_names_them(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "snail/a.png", "cat/b.png", "deep/dog/c.png")
    assert read_truth("folders", folder, None) == {
        "cat/b.png": 0,
        "deep/dog/c.png": 1,
        "snail/a.png": 2,
    }


def test_one_folder_that_labels_do_not_name_is_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "snail/a.png", "dgo/b.png")
    with pytest.raises(
        EdgeconvError, match=r"dgo/b\.png lies in 'dgo', which is no class that --l"
    ):
        read_truth("folders", folder, LABELS)


def test_what_keeps_folders_from_being_classes_is_named_where_it_is_little(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "cat/a.png", "dog/b.png", "dog/c.png")
    assert (class_folders(folder), astray(folder)) == (["cat", "dog"], None)
    pictures(folder, "dog/old/d.png")
    assert (class_folders(folder), astray(folder)) == (None, "dog/old/d.png")
    pictures(folder, *(f"{i}.png" for i in range(9)))
    assert astray(folder) is None, "pictures that are not sorted at all"


def test_a_cell_that_never_ends_is_no_csv(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match=r"truth\.csv, line \d: field larger"):
        read_truth(table(tmp_path, 'a,"' + "1" * 200_000), tmp_path, None)


def test_a_column_for_each_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EdgeconvError, match="a column for each class"):
        read_truth(table(tmp_path, "file,cat,dog\na.png,1,0\nb.png,0,1\n"), tmp_path, None)
    flags = "file,class,seen\na.png,1,0\nb.png,1,1\n"
    assert read_truth(table(tmp_path, flags), tmp_path, None) == {"a.png": 1, "b.png": 1}


def test_a_file_name_that_two_pictures_have_says_nothing_of_either(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "a/0.png", "b/0.png", "b/1.png")
    how = Preprocessing((0.0,) * 3, (1.0,) * 3, 1.0, (8, 8))
    spec = InputSpec({"x": (1, 3, 8, 8)}, how)
    found = load_samples(str(folder), spec, {"0.png": 1, "1.png": 2, "b/0.png": 0})
    assert [sample.truth for sample in found] == [None, 0, 2]


def test_class_folders_of_which_nothing_was_asked_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path, "0_cat/a.png", "1_dog/b.png", "2_eel/c.png")
    assert unasked(folder, ["0_cat/a.png", "1_dog/b.png", "2_eel/c.png"]) is None
    told = "none of its pictures was asked, so nothing is known of it"
    assert unasked(folder, ["0_cat/a.png", "2_eel/c.png"]) == f"class 1_dog: {told}"
    (folder / "3_fox").mkdir()  # no picture at all
    assert unasked(folder, ["0_cat/a.png"], "held out") == (
        "classes 1_dog, 2_eel: none of their pictures was held out, so nothing is known of them; "
        "no picture lies in 3_fox, which counts for nothing"
    )
    for number in range(4, 9):
        (folder / f"{number}_gnu").mkdir()
    assert "7_gnu and 1 more, which" in str(unasked(folder, ["0_cat/a.png"]))
