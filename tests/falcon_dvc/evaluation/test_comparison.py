"""Shares of right first words: a word that follows the feature nearly as well as the truth ties with it."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.evaluation.comparison import shares_right
from falcon_dvc.evaluation.selectivity import TIE
from falcon_dvc.params.schema import Resampled

SETTINGS = Resampled(seed=0, bootstrap=20, confidence=0.95)


def judged(right, correlation, pearson):
    table = pd.DataFrame({"hit_first": right, "correlation": correlation, "pearson": pearson})
    rank = np.where(table["hit_first"], 1.0, np.inf)
    measures = dict.fromkeys(("auprc", "auc", "mad"), 0.5)
    return table.assign(clear=True, kind="object", hit_five=right, rank_of_truth=rank, **measures)


def test_a_wrong_word_ties_if_it_follows_the_feature_nearly_as_well():
    table = judged([True, False, False, False], [0.8, 0.8, 0.8, 0.8], [0.8, 0.8 - TIE / 2, 0.5, 0.1])
    found = shares_right({"falcon": table}, SETTINGS)
    assert found["all"]["top1"] == pytest.approx(0.25) and found["all"]["top1_or_tie"] == pytest.approx(0.5)
    assert found["every_feature"]["falcon"]["top1_or_tie"] == found["object"]["top1_or_tie"]


def test_a_right_word_counts_whatever_its_correlation():
    table = judged([True, True], [0.9, 0.6], [0.1, 0.1])
    assert shares_right({"falcon": table}, SETTINGS)["all"]["top1_or_tie"] == 1
