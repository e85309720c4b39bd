"""Which carried groups the transfer page shows."""

import pandas as pd
import pytest

from falcon_dvc.report.transfers import spread


@pytest.mark.parametrize(("groups", "count", "shown"), [(0, 3, 0), (1, 3, 1), (3, 3, 3), (100, 12, 12)])
def test_groups_are_spread_from_the_best_agreement_to_the_worst(groups, count, shown):
    table = pd.DataFrame(
        {"group": [f"f{place}" for place in range(groups)], "image_overlap": [place / 100 for place in range(groups)]}
    )
    found = spread(table, count)
    assert len(set(found)) == shown
    assert not shown or (found[0] == f"f{groups - 1}" and found[-1] == (f"f{groups - 1}" if groups == 1 else "f0"))
