"""Training: losses against their definitions, tiny runs that learn, checkpoints that survive the disk or say why not."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from falcon_dvc.artifacts.formats import read_array, read_json, read_table
from falcon_dvc.errors import UserError
from falcon_dvc.models.scenes import small_clip
from falcon_dvc.models.scenes.checkpoints import load_clip, load_encoder_checkpoint, save_clip, save_encoder
from falcon_dvc.models.scenes.small_resnet import SmallResNet, unit_images
from falcon_dvc.synthetic import clip_training, encoder_training, training
from stages import render_scenes, train_clip, train_encoder
from tests.support.scene_params import section


def supervised_section(**changes) -> SimpleNamespace:
    values = {
        "objective": "supervised", "seed": 0, "stem": 8, "widths": [16, 32], "epochs": 3, "batch": 32, "rate": 3e-3, "weight_decay": 0.01,
        "sparsity": 0.1, "smallest_crop": 0.75, "colour_jitter": 0.05, "further_share": 0.5,
        "weights": SimpleNamespace(object=1.0, colour=1.0, texture=1.0, background=1.0),
    }  # fmt: skip
    return SimpleNamespace(**(values | changes))


def simclr_section() -> SimpleNamespace:
    return supervised_section(objective="simclr", projection=16, temperature=0.2, greyscale=0.2)


def clip_section() -> SimpleNamespace:
    return SimpleNamespace(
        seed=0, embedding=32, width=12, layers=[1, 1, 1], text_width=32, text_layers=1, context=20, batch=32,
        warm_start="attributes", attribute_epochs=2, attribute_rate=2e-3,
        contrastive_epochs=2, contrastive_rate=2e-3, weight_decay=0.01, crops=0.5, colour_jitter=0.05,
    )  # fmt: skip


@pytest.fixture(scope="module")
def params(tmp_path_factory) -> SimpleNamespace:
    """A tiny world on disk, and the parameters to train on it."""
    folder = tmp_path_factory.mktemp("training")
    rendered = section(clip_train=128, encoder_train=192, probe=20, test=60)
    values = {"supervised": supervised_section(), "simclr": simclr_section()}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(render_scenes, "ProcessPoolExecutor", ThreadPoolExecutor)
        render_scenes.run(SimpleNamespace(render_scenes=rendered))
        yield SimpleNamespace(folder=folder, seed=0, render_scenes=rendered, train_clip=clip_section(), train=values)


def encoder(**changes) -> SmallResNet:
    torch.manual_seed(0)
    return SmallResNet(**({"stem": 8, "widths": [16, 32], "heads": {"colour": ["red", "blue"]}} | changes)).eval()


def pictures(count: int = 5) -> np.ndarray:
    return np.random.Generator(np.random.PCG64(0)).integers(0, 256, size=(count, 64, 64, 3), dtype=np.uint8)


def test_nt_xent_equals_its_definition():
    first, second = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
    views = torch.nn.functional.normalize(torch.cat([first, second]), dim=1)
    scores = torch.exp(views @ views.T / 0.5)
    terms = [-torch.log(scores[i, (i + 4) % 8] / (scores[i].sum() - scores[i, i])) for i in range(8)]
    assert training.nt_xent(first, second, 0.5).item() == pytest.approx(float(sum(terms) / 8), rel=1e-5)


def test_whole_window_is_the_picture_and_flip_mirrors_it():
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    centres, sides = torch.full((2, 2), 0.5), torch.ones(2)
    torch.testing.assert_close(training.windows(images, centres, sides), images)
    torch.testing.assert_close(
        training.windows(images, centres, sides, torch.tensor([True, True])), images.flip(3), atol=1e-5, rtol=1e-4
    )


def test_windows_stay_inside_the_picture():
    images = torch.arange(16.0).expand(1, 3, 16, 16)
    cut = training.windows(images, torch.tensor([[5.0, 0.5]]), torch.tensor([0.5]))
    assert cut.min() >= 7.5 and cut.max() == 15


def test_batches_are_whole_and_never_repeat_an_image():
    rows = torch.cat(list(training.batches(10, 4, torch.Generator().manual_seed(0))))
    assert len(rows) == 8 and len(rows.unique()) == 8


def test_linear_probe_finds_separable_classes():
    rng = np.random.Generator(np.random.PCG64(0))
    labels = rng.integers(0, 3, size=300)
    features = np.eye(3)[labels] * 3 + rng.normal(size=(300, 3)) * 0.2
    assert (training.ridge_classifier(features[:200], labels[:200], 3)(features[200:]) == labels[200:]).mean() > 0.95


def test_correlations_equal_numpy_and_are_zero_for_constants():
    rng = np.random.Generator(np.random.PCG64(0))
    features, attributes = rng.normal(size=(50, 3)), rng.integers(0, 2, size=(50, 2)).astype(float)
    features[:, 2] = 1.0
    found = training.attribute_correlations(features, attributes)
    assert found[1, 0] == pytest.approx(np.corrcoef(features[:, 1], attributes[:, 0])[0, 1])
    assert (found[2] == 0).all()


def test_features_are_the_mean_of_the_maps_and_independent_of_the_batch():
    model, batch = encoder(), pictures()
    with torch.no_grad():
        maps = model.activation_maps(batch)
        alone = model.activation_maps(torch.from_numpy(batch[3:4]))
    assert maps.shape == (5, 32, 8, 8) and (maps >= 0).all()
    torch.testing.assert_close(alone[0], maps[3], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["supervised", "simclr"])
def test_tiny_training_learns_and_repeats_itself(params, name, capfd):
    images, table = read_array("data/training/encoders.npy")[:128], read_table("data/training/encoders.parquet")[:128]
    first, second = (encoder_training.train_encoder(params.train[name], images, table, name) for _ in range(2))
    losses = [float(line.rsplit(" ", 1)[1]) for line in capfd.readouterr().out.splitlines() if f"{name}: epoch" in line]
    assert losses[2] < losses[0] and losses[:3] == losses[3:]
    assert all(torch.equal(first.state_dict()[key], value) for key, value in second.state_dict().items())


@pytest.mark.parametrize("name", ["supervised", "simclr"])
def test_encoder_stage_writes_checkpoint_and_metrics(params, name):
    short = SimpleNamespace(**(vars(params.train[name]) | {"epochs": 1}))
    train_encoder.run(SimpleNamespace(**(vars(params) | {"train": {name: short}})), name)
    metrics = read_json(f"reports/metrics/train_{name}.json")
    assert set(metrics["accuracy"]) == {"object", "colour", "texture", "background"}
    assert metrics["clear_features"]["features"] == load_encoder_checkpoint(f"models/{name}.safetensors").width == 32


def test_unknown_objective_is_a_user_error(params):
    broken = SimpleNamespace(**(vars(params) | {"train": {"mine": supervised_section(objective="mae")}}))
    with pytest.raises(UserError, match=r"train\.mine\.objective is 'mae'"):
        train_encoder.run(broken, "mine")


def test_clip_stage_learns_and_its_checkpoint_is_an_open_clip_model(params, capfd):
    train_clip.run(params)
    printed = capfd.readouterr().out
    losses = [float(line.rsplit(" ", 1)[1]) for line in printed.splitlines() if "clip, attributes: epoch" in line]
    assert losses[1] < losses[0] and "clip, captions: epoch 2/2" in printed
    metrics = read_json("reports/metrics/clip.json")
    assert set(metrics) == {"zero_shot", "crops"} and 0 <= metrics["crops"]["object"]["accuracy"] <= 1
    model, tokenizer = load_clip("models/clip.safetensors")
    with torch.no_grad():
        image = small_clip.embed_images(model, unit_images(pictures(3)))
        text = model.encode_text(tokenizer(["a red boat", "something unheard of"]), normalize=True)
    assert image.shape == (3, 32) and text.shape == (2, 32) and torch.isfinite(text).all()


def test_folding_the_adapter_gives_its_output():
    torch.manual_seed(0)
    projection, adapter, inputs = torch.nn.Linear(6, 4), torch.nn.Linear(4, 4), torch.randn(3, 6)
    expected = adapter(projection(inputs))
    clip_training._fold(adapter, projection)
    torch.testing.assert_close(projection(inputs), expected)


def test_clip_round_trip_keeps_embeddings(tmp_path):
    tokenizer = small_clip.build_tokenizer(12)
    tokens = tokenizer(["a red boat", "a blue key on grass"])
    ids = small_clip.token_vocabulary(tokens)
    config = {
        "image_size": 64,
        "embedding": 16,
        "width": 12,
        "layers": [1, 1, 1],
        "text_width": 32,
        "text_layers": 1,
        "context": 12,
    }
    torch.manual_seed(0)
    model = small_clip.build_clip(**config, vocabulary=len(ids)).eval()
    save_clip(tmp_path / "clip.safetensors", model, config | {"token_ids": ids})
    loaded, again = load_clip(tmp_path / "clip.safetensors")
    with torch.no_grad():
        expected = model.encode_text(small_clip.compact_tokens(tokens, ids), normalize=True)
        found = loaded.encode_text(again(["a red boat", "a blue key on grass"]), normalize=True)
    torch.testing.assert_close(found, expected, atol=5e-3, rtol=0)


def test_encoder_round_trip_keeps_features_and_heads(tmp_path):
    model, batch = encoder(), pictures()
    save_encoder(tmp_path / "encoder.safetensors", model, {"name": "mine"})
    loaded = load_encoder_checkpoint(tmp_path / "encoder.safetensors")
    with torch.no_grad():
        torch.testing.assert_close(loaded.activation_maps(batch), model.activation_maps(batch), atol=1e-2, rtol=1e-2)
    assert loaded.config["heads"] == {"colour": ["red", "blue"]} and not loaded.training


def test_checkpoints_that_do_not_fit_name_file_and_reason(tmp_path):
    from safetensors.torch import save_file

    save_encoder(tmp_path / "encoder.safetensors", encoder(), {})
    (tmp_path / "text.safetensors").write_text("not a checkpoint")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    wider = encoder()
    wider.config = wider.config | {"widths": [16, 64]}
    save_encoder(tmp_path / "wider.safetensors", wider, {})
    wider.config = {"depth": 3}
    save_encoder(tmp_path / "config.safetensors", wider, {})
    reasons = {
        "missing": "not a readable",
        "text": "not a readable",
        "other": "not a falcon-small-resnet",
        "wider": "describes a larger model than the file holds",
        "config": "does not describe",
    }
    for name, reason in reasons.items():
        with pytest.raises(UserError, match=f"{name}.safetensors: .*{reason}"):
            load_encoder_checkpoint(tmp_path / f"{name}.safetensors")
    with pytest.raises(UserError, match="not a falcon-clip"):
        load_clip(tmp_path / "encoder.safetensors")


def test_checkpoint_with_nan_is_refused(tmp_path):
    model = encoder()
    with torch.no_grad():
        model.stages[0].conv1.weight[0, 0, 0, 0] = torch.nan
    save_encoder(tmp_path / "nan.safetensors", model, {})
    with pytest.raises(UserError, match="not finite"):
        load_encoder_checkpoint(tmp_path / "nan.safetensors")


def test_words_of_captions_weigh_by_their_rarity_and_those_of_all_captions_nothing():
    tokens = torch.tensor([[[1, 2, 0], [1, 3, 3]], [[1, 2, 4], [1, 2, 0]]])
    weights = clip_training.weights_of_words(tokens)
    assert weights.sum(dim=1).tolist() == pytest.approx([1, 1]) and weights[:, 1].tolist() == [0, 0]
    assert weights[0, 3] > weights[0, 2] > 0 and weights[1, 3] == 0


def test_the_image_tower_learns_words_without_attributes(params):
    section = SimpleNamespace(**(vars(params.train_clip) | {"warm_start": "words", "contrastive_epochs": 1}))
    images, table = read_array("data/training/clip.npy"), read_table("data/training/clip.parquet")
    unknown = table.drop(columns=["object", "colour", "texture", "background", "position"])
    model, _ = clip_training.train_clip(section, params.render_scenes.size, images, unknown)
    embedded = small_clip.embed_images(model, unit_images(images[:8]))
    assert embedded.shape == (8, 32) and bool(torch.isfinite(embedded).all())
