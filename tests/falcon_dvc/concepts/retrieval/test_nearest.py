"""Step 8: the exact nearest captions, whatever the shards, and how the released retrieval depends on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.concepts.retrieval.nearest import (
    DECIMALS,
    Retrieved,
    corpus_weights,
    finite,
    merged,
    near_in,
    nearest_captions,
    nearest_of,
    nothing_retrieved,
    recall,
    released_retrieval,
    retrieved_weights,
)
from tests.support.matrices import unit_rows

SEEDS = st.integers(0, 2**32 - 1)
TEMPERATURE = 20.0


def corpus_with_copies(seed: int, captions: int = 60, different: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops, caption ids with gaps, and texts of which most are copies of another."""
    rng = np.random.default_rng(seed)
    texts = unit_rows(rng, different)[rng.integers(0, different, captions)]
    return unit_rows(rng, 7), np.cumsum(rng.integers(1, 9, captions)), texts


def as_one(ids: np.ndarray, texts: np.ndarray) -> list:
    return [(ids, texts)]


def divided(ids: np.ndarray, texts: np.ndarray, parts: int, seed: int) -> list:
    """The corpus shuffled and cut into shards."""
    order = np.random.default_rng(seed).permutation(len(ids))
    return [(ids[rows], texts[rows]) for rows in np.array_split(order, parts)]


@given(SEEDS, st.integers(1, 8))
def test_the_captions_are_those_of_sorting_the_whole_corpus(seed, k):
    crops, ids, texts = corpus_with_copies(seed)
    found = nearest_captions(crops, as_one(ids, texts), k, TEMPERATURE)
    for row, crop in enumerate(crops.astype(float)):
        cosines = [round(float(crop @ text.astype(float)), DECIMALS) for text in texts]
        best = sorted(zip(cosines, ids.tolist(), strict=True), key=lambda pair: (-pair[0], pair[1]))[:k]
        assert found.captions[row].tolist() == [caption for _, caption in best]
        assert found.cosines[row].tolist() == pytest.approx([cosine for cosine, _ in best])
        assert found.log_total[row] == pytest.approx(np.log(sum(np.exp(TEMPERATURE * cosine) for cosine in cosines)))


@given(SEEDS, st.integers(1, 9), st.integers(1, 8), st.integers(0, 9))
def test_shards_may_be_compared_elsewhere_knowing_less_of_the_others(seed, parts, k, late):
    """As on a cluster: what is known of the best is older by some shards; then everything is merged in order."""
    crops, ids, texts = corpus_with_copies(seed)
    shards = divided(ids, texts, parts, seed)
    known = [nearest_captions(crops, shards[: max(number - late, 0)], k).cosines[:, -1] for number in range(parts)]
    near = [list(near_in(crops, shard, best, k, TEMPERATURE)) for shard, best in zip(shards, known, strict=True)]
    found, whole = merged(nothing_retrieved(len(crops), k), near), nearest_captions(crops, shards, k, TEMPERATURE)
    assert all(np.array_equal(vars(found)[name], vars(whole)[name]) for name in vars(whole))


@given(SEEDS, st.sampled_from([np.nan, np.inf, -np.inf]))
def test_an_embedding_that_is_no_number_is_refused(seed, value):
    rows = unit_rows(np.random.default_rng(seed), 5)
    finite(rows)
    rows[seed % 5, seed % 16] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        finite(rows)


@given(SEEDS, st.integers(2, 9), st.integers(0, 9), st.integers(1, 8))
def test_a_search_goes_on_from_what_earlier_shards_gave(seed, parts, stop, k):
    crops, ids, texts = corpus_with_copies(seed)
    shards = divided(ids, texts, parts, seed)
    found = nearest_captions(crops, shards[:stop], k, TEMPERATURE, nothing_retrieved(len(crops), k))
    found = nearest_captions(crops, shards[stop:], k, TEMPERATURE, found)
    whole = nearest_captions(crops, shards, k, TEMPERATURE)
    assert all(np.array_equal(vars(found)[name], vars(whole)[name]) for name in vars(whole))


@given(SEEDS, st.integers(1, 60), st.integers(1, 8))
def test_shards_and_their_order_do_not_matter(seed, parts, k):
    crops, ids, texts = corpus_with_copies(seed)
    whole = nearest_captions(crops, as_one(ids, texts), k, TEMPERATURE)
    parted = nearest_captions(crops, divided(ids, texts, parts, seed), k, TEMPERATURE)
    assert np.array_equal(whole.captions, parted.captions)
    assert np.array_equal(whole.cosines, parted.cosines)
    assert np.allclose(corpus_weights(whole, TEMPERATURE), corpus_weights(parted, TEMPERATURE), rtol=1e-12)


def test_copies_of_a_caption_tie_at_any_width_of_a_shard():
    """A single-precision product gives copies in shards of another width other last bits, which rounding does not always hide."""
    rng = np.random.default_rng(0)
    base = unit_rows(rng, 3, dim=512)
    crops = base[:1] + 0.5 * unit_rows(rng, 600, dim=512)
    crops /= np.linalg.norm(crops, axis=1, keepdims=True)
    ids, texts = np.arange(40), base[rng.integers(0, 3, 40)]
    whole = nearest_captions(crops, as_one(ids, texts), 5, TEMPERATURE)
    assert np.array_equal(whole.captions, nearest_captions(crops, divided(ids, texts, 23, 0), 5, TEMPERATURE).captions)
    alone = [nearest_captions(crop[None], as_one(ids, texts), 5, TEMPERATURE).captions[0] for crop in crops]
    assert np.array_equal(whole.captions, alone)


def near_ties(seed: int, captions: int = 300, dim: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """A crop's captions differ by about as much as cosines are rounded by, and single precision errs by."""
    rng = np.random.default_rng(seed)
    base = unit_rows(rng, 3, dim)
    texts = base[rng.integers(0, 3, captions)] + 10.0 ** rng.uniform(-8, -5, (captions, 1)) * rng.normal(
        size=(captions, dim)
    )
    return base, (texts / np.linalg.norm(texts, axis=1, keepdims=True)).astype(np.float32)


@given(SEEDS, st.sampled_from([1, 3, 10]), st.integers(1, 30))
def test_near_ties_fall_the_same_way_for_any_number_of_shards(seed, parts, k):
    crops, texts = near_ties(seed)
    ids = np.arange(len(texts))
    found = nearest_captions(crops, divided(ids, texts, parts, seed), k)
    for row, crop in enumerate(crops.astype(np.float64)):
        cosines = [round(float((crop * text).sum()), DECIMALS) for text in texts.astype(np.float64)]
        assert found.captions[row].tolist() == sorted(ids.tolist(), key=lambda one: (-cosines[one], one))[:k]


def test_a_shard_full_of_candidates_is_thinned_without_losing_any():
    crops, ids, texts = corpus_with_copies(0, captions=4000, different=3)
    whole = nearest_captions(crops, as_one(ids, texts), 2)
    assert np.array_equal(whole.captions, nearest_captions(crops, divided(ids, texts, 400, 0), 2).captions)


@given(SEEDS, st.integers(1, 9))
def test_all_captions_as_candidates_give_the_exact_search(seed, k):
    crops, ids, texts = corpus_with_copies(seed)
    exact = nearest_captions(crops, as_one(ids, texts), k)
    order = np.random.default_rng(seed).permuted(np.tile(np.arange(len(ids)), (len(crops), 1)), axis=1)
    found = nearest_of(crops, order, ids, lambda places: texts[places], k)
    assert np.array_equal(found.captions, exact.captions)
    assert np.array_equal(found.cosines, exact.cosines)


def test_only_candidates_are_found_and_missing_ones_leave_places_empty():
    crops, ids, texts = corpus_with_copies(0)
    found = nearest_of(crops, np.tile([4, -1, 2], (len(crops), 1)), ids, lambda places: texts[places], 3)
    assert all(set(row) == {ids[4], ids[2], -1} for row in found.captions.tolist())
    assert (found.captions[:, 2] == -1).all()


def test_recall_is_the_share_of_what_was_to_be_found():
    exact = np.array([[1, 2, 3], [4, 5, -1]])
    assert recall(exact, exact) == 1
    assert recall(np.array([[3, 9, 1], [-1, 5, 8]]), exact) == 3 / 5
    assert recall(np.full((2, 3), 7), exact) == 0
    assert recall(exact[:0], exact[:0]) == 1


@given(SEEDS)
def test_the_order_and_number_of_crops_do_not_matter(seed):
    crops, ids, texts = corpus_with_copies(seed)
    order = np.random.default_rng(seed).permutation(len(crops))[:4]
    whole, some = (nearest_captions(rows, as_one(ids, texts), 5, TEMPERATURE) for rows in (crops, crops[order]))
    assert np.array_equal(whole.captions[order], some.captions)
    assert np.array_equal(whole.cosines[order], some.cosines)


@given(SEEDS)
def test_copies_added_to_the_corpus_never_displace_the_earlier_caption(seed):
    rng = np.random.default_rng(seed)
    crops, texts = unit_rows(rng, 5), unit_rows(rng, 30)
    once = nearest_captions(crops, as_one(np.arange(30), texts), 1, TEMPERATURE)
    twice = nearest_captions(crops, divided(np.arange(60), np.tile(texts, (2, 1)), 7, seed), 1, TEMPERATURE)
    assert np.array_equal(once.captions, twice.captions)
    assert np.allclose(corpus_weights(twice, TEMPERATURE), corpus_weights(once, TEMPERATURE) / 2)


@given(SEEDS)
def test_weights_sum_to_one_over_what_they_are_normalised_by(seed):
    crops, ids, texts = corpus_with_copies(seed)
    few = nearest_captions(crops, as_one(ids, texts), 5, TEMPERATURE)
    everything = nearest_captions(crops, as_one(ids, texts), len(ids), TEMPERATURE)
    assert np.allclose(retrieved_weights(few, TEMPERATURE).sum(axis=1), 1)
    assert np.allclose(corpus_weights(everything, TEMPERATURE).sum(axis=1), 1)
    assert (corpus_weights(few, TEMPERATURE) < retrieved_weights(few, TEMPERATURE)).all()


def test_the_weights_are_the_softmax_of_the_cosines():
    retrieved = Retrieved(np.array([[4, 2]]), np.array([[0.3, 0.2]]), np.array([np.log(np.exp(3.0) + 3 * np.exp(2.0))]))
    first, second = np.exp(3.0), np.exp(2.0)
    assert np.allclose(retrieved_weights(retrieved, 10), [[first / (first + second), second / (first + second)]])
    assert np.allclose(corpus_weights(retrieved, 10), [[first / (first + 3 * second), second / (first + 3 * second)]])


@pytest.mark.parametrize("weigh", [retrieved_weights, corpus_weights])
@pytest.mark.parametrize("captions", [0, 2])
@pytest.mark.filterwarnings("error")
def test_a_corpus_smaller_than_k_leaves_places_empty(weigh, captions):
    rng = np.random.default_rng(0)
    shards = [(np.zeros(0, int), unit_rows(rng, 0)), (np.arange(captions), unit_rows(rng, captions))]
    found = nearest_captions(unit_rows(rng, 3), shards, 4, TEMPERATURE)
    assert (found.captions[:, captions:] == -1).all()
    assert (weigh(found, TEMPERATURE)[:, captions:] == 0).all()
    assert np.allclose(weigh(found, TEMPERATURE).sum(axis=1), 1 if captions else 0)


def test_a_corpus_without_shards_and_no_crops_are_answered():
    rng = np.random.default_rng(0)
    assert (nearest_captions(unit_rows(rng, 3), [], 4, TEMPERATURE).captions == -1).all()
    none = nearest_captions(unit_rows(rng, 0), as_one(np.arange(9), unit_rows(rng, 9)), 4, TEMPERATURE)
    assert none.captions.shape == retrieved_weights(none, TEMPERATURE).shape == (0, 4)


@pytest.mark.parametrize("where", ["crops", "captions"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_no_numbers_are_refused(where, value):
    crops, ids, texts = corpus_with_copies(0)
    (crops if where == "crops" else texts)[3, 2] = value
    with pytest.raises(ValueError, match="NaN"):
        nearest_captions(crops, as_one(ids, texts), 5, TEMPERATURE)


def released_by_loops(crop: np.ndarray, shards: list, k: int) -> list[int]:
    """A softmax inside each shard, the best k across all of them, earlier shards first among equals."""
    candidates = []
    for ids, texts in shards:
        raw = np.exp(TEMPERATURE * (texts @ crop).astype(float))
        candidates += zip((raw / raw.sum()).tolist(), ids.tolist(), strict=True)
    return [caption for _, caption in sorted(candidates, key=lambda pair: -pair[0])[:k]]


@given(SEEDS, st.integers(1, 6))
def test_the_released_retrieval_is_as_described(seed, parts):
    rng = np.random.default_rng(seed)
    crops, shards = unit_rows(rng, 4), divided(np.arange(50), unit_rows(rng, 50), parts, seed)
    ids, weights = released_retrieval(crops, shards, 5, TEMPERATURE)
    assert ids.tolist() == [released_by_loops(crop, shards, 5) for crop in crops]
    assert (np.diff(weights, axis=1) <= 0).all()


def test_the_released_retrieval_depends_on_the_shards_and_ours_does_not():
    rng = np.random.default_rng(0)
    crops, ids, texts = unit_rows(rng, 40), np.arange(400), unit_rows(rng, 400)
    exact = nearest_captions(crops, as_one(ids, texts), 5, TEMPERATURE).captions
    whole, parted = (released_retrieval(crops, divided(ids, texts, parts, 0), 5, TEMPERATURE)[0] for parts in (1, 40))
    shared = [len(set(a) & set(b)) / 5 for a, b in zip(exact.tolist(), parted.tolist(), strict=True)]
    assert np.array_equal(whole, exact)
    assert np.mean(shared) < 0.7


def test_the_released_retrieval_fills_up_with_nothing():
    rng = np.random.default_rng(0)
    ids, weights = released_retrieval(unit_rows(rng, 2), as_one(np.arange(3), unit_rows(rng, 3)), 5, TEMPERATURE)
    assert (ids[:, 3:] == -1).all()
    assert (weights[:, 3:] == 0).all()


FOUND = st.integers(1, 4).flatmap(
    lambda k: st.lists(st.permutations(range(-1, 6)).map(lambda row: sorted(row[:k], reverse=True)), min_size=1, max_size=4)
).map(np.array)  # fmt: skip


@given(FOUND, st.randoms())
def test_recall_counts_what_of_the_exact_captions_is_among_those_found(exact, random):
    found = np.roll(exact, -1, axis=0)
    wanted = [(row, one) for row, some in enumerate(exact.tolist()) for one in some if one >= 0]
    share = sum(one in found[row].tolist() for row, one in wanted) / len(wanted) if wanted else 1.0
    assert recall(found, exact) == pytest.approx(share)
    assert recall(exact, exact) == 1
    columns = list(range(exact.shape[1]))
    random.shuffle(columns)
    assert recall(found[:, columns], exact) == recall(found, exact[:, columns]) == recall(found, exact)
    assert recall(np.hstack([found, exact]), exact) == 1 and recall(np.hstack([found, found]), exact) == recall(
        found, exact
    )


@given(SEEDS, st.integers(1, 5), st.integers(1, 6))
def test_empty_shards_change_nothing_and_released_weights_are_shares_of_a_shard(seed, parts, k):
    rng = np.random.default_rng(seed)
    crops, ids = unit_rows(rng, 3), np.arange(20)
    shards = divided(ids, unit_rows(rng, 20), parts, seed)
    nothing = (ids[:0], unit_rows(rng, 0))
    with_empty = [nothing, *(some for shard in shards for some in (shard, nothing))]
    (found, weights), (again, same) = (released_retrieval(crops, some, k, TEMPERATURE) for some in (shards, with_empty))
    assert np.array_equal(found, again) and np.array_equal(weights, same)
    assert ((weights > 0) & (weights <= 1)).all() and (weights.sum(axis=1) <= parts + 1e-6).all()
    exact, beside = (nearest_captions(crops, some, k, TEMPERATURE) for some in (shards, with_empty))
    assert np.array_equal(exact.captions, beside.captions) and np.allclose(exact.log_total, beside.log_total)


@given(SEEDS, st.integers(1, 5), st.sampled_from([np.float16, np.float32]))
def test_embeddings_of_fewer_bits_are_ranked_as_the_numbers_that_they_are(seed, k, width):
    crops, ids, texts = corpus_with_copies(seed)
    narrow = texts.astype(width)
    found, exact = (nearest_captions(crops, as_one(ids, some), k) for some in (narrow, narrow.astype(np.float64)))
    assert np.array_equal(found.captions, exact.captions) and np.array_equal(found.cosines, exact.cosines)
    assert (np.abs(found.cosines) <= 1.01).all() and (np.diff(found.cosines, axis=1) <= 0).all()


@given(SEEDS, st.integers(1, 5), st.sampled_from([0.5, 10.0, 1000.0]))
def test_a_higher_temperature_moves_weight_to_the_nearest_caption(seed, k, temperature):
    crops, ids, texts = corpus_with_copies(seed)
    cool, hot = (nearest_captions(crops, as_one(ids, texts), k, some) for some in (temperature, 2 * temperature))
    for weigh in (retrieved_weights, corpus_weights):
        before, after = weigh(cool, temperature), weigh(hot, 2 * temperature)
        assert np.isfinite(after).all() and (after >= 0).all() and (after.sum(axis=1) <= 1 + 1e-9).all()
        assert weigh is corpus_weights or (after[:, 0] >= before[:, 0] - 1e-12).all()
        assert (np.diff(after, axis=1) <= 0).all()
