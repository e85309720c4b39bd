"""Parts that params switch off leave no trace, alone and in every pair."""

import itertools
import json
import math
import os
import re
import shutil
from functools import cache
from pathlib import Path

import pytest

from tests.support.remembered_stages import RememberedStages
from tests.support.switches import IMPOSSIBLE, MADE, PARTS, RUNS, make_inputs, switched, switched_params

# Words that only a part says: of names of files below data/ and reports/, and of texts of pages.
FILES = {
    "transfers": "transfer",
    "failures": "failures|repairs|ablation",
    "units": "_units",
    "worlds": "evaluation|_truth|_methods|_contrast|claims",
    "second": "simclr",
    "captions": "generated",
    "controls": "untrained",
}
TEXTS = {
    "transfers": "transfer|through the map",
    "failures": "failure|classifier|without it, the logit",
    "units": "\\bunits?\\b",
    "worlds": "truth|first concept is right|claim|rendered|zero-shot|planted",
    "groups": "\\bgroups?\\b|\\bpairs\\b|triples",
    "split": "held out for checking|held-out images, wrong|accuracy on held-out",
    "labels": "failures of the classifier|wrong on",
    "contrast": "; contrast:|removed by|contrast left",
    "synonyms": "also:|synonym",
    "second": "simclr",
    "captions": "generated|captioner",
    "controls": "untrained",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The folder of each run of `RUNS`."""
    base = tmp_path_factory.mktemp("switched")
    before = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vl_convert.vegalite_to_svg", lambda *_, **__: '<svg width="8" height="8"></svg>')
        stages = RememberedStages(base / "store")
        (base / "inputs").mkdir()
        os.chdir(base / "inputs")
        make_inputs(patch)
        try:
            for run in RUNS:
                shutil.copytree(base / "inputs", base / run, copy_function=os.link)
                os.chdir(base / run)
                Path("params.yaml").write_text(json.dumps(switched_params(run)), encoding="utf-8")  # JSON is YAML
                stages.run(switched_params(run), MADE)
        finally:
            os.chdir(before)
    return {run: base / run for run in RUNS}


def written(folder):
    """The files below data/ and reports/, except the synthetic images and the code of the stages."""
    found = [path for place in ("data", "reports") for path in (folder / place).rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in found if path.parent.name not in ("scenes", "code")]


@cache
def pages(folder):
    """The text of every page, by its place below reports/."""
    found = [folder / "reports/index.html", *(folder / "reports/site").rglob("*.html")]
    return {str(path.relative_to(folder / "reports")): path.read_text(encoding="utf-8") for path in found}


def test_with_any_two_parts_every_combination_runs():
    for one, other in itertools.combinations(PARTS, 2):
        wanted = {((one, a), (other, b)) for a in (False, True) for b in (False, True)}
        covered = {((one, parts[one]), (other, parts[other])) for parts in map(switched, RUNS)}
        assert wanted - covered <= IMPOSSIBLE | {(second, first) for first, second in IMPOSSIBLE}


@pytest.mark.parametrize("run", RUNS)
def test_a_part_that_is_off_leaves_no_file_and_one_that_is_on_does(run, folders):
    names = written(folders[run])
    for part, pattern in FILES.items():
        found = [name for name in names if re.search(pattern, name)]
        assert bool(found) == switched(run)[part], (part, found)


@pytest.mark.parametrize("run", RUNS)
def test_no_page_speaks_of_a_part_that_is_off(run, folders):
    for place, text in pages(folders[run]).items():
        said = without_names(text)
        for part, pattern in TEXTS.items():
            found = None if switched(run)[part] else re.search(pattern, said)
            assert not found, (place, part, said[max(found.start() - 60, 0) : found.end() + 60])


def without_names(text):
    """The text of a page in small letters; its claims may say that something was not measured here."""
    return re.sub(r"<[^>]+>", "", re.sub(r'<section class="claims".*?</section>', "", text, flags=re.DOTALL)).lower()


@pytest.mark.parametrize("run", RUNS)
def test_nothing_is_empty_or_no_number(run, folders):
    for file in (folders[run] / "reports/metrics").glob("*.json"):
        for value in leaves(json.loads(file.read_text())):
            assert isinstance(value, (int, float)) and math.isfinite(value), file
    for place, text in pages(folders[run]).items():
        assert not re.search(r">\s*(nan|None|inf)\s*<", text), place
        assert not re.search(
            r"<(tbody|table|ol|ul|dl|dd|h[1-4]|section|p|nav|figure|select)(?! id)( class[^>]*)?>\s*</\1>", text
        ), place


def leaves(value):
    return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]


@pytest.mark.parametrize("run", RUNS)
def test_everything_that_a_page_points_to_is_there(run, folders):
    reports = folders[run] / "reports"
    addresses = {
        (place, os.path.normpath(reports / Path(place).parent / address))
        for place, text in pages(folders[run]).items()
        for address in set(re.findall(r' (?:href|src)="([^"]+)"', text)) - {"data:,", "#main"}
    }
    assert not {found for found in addresses if not os.path.isfile(found[1])}
