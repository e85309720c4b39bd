"""Which crops are on the sheet of a group, and which of them stand for the quantiles of its activation."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.report.crops import crop_sheets, middles, sheet_crops


def crops(count):
    """Crops of one group as `read_crops` returns them, the strongest first; and a lowly activating one."""
    high = {"group": "f0", "role": "high", "rank": range(count), "image": [f"i{rank}" for rank in range(count)]}
    table = pd.DataFrame({**high, "activation": 1 - np.arange(count) / 100, "label": "", "empty": False})
    return pd.concat([table, table.head(1).assign(role="low")], ignore_index=True)


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 8))
def test_crops_of_a_sheet_are_spread_evenly_over_the_ranks(count, most, high):
    ranks = sheet_crops(crops(count), SimpleNamespace(sheet=most, high=high))["rank"].to_numpy()
    assert len(ranks) == (min(count, most) if count > high else 0)
    if len(ranks):
        steps = np.diff([*ranks, count])
        assert ranks[0] == 0 and steps.min() >= 1 and steps.max() - steps.min() <= 1


@given(st.integers(1, 200), st.integers(1, 10))
def test_every_quantile_has_its_middle_crop(count, parts):
    found = middles(count, parts)
    assert len(found) == min(count, parts)
    for part, place in enumerate(found):
        assert part * count / len(found) <= place < (part + 1) * count / len(found)


@pytest.mark.parametrize(("count", "parts"), [(160, [8, 24, 40, 56, 72, 88, 104, 120, 136, 152]), (3, [0, 1, 2])])
def test_a_sheet_knows_its_crops(count, parts):
    sheet = crop_sheets(sheet_crops(crops(count), SimpleNamespace(sheet=160, high=1)))["f0"]
    assert (sheet.shown, sheet.total, sheet.last.image) == (count, count, f"i{count - 1}")
    assert [place for place, _ in sheet.parts] == parts
    assert [crop.image for _, crop in sheet.parts] == [f"i{place}" for place in parts]
