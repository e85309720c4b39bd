"""Batches of crops for the image-text encoder."""

import numpy as np
import pytest

from falcon_dvc.crops import embedding
from tests.support.slow_pictures import Pictures

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
