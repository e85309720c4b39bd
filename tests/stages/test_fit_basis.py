"""The stage prepares the basis of an encoder; its features reach the words, and misfits are said."""

from itertools import count

import numpy as np
import pytest
import torch
from scipy import sparse

import falcon_dvc
from falcon_dvc import FindGroups, Settings, paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_array, read_json
from falcon_dvc.compute import resume
from falcon_dvc.crops.localisation import Localisation
from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.stored import read_stored_basis
from falcon_dvc.models.encoders import passes
from falcon_dvc.models.encoders.load import load_encoder
from stages import extract_activations, extract_references, fit_basis
from tests.support.coloured_squares import CAPTIONS, COLOURS, NamesColours, SeesColours, pictures
from tests.support.extraction import params_of, write_images
from tests.support.sae_files import arrays, of_sae_v, overcomplete, write_prisma, write_sae_v, write_saelens

RESNET = {"kind": "timm", "name": "test_resnet", "weights": "random", "size": 32, "layer": "layer1"}
ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0].astype(np.float32)
FEW = Settings(find_groups=FindGroups(rule="top_k", top_k=15, min_images=5, max_groups=0, low_images=10))


def mixed():
    """A network whose channels are mixtures of what `SeesColours` sees."""
    network = SeesColours()
    mix = torch.nn.Conv2d(4, 4, 1, bias=False)
    with torch.no_grad():
        mix.weight[:] = torch.from_numpy(ROTATION)[:, :, None, None]
    network.fires.append(mix)
    return network


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(4)
    return tmp_path


def mixture(**basis):
    return params_of(
        kind="python", factory="tests.stages.test_fit_basis:mixed", layer="fires", checkpoint="pins/x.txt", basis=basis
    )


def planted():
    """An autoencoder whose latents are the colours: each undoes the mixture."""
    zeros = {"b_enc": np.zeros(4, np.float32), "b_dec": np.zeros(4, np.float32)}
    return zeros | {"W_enc": ROTATION.copy(), "W_dec": ROTATION.T.copy()}


def first(found):
    words = found.concepts[found.concepts["kept"] & (found.concepts["kind"] == "word")]
    return words[words["rank"] == 1].set_index("group")["concept"].to_dict()


def of_overcomplete(here):
    torch.save(overcomplete(planted(), batch_norm=False), here / "sae.pth")
    return {"sae": "sae.pth", "activation": "topk", "k": 1}


def of_prisma(here):
    write_prisma(here / "sae", planted(), activation_fn_str="topk", activation_fn_kwargs={"k": 1})
    return {"sae": "sae"}


def of_saelens(here):
    write_saelens(here / "sae", planted(), architecture="topk", k=1)
    return {"sae": "sae"}


def of_sae_v_file(here):
    write_sae_v(here / "sae.pt", planted(), of_sae_v("TopK", top_k=1))
    return {"sae": "sae.pt"}


@pytest.mark.parametrize("written", [of_overcomplete, of_prisma, of_saelens, of_sae_v_file])
def test_the_latents_of_an_autoencoder_are_named_after_what_was_planted(written, here):
    params = mixture(**written(here))
    fit_basis.run(params, "mine")
    encoder = load_encoder(params.encoders["mine"], basis_file=paths.basis("mine"))
    found = falcon_dvc.explain(encoder, pictures(), CAPTIONS, NamesColours(), settings=FEW)
    words = first(found)
    assert [words[f"f{number}"] for number in range(3)] == list(COLOURS)
    crops = found.crops[(found.crops["group"] == "f0") & (found.crops["role"] == "high")]
    assert ((crops["right"] - crops["left"]) < 32).all(), "the maps are those of the latent"


def test_an_encoder_without_a_basis_gets_an_empty_file():
    summary = fit_basis.run(params_of(**RESNET), "mine")
    assert summary.wrote and paths.basis("mine").exists()
    with pytest.raises(UserError, match="holds no basis"):
        read_stored_basis(paths.basis("mine"))


def run_both(params):
    fit_basis.run(params, "mine")
    return extract_activations.run(params, "mine"), read_json(paths.metrics("activations_mine"))


@pytest.mark.parametrize("heatmap_layer", [{}, {"heatmap_layer": "conv1"}], ids=["own maps", "gradients"])
def test_components_are_fitted_to_the_positions_of_the_probe_images(heatmap_layer):
    spec = {**RESNET, **heatmap_layer, "basis": {"fit": "pca", "components": 5, "vectors": 40, "both_signs": True}}
    summary, metrics = run_both(params_of(**spec))
    assert metrics["features"] == 10 and 0 < metrics["explained_variance"] <= 1 and metrics["never_fire"] == 0
    assert read_stored_basis(paths.basis("mine")).description["vectors"] == 40
    features = read_array(paths.activations("mine") / "features.npy")
    assert features.shape == (4, 10) and features.min() >= 0
    assert bool(summary.lacking) == (metrics["explained_variance"] < 0.5)
    described = read_json(paths.activations("mine") / "encoder.json")
    assert described["basis"]["format"] == "pca" and described["layers"][0]["features"] == 10
    assert (paths.activations("mine") / "maps.npy").exists() != bool(heatmap_layer)


def test_a_basis_of_other_activations_and_dead_latents_are_said(here):
    wrong = planted() | {"b_dec": np.full(4, 3, np.float32), "b_enc": np.array([0, 0, -1e3, -1e3], np.float32)}
    write_saelens(here / "sae", wrong, apply_b_dec_to_input=False)
    summary, metrics = run_both(mixture(sae="sae"))
    assert metrics["explained_variance"] < 0.5 and metrics["never_fire"] >= 2
    low, dead = summary.lacking
    assert low.startswith("warning: the basis explains") and "encoders.mine" in low and "docs/bases.md" in low
    assert "of 4 features of the basis never fire" in dead


@pytest.mark.parametrize(("pooling", "heatmap_layer"), [("mean", {}), ("max", {}), ("max", {"heatmap_layer": "conv1"})])
def test_the_same_features_and_maps_are_stored_dense_or_sparse(here, monkeypatch, pooling, heatmap_layer):
    write_saelens(here / "sae", arrays(0, channels=32, features=40), architecture="topk", k=3)
    spec = {**RESNET, **heatmap_layer, "pooling": pooling, "basis": {"sae": "sae"}}
    found = []
    for largest in (0.0, 1.0):
        monkeypatch.setattr(passes, "LARGEST_SHARE", largest)
        _, metrics = run_both(params_of(**spec))
        folder = paths.activations("mine")
        rows, members = np.array([0, 3, 1, 3]), sparse.csr_array(np.eye(4, 40)[[0, 3, 1, 1]])
        heatmaps = None if heatmap_layer else Localisation(params_of(**spec), "mine", None).of_groups(rows, members)
        found.append((metrics, open_rows(folder / "features"), heatmaps))
        assert (folder / "maps").exists() == (bool(largest) and not heatmap_layer)
    (expected, dense, dense_heatmaps), (metrics, stored, heatmaps) = found
    assert not dense.sparse and stored.sparse and metrics == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(stored.rows(slice(None)), dense.rows(slice(None)), atol=1e-5)
    if heatmaps is not None:
        np.testing.assert_allclose(heatmaps, dense_heatmaps, atol=1e-2)


def test_a_stopped_extraction_resumes_sparse_files(here, monkeypatch):
    write_saelens(here / "sae", arrays(0, channels=32, features=40), architecture="topk", k=3)
    params = params_of(**RESNET, basis={"sae": "sae"})
    run_both(params)
    expected = {path: path.read_bytes() for path in paths.activations("mine").rglob("*.*")}
    monkeypatch.setattr(resume, "SECONDS", 0.0)
    monkeypatch.setattr(extract_activations, "fires", stops_at(2, extract_activations.fires))
    with pytest.raises(KeyboardInterrupt):
        extract_activations.run(params, "mine")
    extract_activations.run(params, "mine")
    assert {path: path.read_bytes() for path in paths.activations("mine").rglob("*.*")} == expected


def stops_at(call, function):
    """A function that is interrupted at one of its calls."""
    calls = count(1)

    def stopping(*arguments):
        if next(calls) == call:
            raise KeyboardInterrupt
        return function(*arguments)

    return stopping


def test_metrics_are_the_same_for_other_batches(here):
    write_saelens(here / "sae", planted())
    params = mixture(sae="sae")
    _, expected = run_both(params)
    larger = params.extract_activations.model_copy(update={"batch_size": 3})
    _, found = run_both(params.model_copy(update={"extract_activations": larger}))
    assert found == expected


def test_the_explained_variance_is_that_of_the_probe_images_alone(here):
    from falcon_dvc.artifacts.formats import read_table, write_table

    write_saelens(here / "sae", planted() | {"b_dec": np.ones(4, np.float32)})
    table = read_table(paths.IMAGES)
    write_table(paths.IMAGES, table.assign(split=["probe", "probe", "test", "test"]))
    _, of_two = run_both(mixture(sae="sae"))
    write_table(paths.IMAGES, table)
    _, of_all = run_both(mixture(sae="sae"))
    assert of_two["explained_variance"] != of_all["explained_variance"]


def test_a_file_that_does_not_fit_the_layer_is_refused(here):
    np.save(here / "d.npy", np.ones((3, 7)))
    with pytest.raises(UserError, match=r"d\.npy: reads 7 channels, but the layer of encoders\.mine\.basis has 4"):
        fit_basis.run(mixture(directions="d.npy"), "mine")


def test_copies_with_random_weights_have_the_same_basis():
    params = params_of(**RESNET, basis={"random": 6})
    fit_basis.run(params, "mine")
    (copy,) = extract_references._replicas(params.encoders["mine"], "mine", 0, "cpu")
    assert copy.width == 6
