"""Compare sets of words with all attributes that a feature follows, on held-out images of the synthetic data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool

from falcon_dvc.evaluation.ground_truth import Attribute, Judge, attributes_of_words
from falcon_dvc.evaluation.statistics import Resampling, correlations, mean_with_interval, paired_difference

Named = frozenset[tuple[str, Attribute]]  # (direction, attribute)
RAISES, LOWERS = "raises", "lowers"
MEASURES = ("f1", "exact", "precision", "recall")
OWN = "set"  # the method that the others are compared with
NO_ATTRIBUTE = "no attribute"  # kind of what a word names that names no attribute


def followed_attributes(judge: Judge, least: float) -> dict[str, Named]:
    """Find what each feature follows: the attributes with a correlation of at least `least`, or of at most ``-least``.

    Returns
    -------
    Directions and attributes of each feature, by name.
    """
    feature = judge.truth["group"].str.removeprefix("f").astype(int).to_numpy()
    correlation = correlations(judge.activations[:, feature], judge.attributes.to_numpy(dtype=bool))
    attributes = list(judge.attributes.columns)
    raised, lowered = (_marked(which, attributes) for which in (correlation >= least, correlation <= -least))
    return {
        group: _directed(up, RAISES) | _directed(down, LOWERS)
        for group, up, down in zip(judge.truth["group"], raised, lowered, strict=True)
    }


def _marked(which: Bool[np.ndarray, "features attributes"], attributes: Sequence[Attribute]) -> list[list[Attribute]]:
    return [[attributes[column] for column in np.flatnonzero(row).tolist()] for row in which]


def _directed(attributes: Iterable[Attribute], direction: str) -> Named:
    return frozenset((direction, attribute) for attribute in attributes)


def named_attributes(raising: Iterable[str], lowering: Iterable[str], attribute_of: Mapping[str, Attribute]) -> Named:
    """Find what words name: an attribute counts once, and a word that names none counts as a wrong one.

    Parameters
    ----------
    raising, lowering : words that raise a feature, and words that lower it.
    attribute_of : the attribute that each word names.
    """
    up, down = ([attribute_of.get(word, (NO_ATTRIBUTE, word)) for word in words] for words in (raising, lowering))
    return _directed(up, RAISES) | _directed(down, LOWERS)


def agreement(named: Named, truth: Named) -> dict[str, float]:
    """Compute F1, whether the sets are equal, precision and recall; two empty sets agree."""
    common = len(named & truth)
    return {
        "f1": 2 * common / (len(named) + len(truth)) if named or truth else 1.0,
        "exact": float(named == truth),
        "precision": common / len(named) if named else float(not truth),
        "recall": common / len(truth) if truth else float(not named),
    }


def judged_sets(
    judge: Judge,
    sets: Mapping[str, tuple[list[str], list[str]]],
    ranked: Mapping[str, list[str]],
    least: float,
    generator: np.random.Generator,
) -> pd.DataFrame:
    """Judge the words of each feature's set beside its first word, its first five words, and the set of another feature.

    Parameters
    ----------
    sets : words that raise each feature, and words that lower it.
    ranked : words of each feature by their scores, the best first.
    least : see `followed_attributes`.
    generator : draws the other features.

    Returns
    -------
    One row for each feature: ``group``, ``attributes`` and ``not_attributes`` (that it follows), and ``METHOD_f1``,
    ``METHOD_exact``, ... for each method. ``signed_set`` is judged with "not" on both sides; the others without.
    """
    truth, groups = followed_attributes(judge, least), judge.truth["group"].to_list()
    other = dict(zip(groups, _others(groups, generator), strict=True))
    attribute_of = attributes_of_words(judge.names)

    def judged(group: str) -> dict[str, float]:
        (raising, lowering), words, follows = sets[group], ranked.get(group, []), truth[group]
        raised = frozenset(one for one in follows if one[0] == RAISES)
        of_method = {OWN: raising, "first": words[:1], "first_five": words[:5], "permuted_words": sets[other[group]][0]}
        rows = {name: (named_attributes(some, [], attribute_of), raised) for name, some in of_method.items()}
        rows["signed_set"] = (named_attributes(raising, lowering, attribute_of), follows)
        return {f"{name}_{key}": value for name, row in rows.items() for key, value in agreement(*row).items()}

    texts = {
        column: [_text(truth[group], direction) for group in groups]
        for column, direction in (("attributes", RAISES), ("not_attributes", LOWERS))
    }
    return pd.DataFrame({"group": groups, **texts}).join(pd.DataFrame([judged(group) for group in groups]))


def _others(groups: Sequence[str], generator: np.random.Generator) -> list[str]:
    """Draw another feature for each feature, so that each is drawn once; a single feature is its own."""
    order = generator.permutation(len(groups))
    drawn = np.empty(len(groups), dtype=int)
    drawn[order] = np.roll(order, 1)
    return [groups[place] for place in drawn]


def _text(follows: Named, direction: str) -> str:
    return "; ".join(sorted(value for which, (_, value) in follows if which == direction))


def set_metrics(table: pd.DataFrame, settings: Resampling) -> dict:
    """Compute the means of each method, and the paired difference of the set from each other method.

    Parameters
    ----------
    table : from `judged_sets`.
    """
    methods = [column.removesuffix("_f1") for column in table.columns if column.endswith("_f1")]
    found: dict = {"features": len(table)}
    for method in methods if len(table) else []:
        found[method] = {
            measure: mean_with_interval(table[f"{method}_{measure}"], settings, "mean") for measure in MEASURES
        }
        if method not in (OWN, "signed_set"):
            found[method] |= {
                f"set_less_this_{measure}": paired_difference(
                    table[f"{OWN}_{measure}"], table[f"{method}_{measure}"], settings
                )
                for measure in MEASURES[:2]
            }
    return found
