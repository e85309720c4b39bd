"""What a feature follows, on its page: shown with its facets, and escaped."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_table
from falcon_dvc.html.markup import environment
from falcon_dvc.report.facets import Example, Facet, Follows, read_follows
from tests.support.pages import ATTACK


def crops(group, count, role="high"):
    return pd.DataFrame({"group": group, "role": role, "rank": np.arange(count)})


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facets = {"group": ["f0", "f0", "f1"], "facet": [1, 2, 1], "crops": [17, 3, 2], "share": [0.85, 0.15, 1]}
    ranks = ["19 5 18 2", "3 0 1", "1 0"]
    words = ["boat:0.90; a:b:0.40", "", "car:1.00"]
    write_table(paths.facets("e"), pd.DataFrame(facets).assign(ranks=ranks, words=words))
    sets = {"group": ["f0", "f1"], "follows": [2, 0], "words": ["boat; car", ""], "r2_1": [0.25, ""], "r2_2": [0.5, ""]}
    write_table(paths.table("e_word_sets"), pd.DataFrame(sets))


def test_words_numbers_and_places_of_the_most_typical_crops_are_read(tables):
    shown = pd.concat([crops("f0", 8), crops("f1", 2), crops("f1", 2, "low")])
    sheet = crops("f0", 20).drop(18)
    found = read_follows("e", shown, sheet, 13)
    first, second = found["f0"].facets
    assert first.words == [("boat", 0.9), ("a:b", 0.4)] and second.words == []
    assert first.examples == [Example("f0-crops.jpg", 16, column, row) for column, row in ((2, 1), (5, 0), (2, 0))]
    assert (found["f0"].count, found["f0"].r2_first, found["f0"].r2_all) == (2, 0.25, 0.5)
    assert found["f1"].facets[0].examples == [Example("f1.webp", 13, 1, 0), Example("f1.webp", 13, 0, 0)]
    assert found["f1"].words == [] and np.isnan(found["f1"].r2_first)


def shown(followed):
    page = '{% from "report/templates/facets.html.j2" import facets, follows %}{{ follows(some) }}{{ facets(some) }}'
    return environment().from_string(page).render(some=followed)


def facet(*words):
    return Facet(30, 0.5, [(word, 0.5) for word in words], [Example("f0-crops.jpg", 16, 3, 2)] * 3)


def test_a_feature_with_two_facets_shows_them_escaped():
    text = shown(Follows(2, [ATTACK, "boat"], 0.25, 0.5, [facet(ATTACK, "red"), facet()]))
    assert "follows 2 things" in text and "R² 0.25 with one word, 0.50 with 2" in text
    assert text.count("<li>") == 2 and text.count("<img") == 6 and "no concept" in text
    assert "<script" not in text and "onerror=" not in text.replace("&#34;", "").split("&lt;")[0]


def test_a_feature_with_one_facet_has_a_line_alone():
    text = shown(Follows(1, ["boat"], 0.25, 0.25, [facet("boat")]))
    assert "follows 1 thing:" in text and "with one word)" in text and "<section" not in text


def test_what_was_not_measured_is_not_shown():
    text = shown(Follows(0, [], float("nan"), float("nan"), []))
    assert text.strip() == "follows nothing that single words name"
