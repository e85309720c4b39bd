"""ConSE: its formula, any classifier, any encoder of sentences."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import TypeAdapter, ValidationError

from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders.efficientnet_lite import weights_path
from falcon_dvc.models.image_text.base import sha256
from falcon_dvc.models.image_text.conse import convex_combination, digest_of, installed_sentences
from falcon_dvc.models.image_text.load import load_image_text
from falcon_dvc.models.imagenet import class_texts, imagenet_class_names, imagenet_synsets
from falcon_dvc.params.schema import ClassifierSpec, ImageTextSpec
from tests.support.image_text_encoders import IMAGES, any_conse, network, spec_of


def test_class_names_find_their_class(conse):
    names = ["great white shark", "tabby cat", "espresso"]
    similar = (
        conse.embed_texts(["a shark under water", "a small kitten", "a cup of coffee"]) @ conse.embed_texts(names).T
    )
    assert similar.argmax(axis=1).tolist() == [0, 1, 2]
    assert conse.fingerprint.startswith("conse:10:")


@pytest.mark.usefixtures("conse")
def test_without_other_networks_fingerprint_and_preprocessing_are_as_they_were(conse):
    network, sentences = sha256(weights_path(2)), sha256(installed_sentences() / "model.safetensors")
    texts = class_texts(imagenet_synsets(), imagenet_class_names())
    assert conse.fingerprint == ":".join(["conse", "10", network, digest_of(texts), sentences])
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
    assert encoder._texts == class_texts(imagenet_synsets(), imagenet_class_names())


def test_imagenet_classes_are_described_and_others_keep_their_name():
    horn = imagenet_class_names().index("French horn")
    described = class_texts([imagenet_synsets()[horn], "thing", "horn"], ["French horn", "thing", "French horn"])
    assert described[0].startswith("French horn, a brass musical instrument") and described[1:] == [
        "thing",
        "French horn",
    ]
    assert all(", " in text for text in class_texts(imagenet_synsets(), imagenet_class_names()))


def test_a_definition_brings_a_class_to_what_it_is(conse):
    names = ["French horn", *class_texts(["n03394916"], ["French horn"])]
    name, described = conse.embed_texts(names) @ conse.embed_texts(["tuba", "food"]).T
    assert described[0] - described[1] > name[0] - name[1]


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
        told = {key: told[key] for key in ("kind", "factory", "size", "mean", "std", "classes")}
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
                "classifier": {"kind": "torchvision", "nme": "resnet18", "checkpoint": "x"},
            }
        )
    with pytest.raises(ValidationError, match="open_clip"):
        network(kind="open_clip")


def save_sentence_encoder(folder):
    """A tiny random BERT with a tokenizer of letters, as transformers saves it."""
    transformers = pytest.importorskip("transformers")

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
