"""Steps 10 and 11: Eq. 1 and the contrasts, against dictionaries and loops."""

from statistics import NormalDist
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.concepts.scoring.contrasts import CONTRASTS, contrasted
from falcon_dvc.concepts.scoring.scores import (
    ConceptScores,
    Mentions,
    crop_scores,
    extracted,
    group_scores,
    interval,
    ranks_within,
    score_concepts,
    values_at,
)

SEEDS = st.integers(0, 2**32 - 1)
GROUPS, WORDS = 4, 9
IDS = np.array([2, 3, 7, 20, 21, 40])


def random_mentions(rng: np.random.Generator) -> Mentions:
    """Six captions with gaps between their ids; one mentions nothing, and the last concepts are phrases."""
    incidence = rng.random((len(IDS), WORDS)) < 0.4
    incidence[2] = False
    return Mentions(IDS, sparse.csr_array(incidence.astype(float)), np.arange(WORDS) >= 6)


def random_crops(rng: np.random.Generator, crops: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Captions (-1 where there are too few), weights and groups of crops."""
    captions = np.array([rng.permutation(IDS)[:3] for _ in range(crops)]).reshape(crops, 3)
    weights = rng.dirichlet(np.ones(3), crops)
    captions[rng.random((crops, 3)) < 0.1] = -1
    return captions, np.where(captions < 0, 0, weights), rng.integers(0, GROUPS, crops)


def scores_by_dictionary(captions: np.ndarray, weights: np.ndarray, mentions: Mentions) -> list[dict[int, float]]:
    """``s_x(w)`` for each crop."""
    words = {
        caption: np.flatnonzero(row)
        for caption, row in zip(mentions.captions, mentions.incidence.toarray(), strict=True)
    }
    result = []
    for crop_captions, crop_weights in zip(captions, weights, strict=True):
        best: dict[int, float] = {}
        for caption, weight in zip(crop_captions, crop_weights, strict=True):
            for word in words.get(caption, ()):
                best[int(word)] = max(best.get(int(word), 0.0), float(weight))
        result.append(best)
    return result


def equation_1(scores: list[dict[int, float]], group: np.ndarray, which: int) -> dict[int, float]:
    mine = [crop for crop, own in zip(scores, group, strict=True) if own == which]
    words = {word for crop in mine for word in crop}
    return {word: sum(crop.get(word, 0.0) for crop in mine) / len(mine) for word in words}


def as_dictionary(matrix: sparse.csr_array, row: int) -> dict[int, float]:
    """The stored entries of a row, stored zeros included."""
    stored = matrix[[row]].tocoo()
    return dict(zip(stored.coords[1].tolist(), stored.data.tolist(), strict=True))


@given(SEEDS, st.integers(0, 12))
def test_a_crop_scores_a_word_by_its_best_caption(seed, crops):
    rng = np.random.default_rng(seed)
    captions, weights, _ = random_crops(rng, crops)
    mentions = random_mentions(rng)
    found = crop_scores(captions, weights, mentions)
    assert found.shape == (crops, WORDS)
    for row, expected in enumerate(scores_by_dictionary(captions, weights, mentions)):
        assert as_dictionary(found, row) == pytest.approx(expected)


@given(SEEDS)
def test_words_inherit_their_captions_score_and_so_tie(seed):
    rng = np.random.default_rng(seed)
    mentions = random_mentions(rng)
    scores = crop_scores(np.array([[20]]), np.array([[0.7]]), mentions).toarray()[0]
    assert np.allclose(scores, 0.7 * mentions.incidence.toarray()[3])


@given(SEEDS, st.integers(0, 12))
def test_a_group_scores_a_word_by_the_mean_over_its_crops(seed, crops):
    rng = np.random.default_rng(seed)
    captions, weights, group = random_crops(rng, crops)
    mentions = random_mentions(rng)
    found = group_scores(crop_scores(captions, weights, mentions), group, GROUPS)
    for which in range(GROUPS):
        assert as_dictionary(found, which) == pytest.approx(
            equation_1(scores_by_dictionary(captions, weights, mentions), group, which)
        )


@given(SEEDS, st.integers(0, 12), st.integers(0, 8), st.integers(0, 8))
@pytest.mark.filterwarnings("error")
def test_every_entry_carries_score_low_prior_support_and_error(seed, high, low, random):
    rng = np.random.default_rng(seed)
    mentions = random_mentions(rng)
    crops = [random_crops(rng, count) for count in (high, low, random)]
    matrices = [crop_scores(captions, weights, mentions) for captions, weights, _ in crops]
    dictionaries = [scores_by_dictionary(captions, weights, mentions) for captions, weights, _ in crops]
    scores = score_concepts(matrices[0], crops[0][2], matrices[1], crops[1][2], matrices[2], GROUPS)

    entries = set(zip(scores.group.tolist(), scores.concept.tolist(), strict=True))
    assert len(entries) == len(scores)
    assert entries == {(int(g), word) for g, crop in zip(crops[0][2], dictionaries[0], strict=True) for word in crop}
    for entry, (group, word) in enumerate(zip(scores.group, scores.concept, strict=True)):
        mine = [crop.get(word, 0.0) for crop, own in zip(dictionaries[0], crops[0][2], strict=True) if own == group]
        assert scores.score[entry] == pytest.approx(np.mean(mine))
        assert scores.support[entry] == sum(value > 0 for value in mine)
        error = np.std(mine, ddof=1) / len(mine) ** 0.5 if len(mine) > 1 else np.nan
        assert scores.error[entry] == pytest.approx(error, abs=1e-7, nan_ok=True)
        assert scores.low[entry] == pytest.approx(equation_1(dictionaries[1], crops[1][2], group).get(word, 0.0))
        prior = [crop.get(word, 0.0) for crop in dictionaries[2]] or [0.0]
        assert scores.prior[entry] == pytest.approx(np.mean(prior))


@given(SEEDS)
def test_the_order_of_the_crops_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    captions, weights, group = random_crops(rng, 12)
    mentions, order = random_mentions(rng), rng.permutation(12)
    straight = group_scores(crop_scores(captions, weights, mentions), group, GROUPS)
    mixed = group_scores(crop_scores(captions[order], weights[order], mentions), group[order], GROUPS)
    assert np.allclose(straight.toarray(), mixed.toarray(), rtol=1e-12)


def entries(score: list[float], low: list[float], prior: list[float]) -> ConceptScores:
    count = len(score)
    return ConceptScores(
        np.zeros(count, int),
        np.arange(count),
        np.array(score),
        np.array(low),
        np.array(prior),
        np.ones(count, int),
        np.zeros(count),
    )


@pytest.mark.parametrize(
    ("kind", "value", "kept"),
    [
        ("off", [0.9, 0.8, 0.1], [True, True, True]),
        ("paper", [0.9, 0.8, 0.1], [True, False, True]),
        ("released", [0.9, 0.8, 0.1], [True, False, False]),
        ("relative", [0.9, 0.8, 0.1], [True, False, False]),
        ("graded", [0.85, -0.8, -0.1], [True, False, False]),
        ("prior", [0.6, 0.5, 0.0], [True, True, False]),
        ("combined", [0.6, -0.8, -0.1], [True, False, False]),
    ],
)
def test_each_contrast_ranks_and_drops_as_described(kind, value, kept):
    scores = entries([0.9, 0.8, 0.1], [0.025, 0.8, 0.1], [0.3, 0.3, 0.1])
    found = contrasted(
        scores,
        kind,
        SimpleNamespace(low_cut=0.1, relative_cut=0.5, gamma=2.0, further_cut=0.5),
        np.array([False, True, False]),
    )
    assert np.allclose(found[0], value)
    assert found[1].tolist() == kept


ENTRIES = st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([0.1, 0.5, 0.9]), st.integers(0, 9))


@given(st.lists(ENTRIES, max_size=15, unique_by=lambda entry: (entry[0], entry[3])))
def test_ranks_count_from_the_largest_value_and_ties_go_to_the_smaller_number(rows):
    columns = [np.array(column) for column in zip(*rows, strict=True)] if rows else [np.zeros(0)] * 4
    ranks = ranks_within(columns[0], columns[1], value=columns[2].astype(float), tie=columns[3])
    for row, rank in zip(rows, ranks, strict=True):
        rivals = sorted((other for other in rows if other[:2] == row[:2]), key=lambda other: (-other[2], other[3]))
        assert rivals.index(row) == rank


def test_the_last_bits_of_a_sum_decide_no_rank():
    assert ranks_within(np.zeros(2), value=np.array([0.3, 0.1 + 0.2]), tie=np.array([0, 1])).tolist() == [0, 1]


@given(SEEDS, st.integers(0, 12), st.integers(1, 4))
def test_extracted_are_the_first_words_and_the_first_phrases(seed, crops, top):
    rng = np.random.default_rng(seed)
    captions, weights, group = random_crops(rng, crops)
    mentions = random_mentions(rng)
    scores = crop_scores(captions, weights, mentions)
    found = extracted(scores, group, GROUPS, mentions.phrase, top).toarray()
    for which in range(GROUPS):
        mean = equation_1(scores_by_dictionary(captions, weights, mentions), group, which)
        ranked = sorted(mean, key=lambda word: (-round(mean[word], 12), word))
        words = [word for word in ranked if word < 6][:top] + [word for word in ranked if word >= 6][:top]
        assert set(np.flatnonzero(found[which])) == set(words)


def test_intervals_are_normal_and_stay_between_nothing_and_one():
    low, high = interval(np.array([0.5, 0.01, 0.99]), np.array([0.1, 0.1, 0.1]), 0.95)
    assert np.allclose(low, [0.5 - 0.196, 0, 0.99 - 0.196], atol=1e-3)
    assert np.allclose(high, [0.5 + 0.196, 0.01 + 0.196, 1], atol=1e-3)


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(0)
    crops = rng.beta(2, 2, (2000, 40))
    low, high = interval(crops.mean(axis=1), crops.std(axis=1, ddof=1) / 40**0.5, 0.9)
    assert np.mean((low <= 0.5) & (high >= 0.5)) == pytest.approx(0.9, abs=0.025)


SHARE = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])
FURTHER_CUT = 0.4
EVERY_CONTRAST = st.sampled_from(sorted(CONTRASTS))


def one_contrast(kind, score, low, prior, also, cut, relative, gamma):
    """Value and verdict of one entry, from the list of the contrasts."""
    larger = max(gamma * low, prior)
    against = {"graded": gamma * low, "prior": prior, "both": larger, "combined": larger}.get(kind, 0.0)
    kept = {"off": True, "paper": not also, "released": low < cut, "relative": low < relative * score}
    kept["combined"] = low < FURTHER_CUT * score
    return score - against, kept.get(kind, score - against > 0)


@given(
    st.lists(st.tuples(SHARE, SHARE, SHARE, st.booleans()), max_size=8), EVERY_CONTRAST, SHARE, SHARE, st.integers(0, 2)
)
def test_each_entry_is_contrasted_by_itself(rows, kind, cut, relative, gamma):
    score, low, prior, also = (np.array(column) for column in zip(*rows, strict=True)) if rows else [np.zeros(0)] * 4
    value, kept = contrasted(
        entries(score, low, prior),
        kind,
        SimpleNamespace(low_cut=cut, relative_cut=relative, gamma=gamma, further_cut=FURTHER_CUT),
        also.astype(bool),
    )
    expected = [one_contrast(kind, *row, cut, relative, gamma) for row in rows]
    assert list(zip(value.tolist(), kept.tolist(), strict=True)) == expected


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 2)), min_size=1, max_size=8), st.floats(0.01, 0.98))
def test_an_interval_holds_its_score_and_grows_with_the_confidence(rows, confidence):
    score, error = (np.array(column) for column in zip(*rows, strict=True))
    (low, high), (lower, higher) = (interval(score, error, some) for some in (confidence, confidence + 0.01))
    assert ((lower <= low) & (low <= score) & (score <= high) & (high <= higher)).all()
    assert (lower >= 0).all() and (higher <= 1).all()
    reach = NormalDist().inv_cdf(0.5 + confidence / 2)
    assert np.allclose(low, [max(one - reach * some, 0) for one, some in rows])
    turned = interval(1 - score, error, confidence)
    assert np.allclose(turned[0], 1 - high) and np.allclose(turned[1], 1 - low), "of what is not mentioned"


@given(SEEDS, st.integers(0, 9))
def test_values_are_those_of_the_dense_matrix_cells_asked_twice_included(seed, cells):
    rng = np.random.default_rng(seed)
    dense = rng.choice([0.0, 0.0, -1.5, 2.0], (5, 7))
    row, column = rng.integers(0, 5, cells), rng.integers(0, 7, cells)
    found = values_at(sparse.csr_array(dense), row, column)
    assert isinstance(found, np.ndarray) and np.array_equal(found, dense[row, column])


@given(SEEDS, st.integers(1, 8), st.integers(2, 3))
def test_crops_given_several_times_change_no_score_and_multiply_the_support(seed, crops, times):
    rng = np.random.default_rng(seed)
    captions, weights, group = random_crops(rng, crops)
    mentions = random_mentions(rng)
    matrix = crop_scores(captions.astype(np.int32), weights.astype(np.float32), mentions)
    again = crop_scores(np.tile(captions, (times, 1)), np.tile(weights.astype(np.float32), (times, 1)), mentions)
    once = score_concepts(matrix, group, matrix, group, matrix, GROUPS)
    more = score_concepts(again, np.tile(group, times), again, np.tile(group, times), again, GROUPS)
    assert np.array_equal(once.group, more.group) and np.array_equal(once.concept, more.concept)
    for name in ("score", "low", "prior"):
        assert np.allclose(getattr(once, name), getattr(more, name))
    assert np.array_equal(times * once.support, more.support)
    assert np.allclose(once.score, once.low), "the same crops, low or high"
    assert (np.isnan(once.error) | (more.error <= once.error + 1e-7)).all(), "there seem to be more crops"


def test_a_single_crop_has_no_interval():
    low, high = interval(np.array([0.5, 0.5]), np.array([np.nan, 0.1]), 0.95)
    assert np.isnan([low[0], high[0]]).all() and 0 < low[1] < 0.5 < high[1] < 1


@given(st.sampled_from(sorted(CONTRASTS)), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_a_removal_is_explained_without_names_of_params(kind, low_cut, relative_cut, gamma, further_cut):
    constants = {"low_cut": low_cut, "relative_cut": relative_cut, "gamma": gamma, "further_cut": further_cut}
    why = CONTRASTS[kind].why(SimpleNamespace(**constants))
    assert "_" not in why and "gamma" not in why and "{" not in why and (why or kind == "off")
    numbers = {"released": low_cut, "relative": relative_cut, "graded": gamma, "both": gamma, "combined": further_cut}
    assert kind not in numbers or f"{numbers[kind]:g}" in why


@given(SEEDS)
def test_more_entries_are_appended_once_and_change_no_other(seed):
    rng = np.random.default_rng(seed)
    mentions, crops = random_mentions(rng), [random_crops(rng, 12) for _ in range(3)]
    high, low, random = (crop_scores(captions, weights, mentions) for captions, weights, _ in crops)
    of = high, crops[0][2], low, crops[1][2], random, GROUPS
    group, concept = (grid.reshape(-1) for grid in np.indices((GROUPS, WORDS)))
    plain, more = score_concepts(*of), score_concepts(*of, (group, concept))
    for field, values in vars(plain).items():
        np.testing.assert_array_equal(getattr(more, field)[: len(plain)], values)
    assert len(more) == GROUPS * WORDS == len({*zip(more.group, more.concept, strict=True)})
    added = slice(len(plain), None)
    assert not more.score[added].any() and not more.support[added].any()
    expected = values_at(group_scores(low, crops[1][2], GROUPS), more.group, more.concept)
    np.testing.assert_array_equal(more.low, expected)
