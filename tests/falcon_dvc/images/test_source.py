"""Pictures of a source: in the order asked for, and none from outside it."""

import pytest
from PIL import Image

from falcon_dvc.errors import UserError
from falcon_dvc.images.listing import Collection
from falcon_dvc.images.source import DecodedImages, FolderImages, open_collection
from tests.support.picture_files import picture


def test_many_images_come_in_the_order_asked_for_with_any_number_of_threads(tmp_path):
    for value in range(10):
        picture(tmp_path / f"{value}.png", colour=(value, 0, 0))
    source = FolderImages(tmp_path, [f"{value}.png" for value in range(10)])
    rows = [3, 0, 9, 3]
    assert len(source) == 10
    assert [int(image[0, 0, 0]) for image in source.load_many(rows, 1)] == rows
    assert [int(image[0, 0, 0]) for image in source.load_many(rows, 4)] == rows


def test_ids_cannot_lead_out_of_the_folder_and_lost_files_are_named(tmp_path):
    picture(tmp_path / "secret.png")
    picture(tmp_path / "images" / "1.png")
    source = FolderImages(tmp_path / "images", ["../secret.png", str(tmp_path / "secret.png"), "gone.png"])
    for row in range(3):
        with pytest.raises(UserError, match=r"data\.images: .*dvc repro"):
            source.load(row)


def test_a_collection_is_opened_by_ids_and_read_in_the_order_in_which_it_lies():
    read = []

    def decode(position):
        read.append(position)
        return Image.new("RGB", (1, 1), (position, 0, 0))

    source = open_collection(Collection("x", list("abcd"), [""] * 4, decode), ["d", "b", "a"])
    assert len(source) == 3
    assert [int(image[0, 0, 0]) for image in source.load_many([0, 2, 1, 0], workers=1)] == [3, 0, 1, 3]
    assert read == [0, 1, 3, 3]


def test_a_collection_without_an_image_of_the_table_is_refused():
    with pytest.raises(UserError, match=r"x has no image 'z'.*dvc repro"):
        open_collection(Collection("x", ["a"], [""], lambda row: Image.new("RGB", (1, 1))), ["a", "z"])


def test_rows_are_read_in_the_order_in_which_they_lie():
    source = DecodedImages(["a", "b", "c"], lambda place: place, [7, 2, 5])
    assert source.in_storage_order(range(3)) == [1, 2, 0]
