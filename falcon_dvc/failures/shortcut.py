"""Measure how often the blame finds the shortcut that was planted in the synthetic data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.evaluation.ground_truth import names_of_attributes
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.failures.blame import (
    Blame,
    concept_blame,
    first_named,
    shuffled,
)
from falcon_dvc.failures.classified import Classified
from falcon_dvc.failures.clusters import FeatureConcepts
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Failures, Params, Shortcut


def shortcut_metrics(
    params: Params, images: Classified, rows: np.ndarray, blamed: Blame, concepts: FeatureConcepts
) -> dict[str, Any]:
    """Compute how often the first-named concept of a failure is the planted shortcut.

    The shares are over failures that the shortcut causes, beside chance and beside other failures. ``any_background``
    counts a word for any background. ``at_work`` counts a word for the image's own background, or the absence of the
    planted one.
    """
    settings, planted = params.failures, params.render_scenes.shortcut
    table = read_table(f"{params.data.images}/attributes.parquet").set_index("image")
    background = table["background"].reindex(images.image[rows]).to_numpy()
    lost, taken = _planted(images, rows, background, planted)
    caused = lost | taken
    if not caused.any():
        return {"shortcut": {"failures": 0}}
    names = _background_names(concepts.words, read_table(f"{params.data.images}/lexicon.parquet"))

    def names_shortcut(of_failures: Blame) -> np.ndarray:
        first, silent, _ = first_named(*concept_blame(of_failures, concepts.concept))
        return _names_shortcut(first, silent, background, names, planted.background)

    anything, at_work = names_shortcut(blamed)
    chance_anything, chance_at_work = _by_chance(blamed, names_shortcut, settings)
    share = lambda hits, chosen: {"failures": int(chosen.sum()), **mean_with_interval(hits[chosen], settings)}  # noqa: E731
    return {
        "shortcut": {
            "any_background": share(anything, caused),
            "any_background_by_chance": share(chance_anything, caused),
            "at_work": share(at_work, caused),
            "at_work_by_chance": share(chance_at_work, caused),
            "at_work_object_elsewhere": share(at_work, lost),
            "at_work_lookalike_there": share(at_work, taken),
            "at_work_other_failures": share(at_work, ~caused),
        }
    }


def _planted(
    images: Classified, rows: np.ndarray, background: np.ndarray, planted: Shortcut
) -> tuple[np.ndarray, np.ndarray]:
    """Find the failures that the shortcut causes.

    These are planted objects off their background, and look-alikes on it that are called the object.
    """
    right, wrong = (np.array(images.classifier.names)[classes[rows]] for classes in (images.right, images.predicted))
    there = background == planted.background
    return (right == planted.object) & ~there, (right == planted.lookalike) & there & (wrong == planted.object)


def _background_names(words: np.ndarray, lexicon: pd.DataFrame) -> list[set[str]]:
    """Find the backgrounds that the word of each concept names."""
    names = {
        value: words_of_value
        for (kind, value), words_of_value in names_of_attributes(lexicon).items()
        if kind == "background"
    }
    return [{value for value, words_of_value in names.items() if word in words_of_value} for word in words]


def _names_shortcut(
    first: np.ndarray, silent: np.ndarray, background: np.ndarray, names: list[set[str]], planted: str
) -> np.ndarray:
    """Decide whether the first-named concept of each failure is any background, and whether it is the one at work."""
    named = [names[concept] if concept >= 0 else set() for concept in first]
    at_work = [
        (planted in backgrounds and own != planted) if absent else own in backgrounds
        for backgrounds, absent, own in zip(named, silent, background, strict=True)
    ]
    return np.array([[len(backgrounds) > 0 for backgrounds in named], at_work], dtype=float)


def _by_chance(blamed: Blame, names_shortcut: Callable[[Blame], np.ndarray], settings: Failures) -> np.ndarray:
    """Compute the same values with the blame of each failure shuffled over the features, averaged over draws."""
    generator = np.random.default_rng(settings.seed)
    rounds = track(range(settings.permutations), "shuffled blame")
    return np.mean([names_shortcut(shuffled(blamed, generator)) for _ in rounds], axis=0)
