"""Hold classified images, and compute the blame of their failures."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from falcon_dvc.failures.blame import (
    Blame,
    blame,
)
from falcon_dvc.models.encoders.classifiers import LinearClassifier


@dataclass(frozen=True)
class Classified:
    """Hold the images whose label names a class, their predicted classes, and the references of the classes."""

    classifier: LinearClassifier
    image: np.ndarray
    split: np.ndarray
    features: np.ndarray
    right: np.ndarray
    predicted: np.ndarray
    references: np.ndarray

    def rows(self, split: str, wrong: bool = False) -> np.ndarray:
        """Return the rows of a split, or only those of its failures."""
        return np.flatnonzero((self.split == split) & ((self.right != self.predicted) | (not wrong)))

    def blamed(self, rows: np.ndarray, reference: str) -> Blame:
        """Compute the blame of failures against the reference named.

        The reference ``right`` is the mean of the rightly classified images of the class. Otherwise it is the mean of
        all probe images.
        """
        right, wrong, features = self.right[rows], self.predicted[rows], self.features[rows].astype(np.float64)
        against = self.references[right] if reference == "right" else self._probe_mean
        return blame(features, self.classifier.weights, right, wrong, against)

    @cached_property
    def _probe_mean(self) -> np.ndarray:
        probe = self.rows("probe")
        return self.features[probe].sum(axis=0, dtype=np.float64) / max(len(probe), 1)
