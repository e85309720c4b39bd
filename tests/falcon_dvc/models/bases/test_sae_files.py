"""Files of sparse autoencoders as they are released: features equal those of plain numpy, and bad files give one line."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from falcon_dvc.errors import UserError
from falcon_dvc.models.bases.basis import encode, encode_and_decode
from falcon_dvc.models.bases.released import basis_of
from falcon_dvc.models.bases.sae_files import read_sae
from tests.support.pickles import Explodes
from tests.support.sae_files import (
    arrays,
    layer_norm,
    of_sae_v,
    overcomplete,
    pre_activations,
    relu,
    top,
    torch_of,
    vectors,
    write_prisma,
    write_sae_v,
    write_saelens,
)

NOTHING_ASKED = {"activation": None, "k": None, "threshold": None, "normalise": None}


def features(path, x, **asked):
    release = read_sae(path, SimpleNamespace(**NOTHING_ASKED | asked))
    return encode(torch.from_numpy(x), basis_of(release)).numpy()


def near(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=8, deadline=None)
@drawn(seed=st.integers(0, 10**6), k=st.integers(1, 6))
def test_prisma(tmp_path_factory, seed, k):
    folder, weights, x = tmp_path_factory.mktemp("p"), arrays(seed), vectors(seed)
    path = write_prisma(folder / "relu", weights, activation_fn_str="relu", normalize_activations=None)
    near(features(path, x), relu(pre_activations(x, weights)))
    own = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": k}, "normalize_activations": "layer_norm"}
    path = write_prisma(folder / "topk", weights, **own)
    near(features(path.parent, x), top(pre_activations(layer_norm(x)[0], weights), k))


@settings(max_examples=8, deadline=None)
@drawn(seed=st.integers(0, 10**6), k=st.integers(1, 6))
def test_sae_v(tmp_path_factory, seed, k):
    path, weights, x = tmp_path_factory.mktemp("v") / "sae.pt", arrays(seed), vectors(seed)
    before = pre_activations(x, weights, subtracts=False)
    near(features(write_sae_v(path, weights), x), relu(before))
    near(features(write_sae_v(path, weights, of_sae_v("TopK", top_k=k)), x), top(before, k, positive=False))
    batch = of_sae_v("BatchTopK", top_k=k)
    stored = write_sae_v(path, weights, batch, **{"activation.threshold": torch.tensor(0.5)})
    near(features(stored, x), np.where(before > 0.5, before, 0))
    near(features(write_sae_v(path, weights, batch, **{"activation.threshold": torch.tensor(0.0)}), x), relu(before))


@pytest.mark.parametrize(
    ("header", "k"),
    [
        ({"d_vit": 4, "exp_factor": 2, "seed": 0}, 0),
        ({"schema": 1, "cls": "Relu", "cfg": {"d_vit": 4}}, 0),
        ({"schema": 1, "cls": "TopK", "cfg": {"top_k": 2}}, 2),
        ({"schema": 1, "cls": "SparseAutoencoderConfig", "cfg": {"activation": {"cls": "TopK", "params": {"top_k": 3}}}}, 3),
    ],
)  # fmt: skip
def test_old_headers_of_sae_v(tmp_path, header, k):
    release = read_sae(write_sae_v(tmp_path / "sae.pt", arrays(0), header))
    assert (release.activation, release.k) == (("topk_signed", k) if k else ("relu", 0))


@settings(max_examples=8, deadline=None)
@drawn(seed=st.integers(0, 10**6), k=st.integers(1, 6), subtracts=st.booleans())
def test_saelens(tmp_path_factory, seed, k, subtracts):
    folder, weights, x = tmp_path_factory.mktemp("l"), arrays(seed), vectors(seed)
    own = {"apply_b_dec_to_input": subtracts}
    before = pre_activations(x, weights, subtracts)
    near(features(write_saelens(folder / "relu", weights, **own), x), relu(before))
    near(features(write_saelens(folder / "topk", weights, architecture="topk", k=k, **own), x), top(before, k))
    threshold = np.abs(arrays(seed + 1)["b_enc"])
    jump = write_saelens(folder / "jump", weights | {"threshold": threshold}, architecture="jumprelu", **own)
    near(features(jump, x), np.where(before > threshold, relu(before), 0))
    scaled = x * 2 / np.linalg.norm(x, axis=1, keepdims=True)
    unit = write_saelens(folder / "unit", weights, normalize_activations="constant_norm_rescale", **own)
    near(features(unit, x), relu(pre_activations(scaled, weights, subtracts)))
    rescaled = write_saelens(
        folder / "norm", weights, architecture="topk", k=k, rescale_acts_by_decoder_norm=True, **own
    )
    near(features(rescaled, x), top(before * np.linalg.norm(weights["W_dec"], axis=1), k))


def test_gated_autoencoders(tmp_path):
    weights, other, x = arrays(3), arrays(4), vectors(3)
    gated = {"b_gate": weights["b_enc"], "b_mag": other["b_enc"], "r_mag": 0.1 * other["b_enc"]}
    gated |= {name: weights[name] for name in ("W_enc", "W_dec", "b_dec")}
    gate = pre_activations(x, weights) > 0
    expected = gate * relu((x - weights["b_dec"]) @ (weights["W_enc"] * np.exp(gated["r_mag"])) + gated["b_mag"])
    near(features(write_saelens(tmp_path / "lens", gated, architecture="gated"), x), expected)
    near(features(write_prisma(tmp_path / "prisma", gated, architecture="gated"), x), expected)


def test_a_reconstruction_has_the_scale_of_the_input(tmp_path):
    weights, x = arrays(5), vectors(5)
    path = write_saelens(tmp_path, weights, normalize_activations="layer_norm")
    scaled, mean, spread = layer_norm(x)
    codes = relu(pre_activations(scaled, weights))
    expected = (codes @ weights["W_dec"] + weights["b_dec"]) * spread + mean
    near(encode_and_decode(torch.from_numpy(x), basis_of(read_sae(path)))[1].numpy(), expected)


def test_a_scale_is_that_of_the_input(tmp_path):
    weights, x = arrays(6), vectors(6)
    release = read_sae(write_saelens(tmp_path, weights, normalize_activations="expected_average_only_in"))
    assert "scale" in release.remarks[0]
    codes, rebuilt = encode_and_decode(torch.from_numpy(x), basis_of(release, 0.5))
    near(codes.numpy(), relu(pre_activations(x / 2, weights)))
    near(rebuilt.numpy(), (codes.numpy() @ weights["W_dec"] + weights["b_dec"]) * 2)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_overcomplete(tmp_path, batch_norm):
    weights, x = arrays(7), vectors(7)
    torch.save(overcomplete(weights, batch_norm), tmp_path / "sae.pth")
    before = x @ weights["W_enc"] + weights["b_enc"]
    before = (before - 0.1) / np.sqrt(4 + 1e-5) * 2 + 0.3 if batch_norm else before
    near(features(tmp_path / "sae.pth", x), relu(before))
    near(features(tmp_path / "sae.pth", x, k=2), top(before, 2))
    near(features(tmp_path / "sae.pth", x, threshold=0.4), np.where(before > 0.4, before, 0))
    directions = weights["W_dec"] / np.linalg.norm(weights["W_dec"], axis=1, keepdims=True)
    near(basis_of(read_sae(tmp_path / "sae.pth")).decoder.numpy(), directions)


def test_thresholds_and_archetypes_of_overcomplete(tmp_path):
    weights, x = arrays(8), vectors(8)
    tensors = overcomplete(weights, False) | {"thresholds": torch.full((6,), -0.7)}
    points, mixture, relaxed = torch.randn(3, 4), torch.rand(6, 3), torch.randn(6, 4)
    tensors |= {
        "dictionary.C": points,
        "dictionary.W": mixture,
        "dictionary.Relax": relaxed,
        "dictionary.multiplier": torch.tensor(0.2),
    }
    del tensors["dictionary._weights"]
    torch.save(tensors, tmp_path / "sae.pth")
    before = x @ weights["W_enc"] + weights["b_enc"]
    near(features(tmp_path / "sae.pth", x), np.where(before >= np.exp(-0.7), before, 0))
    near(basis_of(read_sae(tmp_path / "sae.pth")).decoder, (mixture @ points + relaxed) * np.exp(0.2))


def refused(path, *words):
    with pytest.raises(UserError) as error:
        basis_of(read_sae(path))
    line = str(error.value)
    assert "\n" not in line and all(word in line for word in words), line


def without(given, name):
    return {key: value for key, value in given.items() if key != name}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"W_enc": np.ones((6, 4), np.float32)}, ("W_enc is 6 x 4, transposed", "W_enc.T, which is 4 x 6")),
        ({"W_dec": np.ones((4, 6), np.float32)}, ("W_dec is 4 x 6, transposed",)),
        ({"W_dec": np.ones((5, 4), np.float32)}, ("W_dec is 5 x 4, but the biases need 6 x 4",)),
        ({"b_dec": np.array([1, 2, np.nan, 4], np.float32)}, ("b_dec holds values that are NaN",)),
        ({"b_enc": np.ones((6, 1), np.float32)}, ("b_enc has the shape 6 x 1", "vector")),
        ({"b_enc": None}, ("lacks the tensor b_enc", "it holds W_dec, W_enc, b_dec")),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, changes, words):
    weights = {name: array for name, array in (arrays(0) | changes).items() if array is not None}
    refused(write_saelens(tmp_path, weights), "sae_weights.safetensors", *words)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"architecture": "temporal"}, ("architecture is 'temporal'", "known are", "topk")),
        ({"activation_fn_str": "tanh-relu"}, ("activation_fn is 'tanh-relu'",)),
        ({"normalize_activations": "batch_norm"}, ("normalize_activations is 'batch_norm'",)),
        ({"architecture": "topk"}, ("no k is known; set k",)),
        ({"architecture": "topk", "k": "many"}, ("k is 'many'; it must be a whole number",)),
        ({"architecture": "jumprelu"}, ("lacks the tensor threshold",)),
    ],
)
def test_configurations_that_are_not_known(tmp_path, config, words):
    refused(write_saelens(tmp_path, arrays(0), **config), *words)


def test_transcoders_are_refused(tmp_path):
    refused(write_prisma(tmp_path, arrays(0), is_transcoder=True), "config.json", "is_transcoder")


def test_damaged_configurations(tmp_path):
    folder = write_saelens(tmp_path, arrays(0))
    (folder / "cfg.json").write_text("{")
    refused(folder, "cfg.json: not a readable configuration")
    (folder / "cfg.json").write_text("[]")
    refused(folder, "cfg.json: is no JSON object")


@pytest.mark.parametrize("write", [write_prisma, write_saelens])
def test_cut_files(tmp_path, write):
    write(tmp_path, arrays(0))
    (path,) = (file for file in tmp_path.iterdir() if file.suffix != ".json")
    path.write_bytes(path.read_bytes()[:300])
    refused(path, path.name, "download it again")


def test_cut_files_and_headers_of_sae_v(tmp_path):
    path = write_sae_v(tmp_path / "sae.pt", arrays(0))
    path.write_bytes(path.read_bytes()[:300])
    refused(path, "sae.pt: not a readable file of SAE-V", "download it again")
    refused(write_sae_v(path, arrays(0), {"schema": 9}), "schema 9 of SAE-V is unknown")
    refused(write_sae_v(path, arrays(0), of_sae_v("Abs")), "activation is 'Abs'")
    path.write_bytes(b"{broken\n")
    refused(path, "its first line is no header of SAE-V")


def test_files_that_need_unpickling_are_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"cfg": Explodes(), "state_dict": torch_of(arrays(0))}, tmp_path / "sae.pt")
    refused(tmp_path / "sae.pt", "sae.pt")
    torch.save({"cfg": SimpleNamespace(k=1), "state_dict": torch_of(arrays(0))}, tmp_path / "sae.pt")
    refused(tmp_path / "sae.pt", "holds an object (cfg)", "weights_only=False", "save_config")
    torch.save(torch.nn.Linear(2, 3), tmp_path / "module.pt")
    refused(tmp_path / "module.pt", "holds a whole network", "state_dict()")
    path = write_sae_v(tmp_path / "v.pt", {}, of_sae_v("Relu"), object=Explodes())
    refused(path, "v.pt: holds objects beside its tensors")
    assert not (tmp_path / "exploded").exists()


def test_other_files_and_folders(tmp_path):
    refused(tmp_path, "holds no file of a sparse autoencoder; name a folder of SAELens")
    save_file({"fc.weight": torch.ones(2, 3)}, tmp_path / "model.safetensors")
    refused(tmp_path, "model.safetensors: is no sparse autoencoder (it holds fc.weight)")
    save_file({"fc.weight": torch.ones(2, 3)}, tmp_path / "other.safetensors")
    refused(tmp_path, "holds several files (model.safetensors, other.safetensors); name one")
    (tmp_path / "lfs.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    refused(tmp_path / "lfs.pt", "lfs.pt", "git lfs pull")


def test_encoders_of_overcomplete_that_cannot_be_read(tmp_path):
    tensors = overcomplete(arrays(0), False)
    torch.save(tensors | {"encoder.mlp_blocks.0.0.weight": torch.ones(4, 4)}, tmp_path / "mlp.pth")
    refused(tmp_path / "mlp.pth", "2 layers with weights")
    torch.save(tensors | {"encoder.final_block.1.weight": torch.ones(6)}, tmp_path / "norm.pth")
    refused(tmp_path / "norm.pth", "normalises with final_block.1.weight")


def test_a_file_of_prisma_without_configuration_says_what_is_assumed(tmp_path):
    torch.save(torch_of(arrays(0)), tmp_path / "sae.pt")
    assert "config.json is missing: ReLU" in read_sae(tmp_path / "sae.pt").remarks[0]


def test_params_replace_what_a_file_says(tmp_path):
    path = write_prisma(tmp_path, arrays(0), normalize_activations="layer_norm")
    release = read_sae(path, SimpleNamespace(activation="topk", k=3, threshold=None, normalise="none"))
    assert (release.activation, release.k, release.normalisation) == ("topk", 3, "none")
    assert json.loads(json.dumps(release.description))["trained_on"] == "open-clip:x, blocks.9.None, all tokens"
