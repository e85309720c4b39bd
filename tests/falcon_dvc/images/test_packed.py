"""The pack of a rendered world: rows of the table, and packs that are refused."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.artifacts.formats import write_array, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.images.packed import PackedImages


@pytest.fixture
def packed(tmp_path):
    """A rendered world of five images."""
    write_array(tmp_path / "images.npy", np.arange(5 * 12, dtype=np.uint8).reshape(5, 2, 2, 3))
    write_table(tmp_path / "attributes.parquet", pd.DataFrame({"image": list("abcde"), "split": "probe"}))
    return tmp_path


def test_packed_images_follow_the_rows_of_the_table(packed):
    source = PackedImages(packed, ["d", "a"])
    assert len(source) == 2
    assert [image[0, 0, 0] for image in source.load_many([0, 1])] == [36, 0]
    assert len(PackedImages(packed)) == 5
    assert source.load(1).flags.writeable


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((5, 2, 2, 3)),
        np.zeros((5, 2, 2), np.uint8),
        np.zeros((5, 2, 3, 3), np.uint8),
        np.zeros((4, 2, 2, 3), np.uint8),
    ],
)
def test_a_pack_of_the_wrong_type_or_shape_is_refused(packed, array):
    write_array(packed / "images.npy", array)
    with pytest.raises(UserError, match="dvc repro"):
        PackedImages(packed)


def test_packs_that_are_missing_incomplete_or_ambiguous_are_refused(packed, tmp_path):
    with pytest.raises(UserError, match="no image 'z'"):
        PackedImages(packed, ["a", "z"])
    with pytest.raises(UserError, match=r"images\.npy"):
        PackedImages(tmp_path / "nowhere")
    write_table(packed / "attributes.parquet", pd.DataFrame({"image": list("abcdd")}))
    with pytest.raises(UserError, match="different id"):
        PackedImages(packed)


def test_the_rendered_world_is_read_as_it_lies():
    assert PackedImages.in_storage_order(SimpleNamespace(), range(2, 5)) == [2, 3, 4]
