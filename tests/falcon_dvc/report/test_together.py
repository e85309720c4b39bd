"""What pairs of features follow together, by group and by feature."""

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_table
from falcon_dvc.report.together import read_together

GROUPS = pd.DataFrame({"group": ["f0", "f1", "f2", "gab", "gcd"], "members": ["0", "1", "2", "0 2", "0 1 2"]})


def pair(choice, first, second, **changes):
    words = {"first_words": "striped & boat", "label": "striped & boat", "two_words": True, "beats_best_member": True}
    numbers = {"gain": 0.2, "gain_low": 0.1, "gain_high": 0.3, "control_same_words_gain": ""}
    return {"choice": choice, "first": first, "second": second, **words, **numbers, **changes}


def test_a_group_of_two_has_its_pair_and_a_feature_its_conjunction(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [pair("different_words", "f1", "f2"), pair("cofiring", "f0", "f2", two_words=False, label="boat")]
    rows += [
        pair("conjunction", "f0", "f1", control_same_words_gain=0.1),
        pair("conjunction", "f2", "f9", beats_best_member=False),
    ]
    write_table(paths.table("e_pairs"), pd.DataFrame(rows))
    found, new = read_together("e", GROUPS)
    assert {group: one.text for group, one in found.items()} == {
        "f0": "f0 and f1 together: striped and boat; alone: striped, boat",
        "f1": "f0 and f1 together: striped and boat; alone: striped, boat",
        "f2": "f2 and f9 together: striped and boat; alone: striped, boat",
        "gab": "f0 and f2 together: boat; alone: striped, boat",
    }
    assert found["gab"].of_gain == "gain over the best member 0.20 (0.10 to 0.30): no new conjunction"
    assert [one.of_gain for one in new] == [
        "gain over the best member 0.20 (0.10 to 0.30), with a random partner and the same words 0.10: a new conjunction"
    ]


def test_without_pairs_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_table(paths.table("e_pairs"), pd.DataFrame({"choice": []}))
    assert read_together("e", GROUPS) == ({}, [])
