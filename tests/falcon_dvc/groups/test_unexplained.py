"""Features that are not explained, and settings that explain more."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.artifacts.shortfalls import of_features
from falcon_dvc.groups import unexplained as module
from falcon_dvc.groups.activations import fires_by_sigma, highly_activating, row_normalised, threshold_by_sigma, varies
from falcon_dvc.groups.unexplained import unexplained
from tests.support.matrices import matrices
from tests.support.stage_params import params_of


def settings(**changes):
    return params_of({"find_groups": changes}).find_groups


def fires_by(normalised, given):
    return highly_activating(normalised, given.rule, top_k=given.top_k, quantile=given.quantile, sigma=given.sigma)


def found(features, **changes):
    """The result on some features, by some settings."""
    normalised, given = row_normalised(features), settings(**changes)
    fires = fires_by(normalised, given)
    explained = int((fires.sum(axis=0) >= given.min_images).sum())
    return unexplained(normalised, fires, np.arange(features.shape[1]), explained, given)


@pytest.fixture
def features():
    """100 images, 8 features: one is constant up to the length of its row, one fires on 3 images only."""
    random = np.random.default_rng(0).random((100, 8)) + 0.1
    random[:, 0] = 0
    random[:, 1] = 0.0
    random[:3, 1] = 5
    return random


def test_reasons_are_counted(features):
    counts = found(features, quantile=0.95)["not_explained"]
    assert counts == {"features": 8, "images": 100, "least_images": 11, "constant": 1, "on_fewer_images": 7}


@pytest.mark.parametrize("changes", [{"quantile": 0.95}, {"rule": "sigma", "sigma": 4.0}])
def test_a_proposed_value_explains_as_many_features_as_it_says(features, changes):
    ways = found(features, **changes)["proposed"]
    assert ways.pop("rule_quantile", {"explained": 6}) == {"explained": 6}
    for name, way in ways.items():
        lower = settings(**{**changes, name: int(way["value"]) if name == "min_images" else way["value"]})
        support = fires_by(row_normalised(features), lower).sum(axis=0)
        assert (support >= lower.min_images).sum() == way["explained"] > 0


def test_the_params_and_their_values_are_said(features):
    said = of_features(found(features, quantile=0.95))
    assert said == [
        "8 of 8 features are not explained: 1 constant on the 100 explained images, "
        "7 firing on fewer than 11 of 100 explained images (find_groups.min_images)",
        "with find_groups.quantile 0.85, 6 are explained; with find_groups.min_images 3, 7 are explained",
    ]


def test_a_sample_of_many_features_gives_about_the_same(features, monkeypatch):
    many = np.tile(features, 20) + np.random.default_rng(1).random((100, 160)) / 10
    all_of_them = found(many, quantile=0.95)["proposed"]["quantile"]
    monkeypatch.setattr(module, "VALUES", 100 * 40)
    sampled = found(many, quantile=0.95)["proposed"]["quantile"]
    assert sampled["value"] == all_of_them["value"]
    assert sampled["explained"] == pytest.approx(all_of_them["explained"], rel=0.15)


def test_exact_grouping_proposes_the_other(features):
    assert set(found(features, grouping="exact", quantile=0.85)["proposed"]) == {"grouping_cofire"}
    assert "with find_groups.grouping: cofire, 6 are explained" in of_features(
        found(features, grouping="exact", quantile=0.85)
    )


def test_nothing_is_said_where_nothing_is_lacking(features):
    assert found(features[:, 2:], quantile=0.8) == {} and of_features({}) == []


@given(matrices(), st.floats(0, 6))
def test_features_fire_by_sigma_from_the_threshold_on_where_they_vary(features, sigma):
    normalised = row_normalised(features)
    expected = (normalised >= threshold_by_sigma(normalised, sigma)) & varies(normalised)
    assert np.array_equal(fires_by_sigma(normalised, sigma), expected)
