"""Concept transfer (C5): ridge regression against the normal equations, and what it can and cannot recover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.method.transfer import cosines, fit_map, overlap, permuted, r_squared, ridge_maps, split_images

SEEDS = st.integers(0, 2**32 - 1)
LAMBDAS = (1e-6, 1e-3, 1.0, 1e3)


def spaces(seed: int = 0, images: int = 600, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    """A space, and a known linear map of it with noise of that share of the standard deviation."""
    rng = np.random.default_rng(seed)
    source = rng.normal(size=(images, 12)) * rng.uniform(0.2, 3, 12) + rng.normal(size=12)
    clean = source @ rng.normal(size=(12, 8)) + rng.normal(size=8)
    return source, clean + noise * clean.std(axis=0) * rng.normal(size=clean.shape)


def heldout_r_squared(source: np.ndarray, target: np.ndarray, pairing: bool = True) -> np.ndarray:
    split = split_images(len(source), 0.6, 0.2, np.random.default_rng(1))
    rows = np.arange(len(source)) if pairing else permuted(split, np.random.default_rng(2))
    fitted, _ = fit_map(source, target[rows], split, LAMBDAS)
    return r_squared(target[split.heldout], fitted(source[split.heldout]))


@given(SEEDS, st.sampled_from([0.01, 1.0, 50.0]))
def test_ridge_solves_the_normal_equations(seed, penalty):
    source, target = spaces(seed, images=30)
    centred, level = source - source.mean(axis=0), target.mean(axis=0)
    scaled = penalty * source.var(axis=0).mean() * len(source)
    expected = np.linalg.solve(centred.T @ centred + scaled * np.eye(12), centred.T @ (target - level))
    (fitted,) = ridge_maps(source, target, (penalty,))
    assert np.allclose(fitted.weights, expected)
    assert np.allclose(fitted(source), centred @ expected + level)


@given(SEEDS)
def test_without_a_penalty_ridge_is_least_squares(seed):
    source, target = spaces(seed, images=40)
    with_ones = np.column_stack([source, np.ones(40)])
    expected = with_ones @ np.linalg.lstsq(with_ones, target, rcond=None)[0]
    assert np.allclose(ridge_maps(source, target, (0.0,))[0](source), expected)


@given(SEEDS, st.sampled_from([1e-3, 1e3]))
def test_lambda_fits_a_space_of_any_scale(seed, scale):
    source, target = spaces(seed, images=30)
    plain, scaled = ridge_maps(source, target, (0.1,))[0], ridge_maps(scale * source, target, (0.1,))[0]
    assert np.allclose(plain(source), scaled(scale * source))


def test_a_large_penalty_predicts_the_mean():
    source, target = spaces()
    assert np.allclose(ridge_maps(source, target, (1e12,))[0](source), target.mean(axis=0), atol=1e-6)


def test_constant_and_copied_features_do_no_harm():
    source, target = spaces()
    source = np.column_stack([source, source[:, :1], np.full(len(source), 7.0)])
    assert (heldout_r_squared(source, target) > 0.99).all()


@given(SEEDS)
def test_a_known_linear_map_is_recovered_on_heldout_images(seed):
    assert (heldout_r_squared(*spaces(seed)) > 0.99).all()


def test_a_map_that_is_not_linear_is_reported_as_a_failure():
    source, _ = spaces()
    centred = (source - source.mean(axis=0)) / source.std(axis=0)
    target = np.column_stack(
        [centred[:, 0] * centred[:, 1], np.cos(3 * centred[:, 2]), np.sign(centred[:, 3] * centred[:, 4])]
    )
    assert (heldout_r_squared(source, target) < 0.1).all()


def test_a_permuted_pairing_explains_nothing():
    source, target = spaces()
    found = heldout_r_squared(source, target, pairing=False)
    assert (found < 0.02).all()
    assert np.abs(found).max() < 0.2


def test_lambda_is_the_best_on_the_validation_split():
    """As many features as training images: hardly any penalty fits the noise."""
    rng = np.random.default_rng(0)
    source = rng.normal(size=(100, 60))
    target = source[:, :3] + rng.normal(size=(100, 3))
    split = split_images(100, 0.6, 0.2, np.random.default_rng(0))
    fitted, chosen = fit_map(source, target, split, LAMBDAS)
    maps = ridge_maps(source[split.train], target[split.train], LAMBDAS)
    errors = [((one(source[split.validation]) - target[split.validation]) ** 2).mean() for one in maps]
    assert chosen == LAMBDAS[int(np.argmin(errors))] == 1.0
    assert min(errors) < 0.9 * max(errors[0], errors[-1])
    assert np.array_equal(fitted.weights, maps[int(np.argmin(errors))].weights)


def test_what_is_held_out_changes_no_map():
    source, target = spaces()
    split = split_images(600, 0.6, 0.2, np.random.default_rng(1))
    before, _ = fit_map(source, target, split, LAMBDAS)
    source[split.heldout] = target[split.heldout] = 1e6
    assert np.array_equal(before.weights, fit_map(source, target, split, LAMBDAS)[0].weights)


@pytest.mark.parametrize("where", ["source", "target"])
def test_values_that_are_no_numbers_are_refused(where):
    source, target = spaces()
    (source if where == "source" else target)[5, 3] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        ridge_maps(source, target, (0.1,))


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
    rows = permuted(split, np.random.default_rng(seed))
    assert np.array_equal(rows[split.heldout], split.heldout)
    for part in (split.train, split.validation):
        assert sorted(rows[part].tolist()) == part.tolist()
    assert (rows != np.arange(50)).any()


@given(SEEDS)
def test_r_squared_is_a_share_of_the_variance(seed):
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(size=(2, 20, 3))
    expected = [1 - sum((target[:, j] - predicted[:, j]) ** 2) / (20 * target[:, j].var()) for j in range(3)]
    assert np.allclose(r_squared(target, predicted), expected)
    assert np.allclose(r_squared(target, target), 1)
    assert np.allclose(r_squared(target, np.tile(target.mean(axis=0), (20, 1))), 0)


@pytest.mark.filterwarnings("error")
def test_a_constant_feature_has_no_r_squared():
    target = np.column_stack([np.full(9, 3.0), np.arange(9.0)])
    assert np.isnan(r_squared(target, target)).tolist() == [True, False]


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
