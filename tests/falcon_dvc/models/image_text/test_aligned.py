"""An encoder learned from pairs: its formula, its file, and files that do not fit."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from falcon_dvc.errors import UserError
from falcon_dvc.models.image_text import aligned
from falcon_dvc.models.image_text.aligned import Alignment, save_alignment, unit
from falcon_dvc.models.image_text.conse import convex_combination
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.models.image_text.towers import Towers
from falcon_dvc.models.scenes.checkpoints import save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.schema import TOWERS, AlignedImageText
from tests.support.image_text_encoders import IMAGES

CLASSES = ["boat", "tree", "umbrella"]


@pytest.fixture
def entries(tmp_path):
    """Two small networks, the second of which has a classifier."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_encoder(tmp_path / "plain.safetensors", SmallResNet(4, [4, 6], {}), {})
        save_encoder(tmp_path / "heads.safetensors", SmallResNet(4, [4, 5], {"object": CLASSES}), {})
    return [{"kind": "scenes", "checkpoint": str(tmp_path / f"{name}.safetensors")} for name in ("plain", "heads")]


@pytest.fixture
def learned(entries, tmp_path, sentences):
    """A file, the map in it, and its networks."""
    rng = np.random.default_rng(0)
    towers = Towers(TOWERS.validate_python(entries), "cpu", "towers")
    found = Alignment(
        *(rng.uniform(0.5, 1, size=shape).astype(np.float32) for shape in [11, 11, (11, 5), 5, 5, (5, 5)])
    )
    config = {
        "towers": entries,
        "towers_digest": towers.digest(),
        "sentences": "folder",
        "sentences_digest": "digest of folder",
    }
    save_alignment(tmp_path / "a.safetensors", found, config | {"conse": 0.5, "top": 2})
    return tmp_path / "a.safetensors", found, towers


def loaded(path):
    return load_image_text(AlignedImageText(kind="aligned", checkpoint=str(path)))


def test_it_is_the_map_and_half_of_conse(learned):
    path, found, towers = learned
    encoder = loaded(path)
    features = towers.features(towers.prepare(IMAGES))
    assert features.shape == (4, 11) and encoder.dim == 5
    mapped = unit(
        (np.sign(features) * np.abs(features) ** 0.5 - found.level) / found.spread @ found.weights + found.bias
    )
    place, classifier = towers.classifier()
    assert (place, classifier.names) == (slice(6, 11), tuple(CLASSES))
    logits = features[:, place] @ classifier.weights.T + classifier.bias
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    names = convex_combination(probabilities, encoder.embed_texts(CLASSES), 2)
    np.testing.assert_allclose(encoder.embed_images(IMAGES), unit(mapped + 0.5 * names), atol=1e-5)


@given(st.integers(0, 999), st.floats(0.01, 10))
def test_whitened_texts_vary_alike_in_all_directions_unless_they_are_shrunk(seed, shrinkage):
    rng = np.random.default_rng(seed)
    texts = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 3
    level, weights = aligned.whitening(texts, shrinkage)
    variance = np.linalg.eigvalsh(np.cov(texts.T))
    expected = variance / (variance + shrinkage * variance.mean())
    np.testing.assert_allclose(np.linalg.eigvalsh(np.cov(((texts - level) @ weights).T)), expected, atol=1e-8)
    np.testing.assert_allclose(weights, weights.T, atol=1e-9)
    assert aligned.whitening(texts, None)[1].tolist() == np.eye(4).tolist()


def test_batches_and_several_networks_change_nothing(learned):
    encoder = loaded(learned[0])
    alone = np.concatenate([encoder.embed_images([image]) for image in IMAGES])
    np.testing.assert_allclose(encoder.embed_images(IMAGES), alone, atol=1e-6)
    assert encoder.embed_images(IMAGES).dtype == np.float32


def test_the_fingerprint_follows_the_file(learned):
    path, found, _ = learned
    before = loaded(path).fingerprint
    tensors, config = vars(found) | {"bias": found.bias + 1}, aligned.load_alignment(path)[1]
    save_alignment(path, Alignment(**tensors), config)
    assert before.startswith("aligned:") and loaded(path).fingerprint != before


def rewritten(path, tensors=None, metadata=None, config=None):
    """Write a file with other content."""
    from safetensors import safe_open

    with safe_open(path, "numpy") as file:
        kept = dict(file.metadata())
    (key,) = kept
    written = {key: json.dumps(json.loads(kept[key]) | (config or {}))} if metadata is None else metadata
    save_file(load_file(path) | (tensors or {}), path, written)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensors": {"bias": np.zeros(4, np.float32)}}, "do not fit each other"),
        ({"tensors": {"text_weights": np.eye(4, dtype=np.float32)}}, "do not fit each other"),
        ({"tensors": {"level": np.full(11, np.nan, np.float32)}}, "not finite"),
        ({"tensors": {"spread": np.zeros(11, np.float32)}}, "not finite"),
        ({"metadata": {"format": "falcon-clip"}}, "is no image-text encoder of align_image_text"),
        ({"metadata": {"falcon-aligned": "{"}}, "is no image-text encoder of align_image_text"),
        ({"config": {"conse": -1}}, "values that are not possible"),
        ({"config": {"towers": "all"}}, "its description is not complete"),
        ({"config": {"towers": [{"kind": "python", "factory": "os:getcwd"}]}}, "lists networks that are not valid"),
        ({"config": {"towers_digest": "0"}}, "was learned with other weights of its towers"),
        ({"config": {"sentences_digest": "0"}}, "was learned with other weights of its sentences"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_one_line(changes, message, learned):
    rewritten(learned[0], **changes)
    with pytest.raises(UserError, match=message) as error:
        loaded(learned[0])
    assert "\n" not in str(error.value)


def test_other_networks_than_those_of_the_map_are_refused(learned, entries):
    rewritten(learned[0], config={"towers": entries[:1]})
    with pytest.raises(UserError, match="maps 11 features to 5 numbers, but its networks have 6 and 5"):
        loaded(learned[0])


def test_no_file_and_a_cut_file(learned, tmp_path):
    with pytest.raises(UserError, match=r"image_text\.checkpoint: .*missing"):
        loaded(tmp_path / "missing.safetensors")
    learned[0].write_bytes(learned[0].read_bytes()[:100])
    with pytest.raises(UserError, match="is no image-text encoder of align_image_text"):
        loaded(learned[0])


def test_conse_needs_a_classifier(learned, entries):
    towers = Towers(TOWERS.validate_python(entries[:1]), "cpu", "towers")
    with pytest.raises(UserError, match="no network of towers has a classifier, which ConSE needs; set conse to 0"):
        aligned.ClassNames(towers, None, 2, "alignments.a")


def test_boxes_are_pooled_from_one_pass(learned):
    encoder = loaded(learned[0])
    shapes = np.array([image.shape[:2] for image in IMAGES])
    whole = [np.array([[0, 0, width, height]]) for height, width in shapes]
    embedded, maps = encoder.embed_with_maps(encoder.prepare(IMAGES))
    np.testing.assert_allclose(embedded, encoder.embed_images(IMAGES), atol=1e-6)
    np.testing.assert_allclose(encoder.embed_boxes(maps, shapes, whole), embedded, atol=1e-5)
    halves = [np.array([[0, 0, width, height], [0, 0, -(-width // 2), height]]) for height, width in shapes]
    both = encoder.embed_boxes(maps, shapes, halves)
    assert both.shape == (8, 5)
    np.testing.assert_allclose(both[::2], encoder.embed_images(IMAGES), atol=1e-5)
    assert np.abs(both[1] - both[0]).max() > 1e-4
