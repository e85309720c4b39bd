"""Measure in memory whether the first word of a feature holds below its maximum."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import sparse

from falcon_dvc.activations.rows import DenseRows
from falcon_dvc.api.settings import Sections
from falcon_dvc.concepts.scoring.corpus import Corpus
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.frequency import frequencies
from falcon_dvc.evaluation.quantile_table import Activated, measure_quantiles, with_frequency
from falcon_dvc.groups.image_sets import compared_activations


def quantile_table(
    features: np.ndarray,
    scores: sparse.csr_array,
    groups: pd.DataFrame,
    concepts: pd.DataFrame,
    corpus: Corpus,
    sections: Sections,
) -> pd.DataFrame:
    """Tabulate the score of the first word of each feature by part of its activation, over all images.

    Parameters
    ----------
    features : (images, features) array.
    scores : of the concepts of the corpus in whole images, sparse (images, concepts).
    groups, concepts : as in `Explained`.
    """
    rows, settings = np.arange(len(features)), sections.concepts
    single, listed = groups[groups["size"] == 1], listed_words(concepts)
    words = single[["group"]].assign(words=[listed.get(group, []) for group in single["group"]])
    values = DenseRows(compared_activations(features, sections.find_groups.normalise))
    activated = Activated(values, rows, single["members"].to_numpy(dtype=int))
    intervals = settings.confidence, sections.find_groups.seed
    table = measure_quantiles(words, activated, scores.tocsc(), corpus.vocabulary, None, *intervals).table
    return with_frequency(table, single, frequencies(values, rows)[activated.columns])
