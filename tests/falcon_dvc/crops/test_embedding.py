"""Batches of crops for the image-text encoder."""

import numpy as np
import pandas as pd
import pytest
import torch

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, write_array, write_json, write_table
from falcon_dvc.compute.resume import resumable
from falcon_dvc.crops import embedding
from falcon_dvc.errors import UserError
from tests.support.slow_pictures import Pictures
from tests.support.stage_params import params_of

CROPS = np.array([[0, 0, 0, 2, 2], [0, 1, 0, 2, 2], [2, 0, 0, 1, 1], [2, 0, 0, 2, 2], [3, 0, 0, 2, 1]])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_crops_come_in_order_and_an_image_is_decoded_once_for_a_batch(size):
    source = Pictures()
    found = embedding.batches_of_crops(source, embedding.in_batches(CROPS[1:], size), "crops", list, embedding.pictures)
    batches = [[(int(crop[0, 0, 0]), *crop.shape[1::-1]) for crop in batch] for batch in found]
    expected = [(0, 1, 2), (2, 1, 1), (2, 2, 2), (3, 2, 1)]
    assert batches == [expected[start : start + size] for start in range(0, 4, size)]
    if size == 5:
        assert sorted(source.loaded) == [0, 2, 3]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_embeddings_in_memory_are_in_the_order_of_the_crops(size):
    order = np.array([3, 0, 4, 0, 2, 1])

    def embed(batch):
        assert len(batch) <= size
        return np.array([[crop[0, 0, 0], *crop.shape[1::-1]] for crop in batch])

    found = embedding.embed_pictures(Pictures(), embed, CROPS[order, 0], CROPS[order, 1:], size)
    assert found.tolist() == [[2, 2, 2], [0, 2, 2], [3, 2, 1], [0, 2, 2], [2, 1, 1], [0, 1, 2]]


class OfMaps:
    """An encoder whose embedding of a box is the number of its image and the box; its maps are this number."""

    fingerprint, dim = "maps", 5

    def __init__(self):
        self.passes = []

    def prepare(self, images):
        return torch.tensor([[float(image[0, 0, 0])] for image in images])

    def embed_with_maps(self, batch):
        self.passes.append(batch[:, 0].tolist())
        return np.tile(batch.numpy(), (1, 5)), [batch.numpy()[:, :, None, None], np.ones((len(batch), 2, 3, 3))]

    def embed_boxes(self, maps, shapes, boxes):
        assert len(maps[0]) == len(maps[1]) == len(shapes) == len(boxes)
        numbers = np.asarray(maps[0])[:, 0, 0, 0]
        return np.concatenate(
            [np.column_stack([np.full(len(of), number), of]) for number, of in zip(numbers, boxes, strict=True)]
        )


@pytest.fixture
def four_images(tmp_path, monkeypatch):
    """Four images, whose maps `OfMaps` has written in batches of two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedding, "open_images", lambda *_: Pictures())
    images, encoder = pd.DataFrame({"width": [2] * 4, "height": [2] * 4}), OfMaps()
    write_table(paths.IMAGES, images)
    params = params_of({"mine_crops": {"embed": "maps", "batch_size": 16}})
    with resumable("maps") as work:
        embedded = embedding.embed_images(params, encoder, images, work, paths.IMAGE_EMBEDDINGS)
    write_json(paths.IMAGE_EMBEDDINGS / "embeddings.json", {"image_text": "maps"})
    return params, encoder, embedded


def test_an_image_takes_one_pass_whatever_the_number_of_its_boxes(four_images, monkeypatch):
    params, encoder, embedded = four_images
    assert embedded[:, 0].tolist() == [0, 1, 2, 3] and encoder.passes == [[0, 1], [2, 3]]
    assert read_array(paths.IMAGE_EMBEDDINGS / "maps_1.npy").shape == (4, 2, 3, 3)
    order = np.array([3, 0, 4, 0, 2, 1])
    for at_once in (1, 2, 5):
        monkeypatch.setattr(embedding, "IMAGES_AT_ONCE", at_once)
        found = embedding.embeddings_of_crops(params, encoder, CROPS[order, 0], CROPS[order, 1:], None)
        assert found.tolist() == CROPS[order].tolist()
    assert len(encoder.passes) == 2


def test_maps_of_another_encoder_are_refused(four_images):
    params, encoder, _ = four_images
    encoder.fingerprint = "another"
    with pytest.raises(UserError, match="holds no maps of the image-text encoder"):
        embedding.embeddings_of_crops(params, encoder, CROPS[:, 0], CROPS[:, 1:], None)


class OfCorner:
    """An encoder whose embedding of a crop is the number of its image and the crop's size."""

    dim = 3

    def __init__(self, fingerprint):
        self.fingerprint, self.crops = fingerprint, 0

    def prepare(self, images):
        return torch.tensor([[float(image[0, 0, 0]), *image.shape[1::-1]] for image in images])

    def embed_prepared(self, batch):
        self.crops += len(batch)
        return batch.numpy()


@pytest.mark.parametrize(("fingerprint", "passes"), [("same", 3), ("another", 5)])
def test_whole_images_that_are_embedded_already_need_no_pass(fingerprint, passes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedding, "open_images", lambda *_: Pictures())
    write_table(paths.IMAGES, pd.DataFrame({"width": [2] * 4, "height": [2] * 4}))
    write_array(paths.IMAGE_EMBEDDINGS / "embeddings.npy", np.full((4, 3), 9.0, dtype=np.float32))
    write_json(paths.IMAGE_EMBEDDINGS / "embeddings.json", {"image_text": "same"})
    encoder = OfCorner(fingerprint)
    with resumable("crops") as work:
        found = embedding.embeddings_of_crops(params_of({}), encoder, CROPS[:, 0], CROPS[:, 1:], work)
        whole = [0, 3]
        alone = embedding.embeddings_of_crops(params_of({}), encoder, CROPS[whole, 0], CROPS[whole, 1:], work, "whole")
    assert encoder.crops == passes + (2 if fingerprint == "another" else 0)
    known = found == 9
    assert known.all(axis=1).tolist() == [fingerprint == "same" and row in whole for row in range(5)]
    assert (alone == 9).all() == (fingerprint == "same")
    assert found[[1, 2, 4]].tolist() == [[0, 1, 2], [2, 1, 1], [3, 2, 1]]


def test_an_encoder_without_maps_is_one_line():
    params = params_of({"mine_crops": {"embed": "maps"}})
    with pytest.raises(UserError, match=r"mine_crops\.embed: maps needs image_text of kind aligned"):
        embedding.embed_images(params, object(), pd.DataFrame({"width": [1], "height": [1]}), None, paths.DATA)
