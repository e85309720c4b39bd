"""Numbers over worlds from counts and from rows of features; plants: what is removed is counted among what was listed."""

import pandas as pd
import pytest
from worlds.page import as_markdown
from worlds.summarise import _dictionary, _explained, _plants, _right, _summary, _units, _uses, _with_hits_as_numbers


def plants(rows):
    columns = ["world", "strength", "encoder", "feature", "low_match", "contrast"]
    columns += ["true_listed", "spurious_listed", "true_first", "spurious_first"]
    return pd.DataFrame([("w", 0.9, "e", *row) for row in rows], columns=columns)


def test_removal_counts_cases_that_list_the_word_without_contrast():
    found = _plants(
        plants(
            [
                ("f0", "distinct", "falcon_off", True, True, True, False),
                ("f1", "distinct", "falcon_off", True, True, False, True),
                ("f2", "distinct", "falcon_off", False, False, False, False),
                ("f0", "distinct", "falcon_paper", True, False, True, False),
                ("f1", "distinct", "falcon_paper", False, True, False, True),
                ("f2", "distinct", "falcon_paper", False, False, False, False),
            ]
        )
    )["falcon_paper_distinct"]
    assert found["cases"] == 3 and found["spurious_listed_without"] == 2
    assert found["spurious_removed"]["share"] == 0.5 and found["spurious_removed"]["of"] == 2
    assert found["true_lost"]["share"] == 0.5
    assert found["spurious_removed_less_true_lost"]["difference"] == 0


def test_the_default_is_compared_with_its_own_ranking_without_contrast():
    found = _plants(
        plants(
            [
                ("f0", "distinct", "falcon_off", True, False, True, False),
                ("f0", "distinct", "without_contrast", True, True, True, False),
                ("f0", "distinct", "falcon", True, False, True, False),
            ]
        )
    )
    assert found["falcon_distinct"]["spurious_removed"]["share"] == 1
    assert found["falcon_distinct"]["spurious_listed_without"] == 1
    assert found["falcon_off_distinct"]["spurious_listed_without"] == 0


def test_cases_are_joined_by_key_and_not_by_row():
    rows = plants(
        [
            (f"f{case}", "distinct", contrast, True, case % 2 == 0 if contrast == "falcon_off" else False, True, False)
            for case in range(6)
            for contrast in ("falcon_off", "falcon_paper")
        ]
    )
    assert _plants(rows.sample(frac=1, random_state=0)) == _plants(rows)


def test_the_same_case_twice_is_refused():
    rows = plants([("f0", "distinct", "falcon_off", True, True, True, False)] * 2)
    with pytest.raises(pd.errors.MergeError):
        _plants(rows)


def features(rows):
    """Rows of (world, encoder, clear, falcon, rival)."""
    table = pd.DataFrame(rows, columns=["world", "encoder", "clear", "falcon", "rival"])
    return table.assign(feature=[f"f{row}" for row in range(len(table))], kind="object", value="boat", role="reported")


def methods(table):
    """The counts of the same features, as `measure_world` writes them."""
    counts = [
        {"world": world, "encoder": encoder, "method": method, "scope": scope, "features": len(rows), "five_right": 0}
        | {
            "first_right": rows[method].sum(),
            "first_or_tie": len(rows),
            "pearson": 0.5,
            "auprc": 0.5,
            "auc": 0.5,
            "mad": 0.5,
        }
        for (world, encoder), of in table.groupby(["world", "encoder"])
        for scope, rows in (("clear", of[of["clear"] == 1]), ("every", of))
        for method in ("falcon", "rival")
        if len(rows)
    ]
    return pd.DataFrame(counts)


ROWS = features(
    [
        *[("a", "supervised", 1, 1, 0)] * 3,
        ("a", "simclr", 0, 0, 1),
        *[("b", "supervised", 1, 1, 1)] * 2,
        ("b", "simclr", 0, 1, 0),
        ("a", "untrained_1", 1, 1, 1),
        ("b", "untrained_2", 1, 0, 0),
    ]
)


def test_methods_are_compared_on_the_same_features_over_every_and_over_clear_ones():
    found = _right(ROWS, methods(ROWS))
    every, clear = (found[scope]["both"]["rival"] for scope in ("every", "clear"))
    assert every["first"]["share"] == pytest.approx(3 / 7) and clear["first"]["share"] == pytest.approx(2 / 5)
    less = every["falcon_less_this"]
    assert (less["features"], less["larger"], less["smaller"]) == (7, 4, 1)
    assert less["difference"] == pytest.approx((2 / 4 + 1 / 3) / 2), "the mean over worlds"
    assert less["sign_test_p_value"] == 0.375
    assert clear["falcon_less_this"]["difference"] == pytest.approx((1 + 0) / 2)
    assert every["first_or_tie"]["share"] == 1


def test_a_method_is_compared_only_where_it_was_measured():
    rows = ROWS.assign(rival=ROWS["rival"].where(ROWS["world"] == "a"))
    less = _right(rows, methods(ROWS))["every"]["both"]["rival"]["falcon_less_this"]
    assert (less["features"], less["worlds"]) == (4, 1)


def test_an_empty_cell_of_a_table_is_a_method_that_was_not_measured():
    found = _with_hits_as_numbers(ROWS.assign(rival=["1", "", *["0"] * 7]))
    assert found["rival"].isna().sum() == 1 and found["rival"].sum() == 1
    assert found["encoder"].equals(ROWS["encoder"])


def test_trained_encoders_are_compared_with_the_untrained_ones_of_the_same_world():
    less = _right(ROWS, methods(ROWS))["every"]["less_untrained"]
    assert less["difference"] == pytest.approx(((3 / 4 - 1) + (1 - 0)) / 2)


def explained(rows):
    columns = ["world", "encoder", "kind", "items", "explained", "uncorrected", "permuted_explained"]
    return pd.DataFrame(rows, columns=columns).assign(median_pearson=0.4)


EXPLAINED = explained(
    [
        (world, encoder, kind, 10, count, count, 0)
        for world in ("a", "b")
        for encoder, count in (("supervised", 8), ("simclr", 6), ("untrained_1", 1), ("untrained_2", 0))
        for kind in ("feature", "class set")
    ]
)


def test_controls_are_pooled_and_the_trained_encoders_are_compared_with_them():
    found = _explained(EXPLAINED)
    assert found["untrained"]["feature"]["explained"]["share"] == 0.05
    assert found["both"]["feature"]["explained"]["share"] == 0.7
    assert found["both"]["less_untrained"]["difference"] == pytest.approx(0.65)
    assert found["simclr"]["class_set"]["permuted_words"]["of"] == 20
    assert "less_untrained" not in found["untrained"]


def uses(rows):
    return pd.DataFrame(rows, columns=["world", "metrics", "key", "value"])


def test_uses_are_means_over_worlds_nested_as_in_the_worlds_own_metrics():
    rows = [(world, "groups_simclr", "of_2.new_concept.share", value) for world, value in (("a", 0.2), ("b", 0.4))]
    rows += [("a", "transfer_a_to_b", "r2.median", 0.5), ("a", "transfer_a_to_b", "ridge", 0.001)]
    found = _uses(uses(rows))
    assert found["groups_simclr"]["of_2"]["new_concept"]["share"] == pytest.approx(0.3)
    assert found["groups_simclr"]["of_2"]["new_concept"]["worlds"] == 2
    assert found["transfer_a_to_b"] == {"r2": {"median": 0.5, "worlds": 1}}, "what is no result (lambda) is left out"


def test_a_number_is_compared_with_its_control_within_each_world():
    keys = ("shortcut.at_work.share", "shortcut.at_work_by_chance.share")
    values = {"a": (0.9, 0.1), "b": (0.7, 0.3)}
    rows = [(world, "failures_x", key, of[place]) for world, of in values.items() for place, key in enumerate(keys)]
    found = _uses(uses(rows))["failures_x"]["shortcut"]["at_work_less_by_chance"]
    assert found["difference"] == pytest.approx(0.6) and found["worlds"] == 2
    assert found["interval_low"] < 0 < found["p_value"] < 0.5


COHERENCE = pd.DataFrame(
    [("supervised", 1, 4, 2, 1, 8, 4, 0)],
    columns=[
        "encoder",
        "size",
        "explained",
        "interpretable",
        "released_rule",
        "features",
        "shuffled",
        "shuffled_interpretable",
    ],
).assign(world="w")


DICTIONARY = pd.DataFrame(
    [("planted", "w", "object", True), ("planted", "w", "object", True),
     ("planted", "v", "colour", False), ("random", "w", "object", False)],
    columns=["dictionary", "world", "kind", "right"],
)  # fmt: skip


def test_latents_are_right_by_dictionary_and_kind_of_attribute():
    found = _dictionary(DICTIONARY)
    assert found["planted"]["right"]["share"] == pytest.approx(2 / 3) and found["random"]["right"]["share"] == 0
    assert found["planted"]["object"]["share"] == 1 and found["planted"]["colour"]["share"] == 0


UNITS = pd.DataFrame(
    [("or", "w", 0.9, 1.0, 1, 1, 0.0), ("or", "v", 0.7, 0.5, 0, 0, 0.5), ("and", "w", 0.6, 0.5, 1, 0, 0.0)],
    columns=["kind", "world", "r", "f1", "exact", "relation", "control_f1"],
)


def test_units_are_summed_up_by_what_they_respond_to():
    found = _units(UNITS)
    assert found["or"]["f1"]["mean"] == pytest.approx(0.75) and found["or"]["exact"]["share"] == 0.5
    assert found["and"]["exact"]["share"] == 1 and found["and"]["relation"]["share"] == 0


def test_sets_of_words_and_pairs_are_summed_up_and_shown():
    keys = [("facets_supervised", "truth.set.f1.mean"), ("groups_supervised", "pairs.conjunction.exact_pair.share")]
    found = _uses(uses([(world, *key, value) for world, value in (("v", 0.8), ("w", 0.9)) for key in keys]))
    assert found["facets_supervised"]["truth"]["set"]["f1"]["mean"] == pytest.approx(0.85)
    page = as_markdown({"uses": found, "explained": {}, "right": {}, "plants": {}, "dictionary": {}, "units": {}}, [1])
    assert page.count("| supervised | 0.85 (") == 2


def test_features_without_an_explanation_count_in_the_space():
    found = _summary(ROWS, methods(ROWS), EXPLAINED, COHERENCE, pd.DataFrame(), DICTIONARY, UNITS, uses([]))
    assert found["explainability"]["supervised"]["of_the_space"]["interpretable"]["share"] == 0.25


def test_the_page_shows_the_numbers_of_the_summary_and_a_dash_for_what_is_missing():
    page = as_markdown(
        _summary(ROWS, methods(ROWS), EXPLAINED, COHERENCE, pd.DataFrame(), DICTIONARY, UNITS, uses([])), [101, 102]
    )
    assert "Seeds: 101, 102." in page
    assert "| SimCLR | 0.60 (" in page
    row = next(line for line in page.splitlines() if line.startswith("| **FALCON"))
    assert row.split(" | ")[1].startswith("0.86 (") and row.split(" | ")[2] == "–"
    assert "| none, default ranking | – | – | – |" in page


def test_the_page_has_the_tables_of_the_bases():
    page = as_markdown(
        _summary(ROWS, methods(ROWS), EXPLAINED, COHERENCE, pd.DataFrame(), DICTIONARY, UNITS, uses([])), [1]
    )
    assert "| one direction for each attribute | 0.67 (" in page and "| random directions | 0.00 |" in page
    assert "| one of two | 0.80 (" in page and "| two together | 0.60 | 0.50 | 0.00 | 1.00 | 0.00 |" in page
