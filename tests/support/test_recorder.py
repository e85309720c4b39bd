"""The recorder notices every way to read a value of the params, and nothing else."""

import copy
import pickle

import pytest

from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT
from tests.support.recorder import Recorder, leaves
from tests.support.reruns import covers, too_few, too_many

REPORT = {("report", name) for name in ("high", "low", "sheet", "thumbnail", "weak")}


@pytest.fixture
def params():
    return load_params(ROOT / "params.yaml")


def read_by(params, look):
    with Recorder(params).recording() as found:
        look(params)
    return found


@pytest.mark.parametrize(
    ("look", "found"),
    [
        (lambda params: params.report, set()),
        (lambda params: params.report.high, {("report", "high")}),
        (lambda params: params.render_scenes.shortcut.object, {("render_scenes", "shortcut", "object")}),
        (lambda params: params.encoders["simclr"].kind, {("encoders", "simclr", "kind")}),
        (lambda params: (params.executor, params.ray.address), set()),  # change no result
        (lambda params: list(params.encoders), {("encoders", "*")}),
        (lambda params: "simclr" in params.encoders, set()),
        (lambda params: params.mine_crops.margin, {("mine_crops", "margin"), ("compat",)}),
        (lambda params: params.mine_crops.crop, {("mine_crops", "crop")}),
        (lambda params: params.report.model_dump(), REPORT),
        (lambda params: dict(params.report), REPORT),
        (lambda params: vars(params.report), REPORT),
        (lambda params: params.report == params.report, REPORT),
        (lambda params: copy.deepcopy(params.report), REPORT),
        (lambda params: pickle.dumps(params.report), REPORT),
        (lambda params: repr(params.report), REPORT),
        (lambda params: params.report.model_dump(exclude={"high"}), REPORT - {("report", "high")}),
        (lambda params: params.report.model_copy(update={"high": 1}), set()),
        (lambda params: params.report.model_copy(update={"high": 1}).high, set()),
        (lambda params: params.report.model_copy(update={"high": 1}).low, {("report", "low")}),
        (
            lambda params: params.report.model_copy(update={"high": 1}).model_copy().model_dump(),
            REPORT - {("report", "high")},
        ),
    ],
)
def test_what_is_read_is_noted(params, look, found):
    assert read_by(params, look) == found


def test_other_params_are_not_noted_and_nothing_is_afterwards(params):
    other, recorder = load_params(ROOT / "params.yaml"), Recorder(params)
    with recorder.recording() as found:
        assert other.report.high
    assert params.report.low and found == set()


def test_leaves_are_the_values_as_written():
    assert list(leaves({"a": {"b": [1, 2], "c": {}}, "d": None})) == [("a", "b"), ("a", "c"), ("d",)]


def test_a_section_covers_its_values_but_no_namesakes():
    assert covers({("data",)}, ("data", "images")) and covers({("encoders",)}, ("encoders", "*"))
    assert not covers({("data", "image")}, ("data", "images"))
    assert not covers({("encoders", "simclr")}, ("encoders", "*"))


def test_too_few_and_too_many_are_named():
    reads = {("stage", "key"): {("a", "x"), ("b",)}}
    assert too_few(reads, {("stage", "key"): {("a",)}}) == ["stage key: b"]
    assert too_many(reads, {("stage", "key"): {("a",), ("b",)}}, [("a", "x"), ("a", "y"), ("b",), ("c",)]) == [
        "stage key: a.y"
    ]
