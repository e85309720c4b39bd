"""Step 6: interpretability of a group as the mean cosine of its crops, and against random crops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

from falcon_dvc.evaluation import coherence as module
from falcon_dvc.evaluation.coherence import coherence, coherence_of_random_sets, size_strata, with_diagonal

SEEDS = st.integers(0, 2**32 - 1)


def unit_rows(seed: int, rows: int, dim: int = 8) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(rows, dim))
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def coherence_null(pool, stratum, size, sets, generator) -> np.ndarray:
    """The null of one group."""
    return np.array(list(coherence_of_random_sets(pool, stratum, size[None], sets, generator)))[:, 0]


def against_null(value: float, null: np.ndarray) -> tuple[float, float]:
    """z-score and probability of one group."""
    z, p_value = module.against_null(np.array([value]), null[None])
    return float(z[0]), float(p_value[0])


def null_of(pool: np.ndarray, size: int, sets: int, generator: np.random.Generator) -> np.ndarray:
    """The null of a pool without strata."""
    return coherence_null(pool, np.zeros(len(pool), int), np.array([size]), sets, generator)


def mean_of_pairs(rows: np.ndarray) -> float:
    cosines = [float(a @ b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j]
    return sum(cosines) / len(cosines) if cosines else float("nan")


@given(SEEDS, st.integers(1, 40))
def test_coherence_is_the_mean_cosine_of_all_pairs_of_different_crops(seed, crops):
    rows = unit_rows(seed, crops)
    group = np.random.default_rng(seed).integers(0, 5, crops)
    expected = [mean_of_pairs(rows[group == g]) for g in range(5)]
    assert np.allclose(coherence(rows, group, 5), expected, equal_nan=True)


@given(SEEDS)
def test_coherence_does_not_depend_on_the_order_of_crops_or_groups(seed):
    rng, rows = np.random.default_rng(seed), unit_rows(seed, 30)
    group, order, names = rng.integers(0, 4, 30), rng.permutation(30), rng.permutation(4)
    straight, mixed = coherence(rows, group, 4), coherence(rows[order], names[group][order], 4)
    assert np.allclose(mixed[names], straight, equal_nan=True)


def test_groups_without_a_pair_have_no_coherence():
    values = coherence(unit_rows(0, 3), np.array([0, 2, 2]), 4)
    assert np.isnan(values).tolist() == [True, True, False, True]


@given(SEEDS, st.integers(2, 20))
def test_the_released_measure_counts_the_diagonal(seed, crops):
    rows = unit_rows(seed, crops)
    own = coherence(rows, np.zeros(crops, int), 1)
    assert with_diagonal(own, np.array([crops]))[0] == pytest.approx(float((rows @ rows.T).mean()))


def test_the_released_cut_of_eight_tenths_is_really_lower_in_a_small_group():
    assert with_diagonal(np.array([0.78]), np.array([11]))[0] == pytest.approx(0.8)


def test_a_random_set_has_a_uniform_p_value():
    pool = unit_rows(0, 400)
    null = null_of(pool, 11, 1000, np.random.default_rng(1))
    fresh = null_of(pool, 11, 400, np.random.default_rng(2))
    z, p_values = zip(*(against_null(value, null) for value in fresh), strict=True)
    assert kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(z) == pytest.approx(0, abs=0.2)
    assert np.std(z) == pytest.approx(1, abs=0.2)


def test_the_null_is_the_coherence_of_random_sets():
    pool, rng = unit_rows(3, 60), np.random.default_rng(4)
    null = null_of(pool, 7, 2000, np.random.default_rng(5))
    drawn = [mean_of_pairs(pool[rng.choice(60, 7, replace=False)]) for _ in range(300)]
    assert null.mean() == pytest.approx(np.mean(drawn), abs=0.01)
    assert null.std() == pytest.approx(np.std(drawn), rel=0.2)


@given(SEEDS, st.integers(2, 10), st.integers(1, 30))
def test_the_null_has_as_many_sets_as_asked_for_and_one_seed_gives_one_null(seed, size, sets):
    pool = unit_rows(seed, 10)
    first, second = (null_of(pool, size, sets, np.random.default_rng(7)) for _ in range(2))
    assert len(first) == sets
    assert np.array_equal(first, second)


def test_a_set_of_the_whole_pool_is_the_pools_coherence():
    pool = unit_rows(0, 9)
    assert np.allclose(null_of(pool, 9, 5, np.random.default_rng(0)), mean_of_pairs(pool))


def test_a_planted_coherent_set_is_found():
    pool = unit_rows(0, 400, dim=32)
    planted = pool[:11] + 2 * unit_rows(1, 1, dim=32)
    planted /= np.linalg.norm(planted, axis=1, keepdims=True)
    null = null_of(pool, 11, 999, np.random.default_rng(0))
    z, p_value = against_null(float(coherence(planted, np.zeros(11, int), 1)[0]), null)
    assert z > 5
    assert p_value == 1 / 1000


def test_a_pool_smaller_than_a_set_is_refused():
    with pytest.raises(ValueError, match="pool of 5 random crops is too small for sets of 6"):
        null_of(unit_rows(0, 5), 6, 10, np.random.default_rng(0))


def test_a_group_without_a_pair_is_no_discovery():
    assert against_null(float("nan"), np.linspace(0, 1, 99))[1] == 1


def test_where_all_crops_look_alike_nothing_is_more_coherent_than_chance():
    """An encoder that collapsed: the last bits of a sum must not make a discovery."""
    pool = np.repeat(unit_rows(0, 1, dim=7), 50, axis=0)
    null = null_of(pool, 11, 99, np.random.default_rng(0))
    own = float(coherence(pool[:11], np.zeros(11, int), 1)[0])
    assert against_null(own + 1e-15, null) == (0.0, 1.0)
    assert against_null(own + 1e-12, null + 1e-15 * np.arange(99)) == (0.0, 1.0)


@given(SEEDS, st.integers(1, 6), st.integers(1, 30))
def test_strata_hold_enough_of_the_pool_and_divide_by_size(seed, most, least):
    rng = np.random.default_rng(seed)
    pool, crops = rng.choice([0.3, 0.3, 0.4, 0.5, 0.8, 1.0], 40), rng.uniform(0.3, 1, 25)
    stratum, own = size_strata(pool, crops, most, least)
    counts = np.bincount(stratum)
    assert 1 <= len(counts) <= most and counts.min() >= least
    sizes, numbers = np.concatenate([pool, crops]), np.concatenate([stratum, own])
    order = np.argsort(sizes, kind="stable")
    assert (np.diff(numbers[order]) >= 0).all()


def test_a_pool_smaller_than_a_stratum_is_refused():
    with pytest.raises(ValueError, match="pool of 5 random crops is too small for sets of 6"):
        size_strata(np.ones(5), np.ones(3), 8, 6)


def test_small_crops_that_resemble_each_other_are_no_discovery():
    """All small crops look alike here; a set of small crops is coherent for no other reason than its size."""
    rng = np.random.default_rng(0)
    side = rng.uniform(0, 1, 800)
    alike = unit_rows(1, 1, dim=16) * np.where(side < 0.5, 3.0, 0.0)[:, None] + unit_rows(2, 800, dim=16)
    pool = alike / np.linalg.norm(alike, axis=1, keepdims=True)
    small = np.flatnonzero(side < 0.3)[:20]
    others = np.setdiff1d(np.arange(800), small)
    value = float(coherence(pool[small], np.zeros(20, int), 1)[0])
    stratum, own = size_strata(side[others], side[small], 8, 20)
    matched = coherence_null(
        pool[others], stratum, np.bincount(own, minlength=stratum.max() + 1), 500, np.random.default_rng(0)
    )
    assert against_null(value, null_of(pool[others], 20, 500, np.random.default_rng(0)))[1] < 0.01
    assert against_null(value, matched)[1] > 0.05


@given(SEEDS, st.integers(2, 12), st.integers(1, 4), st.sampled_from([np.float32, np.float64]))
def test_coherence_lies_between_that_of_opposites_and_that_of_copies(seed, crops, dim, width):
    rows = unit_rows(seed, crops, dim)
    for some in (rows, np.sign(rows[:, :1]), np.repeat(rows[:1], crops, axis=0)):
        own = coherence(some.astype(width), np.zeros(crops, int), 1)
        assert -1 / (crops - 1) - 1e-6 <= own[0] <= 1 + 1e-6
        assert -1e-6 <= with_diagonal(own, np.array([crops]))[0] <= 1 + 1e-6
    assert own[0] == pytest.approx(1, abs=1e-6)


NUMBERS = st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=12)


@given(NUMBERS, st.lists(st.floats(-2, 2), min_size=2, max_size=2).map(sorted), st.sampled_from([-0.5, 0.0, 8.0]))
def test_a_p_value_counts_the_null_falls_with_the_value_and_forgets_the_level(null, values, level):
    null, count = np.array(null), len(null)
    (z, p), (above, less) = (against_null(value, null) for value in values)
    assert 1 / (count + 1) <= less <= p <= 1 and z <= above
    assert p == (1 + sum(some >= values[0] - 1e-9 for some in null)) / (count + 1)
    assert against_null(null.min(), null)[1] == 1 and against_null(null.max() + 1, null)[1] == 1 / (count + 1)
    assert against_null(null.mean(), null)[0] == pytest.approx(0, abs=1e-9)
    if null.std() > 0:
        assert z == pytest.approx((values[0] - np.mean(null)) / np.std(null), abs=1e-9)
    shifted = against_null(values[0] + level, null[::-1] + level)
    assert shifted[0] == pytest.approx(z, abs=1e-6) and abs(shifted[1] - p) <= (null == values[0]).sum() / (count + 1)


@given(SEEDS, st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(lambda sizes: sum(sizes) > 1))
def test_sets_that_take_whole_strata_are_those_strata(seed, sizes):
    """Strata that give nothing are left alone, however few crops they hold."""
    stratum = np.repeat(np.arange(len(sizes)), sizes)
    pool, other = unit_rows(seed, len(stratum)), unit_rows(seed + 1, 3)
    rows, numbers = np.concatenate([pool, other]), np.concatenate([stratum, np.full(3, len(sizes))])
    order = np.random.default_rng(seed).permutation(len(rows))
    null = coherence_null(rows[order], numbers[order], np.array([*sizes, 0]), 3, np.random.default_rng(seed))
    assert np.allclose(null, mean_of_pairs(pool))


@given(SEEDS, st.integers(1, 5))
def test_a_crop_of_the_pool_lies_in_its_own_stratum_whatever_the_unit(seed, most):
    pool = np.random.default_rng(seed).choice([0.25, 0.5, 0.5, 1.0], 24)
    stratum, own = size_strata(pool, pool, most, 3)
    assert np.array_equal(stratum, own)
    assert np.array_equal(size_strata(64 * pool, 64 * pool[:5], most, 3)[1], own[:5])
    assert len(set(stratum)) <= len(set(pool)), "equal sizes share a stratum"


@given(SEEDS, st.integers(1, 5), st.integers(1, 3))
def test_the_null_of_a_group_is_the_same_whatever_the_other_groups_are(seed, groups, strata):
    rng = np.random.default_rng(seed)
    pool, stratum = unit_rows(seed, 40), np.arange(40) % strata
    sizes = rng.integers(0, 12, (groups, strata))
    together = np.array(list(coherence_of_random_sets(pool, stratum, sizes, 6, np.random.default_rng(1)))).T
    for row in range(groups):
        alone = coherence_null(pool, stratum, sizes[row], 6, np.random.default_rng(1))
        assert np.allclose(alone, together[row], atol=1e-12, equal_nan=True)


def test_a_random_set_takes_its_rows_from_each_stratum_as_asked_for():
    """Rows of a stratum are one direction, of another the opposite: the coherence says how many came from each."""
    pool = np.repeat([[1.0, 0.0], [-1.0, 0.0]], 20, axis=0)
    null = coherence_null(pool, np.repeat([0, 1], 20), np.array([5, 3]), 4, np.random.default_rng(0))
    assert np.allclose(null, ((5 - 3) ** 2 - 8) / (8 * 7))
