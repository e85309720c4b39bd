"""Features are explained in memory: of a network, of arrays, some of them, with wrong arguments."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import falcon_dvc
from falcon_dvc import Concepts, FindGroups, ParseCaptions, Settings
from falcon_dvc.errors import UserError
from tests.support.coloured_squares import CAPTIONS, COLOURS, NamesColours, SeesColours, pictures
from tests.support.paths import ROOT

FEW = Settings(find_groups=FindGroups(rule="top_k", top_k=15, min_images=5, max_groups=0, low_images=10))
IMAGES = pictures()


def run(encoder=None, images=IMAGES, captions=CAPTIONS, image_text=None, settings=FEW, **options):
    encoder = SeesColours() if encoder is None else encoder
    return falcon_dvc.explain(encoder, images, captions, image_text or NamesColours(), settings=settings, **options)


@pytest.fixture(scope="module")
def explained():
    return run()


@pytest.fixture(scope="module")
def activations():
    """Features and maps of the network, as arrays."""
    return falcon_dvc.network(SeesColours()).activations(IMAGES)


def same(found, expected):
    pd.testing.assert_frame_equal(found.concepts, expected.concepts)
    pd.testing.assert_frame_equal(found.crops, expected.crops)
    pd.testing.assert_frame_equal(found.captions, expected.captions)
    assert np.array_equal(found.heatmaps, expected.heatmaps)


def first(found):
    words = found.concepts[found.concepts["kept"] & (found.concepts["kind"] == "word")]
    return words[words["rank"] == 1].set_index("group")["concept"].to_dict()


def test_a_feature_is_named_after_the_colour_that_it_sees(explained):
    assert {group: word for group, word in first(explained).items() if group != "f3"} == {
        f"f{number}": colour for number, colour in enumerate(COLOURS)
    }


def test_the_tables_say_which_crops_and_captions_it_comes_from(explained):
    crops = explained.crops[explained.crops["role"] == "high"].loc[lambda rows: rows["group"] == "f0"]
    assert (crops["image"] % 3 == 0).all() and not crops["empty"].any()
    assert crops["activation"].is_monotonic_decreasing and ((crops["right"] - crops["left"]) < 32).all()
    of_crop = explained.captions[explained.captions["crop"] == crops.index[0]]
    assert of_crop["text"].str.contains("red").all() and of_crop["similarity"].between(0.9, 1).all()
    assert of_crop["weight"].sum() == pytest.approx(1)
    assert len(explained.heatmaps) == len(explained.crops)


def test_quantiles_of_the_first_words_are_measured(explained):
    assert explained.quantiles["group"].nunique() == len(explained.groups)
    red = explained.quantiles.set_index(["group", "part"]).loc["f0"]
    assert red.loc["top_decile", "word"] == "red" and red.loc["top_decile", "lift"] > 2
    assert (red["frequency"] == 1).all() and red["images"].sum() == len(IMAGES)
    assert red.loc["deciles_6_to_10", "score"] < red.loc["top_decile", "score"]


def test_the_strongest_crops_are_drawn(explained):
    drawn = np.asarray(explained.picture(1, count=3, size=20))
    assert drawn.shape == (20, 60, 3) and drawn[10, 10].argmax() == 1
    assert explained.picture("f1", count=3, size=20).tobytes() == explained.picture(1, count=3, size=20).tobytes()
    with pytest.raises(UserError, match="feature: 9 was not explained"):
        explained.picture(9)


def test_it_is_shown_as_a_table_without_markup_of_captions():
    found = run(captions=[f"{text} <script>" for text in CAPTIONS], settings=FEW)
    tables = {"concepts": found.concepts.assign(concept="<script>"), "sets": found.sets.assign(sentence="<script>")}
    shown = replace(found, **tables)._repr_html_()
    assert "red" in found._repr_html_() and "&lt;script&gt;" in shown and "<script" not in shown
    assert repr(found) == f"Explained(4 groups, {len(found.concepts)} concepts, {len(found.crops)} crops)"


def test_arrays_are_explained_as_the_network_that_gives_them(explained, activations):
    same(run(activations), explained)


def test_features_without_maps_are_explained_by_whole_images(activations):
    found = run(activations[0])
    assert found.crops["empty"].all() and (found.crops["right"] == 32).all()
    assert first(found)["f2"] == "blue"


def test_some_features_have_the_same_images_as_among_all(explained):
    found = run(features=[2, 0])
    assert set(found.groups["group"]) == {"f0", "f2"} == set(found.concepts["group"])
    crops, others = (some.crops.query("group == 'f2' and role != 'random'") for some in (found, explained))
    assert crops.reset_index(drop=True).equals(others.reset_index(drop=True))


def test_given_embeddings_of_captions_are_used(explained):
    same(run(caption_embeddings=NamesColours().embed_texts(CAPTIONS)), explained)
    with pytest.raises(UserError, match=r"caption_embeddings: float32 of shape \(3, 4\) for 24 captions"):
        run(caption_embeddings=np.ones((3, 4), dtype=np.float32))


def test_an_image_text_encoder_may_be_two_functions_of_any_length(explained):
    names = NamesColours()
    found = run(image_text=(lambda images: 3.0 * names.embed_images(images), names.embed_texts))
    assert first(found) == first(explained)


def test_captions_may_be_any_iterable_and_may_repeat(explained):
    found = run(captions=(text for text in [*CAPTIONS, *CAPTIONS]))
    same(found, explained)


def test_the_seed_draws_the_random_images(explained):
    def random(found):
        return found.crops.loc[found.crops["role"] == "random", "image"].tolist()

    assert random(run(seed=1)) != random(explained) == random(run(seed=0))


def test_the_network_keeps_its_mode_and_its_gradients():
    network = SeesColours().train()
    run(network, features=[0])
    assert network.training and network.head.weight.requires_grad


def test_features_without_positions_are_located_by_gradients():
    encoder = falcon_dvc.network(SeesColours(), layer="head")
    found = run(encoder)
    assert found.heatmaps.shape[1:] == (8, 8) and not found.crops["empty"].all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": []}, "images: none; give PIL images"),
        ({"images": "photos/"}, "images: a str; give PIL images"),
        ({"captions": []}, "captions: none has a text"),
        ({"captions": ["", " "]}, "captions: none has a text"),
        ({"captions": "a boat"}, "captions: a str; give a list of texts"),
        ({"captions": 3}, "captions: a int; give a list of texts"),
        ({"captions": ["a boat", None]}, "captions: number 1 is a NoneType; give a list of texts"),
        ({"captions": ["蓝色的方块", "赤い四角"]}, "captions: 2 of 2 captions have no spaces .* set parse_captions.language"),
        ({"captions": ["of the", "12"], "caption_embeddings": np.eye(2)}, "captions: none holds a noun, verb or adjective"),
        ({"encoder": np.ones((3, 2))}, "encoder: 3 rows of features, but 60 images"),
        ({"encoder": np.full((60, 2), np.nan)}, r"encoder: its features hold NaN or infinite values \(image 0\)"),
        ({"encoder": np.ones(60)}, r"encoder: features are float64 of shape \(60,\)"),
        ({"encoder": (np.ones((60, 2)), np.ones((60, 3, 4, 4)))}, r"encoder: maps are float64 of shape \(60, 3, 4, 4\)"),
        ({"encoder": np.arange(60.0)[:, None]}, "encoder: gives one feature, .* set settings.find_groups.normalise="),
        ({"encoder": np.ones((60, 2))}, "features: none of 2 fires on 5 or more of 60 images"),
        ({"encoder": torch.nn.Conv2d(3, 4, 1)}, "network: the network of Conv2d has no attribute `preprocess`"),
        ({"encoder": "resnet18"}, "encoder: a str; give a torch module"),
        ({"features": [0, 7]}, "features: 0, 7; give numbers from 0 to 3"),
        ({"features": []}, "features: none; give numbers from 0 to 3"),
        ({"image_text": "ViT-B-32"}, "image_text: a str; give"),
        (
            {"image_text": (lambda images: np.ones((1, 2)), NamesColours().embed_texts)},
            r"image_text: float64 of shape \(1, 2\)",
        ),
        (
            {"image_text": (lambda images: np.ones((len(images), 2)), NamesColours().embed_texts)},
            "image_text: images of width 2, captions of width 4",
        ),
        (
            {"image_text": (NamesColours().embed_images, lambda texts: np.zeros((len(texts), 4)))},
            "image_text: the embedding of a text is zero or not finite",
        ),
        ({"settings": Settings(find_groups=FindGroups(rule="most"))}, "settings: FindGroups.rule: should be 'top_k'"),
        ({"settings": Settings(concepts=Concepts(top=0))}, "settings: Concepts.top: should be greater than"),
        ({"settings": Settings(parse_captions=ParseCaptions(discard=("A",)))}, "settings: ParseCaptions.discard.0: "),
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_in_one_line(change, message):
    with pytest.raises(UserError, match=f"^{message}") as error:
        run(**change)
    assert "\n" not in str(error.value)


def test_captions_in_another_language_are_warned_of():
    with pytest.warns(UserWarning, match="100 % .*; set settings.parse_captions.language: fr"):
        run(captions=["un bateau red sur la plage", "le bateau blue est dans la neige"])


def test_importing_the_package_imports_neither_torch_nor_pandas():
    code = "import sys, falcon_dvc; print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    assert set(falcon_dvc.__all__) <= set(dir(falcon_dvc))
    with pytest.raises(AttributeError, match="no attribute 'explains'"):
        _ = falcon_dvc.explains


CLASSES = ["red square", "green square", "something else"]


def test_what_a_feature_does_to_a_classifier_is_measured(activations):
    weights = np.array([[2.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]])
    found = run(activations, classifier=(weights, CLASSES)).ablation.set_index("group")
    assert found.loc[["f0", "f1"], "falls_most"].tolist() == CLASSES[:2]
    assert found.loc[["f0", "f1"], "named_by_word"].tolist() == CLASSES[:2]
    assert (found.loc[["f0", "f1"], "word_names_it"] == 1).all() and found.loc["f2", "named_by_word"] == ""
    assert found.loc["f0", "fall"] > found.loc["f0", "random_fall"] and found.loc["f0", "p_value"] < 0.1


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (np.eye(4), r"classifier: must be a pair of weights"),
        ((np.eye(3), CLASSES), r"classifier: weights of shape \(3, 3\) and 3 names; for 4 features"),
        ((np.eye(4)[:3], CLASSES[:2]), r"classifier: weights of shape \(3, 4\) and 2 names"),
        ((np.full((3, 4), np.nan), CLASSES), r"classifier: weights must be finite"),
    ],
)
def test_a_wrong_classifier_is_one_line(activations, classifier, message):
    with pytest.raises(UserError, match=message):
        run(activations, classifier=classifier)


def test_directions_are_explained_in_place_of_channels():
    found = run(basis=np.eye(4)[[2, 0]])
    assert first(found) == {"f0": "blue", "f1": "red"}


def test_both_sides_of_directions_are_named_and_know_each_other(tmp_path):
    np.save(tmp_path / "w.npy", np.array([[1.0, -1, 0, 0], [0, 0, 0, 1]]))  # red against green, and a constant
    found = run(basis={"directions": str(tmp_path / "w.npy"), "both_signs": True})
    words, groups = first(found), found.groups.set_index("group")
    assert words["f0"] == "red" and words["f2"] == "green"
    assert groups.loc["f0", ["side", "opposite"]].tolist() == ["positive", "f2"]
    assert groups.loc["f2", ["side", "opposite"]].tolist() == ["negative", "f0"]
    assert found.summary()["side"].tolist() == found.groups["side"].tolist()


class SeesSaturation(NamesColours):
    """Names the strongest colour, so that a whole image is named after its square."""

    def embed_images(self, images):
        strongest = [
            image.reshape(-1, 3)[np.ptp(image.reshape(-1, 3).astype(int), axis=1).argmax()] for image in images
        ]
        return _rows([[*np.maximum(colour.astype(float) - 128, 1), 1] for colour in strongest])


def _rows(values):
    rows = np.array(values, dtype=np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_each_feature_has_a_sentence_of_the_words_that_it_follows():
    found = run(image_text=SeesSaturation())
    assert list(found.sentence) == [f"f{number}" for number in range(len(found.sets))]
    for number, colour in enumerate(COLOURS):
        assert found.sentence[f"f{number}"].startswith(f"{colour} (R² ")
    assert found.sets["r2"][:3].min() > 0.5 and set(found.summary()["sentence"]) == set(found.sentence.values())


def test_words_are_compared_with_all_images_as_the_settings_say():
    asked = []

    class Recorded(NamesColours):
        def embed_texts(self, texts):
            asked.extend(texts)
            seen = [f"{text} red green blue" if not any(one in text for one in COLOURS) else text for text in texts]
            return super().embed_texts(seen)

    by_score = run(settings=replace(FEW, concepts=Concepts(ranking="score", contrast="off")))
    assert (by_score.concepts["value"] == by_score.concepts["score"]).all()
    whole = Concepts(words_from="corpus", word_weight=1.0, nearest_weight=1.0, hub_correction=True)
    found = run(image_text=Recorded(), settings=replace(FEW, concepts=whole))
    assert "a photo of a red" in asked and "a photo of a red" not in CAPTIONS
    assert {f"f{number}": colour for number, colour in enumerate(COLOURS)}.items() <= first(found).items()
    assert (found.concepts["value"] > found.concepts["score"]).any()
