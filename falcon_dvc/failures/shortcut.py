"""How often the blame finds the shortcut that was planted in the synthetic data set."""

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
from falcon_dvc.failures.clusters import Carried
from falcon_dvc.progress import track

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Failures, Params, Shortcut


def shortcut_metrics(
    params: Params, images: Classified, rows: np.ndarray, blamed: Blame, carried: Carried
) -> dict[str, Any]:
    """Of the failures that the planted shortcut causes, the share whose first-named concept is the shortcut; by chance, and of others.

    ``any_background``: a word for any background. ``at_work``: the image's own background, or that it is not the planted one.
    """
    settings, planted = params.failures, params.render_scenes.shortcut
    table = read_table(f"{params.data.images}/attributes.parquet").set_index("image")
    background = table["background"].reindex(images.image[rows]).to_numpy()
    lost, taken = _planted(images, rows, background, planted)
    both = lost | taken
    if not both.any():
        return {"shortcut": {"failures": 0}}
    names = _background_names(carried.words, read_table(f"{params.data.images}/lexicon.parquet"))

    def judged(some: Blame) -> np.ndarray:
        first, silent, _ = first_named(*concept_blame(some, carried.concept))
        return _names_shortcut(first, silent, background, names, planted.background)

    anything, at_work = judged(blamed)
    chance_anything, chance_at_work = _by_chance(blamed, judged, settings)
    share = lambda hits, some: {"failures": int(some.sum()), **mean_with_interval(hits[some], settings)}  # noqa: E731
    return {
        "shortcut": {
            "any_background": share(anything, both),
            "any_background_by_chance": share(chance_anything, both),
            "at_work": share(at_work, both),
            "at_work_by_chance": share(chance_at_work, both),
            "at_work_object_elsewhere": share(at_work, lost),
            "at_work_lookalike_there": share(at_work, taken),
            "at_work_other_failures": share(at_work, ~both),
        }
    }


def _planted(
    images: Classified, rows: np.ndarray, background: np.ndarray, planted: Shortcut
) -> tuple[np.ndarray, np.ndarray]:
    """Failures of the planted object off its background, and look-alikes on it that are called the object."""
    right, wrong = (np.array(images.classifier.names)[classes[rows]] for classes in (images.right, images.found))
    there = background == planted.background
    return (right == planted.object) & ~there, (right == planted.lookalike) & there & (wrong == planted.object)


def _background_names(words: np.ndarray, lexicon: pd.DataFrame) -> list[set[str]]:
    """The backgrounds that the word of each concept names."""
    names = {value: some for (kind, value), some in names_of_attributes(lexicon).items() if kind == "background"}
    return [{value for value, some in names.items() if word in some} for word in words]


def _names_shortcut(
    first: np.ndarray, silent: np.ndarray, background: np.ndarray, names: list[set[str]], planted: str
) -> np.ndarray:
    """Whether the first-named concept of each failure is a background at all, and whether it is the one at work."""
    named = [names[concept] if concept >= 0 else set() for concept in first]
    at_work = [
        (planted in some and own != planted) if absent else own in some
        for some, absent, own in zip(named, silent, background, strict=True)
    ]
    return np.array([[len(some) > 0 for some in named], at_work], dtype=float)


def _by_chance(blamed: Blame, judged: Callable[[Blame], np.ndarray], settings: Failures) -> np.ndarray:
    """The same of each failure with its blame shuffled over the features, on average."""
    generator = np.random.default_rng(settings.seed)
    rounds = track(range(settings.permutations), "shuffled blame")
    return np.mean([judged(shuffled(blamed, generator)) for _ in rounds], axis=0)
