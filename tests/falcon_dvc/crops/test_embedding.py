"""Batches of crops for the image-text encoder."""

import numpy as np
import pytest
import torch

from falcon_dvc import paths
from falcon_dvc.compute.resume import resumable
from falcon_dvc.crops import embedding
from falcon_dvc.errors import UserError
from tests.support.slow_pictures import Pictures
from tests.support.stage_params import params_of

CROPS = np.array([[0, 0, 0, 2, 2], [0, 1, 0, 2, 2], [2, 0, 0, 1, 1], [2, 0, 0, 2, 2], [3, 0, 0, 2, 1]])


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_crops_come_in_order_and_an_image_is_decoded_once_for_a_batch(size):
    source = Pictures()
    found = embedding.batches_of_crops(source, CROPS, 1, size, "crops", list, embedding.pictures)
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
    """An encoder whose embedding of a box is the number of its image and the box."""

    fingerprint, dim = "maps", 5

    def __init__(self):
        self.passes = []

    def prepare(self, images):
        return torch.tensor([[float(image[0, 0, 0])] for image in images])

    def embed_boxes(self, batch, shapes, boxes):
        self.passes.append(batch[:, 0].tolist())
        assert len(batch) == len(shapes) == len(boxes)
        return np.concatenate(
            [np.column_stack([np.full(len(of), number), of]) for number, of in zip(batch[:, 0], boxes, strict=True)]
        )


@pytest.mark.parametrize("size", [1, 2, 5])
def test_an_image_takes_one_pass_whatever_the_number_of_its_boxes(size, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(embedding, "open_images", lambda *_: Pictures())
    monkeypatch.setattr(embedding, "read_table", lambda _: None)
    order, encoder = np.array([3, 0, 4, 0, 2, 1]), OfMaps()
    with resumable("boxes") as work:
        paths.IMAGES.parent.mkdir()
        paths.IMAGES.touch()
        data = params_of({}).data
        found = embedding.embed_boxes(data, encoder, CROPS[order, 0], CROPS[order, 1:], size, work, "crops")
    assert found.tolist() == CROPS[order].tolist()
    assert encoder.passes == [[0, 2, 3][start : start + size] for start in range(0, 3, size)]


def test_maps_of_an_encoder_without_any_are_one_line():
    params = params_of({"mine_crops": {"embed": "maps"}})
    with pytest.raises(UserError, match=r"mine_crops\.embed: maps needs image_text of kind aligned"):
        embedding.embeddings_of_crops(params, object(), CROPS[:, 0], CROPS[:, 1:], None)
