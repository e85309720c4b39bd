"""Fixtures that several stages share."""

import numpy as np
import pytest

from tests.support.transfer_spaces import IMAGES, TEST, Eye, write_corpus, write_images, write_space


@pytest.fixture
def spaces(tmp_path, monkeypatch):
    """Artefacts of two spaces: `a` has a feature a colour, `b` mixes these linearly. Returns b's features, to be changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("falcon_dvc.models.image_text.load.load_image_text", lambda *_: Eye())
    monkeypatch.setattr("falcon_dvc.compute.device.best_device", lambda *_: "cpu")
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 3, IMAGES + TEST)
    explained = np.eye(3)[colour] + 0.1 * rng.random((len(colour), 3))
    unseen = explained @ rng.random((3, 5)) + 0.02 * rng.random((len(colour), 5))
    write_images(colour)
    write_corpus()
    for name, features in (("a", explained), ("b", unseen)):
        write_space(name, features)
    return unseen
