"""Scenes of several objects: places, correlated attributes, and gates that make the data set hard enough."""

import hashlib
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.artifacts.formats import read_json, read_table
from falcon_dvc.evaluation.ground_truth import attributes_table
from falcon_dvc.evaluation.statistics import correlations
from falcon_dvc.models.scenes.small_resnet import SmallResNet
from falcon_dvc.params.load import read_yaml
from falcon_dvc.synthetic.scenes.backgrounds import background_bank
from falcon_dvc.synthetic.scenes.scenes import VALUES, Look, boxes_of, draw_attributes
from falcon_dvc.synthetic.scenes.several import World, class_shares, draw_further, further_values, objects_of
from stages.render_scenes import draw, look_of, rendered
from tests.support.paths import ROOT
from tests.support.scene_params import section

SEVERAL = {"objects": [2, 4], "diameters": [16, 20], "tilt": 0.3, "matched": True, "clip_world": 7}
IMAGES = 600


def generator(seed):
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def scenes():
    """Images of several objects, their attributes, and all their objects."""
    settings, rng = section(**SEVERAL), generator(0)
    attributes = draw(settings, IMAGES, rng)
    images, boxes, objects = rendered(settings, attributes, look_of(settings), rng)
    return SimpleNamespace(images=images, attributes=attributes, boxes=boxes, objects=objects)


def test_an_image_has_its_number_of_objects_and_each_lies_in_the_picture(scenes):
    count = scenes.objects.groupby("row").size()
    assert set(count) == {2, 3, 4} and len(count) == IMAGES
    main = scenes.objects[scenes.objects["main"]]
    assert main["object"].tolist() == scenes.attributes["object"].tolist()
    sides = scenes.objects[["left", "top", "right", "bottom"]].to_numpy()
    assert (sides[:, :2] >= 0).all() and (sides[:, 2:] <= 64).all() and (sides[:, 2:] - sides[:, :2] >= 11).all()


def test_the_main_object_covers_less_than_a_tenth_and_is_the_largest(scenes):
    sides = scenes.objects[["left", "top", "right", "bottom"]].to_numpy()
    area = (sides[:, 2] - sides[:, 0]) * (sides[:, 3] - sides[:, 1])
    main = scenes.objects["main"].to_numpy()
    assert area[main].max() / 64**2 < 0.1 and area[main].min() > area[~main].max()


def test_objects_stand_in_different_places(scenes):
    centre = (scenes.objects[["left", "top"]].to_numpy() + scenes.objects[["right", "bottom"]].to_numpy()) / 2
    pairs = (
        scenes.objects[["row"]]
        .assign(x=centre[:, 0], y=centre[:, 1])
        .merge(scenes.objects[["row"]].assign(x=centre[:, 0], y=centre[:, 1]), on="row")
    )
    distance = np.hypot(pairs["x_x"] - pairs["x_y"], pairs["y_x"] - pairs["y_y"])
    assert distance[distance > 0].min() > 8


def test_planted_objects_stand_beside_no_other(scenes):
    beside = set(scenes.objects.loc[~scenes.objects["main"], "object"])
    assert beside == set(VALUES["object"]) - {"boat", "truck", "umbrella"}


@pytest.mark.parametrize("tilt", [0.0, 0.4, 1.0])
def test_a_share_of_the_attributes_is_typical_of_the_object(tilt):
    rng, world = generator(1), World(3, tilt)
    tilted = world.tilted(draw_attributes(20_000, rng), rng)
    number = tilted["object"].map(VALUES["object"].index).to_numpy()
    for kind in ("colour", "texture", "background"):
        values = tilted[kind].map(VALUES[kind].index).to_numpy()
        typical = (world.typical(kind)[number] == values[:, None]).any(axis=1).mean()
        by_chance = 2 / len(VALUES[kind])
        assert typical == pytest.approx(tilt + (1 - tilt) * by_chance, abs=0.02)


def test_another_world_has_other_typical_attributes():
    assert (World(0, 0.3).typical("colour") != World(7, 0.3).typical("colour")).any()


def test_matched_grounds_have_one_mean_and_one_contrast():
    tiles = background_bank(1, matched=True).astype(float)
    assert np.ptp(tiles.mean(axis=(2, 3))) < 8
    spread = np.abs(tiles - tiles.mean(axis=(2, 3), keepdims=True)).mean(axis=(2, 3))
    assert spread.max() / spread.min() < 1.4 and np.ptp(tiles, axis=-1).max() == 0


def test_an_image_has_the_attributes_of_all_its_objects():
    attributes = pd.DataFrame(
        {"image": ["a", "b"], "object": ["boat", "cup"], "colour": ["red", "red"], "texture": "plain"}
    )
    attributes = attributes.assign(background=["sand", "snow"], position="left")
    further = pd.DataFrame({"image": ["a"], "object": ["cup"], "colour": ["blue"], "texture": ["plain"]})
    found = attributes_table(attributes, pd.concat([attributes[further.columns], further]))
    assert found["object", "cup"].tolist() == [True, True] and found["object", "boat"].tolist() == [True, False]
    assert found["colour", "blue"].tolist() == [True, False] and found["background", "sand"].tolist() == [True, False]


@pytest.mark.parametrize("seed", [0, 1])
def test_gate_few_features_of_random_weights_follow_one_attribute(scenes, seed):
    names = scenes.objects.assign(image=scenes.objects["row"]).drop(columns=["row", "main"])
    known = attributes_table(scenes.attributes.assign(image=np.arange(IMAGES)), names)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        features = SmallResNet(32, [64, 128], {}).eval().activation_maps(scenes.images).mean(dim=(2, 3)).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    clear = correlations(features, known.to_numpy(dtype=bool)).max(axis=1) >= 0.5
    assert clear.mean() <= 0.1


def test_one_object_needs_no_further_random_numbers():
    look = replace(Look(), objects=(1, 1))
    rng, same = generator(5), generator(5)
    draw_further(draw_attributes(3, generator(1)), World(0, 0.0), replace(look, objects=(1, 2)), set(), rng)
    assert rng.random() != same.random()


def test_gate_the_image_text_encoder_names_few_objects_of_whole_images_and_most_of_crops():
    measured = read_json(ROOT / "reports/metrics/clip.json")
    assert measured["zero_shot"]["object"]["accuracy"] <= 0.6 and measured["crops"]["object"]["accuracy"] >= 0.9


def test_gate_features_of_the_supervised_encoder_follow_objects_wherever_they_stand():
    truth = read_table(ROOT / "reports/tables/supervised_truth.csv")
    objects = truth[(truth["kind"] == "object") & truth["clear"]]
    assert len(objects) >= 30 and objects["value"].nunique() >= 8


@pytest.mark.parametrize("stage", ["train_clip@scenes", "train_encoder@supervised", "train_encoder@simclr"])
@pytest.mark.parametrize(("lock", "models"), [("", ""), ("reports/scenes-simple", "scenes-simple")])
def test_the_models_in_git_are_those_that_the_lock_of_their_training_names(lock, models, stage):
    outs = read_yaml(ROOT / lock / "dvc.lock")["stages"][stage]["outs"]
    (path, known), *_ = ((out["path"], out["md5"]) for out in outs if out["path"].startswith("models/"))
    content = (ROOT / "models" / models / path.removeprefix("models/")).read_bytes()
    assert known == hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_the_models_of_the_data_set_of_one_object_were_trained_as_its_profile_says():
    lock = read_yaml(ROOT / "reports/scenes-simple/dvc.lock")["stages"]
    profile = read_yaml(ROOT / "profiles/scenes-simple.yaml")
    trained = lock["train_clip@scenes"]["params"]["params.yaml"]["train_clip"]
    assert profile["train_clip"].items() <= trained.items()
    rendered_with = lock["render_scenes@scenes"]["params"]["params.yaml"]["render_scenes"]
    assert all(rendered_with.get(key) == value for key, value in profile["render_scenes"].items())


def test_a_label_is_shared_among_the_objects_of_an_image():
    objects = pd.DataFrame(
        {
            "row": [0, 0, 0, 1],
            "main": [True, False, False, True],
            "object": ["boat", "car", "car", "boat"],
            "colour": ["red", "blue", "red", "red"],
            "texture": ["plain", "plain", "plain", "plain"],
        }
    )
    further = further_values(objects, 2)
    assert further["further_object"] == [["car", "car"], []] and further["further_colour"] == [["blue", "red"], []]
    table = objects[objects["main"]].reset_index(drop=True).assign(**further)
    of = lambda kind, value: class_shares(table, kind, 0.5)[:, VALUES[kind].index(value)].tolist()  # noqa: E731
    assert of("object", "boat") == [0.5, 1.0] and of("object", "car") == [0.5, 0.0]
    assert of("colour", "red") == [0.75, 1.0] and of("colour", "blue") == [0.25, 0.0]


@given(st.integers(0, 1000), st.floats(0, 1))
def test_shares_of_a_label_sum_to_one(seed, further):
    rng = generator(seed)
    settings = section(**SEVERAL | {"objects": [1, 3]})
    attributes = draw(settings, 20, rng)
    beside = draw_further(attributes, World(0, 0.3), look_of(settings), set(), rng)
    objects = objects_of(attributes, boxes_of(attributes.assign(x=0, y=0, diameter=16), 64), beside, 64)
    table = attributes.assign(**further_values(objects, len(attributes)))
    for kind in ("object", "colour", "texture"):
        shares = class_shares(table, kind, further)
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
        assert (shares >= 0).all()
