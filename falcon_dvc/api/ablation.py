"""Measure in memory what features do to the outputs of a linear classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc.concepts.words.listing import first_concepts
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.ablation import Logits, ablated
from falcon_dvc.evaluation.ablation_table import Readout, ablation_table, removal_of
from falcon_dvc.evaluation.class_truth import words_of_labels

if TYPE_CHECKING:
    from falcon_dvc.api.settings import Sections


STRONGEST = 4  # at most one image in so many loses a feature


def classifier_of(classifier: Any, features: int) -> tuple[np.ndarray, list[str]]:
    """Check a classifier: a pair of weights (classes, features) and the names of the classes.

    Raises
    ------
    UserError
        If it is not one, or does not fit the features.
    """
    try:
        weights, names = classifier
        weights, names = np.asarray(weights, dtype=np.float64), [str(name) for name in names]
    except (TypeError, ValueError) as error:
        raise UserError("classifier: must be a pair of weights (classes, features) and names of the classes") from error
    if weights.ndim != 2 or weights.shape[1] != features or len(names) != len(weights) or len(names) < 2:
        raise UserError(
            f"classifier: weights of shape {weights.shape} and {len(names)} names; for {features} features, weights must have the "
            f"shape (classes, {features}), with a name for each of at least two classes"
        )
    if not np.isfinite(weights).all() or len(set(names)) != len(names):
        raise UserError("classifier: weights must be finite, and names must differ")
    return weights, names


def ablation_of(
    features: np.ndarray, groups: pd.DataFrame, concepts: pd.DataFrame, classifier: Any, sections: Sections
) -> pd.DataFrame:
    """Tabulate what the removal of each explained feature does to the logits, as the stage ablate_features does.

    Parameters
    ----------
    features : (images, features) as the encoder returns them; a removed feature is set to its mean over these images.
    groups, concepts : as in `Explained`.
    classifier : as in `classifier_of`.
    """
    weights, labels = classifier_of(classifier, features.shape[1])
    single = groups.loc[groups["size"] == 1, ["group", "members"]].reset_index(drop=True)
    words = single["group"].map(first_concepts(concepts)).fillna("")
    class_of = {
        word: place
        for place, named in enumerate(words_of_labels(labels, sections.parse_captions).values())
        for word in named
    }
    own = words.map(class_of).fillna(-1).to_numpy(dtype=int)
    readout = Readout("logit", Logits(weights), np.array(labels, dtype=object), own)
    # A feature that is set to its mean on all of the images would leave the mean of each output as it is.
    removal = removal_of(features, max(len(features) // STRONGEST, 1), sections.ablate_features)
    found = ablated(features, single["members"].to_numpy(dtype=int), readout.outputs, removal)
    return ablation_table(single["group"], words, found, readout)
