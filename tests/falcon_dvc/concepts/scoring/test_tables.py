"""Evidence: for each crop the best of its captions."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.concepts.scoring import tables
from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.scoring.explanation import Captioned
from falcon_dvc.concepts.scoring.scores import Mentions
from falcon_dvc.concepts.scoring.tables import evidence_table, is_weak

GROUPS, NAMES = ["f0", "f1", "g2"], ["boat", "dog", "sand", "red boat"]
BOX = ["left", "top", "right", "bottom"]


def drawn(seed):
    """Crops, their captions (some crops have fewer), a corpus, and concepts listed or removed for each group."""
    rng = np.random.default_rng(seed)
    count, numbers = int(rng.integers(0, 9)), np.sort(rng.permutation(40)[:12])
    crops = pd.DataFrame(rng.integers(0, 50, (count, 4)), columns=BOX)
    crops.insert(0, "group", rng.choice(GROUPS, count).astype(object))
    crops.insert(1, "image", [f"i{row}" for row in rng.integers(0, 5, count)])
    captions = np.where(rng.random((count, 3)) < 0.8, rng.choice(numbers, (count, 3)), -1)
    mentions = Mentions(numbers, sparse.csr_array(rng.random((12, 4)) < 0.4, dtype=float), np.arange(4) == 3)
    corpus = Corpus(pd.DataFrame({"caption": numbers}), np.eye(12), np.array(NAMES, dtype=object), mentions, "")
    pairs = [(group, name) for group in GROUPS for name in rng.permutation(NAMES)]
    table = pd.DataFrame(pairs, columns=["group", "concept"]).assign(kept=rng.random(len(pairs)) < 0.6)
    return table, crops, Captioned(captions, rng.choice([0.1, 0.5, 0.9], captions.shape)), corpus


def by_hand(table, crops, captions, corpus):
    """A loop over everything."""
    rows = []
    for group, concept in table.loc[table["kept"], ["group", "concept"]].itertuples(index=False):
        for row, crop in enumerate(crops.itertuples()):
            saying = [
                (-weight, caption)
                for caption, weight in zip(captions.captions[row], captions.weights[row], strict=True)
                if caption >= 0 and _mentions(corpus, caption, concept)
            ]
            if crop.group == group and saying:
                weight, caption = min(saying)
                rows.append((group, concept, crop.image, *(getattr(crop, side) for side in BOX), caption, -weight))
    return rows


def _mentions(corpus, caption, concept):
    place = np.searchsorted(corpus.mentions.captions, caption)
    return corpus.mentions.incidence.toarray()[place, NAMES.index(concept)] > 0


@given(st.integers(0, 10_000))
def test_evidence_is_each_crops_best_caption_for_each_listed_concept(seed):
    for at_once in (1, 5, 1000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tables, "CAPTIONS_AT_ONCE", at_once)
            found = evidence_table(*drawn(seed))
        assert list(found.columns) == ["group", "concept", "image", *BOX, "caption", "weight"]
        assert list(found.itertuples(index=False, name=None)) == by_hand(*drawn(seed))


@pytest.mark.parametrize(("low", "weak"), [(0.3, False), (0.2, True), (0.1, True), (np.nan, True)])
def test_by_eq_1_a_concept_is_weak_if_its_interval_reaches_its_prior_or_is_not_known(low, weak):
    explanation = SimpleNamespace(weak=None, scores=SimpleNamespace(prior=np.array([0.2])))
    assert is_weak(explanation, np.array([low])) == [weak]


def test_a_ranking_over_all_images_says_which_concepts_are_weak():
    explanation = SimpleNamespace(weak=np.array([False, True]), scores=SimpleNamespace(prior=np.array([0.9, 0.1])))
    assert is_weak(explanation, np.array([0.5, 0.5])).tolist() == [False, True]
