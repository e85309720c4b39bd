"""Stage `transfer` on two planted spaces: what a linear map carries, what it cannot, and that rows are joined by key."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_array, write_json, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml
from falcon_dvc.params.schema import Params
from falcon_dvc.transfer.agreement import same_first
from falcon_dvc.transfer.fit import estimate
from stages import transfer
from tests.support.paths import ROOT

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
NAMES = list(COLOURS)
IMAGES, TEST = 240, 10
BASE = read_yaml(ROOT / "params.yaml")
PAIR = "a_to_b"


def params_with(**changes) -> Params:
    """The shipped params with two spaces, small, and with these changes of section `transfer`."""
    content = copy.deepcopy(BASE)
    content["encoders"] |= {name: {"kind": "scenes", "checkpoint": f"models/{name}.safetensors"} for name in "ab"}
    content["transfers"] |= {PAIR: {"explained": "a", "unseen": "b"}}
    content["transfer"] |= {"bootstrap": 100, "permutations": 3, "curve": {"images": [12, 40], "draws": 2}} | changes
    return Params.model_validate(content)


class Eye:
    """An image-text encoder that sees the mean colour, which is all that it is given of a picture."""

    dim, fingerprint, preprocessing = 3, "eye", "the mean colour"

    def prepare(self, images):
        return torch.from_numpy(np.array([image.reshape(-1, 3).mean(axis=0) for image in images], dtype=np.float32))

    def embed_prepared(self, means):
        return (means / means.norm(dim=1, keepdim=True)).numpy()


@pytest.fixture
def spaces(tmp_path, monkeypatch):
    """Artefacts of two spaces: `a` has a feature a colour, `b` mixes these linearly. Returns b's features, to be changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("falcon_dvc.models.image_text.load.load_image_text", lambda *_: Eye())
    monkeypatch.setattr("falcon_dvc.compute.device.best_device", lambda: "cpu")
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 3, IMAGES + TEST)
    explained = np.eye(3)[colour] + 0.1 * rng.random((len(colour), 3))
    unseen = explained @ rng.random((3, 5)) + 0.02 * rng.random((len(colour), 5))
    _write_images(colour)
    _write_corpus()
    for name, features in (("a", explained), ("b", unseen)):
        _write_space(name, features)
    return unseen


def _write_images(colour):
    split = np.where(np.arange(len(colour)) < IMAGES, "probe", "test")
    names = [f"{some}-{row:05d}" for row, some in enumerate(split)]
    write_table(paths.IMAGES, pd.DataFrame({"image": names, "split": split, "label": "", "width": 8, "height": 8}))
    write_table(paths.SCENES / "attributes.parquet", pd.DataFrame({"image": names, "split": split}))
    pixels = np.array(list(COLOURS.values()), dtype=np.uint8)[colour]
    write_array(paths.SCENES / "images.npy", np.tile(pixels[:, None, None, :], (1, 8, 8, 1)))


def _write_corpus():
    """Five captions a colour; each of them has a word of its own, too."""
    caption, names = np.arange(15), [NAMES[row % 3] for row in range(15)]
    write_table(
        paths.CAPTIONS / "captions.parquet",
        pd.DataFrame({"caption": caption, "text": [f"{name} thing" for name in names], "copies": 1}),
    )
    write_array(paths.CAPTIONS / "embeddings.npy", np.eye(3, dtype=np.float32)[caption % 3])
    write_json(paths.CAPTIONS / "index.json", {"image_text": "eye"})
    words = [(row, "word", word, word) for row, name in enumerate(names) for word in (name, f"thing{row}")]
    write_table(paths.MENTIONS, pd.DataFrame(words, columns=["caption", "kind", "mention", "concept"]))


def _write_space(name, features):
    folder, groups = paths.activations(name), [f"f{feature}" for feature in range(features.shape[1])]
    _write_features(name, features)
    write_array(folder / "fields.npy", np.tile([0, 0, 8, 8], (len(features), 1)).astype(np.int32))
    write_table(
        paths.groups(name) / "groups.parquet",
        pd.DataFrame({"group": groups, "members": [group[1:] for group in groups], "size": 1}),
    )
    crops = pd.DataFrame({"group": "f0", "role": ["high"] + ["random"] * 6, "rank": range(7), "image": "probe-00000"})
    write_table(paths.crops(name) / "crops.parquet", crops)
    write_array(paths.crops(name) / "embeddings.npy", np.eye(3, dtype=np.float32)[np.arange(7) % 3])
    write_json(paths.crops(name) / "embeddings.json", {"image_text": "eye"})
    _write_concepts(name, groups)


def _write_features(name, features):
    write_array(paths.activations(name) / "features.npy", features.astype(np.float32))
    maps = np.tile(features[:, :, None, None], (1, 1, 2, 2)).astype(np.float16)
    write_array(paths.activations(name) / "maps.npy", maps)


def _write_concepts(name, groups):
    """The explained space's features are called by their colours; those of the other one are all called red."""
    named = [NAMES[row] if name == "a" else "red" for row in range(len(groups))]
    table = pd.DataFrame({"group": groups, "kind": "word", "rank": 1, "concept": named, "kept": True})
    write_table(paths.concepts(name) / "concepts.parquet", table)


def metrics_of(params: Params) -> dict:
    transfer.run(params, PAIR)
    return json.loads(paths.metrics(f"transfer_{PAIR}").read_text(), parse_constant=pytest.fail)


def test_a_linear_relation_carries_the_concepts(spaces):
    metrics = metrics_of(params_with())
    assert metrics["r2"]["median"] > 0.95
    assert metrics["r2_of_features"]["mean"] > 0.95
    assert metrics["r2_above_half"]["share"] == 1
    assert metrics["cosine"]["mean"] > 0.95
    assert metrics["agreement"]["image_overlap"]["mean"] > metrics["agreement"]["image_overlap_null"]["interval_high"]
    assert metrics["agreement"]["same_first"] == {"mean": 1, "interval_low": 1, "interval_high": 1}
    assert metrics["agreement"]["same_first_null"]["mean"] < 1
    assert read_table(paths.table(f"transfer_{PAIR}"))["words"].str.split(":").str[0].tolist() == NAMES
    assert metrics["groups"] == 3


def test_the_nulls_and_controls_say_what_a_figure_is_worth(spaces):
    metrics = metrics_of(params_with())
    assert metrics["r2_null"]["median"] < 0.05
    assert metrics["cosine_null"]["mean"] < metrics["cosine"]["interval_low"]
    assert metrics["control_linear"]["median"] > 0.99
    assert metrics["control_nonlinear"]["median"] < 0.5 < metrics["control_linear"]["interval_low"]


def test_spaces_without_a_linear_relation_are_reported_as_failing(spaces):
    rng = np.random.default_rng(5)
    _write_features("b", rng.random((IMAGES + TEST, 40)))
    metrics = metrics_of(params_with(splits={"train": 0.2, "validation": 0.4}, ridge=[1e-5]))
    assert metrics["r2"]["median"] < 0.05
    assert metrics["r2_above_half"]["share"] == 0
    assert metrics["dimensions"]["enough"] == 0
    assert metrics["r2_on_training_images"]["median"] > 0.5, "what the map has seen looks as if it were explained"
    assert metrics["agreement"]["image_overlap"]["mean"] < 0.5


def test_every_figure_lies_in_its_interval(spaces):
    def check(content):
        for value in content.values():
            if isinstance(value, dict) and "interval_low" in value:
                figure, low, high = value.values()
                assert low <= figure <= high
            elif isinstance(value, dict):
                check(value)

    check(metrics_of(params_with()))


def test_the_curve_by_images_ends_with_the_figures_of_the_whole_split(spaces):
    metrics = metrics_of(params_with())
    curve = read_table(paths.plot(f"transfer_{PAIR}_images"))
    assert list(curve)[:5] == ["training_images", "r2", "interval_low", "interval_high", "null"]
    assert curve["training_images"].tolist() == [12, 40, metrics["images"]["train"]]
    last = curve.iloc[-1]
    assert [last["r2"], last["interval_low"], last["interval_high"]] == list(metrics["r2"].values())
    assert last["null"] == metrics["r2_null"]["median"]
    assert ((curve["interval_low"] <= curve["r2"]) & (curve["r2"] <= curve["interval_high"])).all()


def test_the_curve_by_rank_ends_with_the_full_map(spaces):
    metrics = metrics_of(params_with())
    curve = read_table(paths.plot(f"transfer_{PAIR}_rank"))
    assert curve["rank"].tolist() == [1, 2, 3]
    assert metrics["dimensions"]["full"] == 3
    assert curve["r2"].iloc[-1] == metrics["r2_of_features"]["mean"]
    assert curve["ceiling"].iloc[-1] == pytest.approx(1)
    assert curve["null"].abs().max() < 0.1
    enough = metrics["dimensions"]["enough"]
    assert enough == 2, "three colours, one of which each image has: two dimensions"
    assert metrics["r2_of_features_with_enough"]["mean"] == curve["r2"][enough - 1]


def test_a_limit_of_the_rank_limits_the_map_and_no_control(spaces):
    full, limited = (metrics_of(params_with(rank=rank)) for rank in ("full", 1))
    assert limited["r2_of_features"]["mean"] < full["r2_of_features"]["mean"] - 0.2
    assert limited["r2_of_features"]["mean"] == read_table(paths.plot(f"transfer_{PAIR}_rank"))["r2"][0]
    assert limited["control_linear"] == full["control_linear"]
    assert metrics_of(params_with(rank=99))["r2"] == full["r2"]


def test_tables_are_joined_by_key_never_by_row(spaces):
    before = metrics_of(params_with())
    table = paths.table(f"transfer_{PAIR}")
    rows = read_table(table)
    for name in "ab":
        path = paths.concepts(name) / "concepts.parquet"
        write_table(path, read_table(path).sample(frac=1, random_state=1))
    assert metrics_of(params_with()) == before
    path = paths.groups("a") / "groups.parquet"
    write_table(path, read_table(path).iloc[::-1])
    metrics_of(params_with())
    assert read_table(table).sort_values("group").reset_index(drop=True).equals(rows)


def test_images_found_through_the_map_are_kept_with_their_boxes(spaces):
    transfer.run(params_with(), PAIR)
    found, table = read_table(paths.transfers(PAIR)), read_table(paths.table(f"transfer_{PAIR}")).set_index("group")
    probe = set(read_table(paths.IMAGES).query("split == 'probe'")["image"])
    assert set(found["image"]) <= probe and ((found["right"] > found["left"]) & (found["bottom"] > found["top"])).all()
    for group, some in found.groupby("group"):
        assert list(some["rank"]) == list(range(len(some))) and some["image"].is_unique
        assert some["own"].mean() == pytest.approx(table.loc[group, "image_overlap"], abs=1e-4)


def test_the_same_bytes_again(spaces):
    outputs = [
        paths.metrics,
        paths.table,
        paths.plot,
        *(lambda name, end=end: paths.plot(name + end) for end in ("_images", "_rank")),
    ]
    contents = []
    for _ in range(2):
        metrics_of(params_with())
        contents.append([of(f"transfer_{PAIR}").read_bytes() for of in outputs])
    assert contents[0] == contents[1]


def test_a_feature_that_never_fires_is_left_out(spaces):
    features = np.load(paths.activations("a") / "features.npy")
    features[:, 2] = 0
    _write_features("a", features)
    assert metrics_of(params_with())["r2"]["median"] > 0.9
    assert read_table(paths.plot(f"transfer_{PAIR}"))["r2"].tolist()[-1] == 0


def test_a_constant_space_is_refused_in_one_line(spaces):
    _write_features("a", np.ones((IMAGES + TEST, 3)))
    with pytest.raises(UserError, match="constant; name another encoder"):
        metrics_of(params_with())


def test_too_few_images_are_refused_in_one_line(spaces):
    with pytest.raises(UserError, match=r"transfer\.splits: 240 images are too few"):
        metrics_of(params_with(splits={"train": 0.5, "validation": 0.499}))


@pytest.mark.parametrize(("written", "read"), [("full", None), (None, None), (1, 1), (300, 300)])
def test_ranks_that_can_be_asked_for(written, read):
    assert params_with(rank=written).transfer.rank == read


@pytest.mark.parametrize(
    "change",
    [
        {"rank": 0},
        {"rank": -1},
        {"rank": 2.5},
        {"rank": "ful"},
        {"rank_share": 0},
        {"rank_share": 1.1},
        {"curve": {"images": [1], "draws": 2}},
        {"curve": {"images": [0.5], "draws": 2}},
        {"curve": {"images": [50], "draws": 0}},
        {"control_noise": -0.1},
    ],
)
def test_impossible_values_are_refused(change):
    with pytest.raises(ValueError, match=rf"transfer\.{next(iter(change))}"):
        params_with(**change)


def test_a_first_concept_of_nothing_is_the_same_as_no_other():
    assert same_first([[], ["a", "b"], ["a"]], [[], ["a"], ["b", "a"]]) == [0, 1, 0]


def test_what_has_no_value_is_left_out_of_an_estimate():
    settings = SimpleNamespace(seed=0, bootstrap=50, confidence=0.9)
    values = np.array([[1.0, np.nan, 3.0], [1.0, 5.0, 3.0]])
    assert estimate("mean", values, settings)["mean"] == 2
    assert estimate("share", np.array([1.0, 0.0, np.nan, 1.0]), settings)["share"] == pytest.approx(2 / 3)
    assert estimate("median", np.array([1.0, 2.0, 9.0]), settings)["median"] == 2
