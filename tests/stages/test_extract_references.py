"""Features of copies with random weights: of held-out images only, none for a control or what cannot be copied."""

import numpy as np
import pytest
from pydantic import TypeAdapter

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.models.encoders import shards
from falcon_dvc.models.encoders.load import load_encoder
from falcon_dvc.models.encoders.random_weights import random_copy
from falcon_dvc.params.schema import EncoderSpec
from stages import extract_references
from tests.support.extraction import params_of, write_images

NET = {"kind": "timm", "name": "test_vit", "weights": "random", "size": 64, "seed": 7}
HELD_OUT = [1, 3, 4]


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    """Five images, of which three are held out."""
    monkeypatch.chdir(tmp_path)
    pixels = write_images(5)
    split = np.where(np.isin(np.arange(5), HELD_OUT), "test", "probe")
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(split=split))
    return pixels


def params_with(copies, **spec):
    params = params_of(**NET | spec)
    section = params.measure_faithfulness.model_copy(update={"reference_encoders": copies})
    return params.model_copy(update={"measure_faithfulness": section})


def test_copies_are_those_of_their_seeds_on_the_held_out_images(images):
    extract_references.run(params_with(2), "mine")
    found = read_array(paths.references("mine"))
    assert found.shape == (2, 3, 64) and found.dtype == np.float32
    for number, features in enumerate(found):
        copy = random_copy(TypeAdapter(EncoderSpec).validate_python(NET), extract_references.FIRST_SEED + number)
        assert np.allclose(load_encoder(copy).activations(images[HELD_OUT])[0], features, atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.01


@pytest.mark.parametrize(("copies", "spec"), [(0, {}), (2, {"control_of": ["other"]})], ids=["no copy", "a control"])
def test_a_file_without_copies_loads_no_network(copies, spec, monkeypatch):
    monkeypatch.setattr(extract_references, "load_encoder", pytest.fail)
    summary = extract_references.run(params_with(copies, **spec), "mine")
    assert read_array(paths.references("mine")).shape == (0, 3, 0)
    assert not summary.lacking


def test_a_run_without_held_out_images_has_no_copies(monkeypatch):
    monkeypatch.setattr(extract_references, "load_encoder", pytest.fail)
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(split="probe"))
    extract_references.run(params_with(2), "mine")
    assert read_array(paths.references("mine")).shape == (0, 0, 0)


def refusing(*_):
    raise extract_references.NoRandomCopyError("encoders.mine: no copy can be made")


def test_what_cannot_be_copied_is_said_and_the_run_goes_on(monkeypatch):
    monkeypatch.setattr(extract_references, "load_encoder", refusing)
    summary = extract_references.run(params_with(2), "mine")
    assert summary.lacking == ["no verdict can be calibrated: encoders.mine: no copy can be made"]
    assert read_array(paths.references("mine")).shape == (0, 3, 0)


def test_a_stop_leaves_no_half_written_file(monkeypatch):
    def not_finite(*_):
        yield range(2), np.full((2, 64), np.nan, dtype=np.float32), None, None

    monkeypatch.setattr(shards, "measured_activations", not_finite)
    with pytest.raises(UserError, match=r"encoders\.mine: its activations hold NaN or infinite values \(images 0-1\)"):
        extract_references.run(params_with(1), "mine")
    assert list(paths.references("mine").parent.iterdir()) == []
