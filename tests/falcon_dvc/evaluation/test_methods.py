"""Every method puts words to features by key: neither the order of crops nor that of features changes them."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.explanation import Settings
from falcon_dvc.concepts.scoring.scores import Mentions
from falcon_dvc.evaluation.methods import (
    all_methods,
    best_constant,
    caption_crops,
    constant,
    falcon,
)

SETTINGS = Settings(
    captions_per_image=1,
    temperature=100.0,
    normaliser="retrieved",
    contrast="off",
    low_cut=0.1,
    relative_cut=0.75,
    gamma=0.25,
    further_cut=0.5,
    top=3,
)
WORDS = np.array(["boat", "car", "dog", "sand", "red boat"])


@pytest.fixture
def corpus():
    """One caption a word; the last concept is a phrase."""
    incidence = sparse.csr_array(np.eye(5))
    return Corpus(
        pd.DataFrame({"caption": np.arange(5)}),
        np.eye(5),
        WORDS,
        Mentions(np.arange(5), incidence, np.array([False, False, False, False, True])),
        "",
    )


def crops_of(shown, order):
    """Crops that show the numbered words: {(feature, role): words}."""
    rows = [(group, role, rank, word) for (group, role), words in shown.items() for rank, word in enumerate(words)]
    table = pd.DataFrame(rows, columns=["group", "role", "rank", "word"]).iloc[order(len(rows))].reset_index(drop=True)
    return table[["group", "role", "rank"]], np.eye(5)[table["word"]]


SHOWN = {
    ("f3", "high"): [0, 0, 3, 3, 3],
    ("f7", "high"): [2, 2, 2, 1],
    ("f3", "low"): [3, 3],
    ("f7", "low"): [1, 3],
    ("f3", "random"): [1, 2],
    ("f7", "random"): [0, 3],
}


def words_in(corpus, settings=SETTINGS, order=np.arange, groups=("f3", "f7")):
    return falcon(caption_crops(np.array(groups), *crops_of(SHOWN, order), corpus, settings), corpus, settings)


def test_falcon_ranks_what_the_crops_share_and_contrast_takes_off_what_the_low_ones_share(corpus):
    assert words_in(corpus) == {"f3": ["sand", "boat"], "f7": ["dog", "car"]}
    contrasted = Settings(**{**SETTINGS.__dict__, "contrast": "relative"})
    assert words_in(corpus, contrasted) == {"f3": ["boat"], "f7": ["dog"]}


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_crops_and_features_changes_no_method(corpus, seed):
    rng = np.random.default_rng(seed)
    straight = all_methods(
        caption_crops(np.array(["f3", "f7"]), *crops_of(SHOWN, np.arange), corpus, SETTINGS), corpus, SETTINGS
    )
    crops = crops_of(SHOWN, rng.permutation)
    mixed = all_methods(caption_crops(np.array(["f7", "f3"]), *crops, corpus, SETTINGS), corpus, SETTINGS)
    assert mixed == straight
    assert {"falcon_off", "most_frequent_word", "shuffled_activations"} <= set(straight)


def test_the_best_constant_is_the_most_frequent_truth():
    truth = pd.DataFrame({"kind": ["object"] * 3 + ["colour"], "value": ["boat", "boat", "car", "red"]})
    names = {("object", "boat"): {"ship", "boat"}, ("object", "car"): {"car"}, ("colour", "red"): {"red"}}
    words = best_constant(truth, names, 2)
    assert words[0] == "boat" and len(words) == 2
    assert constant(["f1", "f2"], words) == {"f1": words, "f2": words}
