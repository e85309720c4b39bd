"""Rows of `NAME_word_sets.csv`."""

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.explaining_sets import ExplainingSets
from falcon_dvc.evaluation.set_tables import set_table
from falcon_dvc.evaluation.word_sets import WordSets


def word_set(group, raising, lowering=(), r2=float("nan"), both=()):
    """A feature that follows words; each gains 0.2 (-0.01 to 0.3). Half of R² on held-out images is the first word's."""
    vocabulary = np.array([*raising, *lowering], dtype=object)
    steps, count = max(len(vocabulary), 2), len(raising)
    words = np.where(np.arange(steps) < len(vocabulary), np.arange(steps), -1)[None]
    direction = np.where(words < 0, 0, np.where(np.arange(steps) < count, 1, -1))
    gains = [np.where(words < 0, np.nan, value) for value in (0.2, -0.01, 0.3)]
    together = np.zeros((1, steps, steps), dtype=bool)
    for first, second in both:
        together[0, first, second] = together[0, second, first] = True
    sets = WordSets(words, np.array([count]), np.linspace(r2 / 2, r2, steps)[None])
    explaining = ExplainingSets(words, direction, *gains, together, np.array([r2]))
    return set_table(pd.Series([group]), sets, explaining, vocabulary)
