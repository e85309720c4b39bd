"""Blame adds up to the margin, falls on the planted feature, and switching that off repairs what it spoilt."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.failures import blame as failures
from tests.support.matrices import matrices

SEEDS = st.integers(0, 2**32 - 1)


def drawn(seed, images=20, features=7, classes=4):
    """Features, weights, bias, and a right and another wrong class for each image."""
    rng = np.random.default_rng(seed)
    right = rng.integers(0, classes, images)
    wrong = (right + rng.integers(1, classes, images)) % classes
    return (
        rng.normal(size=(images, features)),
        rng.normal(size=(classes, features)),
        rng.normal(size=classes),
        right,
        wrong,
    )


@given(SEEDS)
def test_blame_adds_up_to_the_margin_less_that_of_the_reference(seed):
    features, weights, bias, right, wrong = drawn(seed)
    reference = np.random.default_rng(seed + 1).normal(size=features.shape)
    contributions = failures.blame(features, weights, right, wrong, reference).contributions
    at_reference = failures.margin(reference, weights, bias, right, wrong)
    rows, logits = np.arange(len(features)), failures.logits(features, weights, bias)
    assert np.allclose(contributions.sum(axis=1) + at_reference, logits[rows, wrong] - logits[rows, right])


@given(SEEDS)
def test_a_feature_at_its_reference_is_not_blamed(seed):
    features, weights, _, right, wrong = drawn(seed)
    reference = features.mean(axis=0)
    features[:, 2] = reference[2]
    assert not failures.blame(features, weights, right, wrong, reference).contributions[:, 2].any()


@given(SEEDS)
def test_swapping_the_classes_turns_blame_into_its_opposite(seed):
    features, weights, _, right, wrong = drawn(seed)
    there, back = (failures.blame(features, weights, *pair, features[0]) for pair in ((right, wrong), (wrong, right)))
    assert np.allclose(there.contributions, -back.contributions) and np.array_equal(there.departure, back.departure)


@given(SEEDS)
def test_order_of_images_changes_nothing(seed):
    features, weights, _, right, wrong = drawn(seed)
    order = np.random.default_rng(seed).permutation(len(features))
    blamed = failures.blame(features, weights, right, wrong, features.mean(axis=0))
    shuffled = failures.blame(features[order], weights, right[order], wrong[order], features.mean(axis=0))
    assert np.array_equal(shuffled.contributions, blamed.contributions[order])


def test_references_are_means_of_the_images_that_are_right():
    features = np.array([[1.0, 0], [3, 0], [100, 0], [0, 5], [0, 7]])
    right, found = np.array([0, 0, 0, 1, 2]), np.array([0, 0, 1, 1, 0])
    references = failures.class_references(features, right, found, classes=4)
    assert references[:2].tolist() == [[2, 0], [0, 5]]
    assert np.allclose(references[2:], features.mean(axis=0)), (
        "a class without a right image is compared with all images"
    )


def test_references_where_nothing_is_right():
    features = np.array([[1.0], [3.0]])
    assert failures.class_references(features, np.array([0, 1]), np.array([1, 0]), classes=2).tolist() == [[2], [2]]


def test_blame_of_a_group_is_the_sum_over_its_members():
    members = sparse.csr_array(np.array([[1.0, 0, 1], [0, 1, 0]]))
    assert failures.group_blame(np.array([[1.0, 2, 4]]), members).tolist() == [[5, 2]]


def test_of_equally_blamed_the_first_comes_first():
    assert failures.ranked(np.array([[1.0, 3, 3, 2], [0, 0, 0, 0]])).tolist() == [[1, 2, 3, 0], [0, 1, 2, 3]]


def test_features_of_one_concept_add_up_before_concepts_are_ranked():
    contributions = np.array(
        [[0.3, 0.4, 0.3]]
    )  # the second is the most blamed feature, the other two the most blamed concept
    blame, silent = failures.concept_blame(failures.Blame(contributions, np.array([[1.0, 1, -1]])), np.array([0, 1, 0]))
    first, absent, share = failures.first_named(blame, silent)
    assert first.tolist() == [0] and absent.tolist() == [False] and share == pytest.approx([0.6])


@pytest.mark.parametrize(("departure", "absent"), [((-1.0, 1.0), True), ((1.0, -1.0), False), ((-1.0, -1.0), True)])
def test_a_concept_is_blamed_for_its_absence_if_most_of_its_blame_is_of_silent_features(departure, absent):
    blamed = failures.Blame(np.array([[0.7, 0.2]]), np.array([departure]))
    blame, silent = failures.concept_blame(blamed, np.array([0, 0]))
    assert failures.first_named(blame, silent)[1].tolist() == [absent]


def test_where_nothing_is_blamed_no_concept_is_named():
    first, absent, share = failures.first_named(np.array([[-1.0, 0.0]]), np.zeros((1, 2)))
    assert (first.tolist(), absent.tolist(), share.tolist()) == ([-1], [False], [0.0])


def test_no_images_and_no_failures_are_no_error():
    none = failures.Blame(np.zeros((0, 3)), np.zeros((0, 3)))
    blame, silent = failures.concept_blame(none, np.array([0, 1, 1]))
    assert blame.shape == (0, 2) and all(len(part) == 0 for part in failures.first_named(blame, silent))


@given(SEEDS)
def test_concepts_share_out_all_of_the_blame(seed):
    rng = np.random.default_rng(seed)
    contributions, departure, concept = rng.normal(size=(5, 8)), rng.normal(size=(5, 8)), rng.integers(0, 4, 8)
    blame, silent = failures.concept_blame(failures.Blame(contributions, departure), concept)
    assert np.allclose(blame.sum(axis=1), contributions.sum(axis=1))
    assert np.allclose(silent.sum(axis=1), np.where(departure < 0, contributions, 0).sum(axis=1))
    first, _, share = failures.first_named(blame, silent)
    assert ((share >= 0) & (share <= 1)).all() and ((first >= 0) == (blame.max(axis=1) > 0)).all()


@given(SEEDS)
def test_shuffled_blame_is_the_same_blame_on_other_features(seed):
    rng = np.random.default_rng(seed)
    contributions, departure = rng.normal(size=(6, 30)), rng.normal(size=(6, 30))
    found = failures.shuffled(failures.Blame(contributions, departure), rng)
    blame, gone = found.contributions, found.departure
    assert np.array_equal(np.sort(blame, axis=1), np.sort(contributions, axis=1))
    assert not np.array_equal(blame, contributions)
    pairs = [dict(zip(row, away, strict=True)) for row, away in zip(contributions, departure, strict=True)]
    assert all(pairs[i][blame[i, j]] == gone[i, j] for i in range(6) for j in range(30)), "each keeps its departure"


def test_whole_concepts_go_first_and_the_limit_cuts():
    contributions, concept = np.array([0.1, 0.5, 0.2, 0.3, -0.9]), np.array([0, 1, 0, 0, 2])
    assert failures.by_concept(contributions, concept, 9).tolist() == [
        3,
        2,
        0,
        1,
    ]  # concept 0 has 0.6, concept 1 has 0.5
    assert failures.by_concept(contributions, concept, 2).tolist() == [3, 2]
    assert failures.by_feature(contributions, 9).tolist() == [1, 3, 2, 0]
    assert failures.by_feature(contributions, 1).tolist() == [1]


def test_a_concept_takes_its_unblamed_features_along():
    assert failures.by_concept(np.array([0.5, -0.1]), np.array([0, 0]), 9).tolist() == [0, 1]


@pytest.mark.parametrize("blame", [[-1.0, -2.0], [0.0, 0.0]])
def test_what_is_not_to_blame_is_not_switched_off(blame):
    assert not len(failures.by_concept(np.array(blame), np.array([0, 1]), 5))
    assert not len(failures.by_feature(np.array(blame), 5))


@given(SEEDS)
def test_a_feature_that_is_switched_off_no_longer_matters_and_references_keep_their_logits(seed):
    features, weights, bias, _, _ = drawn(seed)
    references = np.random.default_rng(seed + 1).normal(size=weights.shape)
    off = np.array([1, 4])
    repaired = failures.switched_off(weights, bias, off, references)
    changed = features.copy()
    changed[:, off] = 1e3
    assert np.allclose(failures.logits(changed, *repaired), failures.logits(features, *repaired))
    before, after = failures.logits(references, weights, bias), failures.logits(references, *repaired)
    assert np.allclose(np.diag(before), np.diag(after)), "the logit of a class stays on its own reference"


def test_switching_nothing_off_changes_nothing():
    _, weights, bias, _, _ = drawn(0)
    kept = failures.switched_off(weights, bias, np.array([], dtype=int), weights)
    assert np.array_equal(kept[0], weights) and np.array_equal(kept[1], bias)


def planted(rng, images):
    """Two classes that differ in feature 0; feature 1 says nothing about them, though the classifier learnt that it goes with class 0."""
    right = rng.integers(0, 2, images)
    features = np.column_stack([right + 0.1 * rng.normal(size=images), rng.integers(0, 2, images)])
    weights, bias = np.array([[-1.0, 2], [1, -2]]), np.array([-0.5, 0.5])
    return features, right, (weights, bias), failures.logits(features, weights, bias).argmax(axis=1)


def test_blame_finds_a_planted_shortcut_and_switching_it_off_repairs_the_class():
    rng = np.random.default_rng(0)
    features, right, classifier, found = planted(rng, 400)
    references = failures.class_references(features, right, found, 2)
    wrong = np.flatnonzero((right == 0) & (found == 1))
    blamed = failures.blame(features[wrong], classifier[0], right[wrong], found[wrong], references[right[wrong]])
    contributions = blamed.contributions
    assert len(wrong) > 50 and (failures.ranked(contributions)[:, 0] == 1).all()
    assert (blamed.departure[:, 1] < 0).all(), "it is blamed for its silence"
    repaired = failures.switched_off(*classifier, failures.by_feature(contributions.mean(axis=0), 1), references)
    heldout, truth, _, before = planted(rng, 400)
    after = failures.logits(heldout, *repaired).argmax(axis=1)
    assert (before == truth)[truth == 0].mean() < 0.7
    assert (after == truth)[truth == 0].mean() > 0.95 and (after == truth).mean() > 0.95


BLAME = st.lists(st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=10)


@given(SEEDS)
def test_the_margin_is_the_wrong_logit_over_the_right_one(seed):
    features, weights, bias, right, wrong = drawn(seed)
    found, rows = failures.margin(features, weights, bias, right, wrong), np.arange(len(features))
    outputs = failures.logits(features, weights, bias)
    assert np.allclose(found, outputs[rows, wrong] - outputs[rows, right])
    assert np.allclose(failures.margin(features, weights, bias, wrong, right), -found)
    assert not failures.margin(features, weights, bias, right, right).any()
    assert np.allclose(outputs[3], [weights[c] @ features[3] + bias[c] for c in range(len(weights))])


@given(matrices(columns=(1, 4), widths=(np.float32, np.float64)), SEEDS, st.integers(1, 4))
def test_references_share_out_what_the_rightly_assigned_images_hold(features, seed, classes):
    rng = np.random.default_rng(seed)
    right, found = rng.integers(0, classes, (2, len(features)))
    references = failures.class_references(features, right, found, classes)
    for own, reference in enumerate(references):
        members = features[(right == own) & (found == own)]
        some = (members if len(members) else features).astype(np.float64)
        assert np.allclose(reference, some.mean(axis=0), atol=0)
    order = rng.permutation(len(features))
    assert np.allclose(failures.class_references(features[order], right[order], found[order], classes), references)


@given(SEEDS, st.integers(0, 5))
def test_blame_of_groups_adds_up_and_is_that_of_each_group_alone(seed, groups):
    rng = np.random.default_rng(seed)
    contributions, members = rng.normal(size=(4, 7)), rng.random((groups, 7)) < 0.4
    found = failures.group_blame(contributions, sparse.csr_array(members.astype(float)))
    assert found.shape == (4, groups)
    for group, own in enumerate(members):
        assert np.allclose(found[:, group], [sum(row[own]) for row in contributions])
    whole = sparse.csr_array(np.vstack([members, ~members.any(axis=0)[None]]).astype(float))
    if (members.sum(axis=0) <= 1).all():
        assert np.allclose(failures.group_blame(contributions, whole).sum(axis=1), contributions.sum(axis=1))


@given(st.lists(BLAME.map(lambda row: (row * 4)[:4]), min_size=1, max_size=4).map(np.array))
def test_a_ranking_names_each_unit_once_and_of_equal_ones_the_first(contributions):
    found = failures.ranked(contributions)
    for order, row in zip(found, contributions, strict=True):
        assert order.tolist() == sorted(range(4), key=lambda unit: (-row[unit], unit))
    again = failures.ranked(np.take_along_axis(contributions, found, axis=1))
    assert (again == np.arange(4)).all()


@given(BLAME, st.integers(0, 12))
def test_features_are_blamed_from_the_largest_positive_one_down(blame, limit):
    found = failures.by_feature(np.array(blame), limit).tolist()
    assert found == sorted((j for j in range(len(blame)) if blame[j] > 0), key=lambda j: (-blame[j], j))[:limit]


@given(BLAME, st.integers(0, 12), st.data())
def test_concepts_are_blamed_by_their_sums_from_the_largest_positive_one_down(blame, limit, data):
    concept = data.draw(st.lists(st.integers(0, 3), min_size=len(blame), max_size=len(blame)))
    total = {c: sum(b for b, own in zip(blame, concept, strict=True) if own == c) for c in concept}
    order = sorted(range(len(blame)), key=lambda j: (-total[concept[j]], concept[j], -blame[j], j))
    expected = [j for j in order if total[concept[j]] > 0][:limit]
    assert failures.by_concept(np.array(blame), np.array(concept), limit).tolist() == expected
    each = failures.by_concept(np.array(blame), np.arange(len(blame)), limit)
    assert each.tolist() == failures.by_feature(np.array(blame), limit).tolist(), "a concept for each feature"


@given(
    st.lists(BLAME.map(lambda row: (row * 4)[:4]), min_size=1, max_size=4).map(np.array), st.sampled_from([0.25, 1e9])
)
def test_the_first_named_concept_is_the_most_blamed_in_any_unit(contributions, unit):
    silent = np.minimum(contributions, 0.5)
    first, absent, share = failures.first_named(contributions, silent)
    for row, quiet, named, missing, part in zip(contributions, silent, first, absent, share, strict=True):
        positive = [max(value, 0.0) for value in row]
        assert named == (positive.index(max(positive)) if max(positive) > 0 else -1)
        assert part == (max(positive) / sum(positive) if named >= 0 else 0)
        assert missing == (named >= 0 and quiet[named] > row[named] / 2)
    scaled = failures.first_named(unit * contributions, unit * silent)
    assert np.array_equal(scaled[0], first) and np.array_equal(scaled[1], absent) and np.allclose(scaled[2], share)
