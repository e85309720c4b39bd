"""What the data of a run lack, in sentences."""

import re

import pytest

from falcon_dvc.artifacts.shortfalls import of_captions, of_concepts, of_features, of_images, of_words, proposed
from falcon_dvc.artifacts.summary import StageSummary, lines

IMAGES = {"images": 400, "probe": 200, "test": 200, "skipped": 0}


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({}, None),
        ({"skipped": 3}, "3 of 403 images cannot be read"),
        (
            {"probe": 12},
            "only 12 images can explain features, .*; add images to data.images, or lower data.heldout, which holds out 200",
        ),
        ({"probe": 1, "test": 0}, "only 1 image can .*; add images to data.images$"),
        ({"identical": 9}, "9 of 400 images repeat another one"),
        ({"identical": 399}, "all 400 images are identical, .* data.images"),
        ({"grey": 199}, None),
        ({"grey": 400}, "400 of 400 images are grey-scale"),
        ({"of_one_class": 1}, "all images are of one class"),
    ],
)
def test_images_that_are_few_or_alike_are_said(counts, said, matches):
    matches(of_images(IMAGES | counts), said)


@pytest.mark.parametrize(
    ("count", "said"),
    [(1, "only 1 different caption, .*; add captions"), (49, "only 49 different captions"), (50, None)],
)
def test_few_captions_are_said(count, said, matches):
    matches(of_captions({"captions": count}), said)


@pytest.mark.parametrize(("count", "said"), [(1, "only 1 different word, .*parse_captions.discard"), (5, None)])
def test_few_words_are_said(count, said, matches):
    matches(of_words({"different_words": count}), said)
    matches(of_words({}), None)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"undivided": 2, "captions": 9}, "2 of 9 captions have no spaces .* data.captions$"),
        (
            {"other_languages": {"fr": 0.6, "de": 0.1}},
            r"about 70 % .*\(fr 60 %, de 10 %\); set parse_captions.language: fr ",
        ),
        ({"other_languages": {"Bengali": 1.0}}, "set parse_captions.language: other "),
        (
            {"other_languages": {code: 0.1 for code in ("a", "b", "c", "d", "e")}},
            r"50 % .*d 10 %\), so .*in one language$",
        ),
        ({"without_grammar_words": 1}, "no grammar words .* list them in parse_captions.discard"),
        ({"without_lemmas": 1}, "no dictionary forms are known of the language parse_captions.language"),
    ],
)
def test_languages_of_captions_are_said(metrics, said, matches):
    matches(of_words(metrics), said)


def test_a_corpus_smaller_than_what_a_crop_retrieves_is_said(matches):
    fewer = {"captions": 1, "retrieved": 5}
    matches(
        of_concepts({"groups": 4, "fewer_captions": fewer}), "has 1 caption, fewer than concepts.captions_per_image 5"
    )


@pytest.fixture
def matches():
    """Compare sentences with the only one that is expected, or with none."""

    def compare(sentences, expected):
        assert len(sentences) == (expected is not None)
        assert expected is None or re.search(expected, sentences[0]), sentences

    return compare


def test_features_and_concepts_that_are_missing_are_said_with_the_params():
    counts = {"features": 512, "images": 300, "least_images": 11, "constant": 12, "on_fewer_images": 400}
    ways = {"quantile": {"value": 0.8, "explained": 412}, "min_images": {"value": 5, "explained": 300}}
    assert of_features({"not_explained": counts, "proposed": ways}) == [
        "412 of 512 features are not explained: 12 constant on the 300 explained images, "
        "400 firing on fewer than 11 of 300 explained images (find_groups.min_images)",
        "with find_groups.quantile 0.8, 412 are explained; with find_groups.min_images 5, 300 are explained",
    ]
    concepts = {
        "groups": 40,
        "without_word": {"by_contrast": 30, "by_captions": 0},
        "proposed": {"contrast_off": {"explained": 40}},
    }
    assert of_concepts(concepts) == [
        "30 of 40 features and groups have no word: 30 whose words the contrast all removes (concepts.contrast)",
        "with concepts.contrast: false, 40 have a word",
    ]
    assert of_features({}) == of_concepts({"groups": 40}) == []


def test_the_nearest_value_that_explains_nearly_the_most_is_proposed():
    assert proposed({0.9: 10, 0.8: 92, 0.5: 100}, 5) == {"value": 0.8, "explained": 92}
    assert proposed({0.9: 5, 0.8: 5}, 5) == proposed({}, 0) == {}


def test_the_log_has_a_line_for_each_sentence():
    assert (
        list(lines("s e", StageSummary({"images": 1}, {"rows": 1}, lacking=["only one image"])))[-1]
        == "s e: only one image"
    )
