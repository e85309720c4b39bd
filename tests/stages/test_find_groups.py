"""Sets of images of features and groups, from planted activations."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy import sparse

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.activations.write import write_rows
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_array, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.groups import image_sets
from falcon_dvc.params.load import load_params
from falcon_dvc.params.schema import RandomFeatures, ScenesEncoder
from stages import find_groups
from tests.support.paths import ROOT


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Two features that fire together on 20 of 200 probe images and alone on 21 each, six that do not; 50 more images are held out."""
    monkeypatch.chdir(tmp_path)
    features = 1 + 0.1 * np.random.default_rng(0).random((250, 8)).astype(np.float32)
    features[:20, :2] += 5
    features[20:41, 0] += 5
    features[41:62, 1] += 5
    split = ["probe"] * 200 + ["test"] * 50
    write_table(paths.IMAGES, pd.DataFrame({"image": [f"i{row:03d}" for row in range(250)], "split": split}))
    write_array(paths.activations("e") / "features.npy", features)
    params = with_choice(load_params(ROOT / "params.yaml"), None)
    return with_settings(params, rule="top_k", top_k=41, min_images=11, max_images=15, random_images=9)


def with_choice(params, features):
    """The params with one encoder, of which these features are explained."""
    encoder = ScenesEncoder(kind="scenes", checkpoint="c", features=features)
    return params.model_copy(update={"encoders": {"e": encoder}})


def with_settings(params, **update):
    return params.model_copy(update={"find_groups": params.find_groups.model_copy(update=update)})


def read():
    return (read_table(paths.groups("e") / name) for name in ("groups.parquet", "sets.parquet"))


def test_planted_pair_is_the_first_group(planted):
    find_groups.run(planted, "e")
    groups, sets = read()
    pair = groups[groups["size"] == 2].iloc[0]
    assert pair["members"] == "0 1" and pair["support"] == 20 and pair["significant"]
    images = sets[(sets["group"] == pair["group"]) & (sets["role"] == "high")]["image"]
    assert set(images) <= {f"i{row:03d}" for row in range(20)} and len(images) == 15


def test_sides_of_directions_are_named_in_tables_and_metrics(planted):
    find_groups.run(planted, "e")
    assert "side" not in read_table(paths.groups("e") / "groups.parquet")
    paths.basis("e").parent.mkdir()
    save_file({}, paths.basis("e"), {"basis": '{"both_signs": true}'})
    find_groups.run(planted, "e")
    groups, search = read_table(paths.groups("e") / "groups.parquet"), read_json(paths.metrics("search_e"))
    sides = groups.set_index("group")
    assert sides.loc["f0", ["side", "opposite"]].tolist() == ["positive", "f4"]
    assert sides.loc["f4", ["side", "opposite"]].tolist() == ["negative", "f0"]
    assert search["positive_sides"] + search["negative_sides"] == (groups["size"] == 1).sum()


WAYS = [
    {},
    {"rule": "quantile"},
    {"rule": "sigma", "sigma": 1.0},
    {"low_match": "released"},
    {"normalise": "none"},
    {"grouping": "exact"},
]


@pytest.mark.parametrize("changes", WAYS, ids=str)
def test_sparse_features_give_the_groups_and_images_of_dense_ones(planted, changes):
    dense = read_array(paths.activations("e") / "features.npy")
    dense = np.where((dense < 1.07) | (np.arange(8) == 7), 0, dense).astype(np.float32)
    found = []
    for features in (dense, sparse.csr_array(dense)):
        write_rows(paths.activations("e") / "features", features)
        find_groups.run(with_settings(planted, **changes), "e")
        activations = open_rows(paths.groups("e") / "activations", len(dense))
        thresholds = read_array(paths.groups("e") / "thresholds.npy", mmap=False)
        found.append([*read(), activations.rows(slice(None)), thresholds, read_json(paths.metrics("search_e"))])
    for expected, table in zip(found[0][:2], found[1][:2], strict=True):
        pd.testing.assert_frame_equal(table, expected, rtol=1e-9)
    assert np.array_equal(found[0][2], found[1][2]) and np.array_equal(found[0][3], found[1][3])
    assert found[0][4] == found[1][4]


def test_a_pair_with_nearly_the_images_of_a_member_is_left_out_and_counted(planted):
    find_groups.run(with_settings(planted, max_jaccard=0.4), "e")
    groups, _ = read()
    search = read_json(paths.metrics("search_e"))
    assert "0 1" not in set(groups["members"]) and search["of_2"]["near_duplicates"] == 1


@pytest.mark.parametrize("update", [{}, {"max_groups": 0}, {"max_candidates": 1}, {"grouping": "exact"}])
def test_every_significant_set_is_explained_or_left_out_for_a_reason_that_is_counted(planted, update):
    find_groups.run(with_settings(planted, **{"fdr": 0.9, "max_groups": 2} | update), "e")
    groups, _ = read()
    search = read_json(paths.metrics("search_e"))
    single = search.pop("single")
    search.pop("proposed", None)
    missing = search.pop("not_explained", {"constant": 0, "on_fewer_images": 0})
    assert single + missing["constant"] + missing["on_fewer_images"] == 8
    assert single == (groups["size"] == 1).sum()
    (share,), flag = search.pop("dropped_share").values(), search.pop("dropped_more_than_1_percent", 0)
    assert share == pytest.approx(1 - single / 8, abs=1e-4) and flag == (share > 0.01)
    for size, numbers in search.items():
        tested, significant, explained = (numbers.pop(key) for key in ("tested", "significant", "explained"))
        assert explained == (groups["size"] == int(size.removeprefix("of_"))).sum()
        assert tested >= significant == explained + sum(numbers.values())


def test_exact_groups_have_images_of_their_own(planted):
    find_groups.run(with_settings(planted, grouping="exact", min_images=2), "e")
    groups, sets = read()
    high = sets[sets["role"] == "high"]
    assert len(high) and not high["image"].duplicated().any()
    assert (groups["size"] == 1).any()


def test_single_features_do_not_depend_on_what_larger_groups_there_are(planted):
    find_groups.run(planted, "e")
    groups, sets = read()
    find_groups.run(with_settings(planted, max_size=1), "e")
    alone, of_alone = read()
    assert (alone["size"] == 1).all() and alone.equals(groups[groups["size"] == 1])
    assert of_alone.equals(sets[sets["group"].isin(alone["group"])].reset_index(drop=True))


def test_blocks_change_nothing(planted, monkeypatch):
    find_groups.run(planted, "e")
    whole = [*read(), read_array(paths.groups("e") / "thresholds.npy", mmap=False)]
    monkeypatch.setattr(image_sets, "IMAGES_AT_ONCE", 7)
    monkeypatch.setattr(image_sets, "GROUPS_AT_ONCE", 2)
    find_groups.run(planted, "e")
    for before, after in zip(whole, read(), strict=False):
        pd.testing.assert_frame_equal(before, after)
    assert np.array_equal(whole[2], read_array(paths.groups("e") / "thresholds.npy"))


def test_thresholds_are_where_features_begin_to_fire(planted):
    features = np.array(read_array(paths.activations("e") / "features.npy"))
    features[:, 7] = 0
    write_array(paths.activations("e") / "features.npy", features)
    find_groups.run(planted, "e")
    thresholds = read_array(paths.groups("e") / "thresholds.npy")
    fires = read_array(paths.groups("e") / "activations.npy")[:200] >= thresholds
    assert thresholds[7] == np.inf
    assert fires[:, :7].sum(axis=0).tolist() == [41] * 7


@pytest.mark.parametrize(("normalise", "lengths"), [("row", [1.0]), ("none", [2.0, 3.0])])
def test_the_activations_are_those_of_all_images_as_params_say(planted, normalise, lengths):
    features = np.array(read_array(paths.activations("e") / "features.npy"))
    features *= (np.resize([2.0, 3.0], len(features)) / np.linalg.norm(features, axis=1))[:, None]
    write_array(paths.activations("e") / "features.npy", features)
    settings = planted.find_groups.model_copy(update={"normalise": normalise})
    find_groups.run(planted.model_copy(update={"find_groups": settings}), "e")
    found = read_array(paths.groups("e") / "activations.npy")
    assert found.dtype == np.float32 and found.shape == features.shape
    assert np.allclose(np.linalg.norm(found, axis=1), np.resize(lengths, len(found)), atol=1e-5)


def test_held_out_images_never_take_part(planted):
    find_groups.run(planted, "e")
    assert read_table(paths.groups("e") / "sets.parquet")["image"].max() <= "i199"


def test_lowly_activating_images_are_other_images(planted):
    find_groups.run(planted, "e")
    _, sets = read()
    for _, rows in sets.groupby("group"):
        high, low = (set(rows.loc[rows["role"] == role, "image"]) for role in ("high", "low"))
        assert not high & low


def test_ranks_follow_the_activation(planted):
    find_groups.run(planted, "e")
    _, sets = read()
    for _, rows in sets[sets["role"] == "high"].groupby("group"):
        assert rows["rank"].tolist() == list(range(len(rows))) and rows["activation"].is_monotonic_decreasing


def test_every_single_feature_has_its_random_images(planted):
    find_groups.run(planted, "e")
    groups, sets = read()
    counts = sets[sets["role"] == "random"].groupby("group").size()
    assert set(counts.index) == set(groups.loc[groups["size"] == 1, "group"]) and (counts == 9).all()


def test_random_images_are_enough_for_sets_of_the_largest_groups_size(planted):
    find_groups.run(with_settings(planted, random_images=1), "e")
    _, sets = read()
    counts = sets["role"].value_counts()
    largest = sets[sets["role"] == "high"].groupby("group").size().max()
    assert 2 * largest <= counts["random"] < 2 * largest + 8
    assert not sets[sets["role"] == "random"].duplicated(["group", "image"]).any()


def test_nothing_to_explain_is_said_in_one_line(planted):
    write_array(paths.activations("e") / "features.npy", np.ones((250, 8), dtype=np.float32))
    with pytest.raises(
        UserError, match=r"encoders\.e: all 8 features are constant on the 200 explained images.*data\.images"
    ):
        find_groups.run(planted, "e")
    assert not paths.groups("e").exists()


@pytest.mark.parametrize(
    ("probe", "words"),
    [(3, r"only 3 of the images .*; add images to data\.images, or"), (30, r"; add images to data\.images$")],
)
def test_few_images_are_said_in_one_line(planted, probe, words):
    table = read_table(paths.IMAGES)
    write_table(paths.IMAGES, table.assign(split=["probe"] * probe + ["test"] * (len(table) - probe)))
    with pytest.raises(UserError, match=words):
        find_groups.run(with_settings(planted, min_images=29), "e")


@pytest.fixture
def of_all(planted):
    """Groups and sets if all features are explained; the params, whose choice a test changes."""
    find_groups.run(planted, "e")
    return planted, *read()


@given(choice=st.lists(st.integers(0, 7), min_size=1, max_size=8, unique=True))
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_chosen_feature_is_explained_as_in_the_run_on_all(of_all, choice):
    params, groups, sets = of_all
    find_groups.run(with_choice(params, choice), "e")
    expected, found = ([_of_features(table, choice) for table in tables] for tables in ((groups, sets), read()))
    pd.testing.assert_frame_equal(expected[0], found[0])
    # A few features draw further random images, after those of the run on all.
    pd.testing.assert_frame_equal(expected[1], found[1].loc[expected[1].index])
    assert {role for _, role, _ in found[1].index.difference(expected[1].index)} <= {"random"}


def _of_features(table, features):
    """The rows of single features, by what names a row."""
    keys = [name for name in ("group", "role", "rank") if name in table]
    return table[table["group"].isin([f"f{feature}" for feature in features])].set_index(keys).sort_index()


@pytest.mark.parametrize("grouping", ["cofire", "exact"])
@pytest.mark.parametrize("choice", [(1, 0, 5), (0, 5), (1, 0)])
def test_groups_consist_of_chosen_features_and_have_the_statistics_of_the_run_on_all(planted, choice, grouping):
    found = []
    for features in (None, choice):
        find_groups.run(with_settings(with_choice(planted, features), grouping=grouping, min_images=2), "e")
        found.append(next(read()).set_index("members"))
    of_all, of_chosen = found
    assert set(" ".join(of_chosen.index).split()) <= set(map(str, choice))
    assert ("0 1" in of_chosen.index) == {0, 1}.issubset(choice)
    both = of_chosen.index.intersection(of_all.index)
    pd.testing.assert_frame_equal(of_chosen.loc[both], of_all.loc[both])


def test_few_chosen_features_still_have_random_images_for_the_null_of_their_largest_set(planted):
    find_groups.run(with_choice(planted, (4,)), "e")
    _, sets = read()
    random = sets[sets["role"] == "random"]
    assert len(random) == 2 * 15 and not random["image"].duplicated().any()


def test_a_random_choice_is_the_same_again_and_counted(planted):
    found = []
    for _ in range(2):
        summary = find_groups.run(with_choice(planted, RandomFeatures(random=3, seed=1)), "e")
        found.append(next(read())["group"].tolist())
    assert found[0] == found[1] and summary.read["features"] == 3
    assert summary.noted["features that encoders.e.features does not choose"] == 5
    metrics = read_json(paths.metrics("search_e"))
    assert (metrics["chosen_features"], metrics["features_of_the_encoder"]) == (3, 8)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ((3, 8), "params.yaml: encoders.e.features: names feature 8, but the encoder has 8 features; name 0 to 7"),
        (RandomFeatures(random=9), "params.yaml: encoders.e.features.random: 9 features, but the encoder has 8; lower"),
    ],
)
def test_features_that_the_encoder_does_not_have_are_named(planted, choice, words):
    with pytest.raises(UserError) as error:
        find_groups.run(with_choice(planted, choice), "e")
    assert str(error.value).startswith(words)
    assert not paths.groups("e").exists()


def test_the_only_feature_of_an_encoder_is_constant_and_the_line_says_so(planted):
    write_array(paths.activations("e") / "features.npy", np.random.default_rng(0).random((250, 1), dtype=np.float32))
    with pytest.raises(UserError, match=r"encoders\.e: its only feature .* choose a layer with more features"):
        find_groups.run(planted, "e")


def test_settings_that_explain_nothing_are_answered_with_values_that_explain_something(planted):
    with pytest.raises(UserError) as stop:
        find_groups.run(with_settings(planted, rule="quantile", quantile=0.97), "e")
    assert "8 of 8 features are not explained: 8 firing on fewer than 11 of 200 explained images" in str(stop.value)
    assert "with find_groups.quantile 0.925, 8 are explained; with find_groups.min_images 5, 8 are" in str(stop.value)


def test_features_that_are_left_out_are_said_with_values_that_explain_them(planted):
    summary = find_groups.run(with_settings(planted, rule="sigma", sigma=1.0), "e")
    assert "6 of 8 features are not explained: 6 firing on fewer than 11 of 200" in summary.lacking[0]
    assert read_json(paths.metrics("search_e"))["not_explained"]["on_fewer_images"] == 6
