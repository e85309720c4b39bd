"""Whatever the source, the same pictures come out, the same ones are refused, and what is missing gets one clear line."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.images import decode
from falcon_dvc.images.open import list_source, open_images
from falcon_dvc.params.schema import Data
from tests.support.image_sources import as_folder, every_source, name_of
from tests.support.sample_images import BOMB, DAMAGED, SAMPLES, coloured


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> dict[str, np.ndarray]:
    """The pictures as they come out of a folder."""
    made = as_folder(tmp_path_factory.mktemp("expected") / "all", SAMPLES)
    table = list_source(made).table
    return dict(zip(table["image"].map(name_of), open_images(made, table).load_many(range(len(table))), strict=True))


@every_source
def test_the_same_pictures_come_out_of_every_source(tmp_path, make, expected):
    made = make(tmp_path / "all", SAMPLES, unreadable="fail")
    listing = list_source(made)
    loaded = open_images(made, listing.table).load_many(range(len(listing.table)))
    names = listing.table["image"].map(name_of).tolist()
    assert names == sorted(SAMPLES)
    for name, picture, width, height in zip(
        names, loaded, listing.table["width"], listing.table["height"], strict=True
    ):
        assert picture.dtype == np.uint8 and picture.shape == (height, width, 3)
        np.testing.assert_array_equal(picture, expected[name], err_msg=name)


def test_the_pictures_are_what_they_should_be(expected):
    assert expected["oriented"].shape == (7, 5, 3)
    assert expected["deep"][0, :, 0].tolist() == [0, 1, 128, 255]
    assert expected["float"][0, :, 0].tolist() == [0, 128, 255, 0]
    assert expected["animated_gif"][0, 0].tolist() == [255, 0, 0]


@every_source
def test_damaged_pictures_and_bombs_are_named_and_left_out(tmp_path, make, monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 100)
    listing = list_source(make(tmp_path / "all", {"bomb": BOMB, "cut": DAMAGED, "good": coloured(9), "none": b""}))
    assert listing.table["image"].map(name_of).tolist() == ["good"]
    assert [name_of(line.rpartition(": ")[0].split(": ")[0]) for line in listing.skipped] == ["bomb", "cut", "none"]
    assert listing.skipped[0].endswith(": more than 100 pixels")


@every_source
def test_damaged_pictures_end_the_run_when_asked(tmp_path, make):
    with pytest.raises(UserError, match=r"cut.*data\.unreadable"):
        list_source(make(tmp_path / "all", {"cut": DAMAGED, "good": coloured(9)}, unreadable="fail"))


@every_source
def test_a_source_of_which_nothing_can_be_read_is_refused(tmp_path, make):
    with pytest.raises(UserError, match=r"data\.images: none of the 1 images [^\n]*$"):
        list_source(make(tmp_path / "all", {"cut": DAMAGED}))


@every_source
def test_an_empty_source_is_refused(tmp_path, make):
    with pytest.raises(UserError, match=r"^data\.(images|list): [^\n]*$"):
        list_source(make(tmp_path / "all", {}))


@every_source
def test_a_source_that_is_not_there_is_refused(tmp_path, make):
    made = make(tmp_path / "all", {"good": coloured(9)})
    with pytest.raises(UserError, match=r"^data\.images: there is no [^\n]*nowhere[^\n]*$"):
        list_source(made.model_copy(update={"images": str(tmp_path / "nowhere")}))


@every_source
def test_rows_come_in_the_order_of_the_table(tmp_path, make):
    made = make(tmp_path / "all", {str(red): coloured(red) for red in (30, 10, 20, 50, 40)})
    table = list_source(made).table
    source = open_images(made, table.iloc[[3, 0, 4]])
    assert [int(picture[0, 0, 0]) for picture in source.load_many([2, 0, 1, 2])] == [50, 40, 10, 50]
    with pytest.raises(UserError, match="dvc repro"):
        open_images(made, table.assign(image="other")).load(0)


def test_an_unknown_source_is_refused(tmp_path):
    unknown = Data.model_construct(source="video", images=str(tmp_path), unreadable="skip")
    with pytest.raises(UserError, match=r"data\.source: 'video'"):
        open_images(unknown, pd.DataFrame({"image": ["a"]}))
