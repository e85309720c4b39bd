"""Plot data of stage `score_concepts`."""

import pandas as pd

from stages.score_concepts import _ranked


def test_curves_are_of_first_kept_words_each_sorted_by_itself():
    rows = [
        ("f0", "word", 1, True, 0.3, 0.2, 0.1),
        ("f0", "word", 2, True, 0.9, 0.9, 0.9),
        ("f0", "phrase", 1, True, 0.9, 0.9, 0.9),
        ("f0", "word", 1, False, 0.9, 0.9, 0.9),
        ("f1", "word", 1, True, 0.5, 0.0, 0.4),
    ]
    columns = ["group", "kind", "rank", "kept", "score", "low_score", "prior"]
    found = _ranked(pd.DataFrame(rows, columns=columns))
    assert {of: list(some["value"]) for of, some in found.groupby("of")} == {
        "its crops": [0.5, 0.3],
        "lowly activating": [0.2, 0.0],
        "random crops": [0.4, 0.1],
    }
    assert list(found["group_by_rank"]) == [1, 2] * 3
