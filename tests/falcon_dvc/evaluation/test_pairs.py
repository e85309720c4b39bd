"""Pairs of features in both ways of choosing them, with the truth and without it, beside random partners."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from falcon_dvc.evaluation.ground_truth import attributes_table, attributes_together
from falcon_dvc.evaluation.pairs import Explained, Truth, halves_of, measured_pairs, pair_metrics
from tests.support.stage_params import params_of

WORDS = np.array(["boat", "red", "sand", "striped"])
ATTRIBUTES = [("object", "boat"), ("colour", "red"), ("background", "sand"), ("texture", "striped")]
FOLLOWED = [0, 1, 2, 3, 0, 1]  # the attribute of each feature
TRUTH = Truth(
    [ATTRIBUTES[attribute] for attribute in FOLLOWED],
    dict(zip(WORDS, ATTRIBUTES, strict=True)),
    {frozenset((one, other)) for one in ATTRIBUTES for other in ATTRIBUTES} - {frozenset(ATTRIBUTES[:2])},
)


def settings(**changes):
    return params_of({"analyse_groups": {"bootstrap": 20, "least_common": 5, **changes}}).analyse_groups


@pytest.fixture(scope="module")
def explained() -> Explained:
    """Six features, numbered from 10, that follow four things, and words that follow the same things; f15 has no word."""
    rng = np.random.default_rng(0)
    shown = rng.random((800, 4)) < 0.3
    scores = shown * rng.uniform(0.4, 1, shown.shape)
    activations = shown[:, FOLLOWED] * rng.uniform(0.5, 1, (800, 6)) + 0.1 * rng.random((800, 6))
    first = np.array([*WORDS[FOLLOWED[:5]], ""], dtype=object)
    return Explained(np.arange(10, 16), first, activations, activations > 0.4, sparse.csr_array(scores), WORDS)


def test_pairs_of_different_words_name_their_attributes_and_beat_their_members(explained):
    table = measured_pairs(explained, [], TRUTH, settings(choice=["different_words"]))
    assert len(table) == 2 and table["beats_best_member"].all() and table["two_words"].all()
    assert set(table["label"].str.split(" & ").map(frozenset)) == set(
        table["first_words"].str.split(" & ").map(frozenset)
    )
    assert (table["exact_pair"] == 1).all() and (table["common_images"] >= 5).all()
    assert "f15" not in {*table["first"], *table["second"], *table["control_second"]}, "it has no word"
    assert (table["control_second"] != table["second"]).all() and table["control_gain"].notna().all()


def test_a_label_is_judged_by_the_attributes_of_a_random_partner_too(explained):
    """The joint activation with a random partner has its own words, which name it rightly: that is no control."""
    table = measured_pairs(explained, [], TRUTH, settings(choice=["different_words"]))
    assert (table["control_exact_pair"] == 0).all(), "the words of the true pair do not name what the partner follows"
    assert (table["control_same_words_gain"] < table["gain"]).all()
    named = [set(label.split(" & ")) for label in table["control_label"]]
    followed = [set(text.split(" & ")) for text in table["control_attributes"]]
    assert named == followed, "the partner's own label is right"


def test_a_conjunction_needs_images_with_both_words(explained):
    apart = explained.scores.toarray()
    apart[apart[:, 2] > 0, 3] = 0
    chosen = settings(choice=["conjunction"], least_own=0.3)
    never = replace(explained, scores=sparse.csr_array(apart))
    words = [set(measured_pairs(one, [], TRUTH, chosen)["first_words"]) for one in (explained, never)]
    assert words[0] and not words[1] & {"sand & striped", "striped & sand"}
    table = measured_pairs(explained, [], TRUTH, chosen)
    assert (table["exact_pair"] == 1).all() and (table["control_exact_pair"] != 1).all()
    unlike = replace(explained, first_words=np.array([*WORDS[[1, 0, 3, 2, 1]], ""], dtype=object))
    assert not len(measured_pairs(unlike, [], TRUTH, chosen)), "no feature follows its first word"


def test_cofiring_pairs_are_the_groups_given_and_redundant_ones_are_no_conjunctions(explained):
    table = measured_pairs(explained, [[10, 14], [10, 11], [10, 99]], TRUTH, settings(choice=["cofiring"]))
    assert table[["first", "second"]].to_numpy().tolist() == [["f10", "f14"], ["f10", "f11"]], "f99 is not explained"
    assert table["label"].tolist()[0] == "boat" and not table["two_words"][0] and np.isnan(table["exact_pair"][0])
    assert table["exact_pair"][1] == 1 and np.isnan(table["exact_conjunction"][1]), "no image has both attributes"


def test_metrics_hold_each_choice_beside_its_control(explained):
    chosen = settings(choice=["different_words", "cofiring"])
    metrics = pair_metrics(measured_pairs(explained, [[10, 12], [11, 12]], TRUTH, chosen), chosen)
    assert list(metrics) == ["different_words", "cofiring"] and metrics["cofiring"]["pairs"] == 2
    own = metrics["different_words"]
    assert own["exact_pair"]["share"] == 1 and own["gain"]["interval_low"] <= own["gain"]["mean"]
    difference = own["gain"]["mean"] - own["gain_control"]["mean"]
    assert own["gain_less_control"]["difference"] == pytest.approx(difference)


def test_without_the_truth_nothing_is_said_of_attributes(explained):
    chosen = settings()
    table = measured_pairs(explained, [], None, chosen)
    assert "exact_pair" not in table and "gain" in table
    assert "exact_pair" not in pair_metrics(table, chosen)["different_words"]


def test_without_pairs_there_is_only_their_number(explained):
    chosen = settings(least_common=800)
    assert pair_metrics(measured_pairs(explained, [], TRUTH, chosen), chosen) == {
        "different_words": {"pairs": 0},
        "cofiring": {"pairs": 0},
        "conjunction": {"pairs": 0},
    }


def test_a_pair_without_another_partner_has_no_control(explained):
    two = replace(
        explained,
        features=explained.features[:2],
        first_words=explained.first_words[:2],
        activations=explained.activations[:, :2],
        fires=explained.fires[:, :2],
    )
    chosen = settings(choice=["different_words"])
    table = measured_pairs(two, [], None, chosen)
    assert len(table) == 1 and table["control_gain"].isna().all()
    assert not any("control" in key for key in pair_metrics(table, chosen)["different_words"])


def test_a_feature_without_a_first_word_for_it_is_refused(explained):
    with pytest.raises(ValueError, match="first word"):
        replace(explained, first_words=explained.first_words[:2])


def test_halves_have_no_common_image_and_hold_all():
    choosing, judging = halves_of(9, np.random.default_rng(0))
    assert sorted([*choosing, *judging]) == list(range(9)) and len(choosing) == 4


def test_attributes_occur_together_where_an_image_has_both():
    images = {"object": ["boat", "tree"], "colour": ["red", "red"], "texture": "plain"}
    table = attributes_table(pd.DataFrame(images).assign(background="sand", position="left"))
    together = attributes_together(table)
    assert frozenset({("object", "boat"), ("colour", "red")}) in together
    assert frozenset({("object", "boat"), ("object", "tree")}) not in together
