"""The truth of a feature is the class that it follows, and the words of the class name it."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_array, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.evaluation.class_truth import accepted_words, halves, read_class_judge, readable
from tests.support.stage_params import params_of

CLASSES = ["car_side", "dalmatian", "grand_piano"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Sixty images of three classes, half of them held out; feature j follows class j, and feature 3 none."""
    monkeypatch.chdir(tmp_path)
    label = np.array(CLASSES, dtype=object)[np.arange(60) % 3]
    images = pd.DataFrame({"image": [f"{row}.png" for row in range(60)], "label": label, "width": 9, "height": 9})
    write_table(paths.IMAGES, images.assign(split=np.where(np.arange(60) % 2, "test", "probe")))
    noise = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    noise[np.arange(60), np.arange(60) % 3] += 5
    write_array(paths.groups("own") / "activations.npy", noise)
    write_table(paths.groups("own") / "groups.parquet", pd.DataFrame({"group": ["f0", "f1", "f2", "f3"]}))


def params(**section):
    return params_of({"evaluate_classes": {"encoders": ["supervised"]} | section})


def test_features_follow_their_class_and_its_words_are_right(run):
    judge = read_class_judge(params(), "own")
    assert judge.truth["value"].tolist()[:3] == CLASSES and judge.truth["clear"].tolist() == [True] * 3 + [False]
    judged = judge.judged({"f0": ["road", "car"], "f1": ["dalmatian"], "f2": ["violin"], "f3": []})
    assert judged["rank_of_truth"].tolist() == [2, 1, np.inf, np.inf]
    assert judged["pearson"][1] > 0.9


def test_given_words_replace_those_of_the_names(run):
    given = {"car_side": ["Sedan", "automobile"], "dalmatian": ["dogs"], "grand_piano": ["piano"], "not shown": ["x"]}
    names = accepted_words(CLASSES, params(names=given))
    assert {"sedan", "automobile"} <= names["class", "car_side"] and "car" not in names["class", "car_side"]
    assert "dog" in names["class", "dalmatian"], "words are taken in the form of captions"
    with pytest.raises(
        UserError, match=r"evaluate_classes\.names: lacks 2 of the 3 classes .*\(dalmatian, grand_piano\)"
    ):
        accepted_words(CLASSES, params(names={"car_side": ["car"]}))


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("car_side", "car side"), ("grandPiano", "grand Piano"), ("animals/red-fox", "red fox"), ("n02110341", "Dalmatian"),
        ("n99999999", "n99999999"), ("Hund", "Hund"),
    ],
)  # fmt: skip
def test_labels_are_read_as_text(label, text):
    assert readable(label) == text


def test_images_of_one_class_or_none_held_out_are_one_line(run):
    table = pd.read_parquet(paths.IMAGES)
    for changed in (table.assign(label="dog"), table.assign(split="probe"), table.assign(label="")):
        write_table(paths.IMAGES, changed)
        with pytest.raises(
            UserError, match=r"evaluate_classes\.encoders: the held-out images have \d different labels"
        ):
            read_class_judge(params(), "own")


def test_halves_divide_the_classes():
    truth = pd.DataFrame({"value": [f"c{number % 7}" for number in range(30)]})
    first = halves(truth, 0)
    chosen, others = set(truth["value"][first]), set(truth["value"][~first])
    assert len(chosen) == 4 and len(others) == 3 and not chosen & others
    assert (halves(truth, 0) == first).all() and any((halves(truth, seed) != first).any() for seed in range(1, 4))
