"""Stage `transfer` on two planted spaces: what a linear map carries, what it cannot, and that rows are joined by key."""

import copy
import json
from types import SimpleNamespace

import numpy as np
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import read_yaml
from falcon_dvc.params.schema import Params
from falcon_dvc.transfer.agreement import same_first
from falcon_dvc.transfer.fit import estimate
from stages import transfer
from tests.support.paths import ROOT
from tests.support.transfer_spaces import (
    IMAGES,
    NAMES,
    TEST,
    write_features,
)

BASE = read_yaml(ROOT / "params.yaml")
PAIR = "a_to_b"


def params_with(**changes) -> Params:
    """The shipped params with two spaces, small, and with these changes of section `transfer`."""
    content = copy.deepcopy(BASE)
    content["encoders"] |= {name: {"kind": "scenes", "checkpoint": f"models/{name}.safetensors"} for name in "ab"}
    content["transfers"] |= {PAIR: {"explained": "a", "unseen": "b"}}
    content["transfer"] |= {"bootstrap": 100, "permutations": 3, "curve": {"images": [12, 40], "draws": 2}} | changes
    return Params.model_validate(content)


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
    write_features("b", rng.random((IMAGES + TEST, 40)))
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
    write_features("a", features)
    assert metrics_of(params_with())["r2"]["median"] > 0.9
    assert read_table(paths.plot(f"transfer_{PAIR}"))["r2"].tolist()[-1] == 0


def test_a_constant_space_is_refused_in_one_line(spaces):
    write_features("a", np.ones((IMAGES + TEST, 3)))
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


def test_only_explained_features_of_the_unseen_space_are_compared_directly(spaces):
    """Of b, feature 3 alone was chosen; another feature follows each group better, but has no words."""
    params = params_with()
    transfer.run(params, PAIR)
    of_all = read_table(paths.table(f"transfer_{PAIR}"))["concept_overlap_direct"]
    for path in (paths.groups("b") / "groups.parquet", paths.concepts("b") / "concepts.parquet"):
        table = read_table(path)
        write_table(path, table[table["group"] == "f3"])
    transfer.run(params, PAIR)
    of_chosen = read_table(paths.table(f"transfer_{PAIR}"))["concept_overlap_direct"]
    assert of_all.sum() == of_chosen.sum() > 0
