"""The stage on a world with a planted shortcut: boats are taken for trucks off the water, and trucks on it for boats."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import save_file

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table, write_array, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.failures import shortcut
from falcon_dvc.failures.classified import Classified
from falcon_dvc.failures.probes import save_probe
from stages import failures
from tests.support.failure_params import make_params
from tests.support.paths import ROOT

CLASSES, GROUNDS = ["boat", "truck", "cup"], ["water", "grass", "sand"]
# Features 0 and 1 see shapes, 2 the cup, 3 to 5 the grounds, the others noise.
WORDS = {0: "hull", 1: "wheel", 2: "cup", 3: "water", 4: "grass", 5: "sand", 6: "red"}
WEIGHTS = np.zeros((3, 12))
WEIGHTS[0, [0, 3]], WEIGHTS[1, [1, 3]], WEIGHTS[2, 2] = (1, 4), (1, -4), 9
BIAS = np.array([-3.0, 1.0, -2.0])


def write_head(path, heads):
    """A checkpoint with the given class names of each head; the head of objects is the planted one."""
    tensors = {"heads.object.weight": WEIGHTS.astype(np.float16), "heads.object.bias": BIAS.astype(np.float16)}
    config = {"stem": 4, "widths": [8, 12], "heads": heads}
    save_file(tensors, path, {"format": json.dumps("falcon-small-resnet"), "config": json.dumps(config)})


def write_world(count=600, label=lambda classes: classes):
    """All that the stage reads, half of the images held out."""
    rng = np.random.default_rng(0)
    right, ground = rng.integers(0, 3, count), rng.integers(0, 3, count)
    features = 0.1 * rng.random((count, 12))
    features[np.arange(count), right] += 1
    features[np.arange(count), 3 + ground] += 1
    images = [f"i{row:04d}" for row in range(count)]
    split = np.where(np.arange(count) % 2, "test", "probe")
    names = np.array(CLASSES)[right]
    write_table(paths.IMAGES, pd.DataFrame({"image": images, "split": split, "label": label(names)}))
    attributes = pd.DataFrame({"image": images, "object": names, "background": np.array(GROUNDS)[ground]})
    write_table("data/scenes/attributes.parquet", attributes)
    lexicon = pd.DataFrame({"kind": "background", "value": GROUNDS, "word": GROUNDS})
    write_table("data/scenes/lexicon.parquet", lexicon)
    write_array(paths.activations("net") / "features.npy", features.astype(np.float32))
    write_explanations()
    write_head("net.safetensors", {"object": CLASSES})


def write_explanations():
    """First words of the features, and one group."""
    concepts = pd.DataFrame({"group": [f"f{feature}" for feature in WORDS], "concept": list(WORDS.values())})
    write_table(paths.concepts("net") / "concepts.parquet", concepts.assign(kind="word", rank=1, kept=True))
    groups = pd.DataFrame({"group": ["f3", "g34"], "members": ["3", "3 4"], "size": [1, 2]})
    write_table(paths.groups("net") / "groups.parquet", groups)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_world()
    return tmp_path


def results():
    """Tables and metrics of the last run."""
    tables = [read_table(paths.table(f"net_{name}")) for name in ("failures", "repairs")]
    return read_table(paths.FAILURES / "net.parquet"), *tables, read_json(paths.metrics("failures_net"))


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_sentences_name_the_planted_shortcut(world):
    failures.run(make_params(), "net")
    table, clusters, _, metrics = results()
    sentences = dict(zip(clusters["right"], clusters["sentence"], strict=True))
    assert set(sentences) == {"boat", "truck"} and metrics["clusters"] == 2
    assert sentences["boat"] == f"boat called truck, {(table['right'] == 'boat').sum()} images: no 'water' (feature 3)"
    assert sentences["truck"].split(": ")[1].startswith("'water' (feature 3)")
    assert table["image"].isin(read_table(paths.IMAGES).query("split == 'test'")["image"]).all()


def test_the_shortcut_is_named_and_by_chance_it_is_not(world):
    failures.run(make_params(), "net")
    table, _, _, metrics = results()
    shortcut = metrics["shortcut"]
    assert shortcut["at_work"] == {"failures": len(table), "share": 1.0, "interval_low": 1.0, "interval_high": 1.0}
    assert shortcut["any_background"]["share"] == 1.0
    assert shortcut["at_work_by_chance"]["interval_high"] < 0.3
    assert shortcut["at_work_other_failures"] == {"failures": 0}
    parts = [shortcut[key]["failures"] for key in ("at_work_object_elsewhere", "at_work_lookalike_there")]
    assert parts == [(table["right"] == "boat").sum(), (table["right"] == "truck").sum()] and min(parts) > 0


def test_a_wrong_word_is_not_the_shortcut(world):
    path = paths.concepts("net") / "concepts.parquet"
    write_table(path, read_table(path).replace({"concept": {"water": "grass"}}))
    failures.run(make_params(), "net")
    shortcut = results()[-1]["shortcut"]
    assert shortcut["any_background"]["share"] == 1.0, "grass is a background"
    assert shortcut["at_work"]["share"] < 0.5, "but not the one that is missing"


def test_presence_of_the_planted_background_is_not_its_absence():
    names = [{"water"}, {"grass"}, set()]
    first, silent = np.array([0, 0, 1, 1, 2, -1]), np.array([True, False, False, True, True, False])
    background = np.array(["grass", "grass", "grass", "grass", "grass", "grass"])
    anything, at_work = shortcut._names_shortcut(first, silent, background, names, "water")
    assert anything.tolist() == [1, 1, 1, 1, 0, 0]
    assert at_work.tolist() == [1, 0, 1, 0, 0, 0]
    on_water = shortcut._names_shortcut(first[:2], silent[:2], np.array(["water"] * 2), names, "water")[1]
    assert on_water.tolist() == [0, 1]


def test_switching_off_the_blamed_feature_repairs_and_random_ones_do_not(world):
    failures.run(make_params(), "net")
    _, _, repairs, metrics = results()
    repair = metrics["repair"]["boat_called_truck"]
    assert repairs.loc[0, ["switched_off", "features", "words"]].tolist() == ["blamed concepts", "3", "water"]
    assert repair["right_class_before"]["share"] < 0.5 and repair["right_class_after"]["share"] > 0.95
    assert repair["all_images_gain"]["interval_low"] > 0
    assert repair["right_class_gain_random_features"]["share"] < 0.3
    assert set(metrics["repair"]) == {"boat_called_truck", "truck_called_boat"}, "the planted ones beyond `pairs`"


def change_held_out(change):
    """Change the features of the held-out images in place, given their objects and backgrounds."""
    path, attributes = paths.activations("net") / "features.npy", read_table("data/scenes/attributes.parquet")
    features = np.array(np.load(path))
    heldout = features[1::2]
    change(heldout, attributes["object"].to_numpy()[1::2], attributes["background"].to_numpy()[1::2])
    features[1::2] = heldout
    write_array(path, features)


def test_what_is_switched_off_does_not_depend_on_held_out_images(world):
    failures.run(make_params(), "net")
    before = results()[2]

    def wheels_spoil(features, objects, backgrounds):
        features[objects == "boat", 1] = 20  # now all boats are called trucks, whatever the ground

    change_held_out(wheels_spoil)
    failures.run(make_params(), "net")
    _, clusters, after, _ = results()
    assert "'wheel' (feature 1)" in clusters["sentence"][0]
    assert after["features"].astype(str).tolist() == before["features"].astype(str).tolist()
    assert after["after"].tolist() != before["after"].tolist()


def test_what_failures_are_compared_with_does_not_depend_on_held_out_images(world):
    def hulls_grow(features, objects, backgrounds):
        features[(objects == "boat") & (backgrounds == "water"), 0] = 50  # they stay right

    change_held_out(hulls_grow)
    failures.run(make_params(), "net")
    assert results()[1].query("right == 'boat'")["sentence"].str.endswith(": no 'water' (feature 3)").all()


def test_failures_that_the_shortcut_causes():
    right, wrong = np.array([0, 0, 1, 1, 1, 2]), np.array([1, 1, 0, 2, 0, 0])
    background = np.array(["grass", "water", "water", "water", "grass", "water"])
    classifier = SimpleNamespace(names=tuple(CLASSES))
    images = Classified(classifier, *[np.zeros(6)] * 3, right, wrong, np.zeros((3, 12)))
    lost, taken = shortcut._planted(images, np.arange(6), background, make_params().render_scenes.shortcut)
    assert lost.tolist() == [True, False, False, False, False, False], "boats that are not on the water"
    assert taken.tolist() == [False, False, True, False, False, False], "trucks on the water that are called boats"


def test_rows_are_joined_by_key(world):
    failures.run(make_params(), "net")
    before = contents(world / "reports")
    for path in (
        "data/scenes/attributes.parquet",
        "data/concepts/net/concepts.parquet",
        "data/groups/net/groups.parquet",
    ):
        write_table(path, read_table(path).sample(frac=1, random_state=0))
    failures.run(make_params(), "net")
    assert contents(world / "reports") == before


def test_same_bytes_every_time(world):
    failures.run(make_params(), "net")
    before = contents(world)
    failures.run(make_params(), "net")
    assert contents(world) == before


def test_compared_with_all_images_the_ground_that_is_there_can_be_blamed(world):
    failures.run(make_params(reference="all"), "net")
    assert results()[-1]["shortcut"]["at_work"]["share"] == 1.0


def test_without_held_out_images_failures_are_named_and_nothing_is_repaired(world):
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(split="probe"))
    failures.run(make_params(), "net")
    table, clusters, repairs, metrics = results()
    assert len(table) and len(clusters) and repairs.empty and len(repairs.columns) > 10
    assert metrics["held_out"] == 0 and metrics["images"] == 600 and "repair" not in metrics


@pytest.mark.parametrize("label", [lambda some: np.char.upper(some), lambda some: some])
def test_labels_name_classes_in_any_case(world, label):
    write_world(label=label)
    failures.run(make_params(), "net")
    assert results()[-1]["label_names_no_class"] == 0


def test_images_whose_label_names_no_class_are_left_out_and_counted(world):
    write_world(label=lambda some: np.where(some == "cup", "spoon", some))
    failures.run(make_params(), "net")
    table, _, _, metrics = results()
    assert metrics["label_names_no_class"] == (read_table(paths.IMAGES)["label"] == "spoon").sum() > 0
    assert metrics["images"] + metrics["label_names_no_class"] < 600 and not (table["right"] == "cup").any()


@pytest.mark.parametrize("label", ["spoon", None])
def test_where_no_label_names_a_class_nothing_is_known(world, label):
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(label=label))
    failures.run(make_params(), "net")
    table, clusters, repairs, metrics = results()
    assert len(table) == len(clusters) == len(repairs) == 0
    assert metrics["label_names_no_class"] == 600 and metrics["failures"] == 0 and "accuracy" not in metrics


def test_on_images_of_their_own_there_is_no_planted_shortcut(world):
    params = make_params()
    params.worlds = ()
    failures.run(params, "net")
    metrics = results()[-1]
    assert "shortcut" not in metrics and set(metrics["repair"]) == {"boat_called_truck"}


def test_metrics_are_numbers(world):
    failures.run(make_params(), "net")

    def leaves(value):
        return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]

    assert all(isinstance(value, (int, float)) for value in leaves(results()[-1]))


def test_an_encoder_without_a_classifier_is_one_clear_line(world):
    write_head("net.safetensors", {})
    with pytest.raises(UserError, match=r"failures\.encoders: 'net' has no classifier"):
        failures.run(make_params(), "net")


@pytest.mark.parametrize("name", ["probe.npz", "probe.safetensors"])
def test_a_head_elsewhere_explains_failures_as_a_built_in_one_does(world, name):
    failures.run(make_params(), "net")
    before = contents(world)
    write_head("net.safetensors", {})
    arrays = {"fc.weight": WEIGHTS.astype(np.float32), "fc.bias": BIAS.astype(np.float32)}
    np.savez(name, **arrays) if name.endswith("npz") else save_file(arrays, name)
    params = make_params()
    params.encoders["net"].head, params.encoders["net"].classes = name, CLASSES
    failures.run(params, "net")
    after = contents(world)
    differ = {path.name for path in after if after[path] != before.get(path)}
    assert differ == {"net.safetensors", name}


def test_a_fitted_probe_explains_failures_as_a_built_in_classifier_does(world):
    failures.run(make_params(), "net")
    before = contents(world)
    save_probe(paths.probe("net"), WEIGHTS, BIAS, CLASSES)
    params = make_params()
    params.fit_probe.encoders = ("net",)
    write_head("net.safetensors", {})
    failures.run(params, "net")
    after = contents(world)
    assert {path.name for path in after if after[path] != before.get(path)} == {"net.safetensors"}


def test_features_of_another_encoder_are_one_clear_line(world):
    write_array(paths.activations("net") / "features.npy", np.zeros((600, 5), dtype=np.float32))
    with pytest.raises(UserError, match=r"features\.npy.*12 features.*extract_activations@net"):
        failures.run(make_params(), "net")


def test_failures_report_and_rating_import_no_model_library(world):
    code = (
        "import sys, stages.report, falcon_dvc.cli.rating; from stages.failures import run; "
        "from tests.support.failure_params import make_params; run(make_params(), 'net'); "
        "print({'torch', 'torchvision', 'open_clip', 'transformers'} & set(sys.modules))"
    )
    env = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "set()"
