"""Linear probes: the right classes on new images, in the units of the features, and files that are none."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from falcon_dvc.errors import UserError
from falcon_dvc.failures.blame import logits
from falcon_dvc.failures.probes import fit_probe, read_probe, save_probe

STRENGTHS = (0.001, 0.1, 1.0)


def clouds(classes, images=240, seed=0):
    """Features on very different scales, whose first ones tell the class."""
    rng = np.random.default_rng(seed)
    number = np.arange(images) % classes
    features = rng.normal(size=(images, 8))
    features[:, :classes] += 4 * np.eye(classes)[number]
    return features * 10.0 ** np.arange(-3, 5), number


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_new_images_get_their_class_whatever_the_scale_of_the_features(classes):
    features, number = clouds(classes)
    weights, bias, strength = fit_probe(features, number, np.arange(200, 240), STRENGTHS, 200)
    assert weights.shape == (classes, 8) and bias.shape == (classes,) and strength in STRENGTHS
    others, right = clouds(classes, seed=1)
    assert (logits(others, weights, bias).argmax(axis=1) == right).mean() > 0.95


def test_validation_images_choose_the_strength_and_fit_nothing():
    features, number = clouds(3)
    validation = np.arange(180, 240)
    wrong = number.copy()
    wrong[validation] = (wrong[validation] + 1) % 3
    same, other = (fit_probe(features, classes, validation, (0.1,), 200) for classes in (number, wrong))
    np.testing.assert_array_equal(same[0], other[0])
    noise, strength = np.random.default_rng(0).normal(size=(240, 60)), []
    for signal in (0, 3):
        strength.append(
            fit_probe(
                np.column_stack([signal * features[:, :3] * [1e3, 1e2, 10], noise]),
                number,
                validation,
                (1e-6, 10.0),
                100,
            )[2]
        )
    assert strength[0] <= strength[1]


def test_constant_features_are_harmless():
    features, number = clouds(3)
    weights, bias, _ = fit_probe(np.column_stack([features, np.ones(240)]), number, np.arange(200, 240), (0.1,), 200)
    assert np.isfinite(weights).all() and np.isfinite(bias).all()


def test_a_saved_probe_is_read_again(tmp_path):
    weights, bias = np.arange(6, dtype=np.float32).reshape(2, 3), np.ones(2, np.float32)
    save_probe(tmp_path / "p.safetensors", weights, bias, ["dog", "<b>"])
    found = read_probe(tmp_path / "p.safetensors")
    assert np.array_equal(found.weights, weights) and found.names == ("dog", "<b>") == found.ids


@pytest.mark.parametrize("case", ["missing", "no names", "misfit", "cut"])
def test_other_files_are_one_line(case, tmp_path):
    path = tmp_path / "p.safetensors"
    arrays = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(3 if case == "misfit" else 2, np.float32)}
    if case != "missing":
        save_file(arrays, path, {} if case == "no names" else {"classes": '["a", "b"]'})
    if case == "cut":
        path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UserError, match="is no linear probe") as error:
        read_probe(path)
    assert "\n" not in str(error.value)
