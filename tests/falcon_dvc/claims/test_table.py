"""The page of claims says in five sentences what its verdicts say, and lists every statement once."""

import pandas as pd
import pytest

from falcon_dvc.claims.table import UNMEASURED, as_markdown, in_short

COLUMNS = ("statement", "data", "measured", "against", "file", "key")


def table(**verdicts):
    """A row for each verdict of each claim."""
    rows = [(claim, verdict) for claim, of in verdicts.items() for verdict in of]
    return pd.DataFrame(rows, columns=["claim", "verdict"]).assign(**dict.fromkeys(COLUMNS, "x"))


@pytest.mark.parametrize(
    ("verdicts", "text"),
    [
        (["does not hold"] * 2, "does not hold (all 2 statements)"),
        (["holds"], "holds."),
        (["holds", "undecided", "holds"], "holds in 2 and is undecided in 1 of 3 statements"),
        (["holds", UNMEASURED], "holds."),
        ([UNMEASURED], "was not measured here"),
        ([], "was not measured here"),
    ],
)
def test_a_sentence_says_what_the_verdicts_of_its_claim_are(verdicts, text):
    sentence = in_short(table(C3=verdicts))[2]
    assert sentence.startswith("That contrast removes spurious words (C3) ") and text in sentence


def test_there_are_five_sentences_and_a_row_for_each_statement():
    rows = table(C1=["holds"], R=["undecided"])
    page, sentences = as_markdown(rows), in_short(rows)
    assert len(sentences) == 5
    assert page.index("\n".join(f"- {sentence}" for sentence in sentences)) < page.index("| claim |")
    assert page.count("| **holds** |") == page.count("| **undecided** |") == 1
