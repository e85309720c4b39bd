"""The params and artefacts of a small rating study."""

from types import SimpleNamespace

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_table
from tests.support.report_artifacts import WORDS, make_params, write_artefacts


def study_params(encoders=("first", "second"), **changes):
    """Parameters of the report with those of a small study."""
    params = make_params(encoders)
    settings = {
        "seed": 0, "questions": 8, "pictures": 4, "words": 3, "against": ("other_feature", "frequent_words"),
        "thumbnail": 16, "bootstrap": 200, "confidence": 0.95,
    }  # fmt: skip
    params.study = SimpleNamespace(**settings | changes)
    return params


def write_study(params, **changes):
    """What the study reads: the report's artefacts, and the words of the captions."""
    write_artefacts(params, **{"singles": 8, "groups": 2} | changes)
    captions = [
        (2 * i, "word", word, word) for i, word in enumerate(w for n, w in enumerate(WORDS) for _ in range(n + 1))
    ]
    phrase = [(0, "phrase", "a thing", "a thing")] * 99
    write_table(paths.MENTIONS, pd.DataFrame(captions + phrase, columns=["caption", "kind", "mention", "concept"]))
