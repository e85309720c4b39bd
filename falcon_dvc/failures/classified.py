"""Images as a classifier sees them, and the blame of its failures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from falcon_dvc.failures.blame import (
    Blame,
    blame,
)
from falcon_dvc.models.encoders.load import LinearClassifier

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Classified:
    """Images whose label names a class, what the classifier makes of them, and what it looks at where it is right."""

    classifier: LinearClassifier
    image: np.ndarray
    split: np.ndarray
    features: np.ndarray
    right: np.ndarray
    found: np.ndarray
    references: np.ndarray

    def rows(self, split: str, wrong: bool = False) -> np.ndarray:
        """Rows of a split; of its failures only, if so wanted."""
        return np.flatnonzero((self.split == split) & ((self.right != self.found) | (not wrong)))

    def blamed(self, rows: np.ndarray, reference: str) -> Blame:
        """Blame of failures against images of their class that are right, or against all probe images."""
        right, wrong, features = self.right[rows], self.found[rows], self.features[rows].astype(np.float64)
        against = self.references[right] if reference == "right" else self._probe_mean
        return blame(features, self.classifier.weights, right, wrong, against)

    @cached_property
    def _probe_mean(self) -> np.ndarray:
        probe = self.rows("probe")
        return self.features[probe].sum(axis=0, dtype=np.float64) / max(len(probe), 1)
