"""Tabulate what the removal of each feature does to the outputs, beside random directions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.ablation import Ablated, Outputs, Removal, own_and_others, random_directions
from falcon_dvc.evaluation.statistics import bootstrap_weights

if TYPE_CHECKING:
    from falcon_dvc.params.schema import AblateFeatures


@dataclass(frozen=True)
class Readout:
    """Hold what the features of an encoder lead to.

    Attributes
    ----------
    kind : ``logit`` of a class, or ``cosine`` with a word.
    labels : names of the outputs.
    own : output that the first word of each feature names; -1 if it names none.
    """

    kind: str
    outputs: Outputs
    labels: np.ndarray
    own: np.ndarray


def removal_of(probe: np.ndarray, images: int, settings: AblateFeatures) -> Removal:
    """Set removed features to their means over the probe images; draw random directions and bootstrap samples.

    Parameters
    ----------
    probe : (images, features) array
        Features of the probe images.
    images : int
        Number of images that features are removed from.
    """
    generator = np.random.default_rng(settings.seed)
    count = min(settings.images, images)
    return Removal(
        level=probe.mean(axis=0, dtype=np.float64),
        spread=settings.add * probe.std(axis=0, dtype=np.float64),
        images=count,
        directions=random_directions(settings.directions, probe.shape[1], generator),
        weights=bootstrap_weights(count, settings.bootstrap, generator),
        confidence=settings.confidence,
    )


def ablation_table(features: pd.Series, words: pd.Series, found: Ablated, readout: Readout) -> pd.DataFrame:
    """List what the removal of each feature does, one row for each.

    Parameters
    ----------
    features, words : names of the features, and the first word of each ("" for none).
    """
    falls, named = found.fall > 0, readout.own >= 0
    own, others = own_and_others(found.falls, readout.own)
    labels, every = np.append(readout.labels, ""), np.arange(len(words))
    return pd.DataFrame(
        {
            "group": features,
            "word": words,
            "output": readout.kind,
            "falls_most": labels[np.where(falls, found.most, -1)],
            "fall": found.fall,
            "fall_low": found.fall_low,
            "fall_high": found.fall_high,
            "random_fall": found.random_fall,
            "p_value": found.p_value,
            "rise": found.rise,
            "named_by_word": labels[readout.own],
            "word_names_it": np.where(named, (readout.own == found.most) & falls, np.nan),
            "own_fall": own,
            "own_random_change": np.where(named, found.random_changes[every, readout.own], np.nan),
            "own_p_value": np.where(named, found.p_values[every, readout.own], np.nan),
            "other_words_fall": others,
        }
    )
