"""How far what a map finds agrees with the explained space's own images and words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.transfer.spaces import Maps, Spaces

if TYPE_CHECKING:
    pass


def top_images(activation: np.ndarray, count: int) -> np.ndarray:
    """Places in the held-out split of each group's most activating images."""
    return np.argsort(-activation, axis=1, kind="stable")[:, :count]


def shared(first: list[list[str]], second: list[list[str]]) -> list[float]:
    """Share of the first list's words that are in the second's; 0 for an empty list."""
    return [len(set(a) & set(b)) / max(len(a), 1) for a, b in zip(first, second, strict=True)]


def same_first(first: list[list[str]], second: list[list[str]]) -> list[float]:
    """1 where both lists begin with the same word."""
    return [float(a[:1] == b[:1] and len(a) > 0) for a, b in zip(first, second, strict=True)]


def nearest_feature(spaces: Spaces, maps: Maps) -> pd.Series:
    """The unseen space's own feature that follows each carried group best on the training split."""
    train = spaces.unseen[maps.split.train]
    carried = maps.fitted(train) @ spaces.members.T
    with np.errstate(invalid="ignore"):  # what is constant correlates with nothing
        correlation = np.corrcoef(carried.T, train.T)[: len(spaces.groups), len(spaces.groups) :]
    return pd.Series([f"f{feature}" for feature in np.nan_to_num(correlation, nan=-1).argmax(axis=1)])
