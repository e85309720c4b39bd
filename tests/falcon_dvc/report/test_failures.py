"""Failures in the report: sentences, pictures with alternatives, repairs with an honest verdict, and nothing where there are none."""

import numpy as np
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.html.measurements import Measurement
from falcon_dvc.images.open import open_images
from falcon_dvc.report.failures import EXAMPLES, SHOWN, collect_failures, verdict
from stages import report
from tests.support.pages import ATTACK, Page
from tests.support.report_artifacts import make_params, repair_table, write_artefacts, write_failures


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small(**changes):
    """A report with few small pictures, in which the first encoder has failures."""
    return make_params(**{"high": 2, "low": 1, "thumbnail": 16, "failing": ("first",)} | changes)


def made(params, **changes):
    write_artefacts(params, **{"singles": 2, "groups": 1} | changes)
    report.run(params)
    return shown()


def shown(name="first"):
    """The page of an encoder's failures."""
    return (report.SITE / name / "failures.html").read_text(encoding="utf-8")


def collected(params, **changes):
    """What is shown of the first encoder's failures."""
    write_artefacts(params, singles=2, groups=1)
    images = read_table(paths.IMAGES)
    write_failures("first", images, "boat", **{"clusters": SHOWN + 3} | changes)
    return collect_failures(params, images, open_images(params.data, images))["first"]


def test_the_largest_clusters_are_shown_with_their_images_and_the_rest_is_counted(here):
    found = collected(small())
    assert len(found.clusters) == SHOWN and found.more == 3 and len(found.tiles) == SHOWN * EXAMPLES
    assert found.clusters[0].examples == ["test-00021", "test-00022", "test-00023"]
    assert found.clusters[0].features == [0, 99] and found.clusters[0].share.low == 0.4


def test_a_single_image_has_no_interval(here):
    write_artefacts(small(), singles=2, groups=1)
    for table in ("first_failures", "first_repairs"):
        write_table(paths.table(table), read_table(paths.table(table)).assign(images=1))
    images = read_table(paths.IMAGES)
    found = collect_failures(small(), images, open_images(small().data, images))["first"]
    assert found.clusters[0].share == Measurement(0.5)
    assert found.repairs[0].before == [Measurement(0.3)] * 3


@pytest.mark.parametrize("source", ["scenes", "images"])
def test_pictures_have_alternatives_and_sentences_are_there(here, source):
    text = made(small(source=source, encoders=("first",)))
    pictures = [some for some in Page(text).of("img") if "called truck" in some["alt"]]
    assert len(pictures) == 3 * 9 and {some["src"] for some in pictures} == {"failures.webp"}
    assert "boat on water called truck, 3 images: no &#39;a red boat on water&#39; (features 0, 99)" in text


def test_features_with_a_page_are_links_and_others_are_not(here):
    links = {some["href"] for some in Page(made(small())).of("a")}
    assert "f0.html" in links and "f99.html" not in links


def test_texts_of_strangers_stay_texts(here):
    harmless, attacked = Page(made(small())), made(small(), text=ATTACK)
    assert [tag for tag, _ in Page(attacked).elements] == [tag for tag, _ in harmless.elements]
    assert "<img src=x" not in attacked


def test_without_held_out_images_no_repair_is_claimed(here):
    found = collected(small(), held_out=False)
    assert not found.repairs and not found.held_out
    params = small()
    report.run(params)
    assert "no images are held out" in shown() and "repaired" not in shown()


def test_where_no_label_names_a_class_it_says_so(here):
    found = collected(small(), clusters=0, held_out=False, unnamed=20)
    assert found.accuracy is None and not found.clusters
    report.run(small())
    assert "No image has a label that names a class" in shown()


def test_a_missing_table_is_one_clear_line(here):
    write_artefacts(small())
    paths.table("first_failures").unlink()
    with pytest.raises(UserError, match=r"first_failures\.csv.*dvc repro"):
        report.run(small())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "repaired"),
        ({"gain": 0.05}, "not repaired"),
        ({"gain": -0.5}, "not repaired"),
        ({"random": 0.4}, "not repaired"),
        ({"elsewhere": -0.3}, "at a cost"),
        ({"elsewhere": -0.05}, "repaired"),
        ({"gain": 0.05, "elsewhere": -0.3}, "not repaired"),
    ],
)
def test_verdicts(changes, expected):
    rows = {
        kind: some.set_index("accuracy_of") for kind, some in repair_table("boat", **changes).groupby("switched_off")
    }
    assert verdict(rows["blamed concepts"], rows["random features"]) == expected


def test_a_repair_without_images_of_the_other_class_leaves_a_hole(here):
    params = small()
    write_artefacts(params, singles=2, groups=1)
    table = read_table(paths.table("first_repairs"))
    numbers = [column for column in table if column.startswith(("before", "after", "gain"))]
    table.loc[table["accuracy_of"] == "wrong class", numbers] = np.nan
    write_table(paths.table("first_repairs"), table)
    images = read_table(paths.IMAGES)
    source = open_images(params.data, images)
    (repair,) = collect_failures(params, images, source)["first"].repairs
    assert repair.before[1] is None and repair.before[0].value == pytest.approx(0.3) and repair.verdict == "repaired"
    report.run(params)
