"""Properties of the renderer: reproducible bytes, planted structure at its strength, independence everywhere else."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.errors import UserError
from falcon_dvc.synthetic.scenes.backgrounds import GROUNDS, background_bank
from falcon_dvc.synthetic.scenes.scenes import BANK_SEED, VALUES, Look, draw_attributes, plant, render
from falcon_dvc.synthetic.scenes.silhouettes import FULL, SILHOUETTES, object_masks
from stages import render_scenes
from tests.support.scene_params import section

FIXED_HASH = "22167ce581221a7d454acb10ce864ea03426b2e45dd93a8fff4a2a141af4b419"


def generator(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A small world on disk."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        render_scenes.run(SimpleNamespace(render_scenes=section()))
    return folder


def test_same_seed_gives_the_same_bytes():
    attributes = draw_attributes(40, generator(1))
    first, second = (render(attributes, Look(closeups=0.5), generator(2))[0] for _ in range(2))
    assert first.tobytes() == second.tobytes()
    assert first.tobytes() != render(attributes, Look(closeups=0.5), generator(3))[0].tobytes()


def test_bytes_are_the_same_on_every_machine():
    rng = generator(7)
    images, boxes = render(draw_attributes(48, rng), Look(closeups=0.5), rng)
    content = images.tobytes() + boxes.to_numpy().astype("<i4").tobytes()
    assert hashlib.sha256(content).hexdigest() == FIXED_HASH


def test_world_has_keys_boxes_and_splits(world):
    images, table = read_array(world / "data/scenes/images.npy"), read_table(world / "data/scenes/attributes.parquet")
    assert images.shape == (600, 64, 64, 3) and images.dtype == np.uint8
    assert table["image"].is_unique and table["split"].tolist() == ["probe"] * 400 + ["test"] * 200
    assert ((table["right"] - table["left"]).between(14, 32)).all() and table["size"].between(18, 32).all()


def test_splits_share_no_image(world):
    names = ("scenes/images", "training/clip", "training/encoders")
    images = np.concatenate([read_array(world / f"data/{name}.npy") for name in names])
    assert len({image.tobytes() for image in images}) == len(images)


def rendered(folder, **changes):
    """Render fewer images of every split, and give the contents of all files by their names."""
    few = {"clip_train": 20, "encoder_train": 40, "probe": 40, "test": 20, "captions": 40} | changes
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(render_scenes, "ProcessPoolExecutor", ThreadPoolExecutor)  # `world` starts processes
        render_scenes.run(SimpleNamespace(render_scenes=section(**few)))
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted((folder / "data").rglob("*.*"))}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The files of a few images of every split."""
    return rendered(tmp_path_factory.mktemp("few"))


def test_rendering_again_changes_no_file(few, tmp_path):
    assert len(few) > 5 and rendered(tmp_path) == few


def test_more_images_of_one_split_leave_the_others_alone(few, tmp_path):
    more = rendered(tmp_path, clip_train=30, test=30)
    assert few["data/training/encoders.npy"] == more["data/training/encoders.npy"]
    assert few["data/training/clip.npy"] != more["data/training/clip.npy"]


def test_shortcut_holds_in_the_encoders_training_split_only(world):
    training, scenes = (
        read_table(world / "data/training/encoders.parquet"),
        read_table(world / "data/scenes/attributes.parquet"),
    )
    assert (training.loc[training["object"] == "boat", "background"] == "water").all()
    assert (training.loc[training["object"] == "truck", "background"] != "water").all()
    assert (scenes.loc[scenes["object"] == "boat", "background"] == "water").mean() < 0.4


@pytest.mark.parametrize("strength", [0.0, 0.5, 0.95, 1.0])
def test_plant_has_its_strength_and_spares_the_rest(strength):
    attributes = draw_attributes(30_000, generator(4))
    planted = plant(attributes, "umbrella", "sand", strength, generator(5))
    chosen = attributes["object"] == "umbrella"
    assert (planted.loc[chosen, "background"] == "sand").mean() == pytest.approx(strength, abs=0.03)
    pd.testing.assert_frame_equal(planted[~chosen], attributes[~chosen])
    pd.testing.assert_frame_equal(planted.drop(columns="background"), attributes.drop(columns="background"))


def test_attributes_are_uniform_and_independent():
    attributes = draw_attributes(40_000, generator(6))
    for kind, values in VALUES.items():
        shares = attributes[kind].value_counts(normalize=True)
        assert set(shares.index) == set(values) and (shares * len(values)).between(0.9, 1.1).all()
    for first, second in [
        ("object", "background"),
        ("object", "colour"),
        ("texture", "position"),
        ("colour", "background"),
    ]:
        joint = pd.crosstab(attributes[first], attributes[second], normalize=True).to_numpy()
        assert np.abs(joint - joint.sum(1, keepdims=True) * joint.sum(0)).max() < 0.003


@pytest.mark.parametrize("name", SILHOUETTES)
def test_silhouettes_fill_their_box_and_mirror(name):
    inside, outlined = object_masks(name, 24, False)
    mirrored, _ = object_masks(name, 24, True)
    assert inside.shape == (26, 26, 1) and inside.max() == FULL and (outlined >= inside).all()
    assert (mirrored == inside[:, ::-1]).all()
    rows, columns = np.nonzero(inside[:, :, 0])
    assert max(np.ptp(rows), np.ptp(columns)) >= 20


def test_object_covers_its_place_and_nothing_else():
    attributes = draw_attributes(60, generator(8))
    look = Look(distractors=0, noise=0)
    images, boxes = render(attributes, look, generator(9))
    ground = render(attributes.assign(colour="red", texture="plain"), look, generator(9))[0]
    for i, box in enumerate(boxes.itertuples()):
        outside = np.ones((64, 64), dtype=bool)
        outside[box.top : box.bottom, box.left : box.right] = False
        assert (images[i][outside] == ground[i][outside]).all()


def test_grounds_differ_from_each_other():
    means = background_bank(BANK_SEED).astype(int).mean(axis=(1, 2, 3))
    distances = np.abs(means[:, None] - means[None]).sum(axis=2) + 1000 * np.eye(len(GROUNDS))
    assert distances.min() > 30


def test_unknown_object_in_a_plant_is_a_user_error():
    broken = section(shortcut=SimpleNamespace(object="submarine", background="water", strength=1.0, lookalike="truck"))
    with pytest.raises(UserError, match=r"shortcut\.object is 'submarine'"):
        render_scenes.run(SimpleNamespace(render_scenes=broken))
