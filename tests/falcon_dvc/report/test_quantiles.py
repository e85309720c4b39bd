"""How a first word does below the maximum, on the page of its feature: numbers, examples, and escaped names."""

import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_table
from falcon_dvc.html.markup import environment
from falcon_dvc.html.measurements import Measurement
from falcon_dvc.report.quantiles import BelowMaximum, Example, Part, read_below_maximum
from tests.support.pages import ATTACK

NAN = float("nan")


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Feature f0 has examples in the third part alone; f1 has no word."""
    monkeypatch.chdir(tmp_path)
    parts = ["top_decile", "deciles_2_to_5", "deciles_6_to_10", "not_active"]
    table = pd.DataFrame({"group": ["f0"] * 4 + ["f1"] * 4, "part": parts * 2, "images": [2, 0, 3, 5] * 2})
    own = [0.9, NAN, 0.5, 0.1, *[NAN] * 4]
    numbers = {key: own for key in ("score", "score_low", "score_high", "lift")}
    table = table.assign(**numbers, chance=[0.2] * 4 + [NAN] * 4, holds_to=[90] * 4 + [NAN] * 4, word="boat")
    table = table.assign(words=["boat; red", "", "red", "", *[""] * 4])
    write_table(paths.table("e_quantiles"), table)
    places = {"group": "f0", "part": "deciles_6_to_10", "rank": [0, 1], "activation": [0.4, 0.1]}
    write_table(paths.quantiles("e"), pd.DataFrame(places).assign(image=["a.png", ATTACK]))


def test_parts_and_examples_are_read_and_a_feature_without_a_word_is_not(tables):
    found = read_below_maximum("e")
    assert list(found) == ["f0"]
    below = found["f0"]
    assert (below.holds_to, below.chance, [part.images for part in below.parts]) == (90, 0.2, [2, 0, 3, 5])
    assert [part.words for part in below.parts] == [["boat", "red"], [], ["red"], []]
    assert below.parts[0].score == Measurement(0.9, 0.9, 0.9) and below.parts[0].shown is None
    (part,) = below.examples
    assert (part.name, part.row) == ("deciles 6 to 10", 0)
    assert part.examples == [Example("a.png", 0.4), Example(ATTACK, 0.1)]


def shown(some):
    page = '{% from "report/templates/quantiles.html.j2" import holds, quantiles %}{{ holds(some) }}{{ quantiles(some, "f0") }}'
    return environment().from_string(page).render(some=some)


def below(holds_to, shown_by_chance=NAN):
    share = None if shown_by_chance != shown_by_chance else Measurement(0.75, 0.5, 0.9)
    part = Part(
        "deciles 2 to 5",
        "in deciles 2 to 5",
        12,
        [ATTACK],
        Measurement(0.5, 0.4, 0.6),
        2.5,
        share,
        [Example(ATTACK, 0.3)],
        0,
    )
    return BelowMaximum(0.2, shown_by_chance, holds_to, [part])


def test_a_page_says_how_far_the_word_holds_and_escapes_names():
    text = shown(below(40.0, 0.25))
    assert "holds down to the 40th percentile" in text and "score 0.50 in deciles 2 to 5; on all images 0.20" in text
    assert "share that shows it" in text and "0.75" in text and 'src="f0-below.webp"' in text
    assert "<script" not in text and "onerror=" not in text.replace("&#34;", "").split("&lt;")[0]


@pytest.mark.parametrize(("holds_to", "said"), [(100.0, "does not even hold"), (0.0, "holds wherever")])
def test_the_ends_of_the_range_are_put_in_words(holds_to, said):
    text = shown(below(holds_to))
    assert said in text and "share that shows it" not in text
