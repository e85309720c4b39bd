"""docs/params.md says what the schema and params.yaml say, and is current."""

import re

import pytest

from falcon_dvc.cli.params_doc import comments, render
from falcon_dvc.params.load import read_yaml
from falcon_dvc.params.schema import Params
from tests.support.paths import ROOT

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page():
    return render(read_yaml(ROOT / "params.yaml"), comments(TEXT))


def row(page, name):
    """Cells of a param's row."""
    line = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def test_the_page_is_current(page):
    assert (ROOT / "docs/params.md").read_text(encoding="utf-8") == page, "run `make docs` and commit docs/params.md"


def test_every_section_is_there(page):
    for name, field in Params.model_fields.items():
        assert re.search(rf"^(## {name}\b|\| `{name}` \|)", page, re.MULTILINE), (name, field)


def test_every_param_has_a_meaning(page):
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert len(rows) > 200
    assert [line for line in rows if re.search(r"\| +\|$", line)] == []


@pytest.mark.parametrize(
    ("name", "type_", "range_", "default"),
    [
        ("concepts.captions_per_image", "integer", "≥ 1", "`5`"),
        ("find_groups.quantile", "number", "> 0, < 1", "`0.925`"),
        ("render_scenes.size", "integer", "≥ 32, ≤ 256, a multiple of 16", "`64`"),
        ("train_clip.layers", "list of integer", "exactly 3, ≥ 1", "`[1, 1, 1]`"),
        ("find_groups.pick", "`spread`, `strongest`", "", "`spread`"),
        ("data.list", "text or null", "", "`null`"),
        ("encoders.NAME.checkpoint", "text or null", "", "`null`"),
        ("compat", "`off`, `released`", "", "`false`"),
    ],
)
def test_type_range_and_default(page, name, type_, range_, default):
    assert row(page, name)[1:4] == [type_, range_, default]


def test_the_default_is_that_of_params(page):
    other = read_yaml(ROOT / "params.yaml")
    other["concepts"]["captions_per_image"] = 7
    assert row(render(other, comments(TEXT)), "concepts.captions_per_image")[3] == "`7`"


def test_comments_on_the_line_and_above():
    text = "# of the file\n\na:   # the section\n  b: 1   # of b\n  # above c\n  c: {d: 2}   # of c\n  # of nothing\n\nx: '#no comment'\n"
    assert comments(text) == {"a": "the section", "a.b": "of b", "a.c": "above c of c"}


def test_a_comment_of_a_nested_section_is_that_of_its_params(page):
    assert "lookalike" in row(page, "render_scenes.shortcut.strength")[4]


def test_docstrings_speak_for_networks(page):
    assert "module" in row(page, "encoders.NAME.layer")[4]
