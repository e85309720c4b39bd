"""What groups add: new concepts, and selectivity on held-out images, from planted artefacts."""

import json

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table, write_array, write_table
from falcon_dvc.evaluation.conjunction import Gain
from falcon_dvc.evaluation.group_selectivity import _named_after, compared
from falcon_dvc.evaluation.new_concepts import new_concepts
from falcon_dvc.groups.image_sets import compared_activations
from falcon_dvc.params.load import load_params
from stages import analyse_groups
from tests.support.captioned_images import write_captioned_images
from tests.support.paths import ROOT

KNOWN = {"boat": ("object", "boat"), "ship": ("object", "boat"), "tree": ("object", "tree"), "red": ("colour", "red")}
LISTS = {
    "f0": ["boat", "truck"],
    "f1": ["boat", "tree"],
    "f2": ["red"],
    "f3": ["junk", "boat"],
    "f4": ["red", "boat"],
    "f5": ["grass"],
    "f6": [],
    "pair": ["boat", "junk"],
    "same": ["red", "boat"],
    "trio": ["crimson", "ship"],
    "unnamed": ["junk", "stuff"],
    "absent": ["boat", "blue"],
}
MEMBERS = {"pair": "0 1", "same": "2 4", "unnamed": "0 5", "absent": "0 2", "trio": "2 4 0"}


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Features 0 and 1 see boats and either trucks or trees; 2 and 4 see red; on 600 held-out images after 100 of the probe."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    attributes = pd.DataFrame(
        {
            "image": [f"i{row:03d}" for row in range(700)],
            "object": rng.choice(["boat", "truck", "tree"], 700),
            "colour": rng.choice(["red", "green"], 700),
            "texture": "plain",
            "background": "grass",
            "position": "left",
        }
    )
    thing, red = attributes["object"], attributes["colour"] == "red"
    sees = [
        thing != "tree",
        thing != "truck",
        red,
        thing == "truck",
        red & (rng.random(700) < 0.8),
        red,
        thing == "tree",
    ]
    features = np.column_stack(sees) + 0.2 * rng.random((700, 7))
    _write(attributes, features.astype(np.float32), rng)
    params = load_params(ROOT / "params.yaml")
    settings = params.analyse_groups.model_copy(update={"bootstrap": 200, "choice": ()})
    return params.model_copy(
        update={
            "analyse_groups": settings,
            "data": params.data.model_copy(update={"images": "data/scenes"}),
            "encoders": {"e": params.encoders["simclr"]},
        }
    )


def _write(attributes, features, rng):
    split = np.where(np.arange(700) < 100, "probe", "test")
    order = rng.permutation(700)  # the world's table is in another order than the images
    write_table("data/scenes/attributes.parquet", attributes.iloc[order])
    lexicon = [("object", "boat", "boat"), ("object", "boat", "ship"), ("object", "tree", "tree")]
    lexicon += [("colour", "red", "red"), ("colour", "red", "crimson"), ("colour", "blue", "blue")]
    write_table("data/scenes/lexicon.parquet", pd.DataFrame(lexicon, columns=["kind", "value", "word"]))
    write_table(paths.IMAGES, attributes[["image"]].assign(split=split))
    write_array(paths.groups("e") / "activations.npy", compared_activations(features, "row"))
    write_array(paths.groups("e") / "thresholds.npy", np.full(7, 0.3))
    write_table(paths.groups("e") / "groups.parquet", _groups())
    words = [(group, "word", rank + 1, word, 0.5, True) for group in LISTS for rank, word in enumerate(LISTS[group])]
    words += [("pair", "word", 1, "removed", 0.5, False), ("pair", "phrase", 1, "a boat", 0.5, True)]
    columns = ["group", "kind", "rank", "concept", "score", "kept"]
    write_table(paths.concepts("e") / "concepts.parquet", pd.DataFrame(words, columns=columns))


def _groups():
    members = {f"f{feature}": str(feature) for feature in range(7)} | MEMBERS
    table = pd.DataFrame({"group": list(members), "members": list(members.values())})
    size = table["members"].str.split().map(len)
    return table.assign(size=size, support=20, lift=3.0, lift_beyond=2.0, p_value=1e-9, significant=size > 1)


@pytest.fixture
def captioned(planted):
    """The same, with the words of the whole images, and pairs of both choices."""
    attributes = read_table("data/scenes/attributes.parquet").sort_values("image")
    words = ["boat", "tree", "truck", "green", "red"]
    shown = np.column_stack([attributes["object"] == word for word in words[:3]])
    write_captioned_images(
        words, np.column_stack([shown, attributes["colour"] == "green", attributes["colour"] == "red"])
    )
    return pairs_with(planted, choice=("different_words", "cofiring"), least_common=3, bootstrap=20)


def pairs_with(params, **changes):
    """The params with other settings of the pairs."""
    settings = params.analyse_groups.model_copy(update=changes)
    return params.model_copy(update={"analyse_groups": settings})


def results():
    table = read_table(paths.table("e_groups")).set_index("group")
    return table, read_json(paths.metrics("groups_e"))


def test_a_planted_pair_beats_its_members_and_random_partners_do_not(planted):
    analyse_groups.run(planted, "e")
    table, _ = results()
    pair = table.loc["pair"]
    assert pair["named_after"] == "boat" and pair["beats_best_member"] == "True" and pair["new_words"] == "junk"
    assert 0 < float(pair["gain_low"]) < float(pair["gain"]) < float(pair["gain_high"])
    assert float(pair["selectivity"]) > 0.8 > float(pair["member_selectivity"])
    assert pair["control_beats_best_member"] == "False" and float(pair["control_gain"]) < 0


def test_only_an_interval_above_zero_beats_the_best_member():
    some = np.zeros(3)
    gain = Gain(np.array([0.5, 0.5, 0.1]), np.array([0.4, 0.4, 0.3]), some, np.array([0.02, -0.01, -0.3]), some + 0.2)
    assert compared(gain)["beats_best_member"].tolist() == [True, False, False]


def test_a_group_that_adds_nothing_does_not_beat_its_best_member(planted):
    analyse_groups.run(planted, "e")
    table, _ = results()
    assert table.loc["trio", "named_after"] == "red & boat"
    same = table.loc["same"]
    assert same["named_after"] == "red & boat" and same["beats_best_member"] == "False"
    assert same["best_member"] in ("f2", "f4")


def test_what_names_no_attribute_or_is_on_no_image_is_not_measured_and_counted(planted):
    analyse_groups.run(planted, "e")
    table, metrics = results()
    assert table.loc["unnamed", "named_after"] == "" and table.loc["absent", "named_after"] == "boat & blue"
    assert set(table.loc[["unnamed", "absent"], "gain"]) == {""}
    assert (metrics["of_2"]["measured"], metrics["of_2"]["not_measured"]) == (2, 2)
    assert metrics["of_2"]["beats_best_member"]["share"] == 0.5
    assert (metrics["of_3"]["measured"], metrics["of_3"]["not_measured"]) == (1, 0)


def test_only_held_out_images_count_and_they_are_joined_by_image(planted):
    analyse_groups.run(planted, "e")
    before, _ = results()
    activations = np.array(np.load(paths.groups("e") / "activations.npy"))
    activations[:100] = np.random.default_rng(1).random((100, 7))
    write_array(paths.groups("e") / "activations.npy", activations)
    attributes = read_table("data/scenes/attributes.parquet").sample(frac=1, random_state=3)
    write_table("data/scenes/attributes.parquet", attributes)
    analyse_groups.run(planted, "e")
    assert results()[0].equals(before)


def test_shuffled_concepts_change_nothing(planted):
    analyse_groups.run(planted, "e")
    before = results()
    concepts = read_table(paths.concepts("e") / "concepts.parquet").sample(frac=1, random_state=0)
    write_table(paths.concepts("e") / "concepts.parquet", concepts)
    analyse_groups.run(planted, "e")
    assert results()[0].equals(before[0]) and results()[1] == before[1]


def test_without_a_world_selectivity_is_left_out(planted):
    (paths.groups("e") / "thresholds.npy").unlink()
    analyse_groups.run(planted.model_copy(update={"worlds": ()}), "e")
    table, metrics = results()
    assert "named_after" not in table and "has_new" in table
    assert set(metrics["of_2"]) == {
        "new_concept",
        "new_concept_control",
        "new_first_concept",
        "new_first_concept_control",
    }


def test_every_mean_has_its_interval_and_every_size_its_metrics(planted):
    analyse_groups.run(planted, "e")
    metrics = json.loads(paths.metrics("groups_e").read_text(), parse_constant=pytest.fail)
    assert metrics["groups"] == {"of_1": 7, "of_2": 4, "of_3": 1}
    for size in ("of_2", "of_3", "of_all_sizes"):
        for name, value in metrics[size].items():
            if isinstance(value, dict):
                mean = value.get("share", value.get("mean"))
                assert value["interval_low"] <= mean <= value["interval_high"], name
    assert {"beats_best_member", "beats_best_member_control", "gain", "gain_control"} <= set(metrics["of_3"])


def test_nothing_named_and_no_partners_leave_their_keys_out(planted):
    concepts = read_table(paths.concepts("e") / "concepts.parquet")
    write_table(paths.concepts("e") / "concepts.parquet", concepts[concepts["group"].str.startswith("f")])
    analyse_groups.run(planted, "e")
    assert results()[1]["of_2"]["not_measured"] == 4 and "gain" not in results()[1]["of_2"]
    write_table(paths.concepts("e") / "concepts.parquet", concepts)
    groups = read_table(paths.groups("e") / "groups.parquet")
    write_table(paths.groups("e") / "groups.parquet", groups[~groups["group"].isin([f"f{j}" for j in range(2, 7)])])
    analyse_groups.run(planted, "e")
    assert "gain" in results()[1]["of_2"] and "gain_control" not in results()[1]["of_2"]


def test_random_partners_of_chosen_features_may_be_features_that_were_not_chosen(planted):
    groups = read_table(paths.groups("e") / "groups.parquet")
    write_table(paths.groups("e") / "groups.parquet", groups[groups["group"].isin(["f0", "f1", "pair"])])
    analyse_groups.run(planted, "e")
    assert "gain_control" not in results()[1]["of_2"], "no third feature is explained"
    chosen = {"e": planted.encoders["e"].model_copy(update={"features": (0, 1)})}
    analyse_groups.run(planted.model_copy(update={"encoders": chosen}), "e")
    assert results()[1]["of_2"]["gain_control"]["mean"] < results()[1]["of_2"]["gain"]["mean"]


def test_no_larger_group_gives_only_the_count(planted):
    groups = read_table(paths.groups("e") / "groups.parquet")
    write_table(paths.groups("e") / "groups.parquet", groups[groups["size"] == 1])
    analyse_groups.run(planted, "e")
    table, metrics = results()
    assert table.empty and metrics == {"groups": {"of_1": 7}, "dropped_share": {"groups": 0.0}, "pairs": {}}


def test_pairs_of_different_words_and_cofiring_ones_are_measured_on_the_probe_images(captioned):
    summary = analyse_groups.run(captioned, "e")
    table, metrics = read_table(paths.table("e_pairs")), results()[1]["pairs"]
    assert table["choice"].value_counts().to_dict() == {name: metrics[name]["pairs"] for name in metrics}
    assert metrics["cofiring"]["pairs"] == 4 and metrics["different_words"]["pairs"] > 0 and not summary.lacking
    words = table.loc[table["choice"] == "different_words", "first_words"].str.split(" & ")
    assert all(len({*pair} - {""}) == 2 for pair in words)
    redundant = table[(table["first"] == "f2") & (table["second"] == "f4")].iloc[0]
    assert redundant["label"] == redundant["attributes"] == "red" and redundant["exact_pair"] == ""


def test_held_out_images_say_nothing_of_pairs_but_the_truth(captioned):
    analyse_groups.run(captioned, "e")
    before = read_table(paths.table("e_pairs"))
    activations = np.array(np.load(paths.groups("e") / "activations.npy"))
    activations[100:] = np.random.default_rng(1).random((600, 7))
    write_array(paths.groups("e") / "activations.npy", activations)
    analyse_groups.run(captioned, "e")
    after = read_table(paths.table("e_pairs"))
    judged = ["first", "second", "label", "selectivity", "gain_low", "control_label", "control_gain"]
    assert after[judged].equals(before[judged])


def test_pairs_need_no_world(captioned):
    analyse_groups.run(captioned.model_copy(update={"worlds": ()}), "e")
    table, metrics = read_table(paths.table("e_pairs")), results()[1]["pairs"]
    assert "exact_pair" not in table and "exact_pair" not in metrics["cofiring"] and "gain" in metrics["cofiring"]


def test_of_many_features_and_images_only_some_are_drawn(captioned, monkeypatch):
    monkeypatch.setattr(analyse_groups, "MOST_FEATURES", 3)
    monkeypatch.setattr(analyse_groups, "MOST_IMAGES", 40)
    analyse_groups.run(captioned, "e")
    table = read_table(paths.table("e_pairs"))
    assert len({*table["first"], *table["second"], *table["control_second"]} - {""}) <= 3
    assert table["common_images"].max() <= 20, "half of the drawn images"


def test_features_that_never_fire_together_are_lacking_and_said_so(captioned):
    summary = analyse_groups.run(pairs_with(captioned, least_common=51), "e")
    assert results()[1]["pairs"]["different_words"] == {"pairs": 0}
    assert "fire together on 51 images" in summary.lacking[0] and "least_common" in summary.lacking[0]


def test_new_words_are_those_that_no_member_has():
    larger = pd.DataFrame({"group": ["a", "b"], "members": ["0 1", "0 1 2"]})
    words = {"f0": ["boat", "sea"], "f1": ["boat", "red"], "f2": ["red"], "a": ["car", "sea"], "b": ["boat", "red"]}
    found = new_concepts(larger, words)
    assert found["new_words"] == [["car"], []]
    assert found["has_new"] == found["first_is_new"] == [True, False]
    assert found["control_has_new"] == [1.0, pytest.approx(1 / 3)]
    assert found["control_first_is_new"] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["boat", "red"], [("object", "boat"), ("colour", "red")]),
        (["boat", "tree"], [("object", "boat")]),
        (["boat", "ship"], [("object", "boat")]),
        (["junk", "red"], [("colour", "red")]),
        (["junk", "stuff", "boat"], []),
        (["red"], [("colour", "red")]),
        ([], []),
    ],
)
def test_a_group_is_named_after_the_attributes_of_its_first_two_words(words, named):
    assert _named_after(words, KNOWN) == named
