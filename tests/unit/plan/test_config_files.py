"""Reading and merging of configuration files."""

import pytest

from gradleak.errors import InputError
from gradleak.plan.config_files import merged, read_grid


def test_files_are_merged_as_snakemake_does():
    assert merged({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"c": 3}, "d": [2]}) == {"a": {"b": 1, "c": 3}, "d": [2]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not valid YAML"),
        ("a: " + "[" * 3000, "is nested too deeply"),
        ("- 1", "must be a mapping"),
        (None, "No such file"),
    ],
)
def test_files_that_are_not_configurations(tmp_path, content, message):
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_grid([path])
    assert "\n" not in str(caught.value)
    assert "x.yaml" in str(caught.value)
