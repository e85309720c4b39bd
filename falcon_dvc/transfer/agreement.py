"""Compare the images and words that a map finds with those of the explained space."""

from __future__ import annotations

import numpy as np
import pandas as pd

from falcon_dvc.transfer.spaces import Maps, Spaces


def top_images(activation: np.ndarray, count: int) -> np.ndarray:
    """Find the most activating held-out images of each group, as places in the held-out split."""
    return np.argsort(-activation, axis=1, kind="stable")[:, :count]


def shared(first: list[list[str]], second: list[list[str]]) -> list[float]:
    """Compute the share of the first list's words that are in the second list; 0 for an empty list."""
    return [len(set(words) & set(others)) / max(len(words), 1) for words, others in zip(first, second, strict=True)]


def same_first(first: list[list[str]], second: list[list[str]]) -> list[float]:
    """Return 1 where both lists begin with the same word, else 0."""
    return [float(words[:1] == others[:1] and len(words) > 0) for words, others in zip(first, second, strict=True)]


def nearest_feature(spaces: Spaces, maps: Maps, explained: np.ndarray) -> pd.Series:
    """Find the feature of the unseen space that correlates most with each transferred group on the training split.

    Parameters
    ----------
    explained : numbers of the features of the unseen space that it may be: the others have no concepts to compare.
    """
    train = spaces.unseen[maps.split.train]
    transferred = maps.fitted(train) @ spaces.members.T
    with np.errstate(invalid="ignore"):  # a constant feature has no correlation
        correlation = np.corrcoef(transferred.T, train.T)[: len(spaces.groups), len(spaces.groups) :]
    nearest = np.nan_to_num(correlation[:, explained], nan=-1).argmax(axis=1)
    return pd.Series([f"f{feature}" for feature in explained[nearest]])
