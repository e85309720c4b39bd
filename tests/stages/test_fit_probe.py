"""The probe of an encoder without a classifier: its accuracy against permuted labels, and labels that are too few."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, write_array, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.failures.probes import read_probe
from stages import fit_probe
from tests.support.stage_params import params_of

PARAMS = params_of({"fit_probe": {"encoders": ["simclr"], "strengths": [0.01, 1.0], "bootstrap": 20}})


@pytest.fixture
def images(tmp_path, monkeypatch):
    """Ninety images of three classes, one more of a rare class and one without a label; a third is held out."""
    monkeypatch.chdir(tmp_path)
    label = [*np.array(["cat", "dog", "owl"], dtype=object)[np.arange(90) % 3], "rare", ""]
    table = pd.DataFrame({"image": [f"{row}.png" for row in range(92)], "label": label, "width": 8, "height": 8})
    table = table.assign(split=np.where(np.arange(92) // 3 % 3 == 2, "test", "probe"))
    write_table(paths.IMAGES, table)
    features = np.random.default_rng(0).normal(size=(92, 5)).astype(np.float32)
    features[np.arange(90), np.arange(90) % 3] += 3
    write_array(paths.activations("simclr") / "features.npy", features)
    return table


def test_it_classifies_held_out_images_and_permuted_labels_do_not(images):
    summary = fit_probe.run(PARAMS, "simclr")
    metrics = read_json(paths.metrics("probe_simclr"))
    assert (metrics["classes"], metrics["images"], metrics["heldout_images"]) == (3, 60, 30)
    assert metrics["accuracy"]["share"] > 0.9 > 0.6 > metrics["permuted_labels"]["share"]
    assert read_probe(paths.probe("simclr")).names == ("cat", "dog", "owl")
    assert (summary.read["images"], summary.dropped["images"]) == (92, {"of no class with 3 probe images": 2})


def test_the_same_bytes_again(images):
    fit_probe.run(PARAMS, "simclr")
    first = paths.probe("simclr").read_bytes()
    fit_probe.run(PARAMS, "simclr")
    assert paths.probe("simclr").read_bytes() == first


def test_too_few_labels_are_one_line(images):
    write_table(paths.IMAGES, images.assign(label=np.where(images["label"] == "cat", "cat", "")))
    with pytest.raises(UserError, match=r"fit_probe\.encoders: 1 classes have 3 or more labelled probe images"):
        fit_probe.run(PARAMS, "simclr")
    assert not paths.probe("simclr").exists()
