"""Recall of captions: by a plain count, with ties against the encoder, and without hubs."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.evaluation.retrieval import mean_reciprocal_rank, recall_at, without_hubs


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_it_is_the_count_of_a_plain_loop(seed, rank):
    rng = np.random.default_rng(seed)
    image = np.concatenate([np.arange(5), rng.integers(0, 5, 6)])
    cosine = rng.normal(size=(5, 11)).round(1)
    hits, reciprocal = 0, []
    for row in range(5):
        order = sorted(range(11), key=lambda text: (-cosine[row, text], image[text] == row))
        hits += any(image[text] == row for text in order[:rank])
        reciprocal.append(1 / (1 + [image[text] == row for text in order].index(True)))
    assert recall_at(cosine, image, [rank]) == {f"recall_at_{rank}": hits / 5}
    assert np.isclose(mean_reciprocal_rank(cosine, image), np.mean(reciprocal))


def test_equal_cosines_find_nothing():
    assert recall_at(np.zeros((4, 4)), np.arange(4), [1, 3, 4]) == {
        "recall_at_1": 0,
        "recall_at_3": 0,
        "recall_at_4": 1,
    }


def test_a_caption_near_every_image_hides_no_other():
    rng = np.random.default_rng(1)
    cosine = 0.2 * rng.normal(size=(6, 6)) + np.eye(6)
    hub = cosine + np.array([3, 0, 0, 0, 0, 0])
    assert recall_at(hub, np.arange(6), [1])["recall_at_1"] < 0.2
    assert recall_at(without_hubs(hub), np.arange(6), [1])["recall_at_1"] == 1
    np.testing.assert_allclose(without_hubs(hub), without_hubs(cosine), atol=1e-12)
