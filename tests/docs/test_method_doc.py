"""docs/method.md against the code: stages in their order, functions that exist, params with the values they have."""

import re

import pytest

from falcon_dvc.params.load import load_params, read_yaml
from tests.support.paths import ROOT

PAGE = (ROOT / "docs/method.md").read_text(encoding="utf-8")
PARAMS = load_params(ROOT / "params.yaml")
WRITTEN = read_yaml(ROOT / "params.yaml")
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
NO_STAGE = ["Outside of the pipeline"]


def test_every_stage_has_a_section_in_the_order_of_the_pipeline():
    sections = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert sections == [*STAGES, *NO_STAGE]


@pytest.mark.parametrize(("file", "names"), re.findall(r"`([a-z_/]+/[a-z_]+\.py)(?:: ([^`]+))?`", PAGE))
def test_functions_exist(file, names):
    text = (ROOT / "falcon_dvc" / file).read_text(encoding="utf-8")
    for name in filter(None, names.split(", ")):
        assert re.search(rf"^ *(def|class) {name}\b", text, re.MULTILINE), f"{file} has no {name}"


def test_functions_named_alone_exist_somewhere_in_the_method():
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "falcon_dvc").rglob("*.py"))
    found = re.findall(r"\(`([a-z_, ]+)`[;,)]", PAGE) + re.findall(r"\(`([a-z_, ]+)`\) \|", PAGE)
    assert len(found) > 10
    for name in {name for names in found for name in names.split(", ")}:
        assert re.search(rf"^ *def {name}\b", code, re.MULTILINE), name


def value_of(path):
    """What params.yaml has at a dotted path."""
    value = WRITTEN
    for part in path.split("."):
        value = value[part]
    return value


@pytest.mark.parametrize(
    ("path", "written"), re.findall(r"`([a-z_]+\.[a-z_.]+)` = (a photo of a \{\}|[\w.-]*\w)", PAGE)
)
def test_values_are_those_of_params(path, written):
    value = value_of(path)
    assert written == (str(value).lower() if isinstance(value, bool) else str(value)), path


def test_values_named_by_hand():
    assert PARAMS.train["supervised"].sparsity == 0.5 and PARAMS.train["simclr"].sparsity == 0.1
    assert PARAMS.train["simclr"].temperature == 0.2 and len(PARAMS.evaluate_units.thresholds) == 3


def test_most_params_of_the_method_are_named():
    sections = ("find_groups", "mine_crops", "concepts", "measure_explainability", "transfer")
    wanted = {f"{section}.{name}" for section in sections for name in WRITTEN[section]}
    unnamed = {path for path in wanted if f"`{path}" not in PAGE}
    known = {"seed", "bootstrap", "confidence", "batch_size", "crop", "ridge", "rank", "curve"}
    assert {path.split(".")[1] for path in unnamed} <= known, unnamed
