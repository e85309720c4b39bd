"""What a feature follows, on its page: shown with its facets, and escaped."""

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_json, write_table
from falcon_dvc.concepts.words.sentences import SetWord
from falcon_dvc.html.markup import environment
from falcon_dvc.report.facets import Example, Facet, Follows, read_agreement, read_follows
from tests.support.pages import ATTACK
from tests.support.word_sets import word_set


def crops(group, count, role="high"):
    return pd.DataFrame({"group": group, "role": role, "rank": np.arange(count)})


@pytest.fixture
def tables(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    facets = {"group": ["f0", "f0", "f1"], "facet": [1, 2, 1], "crops": [17, 3, 2], "share": [0.85, 0.15, 1]}
    ranks = ["19 5 18 2", "3 0 1", "1 0"]
    words = ["boat:0.90; a:b:0.40", "", "car:1.00"]
    write_table(paths.facets("e"), pd.DataFrame(facets).assign(ranks=ranks, words=words))
    write_table(paths.table("e_word_sets"), pd.concat([word_set("f0", ["boat"], ["car"], r2=0.5), word_set("f1", [])]))


def test_words_numbers_and_places_of_the_most_typical_crops_are_read(tables):
    shown = pd.concat([crops("f0", 8), crops("f1", 2), crops("f1", 2, "low")])
    sheet = crops("f0", 20).drop(18)
    found = read_follows("e", shown, sheet, 13)
    first, second = found["f0"].facets
    assert first.words == [("boat", 0.9), ("a:b", 0.4)] and second.words == []
    assert first.examples == [Example("f0-crops.jpg", 16, column, row) for column, row in ((2, 1), (5, 0), (2, 0))]
    assert (found["f0"].sentence, found["f0"].r2_first) == ("boat, not car (R² 0.50)", 0.25)
    assert found["f0"].words == [SetWord("boat", True, 0.2, -0.01, 0.3), SetWord("car", False, 0.2, -0.01, 0.3)]
    assert found["f1"].facets[0].examples == [Example("f1.webp", 13, 1, 0), Example("f1.webp", 13, 0, 0)]
    assert found["f1"].words == [] and np.isnan(found["f1"].r2_first)


def shown(followed):
    page = '{% from "report/templates/facets.html.j2" import facets, follows %}{{ follows(some) }}{{ facets(some) }}'
    return environment().from_string(page).render(some=followed)


def facet(*words):
    return Facet(30, 0.5, [(word, 0.5) for word in words], [Example("f0-crops.jpg", 16, 3, 2)] * 3)


def test_a_feature_with_two_facets_shows_them_escaped():
    words = [SetWord(ATTACK, True, 0.31, 0.2, 0.4), SetWord("boat", False, 0.1, 0.05, 0.15)]
    text = shown(Follows(f"{ATTACK}, not boat (R² 0.50)", words, 0.25, [facet(ATTACK, "red"), facet()]))
    assert "not boat (R² 0.50)" in text and "not <bdi>boat</bdi> 0.10 (0.05–0.15)" in text
    assert "with the first word alone 0.25" in text
    assert text.count("<li>") == 2 and text.count("<img") == 6 and "no concept" in text
    assert "<script" not in text and "onerror=" not in text.replace("&#34;", "").split("&lt;")[0]


def test_a_feature_with_one_facet_has_a_line_alone():
    text = shown(Follows("boat (R² 0.25)", [SetWord("boat", True, 0.3, 0.2, 0.4)], 0.25, [facet("boat")]))
    assert "boat (R² 0.25)" in text and "alone" not in text and "<section" not in text


def test_what_was_not_measured_is_not_shown():
    text = shown(Follows("", [], float("nan"), []))
    assert text.strip() == "follows nothing that single words name"


def test_the_agreement_with_the_truth_is_shown_if_it_is_known(tables):
    mean = {"mean": 0.871, "interval_low": 0.81, "interval_high": 0.92}
    methods = {name: {"f1": mean, "exact": mean} for name in ("set", "first", "first_five", "permuted_words")}
    assert read_agreement("e") is None
    write_json(paths.metrics("facets_e"), {"truth": {"features": 3, **methods}})
    page = '{% from "report/templates/facets.html.j2" import agreement %}{{ agreement(some) }}'
    assert "F1 <b>0.87</b> (0.81–0.92)" in environment().from_string(page).render(some=read_agreement("e"))
    write_json(paths.metrics("facets_e"), {"truth": {"features": 0}})
    assert read_agreement("e") is None
