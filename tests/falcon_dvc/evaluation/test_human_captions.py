"""Words of human captions by image, names of images as tables write them, and the agreement by a plain loop."""

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc.evaluation.human_captions import agreement, rows_of_images, words_of_images
from falcon_dvc.evaluation.selectivity import average_precision
from tests.support.stage_params import params_of

SETTINGS = params_of({}).parse_captions


def test_images_are_found_by_their_name_or_by_their_only_file_name():
    images = pd.Series(["a/1.jpg", "b/1.jpg", "c/2.jpg", "3.jpg"])
    names = pd.Series(["b/1.jpg", "1.jpg", "2.jpg", "images/3.jpg", "x/2.jpg", "4.jpg"])
    assert rows_of_images(names, images).tolist() == [1, -1, 2, 3, 2, -1]


def test_every_caption_of_an_image_counts_and_synonyms_are_one_concept():
    texts = ["Two dogs run", "a puppy on grass", "a red boat", "nothing known"]
    found = words_of_images(texts, np.array([0, 0, 1, 2]), 4, {"dog": 0, "puppy": 0, "boat": 2}, SETTINGS)
    assert found.toarray().tolist() == [[True, False, False], [False, False, True], [False] * 3, [False] * 3]


def test_agreement_is_that_of_each_pair_alone():
    rng = np.random.default_rng(0)
    activations = rng.normal(size=(40, 5))
    labels = rng.random((40, 4)) < 0.3
    word = np.array([2, 0, -1, 3, 9])
    found = agreement(activations, sparse.csc_array(labels), word)
    for feature in (0, 1, 3):
        own = labels[:, word[feature]]
        assert np.isclose(found["pearson"][feature], np.corrcoef(activations[:, feature], own)[0, 1])
        assert np.isclose(found["auprc"][feature], average_precision(activations[:, [feature]], own[:, None])[0])
        assert np.isclose(found["mentioned"][feature], own.mean())
    assert (found.loc[[2, 4], ["auprc", "pearson", "mentioned"]] == 0).all(axis=None), "no word predicts nothing"
