"""Failures in the report: sentences, pictures with alternatives, repairs with an honest verdict, and nothing where there are none."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from stages import report
from stages.common import files
from stages.common.artifacts import read_table, write_table
from stages.common.errors import UserError
from stages.reporting.failures import SHOWN, collect_failures, verdict, whole_picture
from stages.sources.image_sources import open_images
from tests.reporting.artefacts import make_params, repair_table, write_artefacts, write_failures
from tests.test_report import ATTACK, LOADING, Page


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
    return report.REPORT.read_text(encoding="utf-8")


def collected(params, **changes):
    """What is shown of the first encoder's failures."""
    write_artefacts(params, singles=2, groups=1)
    images = read_table(files.IMAGES)
    write_failures("first", images, "boat", **changes)
    return collect_failures(params, images, open_images(params.data, images))["first"]


def test_the_largest_clusters_are_shown_with_their_images_and_the_rest_is_counted(here):
    found = collected(small())
    assert len(found.clusters) == SHOWN and found.more == 9 - SHOWN
    assert [example.image for example in found.clusters[0].examples] == ["test-00021", "test-00022", "test-00023"]
    assert found.clusters[0].features == [0, 99] and found.clusters[0].share.low == 0.4


@pytest.mark.parametrize("source", ["scenes", "images"])
def test_pictures_have_alternatives_and_sentences_are_there(here, source):
    text = made(small(source=source, encoders=("first",)))
    pictures = [some for some in Page(text).of("img") if "called truck" in some["alt"]]
    assert len(pictures) == 3 * SHOWN
    assert all(some["src"].startswith("data:image/webp") and some["title"] in some["alt"] for some in pictures)
    assert "boat on water called truck, 3 images: no &#39;a red boat on water&#39; (features 0, 99)" in text


def test_features_with_a_card_are_links_and_others_are_not(here):
    page = Page(made(small()))
    links = {some["href"] for some in page.of("a")}
    assert "#first-f0" in links and "#first-f99" not in links and "#first-failures" in links
    assert {link[1:] for link in links} <= {attributes["id"] for _, attributes in page.elements if "id" in attributes}


def test_an_encoder_without_failures_has_no_such_section(here):
    assert made(small()).count("Failures of the classifier") == 1
    assert "Failures of the classifier" not in made(small(failing=()))


def test_same_bytes_every_time(here):
    assert made(small()) == made(small())


def test_texts_of_strangers_stay_texts(here):
    harmless, attacked = Page(made(small())), made(small(), text=ATTACK)
    page = Page(attacked)
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert page.texts == harmless.texts and "<img src=x" not in attacked
    addresses = [value for _, attributes in page.elements for name, value in attributes.items() if name in LOADING]
    assert all(value.startswith(("data:", "#")) for value in addresses)


def test_without_held_out_images_no_repair_is_claimed(here):
    found = collected(small(), held_out=False)
    assert not found.repairs and not found.held_out
    params = small()
    report.run(params)
    text = report.REPORT.read_text(encoding="utf-8")
    assert "no images are held out" in text and "repaired" not in text.split("<main>")[1].split("<script>")[0]


def test_where_no_label_names_a_class_it_says_so(here):
    found = collected(small(), clusters=0, held_out=False, unnamed=20)
    assert found.accuracy is None and not found.clusters
    report.run(small())
    assert "No image has a label that names a class" in report.REPORT.read_text(encoding="utf-8")


def test_a_missing_table_is_one_clear_line(here):
    write_artefacts(small())
    files.table("first_failures").unlink()
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
    table = read_table(files.table("first_repairs"))
    numbers = [column for column in table if column.startswith(("before", "after", "gain"))]
    table.loc[table["accuracy_of"] == "wrong class", numbers] = np.nan
    write_table(files.table("first_repairs"), table)
    images = read_table(files.IMAGES)
    source = open_images(params.data, images)
    (repair,) = collect_failures(params, images, source)["first"].repairs
    assert repair.before[1] is None and repair.before[0].value == pytest.approx(0.3) and repair.verdict == "repaired"
    report.run(params)


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (1, 200)])
def test_whole_pictures_fit_a_square(shape):
    uri = whole_picture(np.full((*shape, 3), 90, dtype=np.uint8), 32)
    picture = np.array(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1]))).convert("RGBA"))
    assert picture.shape == (32, 32, 4)
    opaque = picture[..., 3] == 255
    assert opaque.any(axis=1).sum() == max(round(32 * shape[0] / max(shape)), 1)
    assert opaque.any(axis=0).sum() == max(round(32 * shape[1] / max(shape)), 1)
    assert np.allclose(picture[opaque][:, :3], 90, atol=4)
