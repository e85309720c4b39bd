"""Rank a unit's own class name among all class names."""

from __future__ import annotations

import numpy as np


def rank_of_own(score: np.ndarray) -> np.ndarray:
    """Compute the rank, from 1, of each row's diagonal entry; of equal scores the own name comes last."""
    own = np.diag(score)[:, None]
    return 1 + (score > own).sum(axis=1) + (score == own).sum(axis=1) - 1
