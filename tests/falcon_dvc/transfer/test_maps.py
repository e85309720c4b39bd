"""Concept transfer (C5): ridge regression against the normal equations, and what it can and cannot recover."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falcon_dvc.transfer import maps as transfer
from falcon_dvc.transfer.maps import (
    LinearMap,
    Split,
    bootstrap,
    ceiling_by_rank,
    cosines,
    known_linear,
    learning_curve,
    not_linear,
    overlap,
    permuted,
    principal_components,
    r_squared,
    r_squared_by_rank,
    rank_curve,
    ridge,
    right_singular,
    smallest_rank,
    split_images,
    units_of,
)
from tests.support.matrices import matrices

SEEDS = st.integers(0, 2**32 - 1)
LAMBDAS = (1e-6, 1e-3, 1.0, 1e3)
NOISE = 0.05  # of the signal's standard deviation


def spaces(seed: int = 0, images: int = 600, noise: float = NOISE) -> tuple[np.ndarray, np.ndarray]:
    """A space, and a known linear map of it with noise of that share of the signal's standard deviation."""
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(images, 12)) * rng.uniform(0.2, 3, 12) + rng.normal(size=12)
    clean = source @ rng.normal(size=(12, 8)) + rng.normal(size=8)
    return source, clean + noise * clean.std(axis=0) * rng.normal(size=clean.shape)


def like_an_encoder(seed: int = 0, images: int = 2000) -> np.ndarray:
    """Features as encoders have them: correlated, never negative, of different size."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(images, 20)) @ rng.normal(size=(20, 32)) / 4 + rng.normal(size=(images, 32))
    return np.maximum(hidden, 0) * rng.uniform(0.2, 3, 32)


def split_of(images: int) -> Split:
    return split_images(images, 0.6, 0.2, np.random.default_rng(1))


def every_row(images: int) -> Split:
    """Fit on all images; with a single lambda there is nothing to choose."""
    rows = np.arange(images)
    return Split(rows, rows, rows)


def fit_all(source: np.ndarray, target: np.ndarray, penalty: float):
    return ridge(source, every_row(len(source)), (penalty,)).fit(target)


def heldout_r_squared(source, target, *, pairing=True, lambdas=LAMBDAS, rank=None) -> np.ndarray:
    split = split_of(len(source))
    rows = np.arange(len(source)) if pairing else permuted(split, len(source), np.random.default_rng(2))
    fitted = ridge(source, split, lambdas).fit(target[rows]).linear_map(rank)
    return r_squared(target[split.heldout], fitted(source[split.heldout]))


# Ridge regression


@given(SEEDS, st.sampled_from([0.01, 1.0, 50.0]), st.sampled_from([9, 13, 30]))
def test_ridge_solves_the_normal_equations(seed, penalty, images):
    """With more images than features (30), as many (13, centred), and fewer (9)."""
    source, target = spaces(seed, images=images)
    centred, level = source - source.mean(axis=0), target.mean(axis=0)
    scaled = penalty * source.var(axis=0).mean() * len(source)
    expected = np.linalg.solve(centred.T @ centred + scaled * np.eye(12), centred.T @ (target - level))
    fitted = fit_all(source, target, penalty).linear_map()
    assert np.allclose(fitted.weights, expected)
    assert np.allclose(fitted(source), centred @ expected + level)


@given(SEEDS)
def test_without_a_penalty_ridge_is_least_squares(seed):
    source, target = spaces(seed, images=40)
    with_ones = np.column_stack([source, np.ones(40)])
    expected = with_ones @ np.linalg.lstsq(with_ones, target, rcond=None)[0]
    assert np.allclose(fit_all(source, target, 0.0).linear_map()(source), expected)


def test_a_large_penalty_predicts_the_mean():
    source, target = spaces()
    assert np.allclose(fit_all(source, target, 1e12).linear_map()(source), target.mean(axis=0), atol=1e-6)


def test_a_huge_lambda_does_not_beat_the_one_chosen():
    source, target = spaces()
    chosen, huge = (heldout_r_squared(source, target, lambdas=some) for some in (LAMBDAS, (1e6,)))
    assert (huge < 0.01).all()
    assert (chosen > huge + 0.9).all()


def test_lambda_is_the_best_on_the_validation_split():
    """As many features as training images: hardly any penalty fits the noise."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(100, 60))
    target = source[:, :3] + rng.normal(size=(100, 3))
    split = split_images(100, 0.6, 0.2, np.random.default_rng(0))
    found = ridge(source, split, LAMBDAS).fit(target)
    maps = [ridge(source, split, (penalty,)).fit(target).linear_map() for penalty in LAMBDAS]
    errors = [
        (np.square(one(source[split.validation]) - target[split.validation]) / target[split.train].var(axis=0)).mean()
        for one in maps
    ]
    assert found.penalty == LAMBDAS[int(np.argmin(errors))] == 1.0
    assert min(errors) < 0.9 * max(errors[0], errors[-1])
    assert np.array_equal(found.linear_map().weights, maps[int(np.argmin(errors))].weights)


def test_what_is_held_out_changes_no_map():
    source, target = spaces()
    split = split_of(600)
    before = ridge(source, split, LAMBDAS).fit(target).linear_map(3)
    source[split.heldout] = target[split.heldout] = np.nan
    assert np.array_equal(before.weights, ridge(source, split, LAMBDAS).fit(target).linear_map(3).weights)


@pytest.mark.parametrize("part", ["train", "validation"])
@pytest.mark.parametrize("where", ["source", "target"])
def test_values_that_are_no_numbers_are_refused(where, part):
    source, target = spaces()
    split = split_of(600)
    (source if where == "source" else target)[getattr(split, part)[5], 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        ridge(source, split, (0.1,)).fit(target)


def test_a_constant_source_predicts_the_mean():
    _, target = spaces(images=30)
    fit = fit_all(np.ones((30, 4)), target, 0.1)
    assert np.allclose(fit.linear_map()(np.ones((2, 4))), target.mean(axis=0))
    assert fit.directions.shape == (8, 0)


def test_constant_and_copied_features_do_no_harm():
    source, target = spaces()
    source = np.column_stack([source, source[:, :1], np.full(len(source), 7.0)])
    assert (heldout_r_squared(source, target) > 0.99).all()
    with_constant = heldout_r_squared(source, np.column_stack([target, np.full(len(source), 0.1)]))
    assert np.isnan(with_constant).tolist() == [False] * 8 + [True]


@given(SEEDS, st.sampled_from([(5, 9), (9, 5), (7, 7)]))
def test_right_singular_vectors_are_those_of_the_svd(seed, shape):
    matrix = np.random.default_rng(seed).normal(size=shape)
    matrix[-1] = matrix[0]
    values, vectors = np.linalg.svd(matrix)[1:]
    rank = np.linalg.matrix_rank(matrix)
    powers, found = right_singular(matrix)
    assert np.allclose(powers, values[:rank] ** 2)
    assert np.allclose(found @ found.T, vectors[:rank].T @ vectors[:rank])
    assert np.allclose(found.T @ found, np.eye(rank))


# What it does not depend on


@given(SEEDS, st.sampled_from([1e-6, 1e-3, 1e3]))
def test_the_scale_of_the_source_does_not_matter(seed, scale):
    source, target = spaces(seed, images=60)
    assert np.allclose(heldout_r_squared(source, target), heldout_r_squared(scale * source + 1, target))


@given(SEEDS, st.sampled_from([None, 2]))
def test_the_scale_of_each_feature_of_the_target_does_not_matter(seed, rank):
    """Neither for lambda nor for the dimensions kept: a loud feature does not win over the others."""
    rng = np.random.default_rng(seed)
    source, target = spaces(seed, images=60, noise=1.0)
    scaled = target * 10 ** rng.uniform(-3, 3, 8) + rng.normal(size=8)
    assert np.allclose(heldout_r_squared(source, target, rank=rank), heldout_r_squared(source, scaled, rank=rank))


@given(SEEDS)
def test_a_rotation_of_the_source_does_not_matter(seed):
    source, target = spaces(seed, images=60, noise=1.0)
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(12, 12)))[0]
    assert np.allclose(heldout_r_squared(source, target), heldout_r_squared(source @ rotation, target))


def test_the_scale_of_each_feature_of_the_source_matters_only_to_the_penalty():
    """Ridge prefers loud features; with hardly any penalty it does not."""
    source, target = spaces(images=100, noise=1.0)
    scaled = source * 10 ** np.random.default_rng(0).uniform(-1, 1, 12)
    for penalty, same in ((1e-9, True), (1.0, False)):
        before, after = (heldout_r_squared(some, target, lambdas=(penalty,)) for some in (source, scaled))
        assert np.allclose(before, after, atol=1e-4) == same


@given(SEEDS)
def test_the_order_of_the_images_does_not_matter(seed):
    source, target = spaces(seed, images=60, noise=1.0)
    order = np.random.default_rng(seed).permutation(60)
    place = np.argsort(order)
    split = split_of(60)
    moved = Split(*(np.sort(place[part]) for part in (split.train, split.validation, split.heldout)))
    before, after = (
        ridge(some, parts, LAMBDAS).fit(other)
        for some, other, parts in ((source, target, split), (source[order], target[order], moved))
    )
    assert before.penalty == after.penalty
    assert np.allclose(before.linear_map(3)(source), after.linear_map(3)(source))


# What it can and cannot recover


@given(SEEDS)
def test_a_known_linear_map_is_recovered_on_heldout_images(seed):
    """Noise of 0.05 of the signal's standard deviation leaves at most R2 = 1 / (1 + 0.05²) = 0.9975."""
    assert (heldout_r_squared(*spaces(seed)) > 0.99).all()


def test_the_linear_control_is_recovered_up_to_its_noise():
    source = like_an_encoder()
    for noise in (0.05, 0.5):
        target = known_linear(source, 24, noise, np.random.default_rng(3))
        found = heldout_r_squared(source, target)
        assert np.median(found) == pytest.approx(1 / (1 + noise**2), abs=0.03 * noise)
    assert (heldout_r_squared(source, known_linear(source, 24, 0.05, np.random.default_rng(3))) > 0.99).all()


def test_the_linear_control_is_out_of_reach_with_fewer_images_than_dimensions():
    source = np.random.default_rng(0).normal(size=(60, 100))
    assert np.median(heldout_r_squared(source, known_linear(source, 24, 0.05, np.random.default_rng(3)))) < 0.6


def test_a_map_that_is_not_linear_is_reported_as_a_failure():
    source, _ = spaces()
    centred = (source - source.mean(axis=0)) / source.std(axis=0)
    target = np.column_stack(
        [
            centred[:, 0] * centred[:, 1],
            np.cos(3 * centred[:, 2]),
            np.sign(centred[:, 3] * centred[:, 4]),
            np.square(centred[:, 5]),
            np.abs(centred[:, 6]),
        ]
    )
    assert (heldout_r_squared(source, target) < 0.1).all()


def test_no_linear_map_follows_the_control_that_is_not_linear():
    source = like_an_encoder()
    components = principal_components(source[split_of(len(source)).train])
    target = not_linear(source, 24, components, np.random.default_rng(3))
    assert set(np.unique(target)) == {-1, 1}
    assert np.abs(heldout_r_squared(source, target)).max() < 0.15
    assert abs(np.median(heldout_r_squared(source, target))) < 0.05


def test_a_permuted_pairing_explains_nothing():
    source, target = spaces()
    found = heldout_r_squared(source, target, pairing=False)
    assert (found < 0.02).all()
    assert np.abs(found).max() < 0.2


# Maps of limited rank


def planted_rank(rank: int, seed: int = 0, images: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """A linear map through so many dimensions of about equal weight, with the usual noise."""
    rng = np.random.default_rng(seed)
    source, mixing = rng.normal(size=(images, 12)), np.linalg.qr(rng.normal(size=(16, rank)))[0].T
    clean = source @ np.linalg.qr(rng.normal(size=(12, rank)))[0] @ mixing
    return source, clean + NOISE * clean.std(axis=0) * rng.normal(size=clean.shape)


@given(SEEDS, st.integers(2, 8))
def test_a_planted_rank_is_recovered_at_that_rank_and_not_below(seed, rank):
    source, target = planted_rank(rank, seed)
    assert (heldout_r_squared(source, target, rank=rank) > 0.99).all()
    assert heldout_r_squared(source, target, rank=rank - 1).mean() < 1 - 0.5 / rank


@given(SEEDS, st.integers(2, 8))
def test_the_smallest_rank_that_is_enough_is_the_planted_one(seed, rank):
    source, target = planted_rank(rank, seed)
    split = split_of(len(source))
    by_rank = rank_curve(ridge(source, split, LAMBDAS).fit(target), source[split.validation], target[split.validation])
    assert smallest_rank(by_rank, 0.99) == rank
    assert smallest_rank(by_rank, 1e-9) == 1


def test_a_map_that_explains_nothing_needs_no_dimension():
    assert smallest_rank(np.array([[-0.01, np.nan], [0.1, np.nan], [-0.2, np.nan]]), 0.9) == 0
    assert smallest_rank(np.array([[-0.01], [0.8], [1.0]]), 0.8) == 1
    assert smallest_rank(np.zeros((1, 3)), 0.9) == 0
    assert smallest_rank(np.array([[-0.3], [-0.1], [-0.1]]), 0.9) == 0


@given(SEEDS, st.integers(0, 8), st.sampled_from([0.01, 1.0]), st.sampled_from([7, 40]))
def test_a_limited_map_is_the_best_of_its_rank(seed, rank, penalty, images):
    """Of the penalised loss; against the SVD of the data with the penalty's rows appended, and against its neighbours."""
    source, target = spaces(seed, images=images, noise=1.0)
    fit = fit_all(source, target, penalty)
    centred, standard = source - source.mean(axis=0), fit.units(target)
    rows = np.sqrt(penalty * source.var(axis=0).mean() * images) * np.eye(12)
    data, goal = np.vstack([centred, rows]), np.vstack([standard, np.zeros((12, 8))])
    full = np.linalg.lstsq(data, goal, rcond=None)[0]
    kept = np.linalg.svd(data @ full)[2][:rank]
    found = fit.linear_map(rank).weights / fit.units.spread
    assert np.allclose(found, full @ kept.T @ kept, atol=1e-6)
    assert np.linalg.matrix_rank(found, tol=1e-9) <= rank

    rng = np.random.default_rng(seed)
    left, values, right = np.linalg.svd(found, full_matrices=False)
    moved = (left[:, :rank] * values[:rank] + 0.05 * rng.normal(size=(12, rank))) @ (
        right[:rank] + 0.05 * rng.normal(size=(rank, 8))
    )
    assert np.square(goal - data @ found).sum() <= np.square(goal - data @ moved).sum() + 1e-9


@given(SEEDS, st.sampled_from([12, 60]))
def test_the_curve_by_rank_is_that_of_the_limited_maps(seed, images):
    source, target = spaces(seed, images=images, noise=1.0)
    target[:, 2] = 3.0
    fit, new = fit_all(source[: images // 2], target[: images // 2], 0.01), slice(images // 2, None)
    by_rank = rank_curve(fit, source[new], target[new])
    assert by_rank.shape == (fit.directions.shape[1] + 1, 8)
    for rank, found in enumerate(by_rank):
        expected = r_squared(target[new], fit.linear_map(rank)(source[new]))
        assert np.allclose(found, expected, equal_nan=True, atol=1e-6)
    assert np.allclose(fit.linear_map(99).weights, fit.linear_map().weights)
    assert np.isnan(by_rank[:, 2]).all()


@given(SEEDS)
def test_no_map_beats_the_targets_own_components_where_they_were_found(seed):
    source, target = spaces(seed, images=60, noise=1.0)
    fit = fit_all(source, target, 1e-6)
    ceiling = ceiling_by_rank(fit.units, target, target).mean(axis=1)
    found = rank_curve(fit, source, target).mean(axis=1)
    assert (found <= ceiling + 1e-9).all()
    assert ceiling[0] == pytest.approx(0)
    assert ceiling[-1] == pytest.approx(1)


# The curve over training images


def curve_of(source, target, *, counts=(40, 150, 360, 999), draws=3, seed=0, rank=None):
    prepared = ridge(source, split_of(len(source)), LAMBDAS)
    return learning_curve(source, target, prepared, counts, draws, np.random.default_rng(seed), rank)


def test_more_images_explain_more_and_wrong_pairs_nothing():
    source, target = spaces(noise=1.0)
    points = curve_of(source, target, counts=(150, 15, 40, 40))
    assert [point.images for point in points] == [15, 40, 150]
    assert all(point.r_squared.shape == point.null.shape == (3, 8) for point in points)
    medians = [np.median(point.r_squared) for point in points]
    assert medians == sorted(medians)
    assert medians[-1] > medians[0] + 0.05
    assert all(np.median(point.null) < 0.05 for point in points)


def test_all_training_images_or_more_are_no_part_of_the_curve():
    points = curve_of(*spaces())
    assert [point.images for point in points] == [40, 150]
    assert curve_of(*spaces(), counts=()) == []


def test_smaller_sets_are_part_of_larger_ones(monkeypatch):
    splits, plain = [], transfer.ridge
    monkeypatch.setattr(
        transfer, "ridge", lambda source, split, _: splits.append(split) or plain(source, split, LAMBDAS)
    )
    source, target = spaces()
    whole = split_of(600)
    prepared = plain(source, whole, LAMBDAS)
    learning_curve(source, target, prepared, (40, 150), 3, np.random.default_rng(0))
    small, large = splits[:3], splits[3:]
    assert [len(split.train) for split in splits] == [40] * 3 + [150] * 3
    for one, other in zip(small, large, strict=True):
        assert set(one.train) < set(other.train) < set(whole.train)
        assert np.array_equal(one.heldout, whole.heldout)
        assert np.array_equal(one.validation, whole.validation)
    assert len({tuple(split.train) for split in small}) == 3


def test_the_curve_is_of_one_seed_and_of_the_rank_asked_for():
    source, target = planted_rank(6)
    first, second, other = (curve_of(source, target, seed=seed) for seed in (0, 0, 1))
    assert all(np.array_equal(a.r_squared, b.r_squared) for a, b in zip(first, second, strict=True))
    assert not np.array_equal(first[0].r_squared, other[0].r_squared)
    assert curve_of(source, target, rank=2)[-1].r_squared.mean() < 0.6 < first[-1].r_squared.mean()


# Splits and pairings


@given(st.integers(10, 300), SEEDS)
def test_splits_are_disjoint_whole_and_of_one_seed(images, seed):
    first, second = (split_images(images, 0.6, 0.2, np.random.default_rng(seed)) for _ in range(2))
    parts = (first.train, first.validation, first.heldout)
    assert sorted(np.concatenate(parts).tolist()) == list(range(images))
    assert all((np.diff(part) > 0).all() for part in parts)
    assert len(first.train) == round(0.6 * images)
    assert np.array_equal(first.heldout, second.heldout)


@pytest.mark.parametrize("images", [0, 1, 6])
def test_too_few_images_are_refused(images):
    with pytest.raises(ValueError, match=f"{images} images are too few"):
        split_images(images, 0.6, 0.2, np.random.default_rng(0))


@given(SEEDS)
def test_the_null_pairing_moves_images_only_inside_their_split(seed):
    split = split_images(50, 0.6, 0.2, np.random.default_rng(seed))
    few = replace(split, train=split.train[:10])
    for some in (split, few):
        rows = permuted(some, 50, np.random.default_rng(seed))
        for part in (some.train, some.validation):
            assert sorted(rows[part].tolist()) == part.tolist()
        others = np.setdiff1d(np.arange(50), np.concatenate([some.train, some.validation]))
        assert np.array_equal(rows[others], others)
        assert (rows != np.arange(50)).any()


# Measures


@given(SEEDS)
def test_r_squared_is_a_share_of_the_variance(seed):
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(size=(2, 20, 3))
    expected = [1 - sum((target[:, j] - predicted[:, j]) ** 2) / (20 * target[:, j].var()) for j in range(3)]
    assert np.allclose(r_squared(target, predicted), expected)
    assert np.allclose(r_squared(1e-9 * target, 1e-9 * predicted), expected)
    assert np.allclose(r_squared(target, target), 1)
    assert np.allclose(r_squared(target, np.tile(target.mean(axis=0), (20, 1))), 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("constant", [0.0, 0.1, 3.0, 1e9])
def test_a_constant_feature_has_no_r_squared_and_keeps_its_units(constant):
    target = np.column_stack([np.full(9, constant), np.arange(9.0)])
    assert np.isnan(r_squared(target, target)).tolist() == [True, False]
    assert units_of(target).spread.tolist() == [1, pytest.approx(np.arange(9.0).std())]


@given(SEEDS)
def test_cosines_of_rows(seed):
    first, second = np.random.default_rng(seed).normal(size=(2, 6, 4))
    second[3] = 0
    found = cosines(first, second)
    assert found[3] == 0
    for row in (0, 1, 2, 4, 5):
        assert found[row] == pytest.approx(
            first[row] @ second[row] / (np.linalg.norm(first[row]) * np.linalg.norm(second[row]))
        )


@given(SEEDS)
def test_overlap_is_the_share_of_common_entries(seed):
    rng = np.random.default_rng(seed)
    first, second = (np.array([rng.permutation(np.arange(-2, 8))[:5] for _ in range(4)]) for _ in range(2))
    first, second = (np.where(rows < 0, -1, rows) for rows in (first, second))
    for share, a, b in zip(overlap(first, second), first.tolist(), second.tolist(), strict=True):
        mine, others = set(a) - {-1}, set(b) - {-1}
        assert share == pytest.approx(len(mine & others) / len(mine))


def test_rows_of_nothing_overlap_with_nothing():
    nothing = np.full((1, 3), -1)
    assert overlap(nothing, nothing).tolist() == [0]
    assert overlap(np.array([[1, 2, -1]]), nothing).tolist() == [0]


# Intervals


@given(SEEDS, st.sampled_from([np.mean, np.median]), st.integers(1, 4))
def test_an_interval_holds_its_statistic_and_lies_within_the_values(seed, statistic, draws):
    values = np.random.default_rng(seed).normal(size=(draws, 30))
    low, high = bootstrap(values, statistic, 300, 0.99, np.random.default_rng(seed))
    assert values.min() <= low <= statistic(values, axis=1).mean() <= high <= values.max()
    narrow = bootstrap(values, statistic, 300, 0.5, np.random.default_rng(seed))
    assert low <= narrow[0] <= narrow[1] <= high


def test_values_that_agree_have_no_width():
    assert bootstrap(np.full((2, 5), 0.25), np.median, 50, 0.95, np.random.default_rng(0)) == (0.25, 0.25)


@pytest.mark.parametrize("axis", [0, 1])
def test_draws_and_items_both_count(axis):
    """Values that differ only from draw to draw, or only from item to item."""
    values = np.moveaxis(np.tile(np.arange(10.0), (10, 1)), 1, axis)
    low, high = bootstrap(values, np.mean, 500, 0.95, np.random.default_rng(0))
    assert low < 3.5 < 5.5 < high


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(0)
    intervals = [bootstrap(rng.normal(size=(1, 60)), np.mean, 300, 0.9, rng) for _ in range(300)]
    assert np.mean([low <= 0 <= high for low, high in intervals]) == pytest.approx(0.9, abs=0.05)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0)])
def test_nothing_cannot_be_resampled(shape):
    with pytest.raises(ValueError, match="no values"):
        bootstrap(np.empty(shape), np.mean, 10, 0.95, np.random.default_rng(0))


# Whatever the numbers are: ties, constant columns, any scale

UNITS = st.sampled_from([2.0**-40, 1.0, 2.0**40])


@given(SEEDS, st.integers(2, 12), st.integers(1, 9), UNITS)
def test_components_hold_all_that_varies_and_do_not_vary_together(seed, images, features, unit):
    """Copies and constant features included: a component is never a direction in which nothing varies."""
    rng = np.random.default_rng(seed)
    source = unit * (rng.normal(size=(images, features)) + 1)
    source[:, features // 2] = source[:, 0]
    source[0] = source[-1]
    found = principal_components(source)
    scores = found.scores(source)
    assert np.allclose(scores @ found.vectors.T + found.centre, source, atol=1e-6 * unit)
    assert np.allclose(scores.T @ scores / images, np.diag(found.variances), atol=1e-9 * unit**2)
    assert (found.variances > 0).all() and (np.diff(found.variances) <= 0).all()
    assert found.scale == pytest.approx(source.var(axis=0).mean())
    assert np.allclose(found.scores(source[::-1]), scores[::-1])
    for penalty in (0.0, 0.5):
        damped = scores.T @ scores / images + penalty * found.scale * np.eye(len(found.variances))
        assert np.allclose(np.diagonal(damped)[:, None], found.damping(penalty), rtol=1e-6)


@given(matrices(rows=(2, 12)))
def test_units_are_those_in_which_a_feature_has_mean_zero_and_deviation_one(target):
    target = target.astype(np.float64)
    units = units_of(target)
    found, varies = units(target), np.array([len(set(column)) > 1 for column in target.T])
    assert np.allclose(found.mean(axis=0)[varies], 0) and np.allclose(found.std(axis=0), varies)
    assert (units.spread[~varies] == 1).all()
    assert np.allclose(found * units.spread + units.level, target, atol=1e-12 * np.abs(target).max())
    assert np.allclose(units_of(4 * target)(4 * target), found, atol=1e-9)


@given(SEEDS, st.integers(1, 5), st.integers(3, 12))
def test_the_share_explained_by_rank_is_that_of_the_prediction_along_so_many_directions(seed, features, images):
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(size=(2, images, features))
    target[:, -1] = 3.0
    directions = np.linalg.qr(rng.normal(size=(features, features)))[0]
    found = r_squared_by_rank(target, predicted, directions)
    for rank, row in enumerate(found):
        kept = directions[:, :rank]
        assert np.allclose(row, r_squared(target, predicted @ kept @ kept.T), equal_nan=True)
    assert np.allclose(found[-1], r_squared(target, predicted), equal_nan=True)
    assert np.allclose(r_squared_by_rank(target, predicted, directions[:, :1]), found[:2], equal_nan=True)
    order = rng.permutation(images)
    assert np.allclose(r_squared_by_rank(target[order], predicted[order], directions), found, equal_nan=True)


@given(SEEDS, UNITS, st.sampled_from([np.float16, np.float32, np.float64]))
def test_the_unit_of_a_feature_changes_no_share_and_no_cosine(seed, unit, width):
    """Numbers of few bits are taken for what they are: squares of float16 leave its range from 256 on."""
    rng = np.random.default_rng(seed)
    first, second = rng.choice([-300, -1, 0, 2, 300], (2, 8, 3)).astype(width)
    scale = unit if width is not np.float16 else 1.0
    share, cosine = r_squared(first, second), cosines(first, second)
    exact = first.astype(np.float64), second.astype(np.float64)
    assert np.allclose(share, r_squared(*exact), equal_nan=True) and np.allclose(cosine, cosines(*exact))
    moved = (width(scale) * first, width(scale) * second)
    assert np.allclose(r_squared(*moved), share, equal_nan=True) and np.allclose(cosines(*moved), cosine)
    assert np.allclose(r_squared(*(scale * some for some in exact)), share, equal_nan=True)
    assert not (share > 1).any() and (np.abs(cosine) <= 1 + 1e-12).all()
    assert np.allclose(cosines(first, first), first.any(axis=1)) and np.allclose(cosines(-first, second), -cosine)


@given(SEEDS, st.sampled_from([0.0, 0.5, 2.0]), UNITS)
def test_the_linear_control_is_a_map_of_the_source_and_so_much_noise(seed, noise, unit):
    source = np.random.default_rng(seed).normal(size=(400, 3))
    signal, noisy, scaled = (
        known_linear(some, 5, share, np.random.default_rng(seed))
        for some, share in ((source, 0.0), (source, noise), (unit * source, noise))
    )
    assert np.allclose(source @ np.linalg.lstsq(source, signal, rcond=None)[0], signal)
    assert np.linalg.matrix_rank(signal) == 3
    assert np.allclose((noisy - signal).std(axis=0) / signal.std(axis=0), noise, rtol=0.2)
    assert np.allclose(scaled, unit * noisy)


@given(SEEDS, UNITS)
def test_the_control_that_is_not_linear_is_of_signs_and_no_feature_decides_it_alone(seed, unit):
    """If one feature decided, both half-spaces would follow it, and their exclusive or would be the same for all images."""
    source = np.random.default_rng(seed).normal(size=(60, 2)) * [2.0**20 * unit, unit]
    components = principal_components(source)

    def control(some):
        return not_linear(some, 9, components, np.random.default_rng(seed))

    found = control(source)
    assert found.shape == (60, 9) and set(np.unique(found)) == {-1, 1}
    assert (np.ptp(found, axis=0) > 0).sum() > 4
    assert np.array_equal(control(2 * source.mean(axis=0) - source), found), "an exclusive or is even"


@settings(max_examples=10)
@given(SEEDS, st.lists(st.integers(3, 40), max_size=4), st.integers(1, 3))
def test_the_curve_has_a_point_for_each_smaller_count_and_of_every_draw_a_row(seed, counts, draws):
    source, target = spaces(seed, images=50, noise=1.0)
    points = curve_of(source, target, counts=(*counts, 30), draws=draws, seed=seed)
    assert [point.images for point in points] == sorted({count for count in counts if count < 30})
    for point in points:
        assert point.r_squared.shape == point.null.shape == (draws, 8)
        assert (point.r_squared <= 1).all() and (point.null <= 1).all()
    moved = curve_of(4 * source, 4 * target, counts=(*counts, 30), draws=draws, seed=seed)
    assert all(np.allclose(a.r_squared, b.r_squared) for a, b in zip(points, moved, strict=True))


@given(st.integers(6, 80), st.sampled_from([0.4, 0.5, 0.7]), st.sampled_from([0.1, 0.25, 0.3]), SEEDS)
def test_a_split_has_the_shares_asked_for_or_none_is_made(images, train, validation, seed):
    sizes = round(train * images), round((train + validation) * images) - round(train * images)
    if min(*sizes, images - sum(sizes)) < 2:
        with pytest.raises(ValueError, match="too few"):
            split_images(images, train, validation, np.random.default_rng(seed))
        return
    found = split_images(images, train, validation, np.random.default_rng(seed))
    assert (len(found.train), len(found.validation)) == sizes
    assert sorted([*found.train, *found.validation, *found.heldout]) == list(range(images))


@given(st.lists(st.sampled_from([-0.5, 0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=6), st.sampled_from([0.5, 0.9, 1.0]))
def test_the_smallest_rank_is_the_first_that_reaches_the_share(means, share):
    by_rank = np.column_stack([means, means, np.full(len(means), np.nan)])
    enough = [rank for rank, mean in enumerate(means) if mean >= share * means[-1]]
    assert smallest_rank(by_rank, share) == (enough[0] if means[-1] > 0 else 0)


@given(SEEDS, UNITS)
def test_a_map_answers_for_each_image_alone_and_leaves_its_bias_at_the_origin(seed, unit):
    rng = np.random.default_rng(seed)
    mapping = LinearMap(rng.normal(size=(3, 2)), rng.normal(size=2))
    source = unit * rng.normal(size=(5, 3))
    found = mapping(source)
    assert np.array_equal(mapping(np.zeros((1, 3)))[0], mapping.bias)
    assert np.allclose(
        found, [[row @ column + b for column, b in zip(mapping.weights.T, mapping.bias, strict=True)] for row in source]
    )
    assert np.allclose(mapping(source[:2] + source[2:4]), found[:2] + found[2:4] - mapping.bias, atol=1e-9 * unit)


@given(SEEDS, st.sampled_from([0.01, 1.0]), st.integers(4, 20))
def test_directions_are_orthonormal_and_ordered_by_what_is_fitted_along_them(seed, penalty, images):
    fit = fit_all(*spaces(seed, images=images, noise=1.0), penalty)
    directions = fit.directions
    assert np.allclose(directions.T @ directions, np.eye(directions.shape[1]), atol=1e-6)
    powers = np.square(fit.cross / np.sqrt(fit.components.damping(penalty)) @ directions).sum(axis=0)
    assert (np.diff(powers) <= 1e-9).all()
    assert not fit.linear_map(0).weights.any()
    assert fit.penalty == penalty
