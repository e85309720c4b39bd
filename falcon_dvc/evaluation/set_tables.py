"""Tabulate the words that explain each feature, with a sentence."""

from __future__ import annotations

import numpy as np
import pandas as pd

from falcon_dvc.concepts.words.sentences import DIRECTIONS, listed, sentence
from falcon_dvc.evaluation.explaining_sets import ExplainingSets
from falcon_dvc.evaluation.word_sets import WordSets


def set_table(features: pd.Series, sets: WordSets, explaining: ExplainingSets, vocabulary: np.ndarray) -> pd.DataFrame:
    """List for each feature how many words count, which these are, the sentence, and R² on held-out images.

    Parameters
    ----------
    features : names of the features, in the order of `sets` and `explaining`.
    vocabulary : the words, by the numbers that `sets` and `explaining` have.

    Returns
    -------
    One row for each feature. ``r2_1``, ``r2_2``, ... is R² after as many words that raise the feature. ``directions``,
    ``gains``, ``gains_low`` and ``gains_high`` have an entry for each of ``words`` and then of ``not_words``.
    """
    rows = [_row(explaining, place, vocabulary) for place in range(len(features))]
    steps = {f"r2_{step + 1}": sets.r2[:, step] for step in range(sets.r2.shape[1])}
    columns = ["words", "not_words", "sentence", "and_pairs", "directions", "gains", "gains_low", "gains_high"]
    table = pd.DataFrame(rows, columns=columns).assign(group=features.to_numpy(), follows=sets.count, r2=explaining.r2)
    return table[["group", "follows", *columns[:3], "r2", *columns[3:]]].assign(**steps)


def _row(explaining: ExplainingSets, place: int, vocabulary: np.ndarray) -> tuple[str, ...]:
    """Write the explanation of one feature as texts."""
    direction = explaining.direction[place]
    raising, lowering = (vocabulary[explaining.words[place][direction == sign]] for sign in (1, -1))
    together = explaining.together[place]
    numbers = (explaining.gain, explaining.low, explaining.high)
    return (
        listed(raising),
        listed(lowering),
        sentence(raising, lowering, together, explaining.r2[place]),
        listed(f"{raising[one]} & {raising[other]}" for one, other in np.argwhere(np.triu(together))),
        listed(DIRECTIONS[sign] for sign in direction[direction != 0]),
        *(listed(f"{value:.4f}" for value in values[place][direction != 0]) for values in numbers),
    )
