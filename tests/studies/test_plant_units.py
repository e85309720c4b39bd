"""Units with a known meaning: what they respond to, their thresholds, and how their words are judged."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from worlds import plant_units
from worlds.plant_units import OF_A_KIND, OFF, drawn, shown

from falcon_dvc.synthetic.scenes.scenes import VALUES


def test_units_have_different_values_of_the_right_kinds():
    units = drawn(np.random.default_rng(0))
    assert units["kind"].value_counts().to_dict() == dict.fromkeys(("or", "several", "and"), OF_A_KIND)
    for kind, values in zip(units["kind"], units["values"], strict=True):
        assert len(set(values)) == (3 if kind == "several" else 2)
        assert all(value in VALUES[of] for of, value in values)


def test_only_a_unit_of_kind_and_needs_all_its_values():
    attributes = pd.DataFrame({("object", "boat"): [1, 1, 0, 0], ("colour", "red"): [1, 0, 1, 0]}, dtype=bool)
    values = [("object", "boat"), ("colour", "red")]
    units = pd.DataFrame({"kind": ["or", "and"], "values": [values, values]})
    assert shown(units, attributes).T.tolist() == [[True, True, True, False], [True, False, False, False]]


def test_units_are_off_on_most_positions_of_the_other_images():
    rng = np.random.default_rng(0)
    shows = rng.random((300, 2)) < 0.4
    features = rng.normal(size=(300, 5)) + shows @ rng.normal(size=(2, 5))
    positions = features[:, None] + 0.1 * rng.normal(size=(300, 4, 5))
    layer = plant_units._layer(SimpleNamespace(features=features, positions=positions), shows)
    active = positions @ layer["W"].T + layer["b"] > 0
    for unit in range(2):
        assert active[~shows[:, unit], :, unit].mean() == pytest.approx(1 - OFF, abs=0.01)
        assert active[shows[:, unit], :, unit].mean() > 2 * (1 - OFF)


def test_the_control_is_the_next_unit_of_the_same_kind():
    units = pd.DataFrame(
        {"kind": ["or", "and", "or"], "values": [[("object", "boat")], [("object", "cup")], [("object", "car")]]}
    )
    assert [plant_units._next(units, number) for number in range(3)] == [
        units["values"][2],
        units["values"][1],
        units["values"][0],
    ]
