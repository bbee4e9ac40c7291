"""The CSV schema, and atomic writing of files."""

import pytest
from tests.sidecars import ROW

from gradleak import records
from gradleak.errors import InputError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "metrics.csv"
    records.write_rows(path, [ROW])
    before = path.read_bytes()

    def broken():
        yield ROW
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        records.write_rows(path, broken())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]


def test_written_files_obey_the_umask(tmp_path):
    records.write_text(tmp_path / "a", "text")
    (tmp_path / "b").write_text("text")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_failed_write_removes_its_folders(tmp_path):
    (tmp_path / "old").mkdir()
    with pytest.raises(KeyboardInterrupt), records.whole_file(tmp_path / "old" / "new" / "newer" / "a.csv"):
        raise KeyboardInterrupt
    assert list(tmp_path.rglob("*")) == [tmp_path / "old"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("file/a.csv", "file/a.csv: cannot create its folder: .*/file is a file"),
        ("folder", "folder: is a folder; name a file in it"),
        ("n" * 300, "n: cannot be written: File name too long"),
    ],
)
def test_unwritable_files_are_one_line(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=f"{message}$"):
        records.write_text(tmp_path / name, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_name_as_long_as_names_can_be_is_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".csv")
    records.write_text(path, "text")
    assert path.read_text() == "text"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("x/y/metrics.csv", None),
        ("metrics.txt", "must end in .csv"),
        ("folder.csv", "is a folder"),
        ("file/x/metrics.csv", "cannot create its folder: .*/file is a file"),
        ("loop/x/metrics.csv", "cannot create its folder: .*/loop is a broken link"),
        ("n" * 300 + ".csv", "cannot be written: File name too long"),
    ],
)
def test_checking_an_output_creates_nothing(tmp_path, name, message):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    if message is None:
        records.check_output(tmp_path / name)
    else:
        with pytest.raises(InputError, match=rf"^--output .*{message}"):
            records.check_output(tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.csv", "loop"]
