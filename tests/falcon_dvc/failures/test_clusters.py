"""Sentences and tables of failures: what they name, in which order, and that no text does harm."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.artifacts.formats import write_table
from falcon_dvc.evaluation.statistics import mean_with_interval
from falcon_dvc.failures.blame import Blame
from falcon_dvc.failures.clusters import cluster_table, concepts_of_features, failure_table

WORDS = pd.Series({"f0": "water", "f1": "grass", "f3": "water", "g12": "meadow"})  # feature 2 has no words
GROUPS = pd.DataFrame({"group": ["f0", "f1", "g03", "g12"], "members": ["0", "1", "0 3", "1 2"], "size": [1, 1, 2, 2]})
SETTINGS = SimpleNamespace(named=3, least_share=0.1, examples=2, bootstrap=50, confidence=0.95, seed=0)


def tables(contributions, departure=1.0, right="boat", wrong="truck", words=WORDS, **changes):
    """Failure and cluster table of the given blame; one class of each kind for all images unless several are given."""
    contributions = np.atleast_2d(np.asarray(contributions, dtype=float))
    count = len(contributions)
    blamed = Blame(contributions, np.broadcast_to(departure, contributions.shape))
    classes = [[some] * count if isinstance(some, str) else some for some in (right, wrong)]
    concepts = concepts_of_features(words, contributions.shape[1])
    failures = failure_table([f"i{row}" for row in range(count)], *classes, blamed, concepts)
    settings = SimpleNamespace(**(vars(SETTINGS) | changes))
    return failures, cluster_table(failures, blamed, concepts, GROUPS, words, settings)


def sentence(*arguments, **changes):
    """The one sentence."""
    (text,) = tables(*arguments, **changes)[1]["sentence"]
    return text


def test_features_with_one_word_are_one_concept_and_those_without_stand_for_themselves():
    concepts = concepts_of_features(WORDS, 5)
    assert concepts.concept.tolist() == [0, 1, 2, 0, 3]
    assert concepts.labels.tolist() == ["water", "grass", "feature 2", "feature 4", ""]


@pytest.mark.parametrize(
    ("contributions", "departure", "expected"),
    [
        ([[3, 1, 0, 4]] * 2, 1.0, "boat called truck, 2 images: 'water' (features 3, 0), 'grass' (feature 1)"),
        ([[3, 0, 0, 4]], -1.0, "boat called truck, 1 image: no 'water' (features 3, 0)"),
        ([[0, 0, 5, 0]], 1.0, "boat called truck, 1 image: feature 2"),
        ([[0, 0, 5, 0]], -1.0, "boat called truck, 1 image: silent feature 2"),
        ([[-1, 0, 0, 0]], 1.0, "boat called truck, 1 image: no feature stands out"),
        ([[3, 5, 0, -1]], 1.0, "boat called truck, 1 image: 'grass' (feature 1), 'water' (feature 0)"),
        ([[8, 7, 0, 0]], [1.0, -1, 1, 1], "boat called truck, 1 image: 'water' (feature 0), no 'grass' (feature 1)"),
    ],
)
def test_sentences(contributions, departure, expected):
    assert sentence(contributions, departure) == expected


def test_a_sentence_names_no_more_than_it_should():
    blame = [[6, 5, 4, 0]]
    assert sentence(blame, named=1).endswith(": 'water' (feature 0)")
    assert sentence(blame, named=2).endswith("'water' (feature 0), 'grass' (feature 1)")
    assert sentence(blame, least_share=0.3).endswith(
        "'water' (feature 0), 'grass' (feature 1)"
    )  # 6 + 5 + 4: the last has 0.27


def test_of_many_features_the_most_blamed_are_listed():
    words = pd.Series({f"f{feature}": "water" for feature in range(9)})
    text = sentence([np.arange(1.0, 10)], words=words)
    assert text.endswith("'water' (features 8, 7, 6, 5, 4)")


def test_clusters_are_alike_in_classes_and_first_concept_and_the_largest_comes_first():
    blame = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 2, 0, 0], [0, 1, 0, 0]]
    failures, clusters = tables(blame, right=["a", "b", "b", "b"], wrong=["b", "a", "a", "c"])
    assert failures["cluster"].tolist() == ["c2", "c1", "c1", "c3"]
    assert clusters["cluster"].tolist() == ["c1", "c2", "c3"] and clusters["images"].tolist() == [2, 1, 1]
    assert clusters["concept"].tolist() == ["grass", "water", "grass"]


def test_absence_and_presence_of_a_concept_are_two_clusters():
    _, clusters = tables([[1, 0, 0, 0], [1, 0, 0, 0]], [[-1.0] * 4, [1.0] * 4])
    assert sorted(clusters["sentence"]) == [
        "boat called truck, 1 image: 'water' (feature 0)",
        "boat called truck, 1 image: no 'water' (feature 0)",
    ]


def test_each_failure_lists_the_blamed_features_of_its_concept():
    failures, _ = tables([[3, 1, 0, 4], [0.5, 0, 0, -0.1], [-1, -1, -1, -1]])
    assert failures["features"].tolist() == ["3 0", "0", ""]
    assert failures["concept"].tolist() == ["water", "water", ""]
    assert failures["blame_share"].tolist() == pytest.approx([7 / 8, 1, 0])


def test_the_most_blamed_group_is_the_one_whose_members_sum_to_most():
    _, clusters = tables([[3, 1, 0, 4], [0, 1, 5, 0], [-1, 0, -1, 0]])
    found = clusters.set_index("concept")[["group", "group_concept"]].T.to_dict("list")
    assert found == {"water": ["g03", ""], "feature 2": ["g12", "meadow"], "": ["", ""]}


def test_without_groups_none_is_blamed():
    contributions = np.ones((1, 4))
    concepts, blamed = concepts_of_features(WORDS, 4), Blame(contributions, contributions)
    failures = failure_table(["i"], ["a"], ["b"], blamed, concepts)
    assert cluster_table(failures, blamed, concepts, GROUPS[GROUPS["size"] == 1], WORDS, SETTINGS)[
        "group"
    ].tolist() == [""]


def test_examples_are_the_images_where_the_concept_has_most_of_the_blame():
    _, clusters = tables([[1, 0.5, 0, 0], [1, 0.1, 0, 0], [1, 0.3, 0, 0]])
    assert json.loads(clusters["examples"][0]) == ["i1", "i2"]


def test_no_failures_give_tables_without_rows():
    failures, clusters = tables(np.zeros((0, 4)))
    assert len(failures) == len(clusters) == 0
    assert {"cluster", "concept", "features", "blame_share"} <= set(failures) and {"sentence", "examples"} <= set(
        clusters
    )


@pytest.mark.parametrize("word", ["=1+1", "@x", "a\nb", "\0", "'", "{{ 7*7 }}", "\u202e"])
def test_words_of_strangers_stay_one_harmless_line(word, tmp_path):
    _, clusters = tables([[1, 0, 0, 0]], words=pd.Series({"f0": word}), right=word)
    write_table(tmp_path / "clusters.csv", clusters)
    row = pd.read_csv(tmp_path / "clusters.csv", keep_default_na=False, dtype=str).iloc[0]
    assert not any(
        row[column].startswith(("=", "@")) or len(row[column].splitlines()) > 1
        for column in ("right", "sentence", "concept")
    )


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_order_of_images_changes_no_cluster(seed):
    rng = np.random.default_rng(seed)
    blame, classes = rng.normal(size=(12, 4)), rng.choice(list("abc"), (2, 12))
    order = rng.permutation(12)
    one, two = (
        tables(blame[rows], 1.0, list(classes[0, rows]), list(classes[1, rows]))[1] for rows in (np.arange(12), order)
    )
    columns = ["cluster", "right", "wrong", "images", "sentence", "group"]
    assert one[columns].equals(two[columns])


@given(st.lists(st.sampled_from(["", "water", "grass", "sky"]), max_size=8))
def test_features_carry_the_word_that_they_are_explained_by(words):
    first = pd.Series({f"f{feature}": word for feature, word in enumerate(words) if word}, dtype=object)
    concepts = concepts_of_features(first, len(words))
    assert concepts.words[concepts.concept].tolist() == words if words else len(concepts.concept) == 0
    for feature, word in enumerate(words):
        alike = [other for other, own in enumerate(words) if own == word] if word else [feature]
        assert np.flatnonzero(concepts.concept == concepts.concept[feature]).tolist() == alike
        assert concepts.features[concepts.concept[feature]] == alike[0]
    assert len(concepts.labels) == len(set(concepts.labels)) == len(concepts.words) + 1


@given(st.lists(st.sampled_from([0.0, 0.25, 1.0]), max_size=9))
def test_an_interval_of_a_mean_holds_it_and_lies_within_the_values(values):
    found = mean_with_interval(np.array(values), SETTINGS)
    assert bool(found) == bool(values)
    if values:
        assert found["share"] == np.mean(values)
        assert min(values) <= found["interval_low"] <= found["share"] <= found["interval_high"] <= max(values)


@given(st.integers(0, 999), st.integers(1, 9))
def test_every_failure_is_in_one_cluster_with_those_alike_wherever_its_row_stands(seed, images):
    rng = np.random.default_rng(seed)
    contributions, departure = rng.integers(-2, 4, (images, 4)), rng.integers(-1, 2, (images, 4))
    right, order = rng.choice(["boat", "car"], images), rng.permutation(images)
    concepts = concepts_of_features(WORDS, 4)

    def table(rows):
        names = [f"i{row}" for row in rows]
        blamed = Blame(contributions[rows].astype(float), departure[rows].astype(float))
        return failure_table(names, right[rows].tolist(), ["truck"] * images, blamed, concepts)

    found, mixed = table(np.arange(images)), table(order)
    assert mixed.sort_values("image", ignore_index=True).equals(found.sort_values("image", ignore_index=True))
    sizes = found["cluster"].value_counts()
    assert sizes.sum() == images and sorted(sizes.index) == sorted(f"c{n}" for n in range(1, len(sizes) + 1))
    assert [sizes[f"c{n}"] for n in range(1, len(sizes) + 1)] == sorted(sizes, reverse=True)
    assert (found.groupby("cluster")[["right", "wrong", "first", "silent"]].nunique() == 1).all(axis=None)
