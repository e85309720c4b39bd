"""`explain` and `find`: what a feature sees, and which features see something, in the terminal."""

import dataclasses
import unicodedata

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_table
from falcon_dvc.cli import explain, find
from falcon_dvc.errors import UserError
from falcon_dvc.params.keys import read_keys
from tests.support.paths import ROOT
from tests.support.word_sets import word_set

HOSTILE = "[bold]boat[/]\x1b[31m"
COLUMNS = ["group", "kind", "rank", "concept", "score", "kept"]
CONCEPTS = [
    ("f0", "word", 1, HOSTILE, 0.7, True),
    ("f0", "word", 2, "striped", 0.4, True),
    ("f0", "phrase", 1, "striped boat", 0.1, True),
    ("f0", "word", 1, "water", 0.3, False),
    ("f3", "word", 1, "emerald", 0.6, True),
    ("f3", "word", 2, "striped", 0.5, True),
    ("gab", "word", 1, "boat", 0.9, True),
]

# Of two encoders, and of a class that has the name of a feature. No verdict about the other encoder.
VERDICTS = pd.DataFrame(
    {
        "encoder": ["supervised", "simclr", "simclr", "simclr", "simclr"],
        "group": ["f0", "f0", "f3", "gab", "f0"],
        "kind": ["feature", "feature", "feature", "group", "class set"],
        "pearson": [0.9, 0.5, 0.12, 0.6, 0.8],
        "pearson_low": 0.1,
        "pearson_high": 0.95,
        "level": 0.2,
        "p_value": [np.nan, 0.004, 0.3, 0.004, 0.004],
        "explained": [None, True, False, True, False],
    }
)


def pair(choice, first, second):
    """What `analyse_groups` writes of a pair."""
    numbers = {
        "gain": 0.21,
        "gain_low": 0.14,
        "gain_high": 0.28,
        "control_same_words_gain": np.nan if choice == "cofiring" else 0.1,
    }
    words = {"first_words": f"{HOSTILE} & red", "label": "red & boat", "two_words": True, "beats_best_member": True}
    return {"choice": choice, "first": f"f{first}", "second": f"f{second}", **words, **numbers}


@pytest.fixture
def params(tmp_path, monkeypatch):
    """Artefacts of one encoder, with hostile text."""
    params = read_keys(ROOT / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    groups = pd.DataFrame({"group": ["f0", "f3", "gab"], "members": ["0", "3", "0 3"], "support": 30, "lift": 4.0})
    write_table(paths.groups("simclr") / "groups.parquet", groups)
    table = pd.DataFrame(CONCEPTS, columns=COLUMNS)
    reason = np.where(table["kept"], "", "its low score [red]\x1b]0;x\x07")
    numbers = {"low_score": 0.05, "prior": 0.02, "interval_low": table["score"] - 0.1, "interval_high": 0.95}
    numbers |= {"value": table["score"], "support": 12, "weak": ~(numbers["interval_low"] > 0.02)}
    write_table(paths.concepts("simclr") / "concepts.parquet", table.assign(**numbers, reason=reason))
    evidence = pd.DataFrame({"group": "f0", "concept": HOSTILE, "caption": [4, 8, 4], "weight": [0.2, 0.5, 0.4]})
    write_table(paths.concepts("simclr") / "evidence.parquet", evidence)
    captions = pd.DataFrame({"caption": [4, 8], "text": ["a caption\x1b[2J that weighs most", "one that weighs less"]})
    write_table(paths.CAPTIONS / "captions.parquet", captions)
    measured = {"crops": 30, "coherence": 0.4, "z": 7.0, "released_coherence": 0.5}
    verdicts = {"interpretable": True, "released_interpretable": False}
    write_table(paths.EXPLAINABILITY / "simclr.parquet", pd.DataFrame({"group": ["f0"], **measured, **verdicts}))
    write_table(
        paths.EXPLAINED, VERDICTS.drop(columns=["p_value", "explained"]).assign(no_verdict="there is no control")
    )
    truth = {"kind": "object", "value": "boat", "correlation": 0.8, "clear": True, "hit_first": True, "hit_five": True}
    write_table(paths.table("simclr_truth"), pd.DataFrame({"group": ["f0"], **truth}))
    below = {
        "part": ["top_decile", "deciles_2_to_5", "not_active"],
        "score": [0.9, np.nan, 0.1],
        "chance": 0.2,
        "frequency": 0.01,
    }
    write_table(paths.table("simclr_quantiles"), pd.DataFrame({"group": ["f0"] * 3, **below, "holds_to": [60] * 3}))
    write_table(paths.table("synonyms"), pd.DataFrame({"concept": ["emerald"], "synonyms": ["green; lime"]}))
    sets = [word_set("f0", [HOSTILE, "blue"], ["sand"], r2=0.61, both=[(0, 1)]), word_set("f3", [])]
    write_table(paths.table("simclr_word_sets"), pd.concat(sets))
    write_table(paths.table("simclr_pairs"), pd.DataFrame([pair("cofiring", 0, 3), pair("conjunction", 0, 7)]))
    return params


def test_the_side_of_a_direction_is_named(params, capsys):
    path = paths.groups("simclr") / "groups.parquet"
    write_table(path, read_table(path).assign(side=["positive", "negative", ""], opposite=["f3", "f0", ""]))
    explain.run(params, "simclr:0")
    assert "feature 0 (positive side; the other side is f3), fires on 30 images" in capsys.readouterr().out


def test_everything_that_is_known(params, capsys):
    explain.run(params, "simclr:0")
    text = capsys.readouterr().out
    for part in (
        "simclr:f0",
        "fires on 30 images",
        "active on 1 % of the images",
        "the first word holds down to the 60th percentile of the activations",
        "its score: 0.90 in the top decile, 0.10 where it is not active; on all images 0.20",
        "[bold]boat[/]",
        "0.60-0.95",
        "striped boat",
        "coherence 0.40, z 7.0",
    ):
        assert part in text
    assert "truth: object boat (r 0.80); first concept is right" in text
    assert "water" in text and "its low score [red]" in text
    assert text.index("that weighs most") < text.index("one that weighs less")
    assert "\x1b" not in text and "\x07" not in text


def test_the_set_of_words_is_told_as_a_sentence_with_gains(params, capsys):
    explain.run(params, "simclr:0")
    text = capsys.readouterr().out
    assert "follows: [bold]boat[/] [31m and blue, not sand (R² 0.61)" in text
    assert "blue 0.20 (-0.01-0.30), not sand 0.20" in text
    explain.run(params, "simclr:3")
    assert "follows nothing that single words name" in capsys.readouterr().out
    explain.run(params, "simclr:gab")
    assert "follows" not in capsys.readouterr().out
    find.run(params, "striped", "simclr", top=9)
    assert "[31m and b" in capsys.readouterr().out


def test_a_pair_is_told_with_what_its_members_are_alone(params, capsys):
    explain.run(params, "simclr:gab")
    text = capsys.readouterr().out
    assert "f0 and f3 together: red and boat; alone: [bold]boat[/] [31m, red" in text
    assert "gain over the best member 0.21 (0.14 to 0.28): a new conjunction" in text and "f7" not in text
    explain.run(params, "simclr:0")
    text = capsys.readouterr().out
    assert (
        "f0 and f7 together" in text and "(0.14 to 0.28), with a random partner and the same words 0.10: a new" in text
    )
    assert "f3 together" not in text
    explain.run(params, "simclr:3")
    assert "together" not in capsys.readouterr().out


def test_words_that_may_be_chance_have_a_question_mark(params, capsys):
    path = paths.concepts("simclr") / "concepts.parquet"
    table = read_table(path)
    of_f0 = (table["group"] == "f0") & (table["concept"] != "striped")
    write_table(path, table.assign(prior=np.where(of_f0, table["score"], 0.02), weak=of_f0))
    explain.run(params, "simclr:0")
    text = capsys.readouterr().out
    assert "[31m?" in text and "striped boat?" in text and "striped?" not in text
    assert "not explained: “[bold]boat[/]" in text and "on random crops" in text
    find.run(params, "boat", "simclr", top=9)
    text = capsys.readouterr().out
    assert "striped boat? 0.10" in text and "boat 0.90" in text and "?: may be chance" in text


def test_what_concepts_are_ranked_by_is_told_if_it_is_not_the_score(params, capsys):
    explain.run(params, "simclr:0")
    assert "value" not in capsys.readouterr().out
    path = paths.concepts("simclr") / "concepts.parquet"
    write_table(path, read_table(path).assign(value=1.375))
    explain.run(params, "simclr:0")
    text = capsys.readouterr().out
    assert "value" in text and "1.38" in text


def test_a_single_crop_has_no_interval(params, capsys):
    path = paths.concepts("simclr") / "concepts.parquet"
    write_table(path, read_table(path).assign(interval_low=np.nan, interval_high=np.nan))
    explain.run(params, "simclr:0")
    assert "nan" not in capsys.readouterr().out


def test_a_group_without_truth_and_measurement(params, capsys):
    explain.run(params, "simclr:gab")
    text = capsys.readouterr().out
    assert "features 0 + 3, together on 30 images, 4.0 x chance" in text
    assert "truth: not known" in text and "not measured" in text


def test_the_verdict_comes_before_the_coherence(params, capsys):
    write_table(paths.EXPLAINED, VERDICTS)
    explain.run(params, "simclr:0")
    text = capsys.readouterr().out
    said = "first word on held-out images: r 0.50 (0.10-0.95), copies with random weights 0.20, p 0.004: explained\ncoherence 0.40"
    assert said in text and "not explained" not in text
    explain.run(params, "simclr:3")
    text = capsys.readouterr().out
    assert "p 0.3: not explained" in text and "(correlation 0.12, p 0.3)." in text


def test_without_a_verdict_the_old_rule_and_the_reason_are_told(params, capsys):
    explain.run(params, "simclr:0")
    assert "no verdict, there is no control" in " ".join(capsys.readouterr().out.split())
    write_table(paths.EXPLAINED, VERDICTS[["encoder", "group", "kind"]].assign(no_verdict="no image is held out"))
    explain.run(params, "simclr:0")
    assert "not measured, no image is held out" in capsys.readouterr().out


def test_find_marks_what_is_not_explained_and_leaves_controls_out(params, capsys):
    params = dataclasses.replace(params, encoders=("simclr", "control"), controls=frozenset({"control"}))
    write_table(paths.EXPLAINED, VERDICTS)
    find.run(params, "striped", None, top=9)
    found = {line.split()[0]: line.split()[2] for line in capsys.readouterr().out.splitlines() if "simclr:" in line}
    assert found == {"simclr:f0": "yes", "simclr:f3": "no"}
    with pytest.raises(UserError, match="data/groups/control"):
        find.run(params, "striped", "control", top=9)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("simclr", "write ENCODER:FEATURE"),
        ("simclr:", "write ENCODER:FEATURE"),
        ("nosuch:1", "known are: supervised, simclr"),
        ("simclr:1", "no such feature"),
        ("simclr:gax", "close are: gab"),
        ("simclr:²", "no such feature"),
    ],
)
def test_targets_that_mean_nothing(params, target, words):
    with pytest.raises(UserError, match=words):
        explain.run(params, target)


def test_a_feature_that_was_not_chosen_may_be_the_reason(params):
    params = dataclasses.replace(params, chosen=frozenset({"simclr"}))
    with pytest.raises(UserError, match=r"encoders\.simclr\.features may not choose it, or it fires on too few images"):
        explain.parse_target(params, "simclr:1")


@pytest.mark.parametrize("target", ["simclr:3", "simclr:f3", "simclr:003"])
def test_targets(params, target):
    assert explain.parse_target(params, target) == ("simclr", "f3")


def test_open(params, monkeypatch, capsys):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with pytest.raises(UserError, match="dvc repro"):
        explain.run(params, "simclr:0", open_it=True)
    paths.REPORTS.joinpath("index.html").touch()
    explain.run(params, "simclr:0", open_it=True)
    assert opened[0].endswith("reports/index.html#simclr-f0") and opened[0] in capsys.readouterr().out


def groups_found(*words):
    tables = {"simclr": find._kept("simclr")}
    return [
        (match.group, round(match.score, 3)) for match in find.matching_features(words, tables, find.leading_synonyms())
    ]


def test_all_words_must_match_and_the_worst_counts(params):
    assert groups_found("boat") == [("gab", 0.9), ("f0", 0.7)]
    assert groups_found("striped", "boat") == [("f0", 0.4)]
    assert groups_found("striped", "emerald") == [("f3", 0.5)]
    assert groups_found("nothing") == []


def test_other_forms_of_a_word(params):
    assert groups_found("boats") == [("gab", 0.9), ("f0", 0.7)]
    assert groups_found("strip") == [("f3", 0.5), ("f0", 0.4)]
    assert groups_found("green") == [("f3", 0.6)]


@pytest.mark.parametrize(("query", "group"), [("L'HOMME", "f0"), ("hommes", "f0"), ("crêpes", "f1")])
def test_a_word_is_read_in_the_language_of_the_captions(query, group):
    table = [find.Concept("f0", "0", True, "homme", 0.5, False), find.Concept("f1", "1", True, "crêpe", 0.4, False)]
    (match,) = find.matching_features([query], {"e": table}, {}, "fr")
    assert match.group == group


def test_a_query_with_accents_apart_finds_composed_ones(params, capsys):
    table = pd.read_parquet(paths.concepts("simclr") / "concepts.parquet")
    write_table(paths.concepts("simclr") / "concepts.parquet", table.replace("striped", "crêpe"))
    find.run(dataclasses.replace(params, language="fr"), unicodedata.normalize("NFD", "CRÊPES"), "simclr", top=9)
    assert "crêpe" in capsys.readouterr().out


def test_removed_concepts_do_not_count(params):
    assert groups_found("water") == []


def test_the_list(params, capsys):
    find.run(params, "BOAT", "simclr", top=1)
    text = capsys.readouterr().out
    assert "simclr:gab" in text and "simclr:f0" not in text and "1 more" in text
    find.run(params, "boat", "simclr", top=9)
    text = capsys.readouterr().out
    assert "[bold]boat[/]" in text and "\x1b" not in text


def test_nothing_found(params, capsys):
    find.run(params, "emeralt", "simclr", top=9)
    assert "close are: emerald" in capsys.readouterr().out


def test_a_word_that_is_a_concept_needs_no_dictionary(params, monkeypatch, capsys):
    monkeypatch.setattr(find, "_lemma", lambda word, language: pytest.fail(word))
    find.run(params, "striped boat", "simclr", 20)
    assert "f0" in capsys.readouterr().out


def test_find_errors(params):
    with pytest.raises(UserError, match="a word or more"):
        find.run(params, "  ", None, 9)
    with pytest.raises(UserError, match="known are"):
        find.run(params, "boat", "nosuch", 9)
    with pytest.raises(UserError, match="dvc repro"):
        find.run(params, "boat", "supervised", 9)
