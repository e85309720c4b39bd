"""What DVC compares of an encoder: its network, and beside it the choice of features and what it is a control of."""

import json
from pathlib import Path

from stages import divide_encoders
from tests.support.reruns import PIPELINE
from tests.support.stage_params import params_of

ENCODER = {"kind": "timm", "name": "test_vit", "checkpoint": "c", "mean": [0.1234567, 0.5, 0.5]}


def divided(**changes):
    """The files of the encoder `mine`."""
    divide_encoders.run(params_of({"encoders": {"mine": ENCODER | changes}}))
    return [Path(f"data/encoders/mine/{name}.json").read_text() for name in ("network", "features")]


def test_a_choice_of_features_changes_one_file_and_the_network_the_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network, everything = divided()
    assert everything == "null\n" and "features" not in network
    for choice in ([3, 17], {"random": 5}):
        assert divided(features=choice)[0] == network
        assert divided(features=choice)[1] != everything
    for changes in ({"layer": "norm"}, {"mean": [0.1234568, 0.5, 0.5]}, {"classes": ["cat", "dog"]}):
        assert divided(**changes)[0] != network
        assert divided(**changes)[1] == everything


def test_what_an_encoder_is_a_control_of_changes_one_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    control = {"kind": "scenes", "checkpoint": "c", "weights": "random"}
    written = []
    for names in ([], ["supervised"]):
        divide_encoders.run(params_of({"encoders": {"mine": control | {"control_of": names}}}))
        written.append([Path(f"data/encoders/mine/{name}.json").read_text() for name in ("network", "control")])
    (network, nothing), (same, names) = written
    assert network == same and "control_of" not in network
    assert (json.loads(nothing), json.loads(names)) == ([], ["supervised"])


def test_files_of_an_encoder_that_is_gone_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    divided()
    divide_encoders.run(params_of({}))
    assert sorted(path.name for path in Path("data/encoders").iterdir()) == sorted(params_of({}).encoders)


def test_stages_that_pass_images_through_a_network_do_not_depend_on_the_choice():
    watching = {
        name
        for name, stage in PIPELINE.items()
        for param in stage.get("do", stage).get("params", [])
        if str(param).startswith("encoders")
    }
    assert watching == {"divide_encoders", "decide_explained", "report"}
