"""Settings for few images: enough images fire every feature, and 300 photographs are enough."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.cli.recipe.settings import LEAST, settings_for
from falcon_dvc.errors import UserError
from falcon_dvc.groups.activations import fires_by_quantile
from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT

DEFAULT = load_params(ROOT / "params.yaml").find_groups


@given(images=st.integers(LEAST, 3000))
def test_as_many_images_fire_as_promised(images):
    settings = settings_for(images)
    features = np.random.default_rng(images).permutation(settings.explained)[:, None].astype(float)
    fires = fires_by_quantile(features, settings.quantile).sum()
    assert settings.min_images <= fires == settings.fires
    assert settings.crops <= settings.max_images + settings.low_images + settings.random_images


@pytest.mark.parametrize(
    ("images", "heldout", "explained", "quantile", "least", "jaccard"),
    [
        (25, 0.0, 25, 0.8, 5, 0.75),
        (100, 0.0, 100, 0.84, 8, 0.75),
        (300, 0.33, 201, 0.92, 8, 0.75),
        (1000, 0.5, 500, 0.925, 11, 0.75),
        (50_000, 0.5, 25_000, 0.925, 11, 0.5),
    ],
)
def test_values_that_the_docs_name(images, heldout, explained, quantile, least, jaccard):
    settings = settings_for(images)
    chosen = (settings.heldout, settings.explained, settings.quantile, settings.min_images, settings.max_jaccard)
    assert chosen == (heldout, explained, quantile, least, jaccard)


def test_many_images_get_the_values_of_params():
    settings = settings_for(50_000)
    for name in ("quantile", "min_images", "max_jaccard"):
        assert getattr(settings, name) == getattr(DEFAULT, name)


@pytest.mark.parametrize("images", [0, 1, LEAST - 1])
def test_too_few_images_are_refused_with_their_number(images):
    with pytest.raises(UserError, match=rf"--images: {images} readable images; .*at least {LEAST}"):
        settings_for(images)
