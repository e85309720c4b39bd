"""From artefacts to a sheet, from three raters' answers to metrics: everything against sums by hand."""

import json
import re
import shutil
import sys
from itertools import combinations, permutations

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table, write_table
from falcon_dvc.cli import rating
from falcon_dvc.cli.app import main
from falcon_dvc.errors import UserError
from tests.support.pages import ATTACK, Page
from tests.support.paths import ROOT
from tests.support.rating_study import study_params, write_study

METHODS = ["explanation", "other_feature", "frequent_words", "none"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def made(here):
    """A sheet, its key, and the parameters."""
    params = study_params()
    write_study(params)
    rating.make(params)
    return params, read_json(rating.KEY)


def letter_of(asked, method):
    if method == "none":
        return "none"
    return "ABC"[[some["method"] for some in asked["lists"]].index(method)]


def answers_of(key, rater, methods, confidence=None):
    """The file of a rater who chooses these methods, question by question; None for no answer."""
    answers = [
        {"question": asked["question"], "choice": letter_of(asked, method), "confidence": confidence}
        for asked, method in zip(key["questions"], methods, strict=False)
        if method
    ]
    return {"sheet": key["sheet"], "rater": rater, "answers": answers}


def written(folder, *contents):
    answers = [folder / f"{number}.json" for number in range(len(contents))]
    for path, content in zip(answers, contents, strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    return answers


def three_raters(key):
    """One who is always right, one who draws lots, one who stops after three."""
    lots = np.random.default_rng(3).choice(METHODS, len(key["questions"])).tolist()
    partial = ["explanation", "none", "other_feature"]
    given = [["explanation"] * len(key["questions"]), lots, partial]
    files_of_raters = [answers_of(key, name, methods) for name, methods in zip("rlp", given, strict=True)]
    for answer in files_of_raters[0]["answers"]:
        answer["confidence"] = 5
    files_of_raters[2]["answers"][0]["confidence"] = 1
    return given, files_of_raters


def test_the_sheet_tells_nothing_and_the_key_all(made):
    params, key = made
    page = Page(rating.SHEET.read_text(encoding="utf-8"))
    visible = " ".join(str(value) for _, attributes in page.elements for value in attributes.values())
    text = re.sub(
        r'<(script|style)>.*?</\1>|src="[^"]*"', "", rating.SHEET.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    hidden = [*METHODS[:3], *params.encoders, *(some["group"] for some in key["questions"])]
    hidden += list(read_table(paths.IMAGES)["image"])
    assert not [word for word in hidden if re.search(rf"\b{re.escape(word)}\b", visible + text)]
    assert text.count("<fieldset class") == 2 * len(key["questions"]) and key["sheet"] in text
    for asked in key["questions"]:
        shown = re.search(rf'data-question="{asked["question"]}".*?</fieldset>', text, flags=re.DOTALL).group()
        words = [re.findall(r"<bdi>(.*?)</bdi>", label) for label in shown.split("<label")[1:4]]
        assert words == [listed["words"] for listed in asked["lists"]]


def test_the_same_bytes_every_time(made):
    params, _ = made
    before = rating.SHEET.read_bytes(), rating.KEY.read_bytes()
    rating.make(params)
    assert (rating.SHEET.read_bytes(), rating.KEY.read_bytes()) == before


def test_labels_of_the_images_do_not_reach_the_sheet(made):
    params, _ = made
    before = rating.SHEET.read_bytes()
    write_table(paths.IMAGES, read_table(paths.IMAGES).assign(label="another"))
    rating.make(params)
    assert rating.SHEET.read_bytes() == before


def test_a_key_that_answers_may_wait_for_is_not_overwritten(made):
    before = rating.SHEET.read_bytes(), rating.KEY.read_bytes()
    with pytest.raises(UserError, match="move the folder"):
        rating.make(study_params(seed=1))
    assert (rating.SHEET.read_bytes(), rating.KEY.read_bytes()) == before
    shutil.move(rating.KEY.parent, "old")
    rating.make(study_params(seed=1))
    assert rating.SHEET.read_bytes() != before[0]


def test_words_of_strangers_stay_words(here):
    params = study_params(questions=100)
    write_study(params, text=ATTACK)
    rating.make(params)
    text = rating.SHEET.read_text(encoding="utf-8")
    assert "alert(1)&lt;/script&gt;" in text and "<img src=x" not in text
    key = read_json(rating.KEY)
    rating.read(params, written(here, answers_of(key, "Ann", METHODS[:1] * 16)))
    table = read_table(paths.table("study"))
    assert any("alert(1)" in words for words in table["explanation"])
    assert not table["explanation"].str.contains(r"^[=+\-@]|[\n\r]").any()


def test_metrics_are_the_sums_by_hand(made, here):
    params, key = made
    given, contents = three_raters(key)
    metrics = rating.read(params, written(here, *contents))
    questions = key["questions"]
    answers = [(question, method) for methods in given for question, method in zip(questions, methods, strict=False)]
    assert metrics["raters"] == 3 and metrics["questions"] == metrics["questions_answered"] == 8
    assert metrics["chance"] == 0.25 and metrics["chance_among_lists"] == pytest.approx(1 / 3)
    check_shares(metrics["all"], answers)
    assert set(metrics["encoders"]) == set(params.encoders)
    for name, found in metrics["encoders"].items():
        check_shares(found, [some for some in answers if some[0]["encoder"] == name])
        assert found["features"] == 8 and found["without_words"] == 0 and found["asked"] == 4
    assert metrics["all"]["confidence"]["mean"] == pytest.approx((8 * 5 + 1) / 9)


def check_shares(found, answers):
    chosen = [method for _, method in answers]
    assert found["answers"] == len(chosen)
    for method in METHODS:
        check_interval(found["chosen"][method], chosen.count(method) / len(chosen))
    lists = len(chosen) - chosen.count("none")
    check_interval(found["explanation_among_lists"], chosen.count("explanation") / lists)


def check_interval(found, share):
    assert found["share"] == pytest.approx(share)
    assert 0 <= found["interval_low"] <= share + 1e-9 and share - 1e-9 <= found["interval_high"] <= 1


def test_the_null_pairs_every_choice_with_every_question(made, here):
    params, key = made
    _, contents = three_raters(key)
    metrics = rating.read(params, written(here, *contents))
    own = [letter_of(asked, "explanation") for asked in key["questions"]]
    choices = [answer["choice"] for content in contents for answer in content["answers"]]
    expected = np.mean([[choice == letter for letter in own] for choice in choices])
    assert metrics["all"]["explanation_with_shuffled_key"]["share"] == pytest.approx(expected)


def test_agreement_is_that_of_the_pairs_by_hand(made, here):
    params, key = made
    _, contents = three_raters(key)
    found = rating.read(params, written(here, *contents))["agreement"]
    chosen = [
        [
            answer["choice"]
            for content in contents
            for answer in content["answers"]
            if answer["question"] == some["question"]
        ]
        for some in key["questions"]
    ]
    pairs = [a == b for letters in chosen for a, b in combinations(letters, 2)]
    check_interval(found["pairwise"], np.mean(pairs))
    pooled = [letter for letters in chosen for letter in letters]
    observed = sum(sum(a != b for a, b in permutations(some, 2)) / (len(some) - 1) for some in chosen) / len(pooled)
    expected = np.mean([a != b for a, b in permutations(pooled, 2)])
    assert found["krippendorff_alpha"]["value"] == pytest.approx(1 - observed / expected)
    assert found["questions_with_two_raters"] == 8


def test_raters_who_are_always_right_agree_perfectly(made, here):
    params, key = made
    contents = [answers_of(key, name, ["explanation"] * 8) for name in ("Ann", "Bob")]
    metrics = rating.read(params, written(here, *contents))
    right = {"share": 1.0, "interval_low": 1.0, "interval_high": 1.0}
    assert metrics["all"]["chosen"]["explanation"] == metrics["agreement"]["pairwise"] == right
    assert metrics["agreement"]["krippendorff_alpha"]["value"] == 1
    assert metrics["all"]["explanation_with_shuffled_key"]["share"] < 0.7


def test_raters_who_see_nothing_are_at_chance(here):
    params = study_params(questions=400)
    write_study(params, singles=150, groups=0)
    rating.make(params)
    key, rng = read_json(rating.KEY), np.random.default_rng(0)
    contents = [answers_of(key, str(n), rng.choice(METHODS, len(key["questions"])).tolist()) for n in range(4)]
    metrics = rating.read(params, written(here, *contents))
    for method in METHODS:
        assert metrics["all"]["chosen"][method]["share"] == pytest.approx(metrics["chance"], abs=0.05)
    agreement = metrics["agreement"]["krippendorff_alpha"]
    assert agreement["interval_low"] < 0.03 and agreement["value"] == pytest.approx(0, abs=0.05)


def test_one_rater_has_shares_but_no_agreement(made, here):
    params, key = made
    metrics = rating.read(params, written(here, answers_of(key, "Ann", ["none"])))
    assert metrics["agreement"] == {"questions_with_two_raters": 0}
    assert metrics["all"]["answers"] == 1 and "explanation_among_lists" not in metrics["all"]
    assert metrics["questions_answered"] == 1


def test_the_table_has_a_row_a_question_and_no_names(made, here):
    params, key = made
    given, contents = three_raters(key)
    contents[0]["rater"] = "Rosalind"
    rating.read(params, written(here, *contents))
    text = paths.table("study").read_text(encoding="utf-8") + paths.metrics("study").read_text(encoding="utf-8")
    assert "Rosalind" not in text
    table = read_table(paths.table("study"))
    assert list(table["question"]) == [some["question"] for some in key["questions"]]
    assert list(table["group"]) == [some["group"] for some in key["questions"]]
    for place, row in enumerate(table.to_dict("records")):
        chosen = [methods[place] for methods in given if place < len(methods)]
        assert [row[f"chose_{method}"] for method in METHODS] == [chosen.count(method) for method in METHODS]
        assert row["answers"] == len(chosen)
    assert list(table["confidence"].astype(float)) == [3.0, *[5.0] * 7]


def test_metrics_are_numbers_and_do_not_depend_on_the_order_of_the_files(made, here):
    params, key = made
    answers = written(here, *three_raters(key)[1])
    rating.read(params, answers)
    before = paths.metrics("study").read_bytes(), paths.table("study").read_bytes()
    rating.read(params, answers[::-1])
    assert (paths.metrics("study").read_bytes(), paths.table("study").read_bytes()) == before
    assert all(isinstance(value, (int, float)) for value in leaves(json.loads(before[0], parse_constant=pytest.fail)))


def leaves(value):
    return [leaf for item in value.values() for leaf in leaves(item)] if isinstance(value, dict) else [value]


def test_one_bad_file_and_nothing_is_written(made, here):
    params, key = made
    contents = three_raters(key)[1]
    contents[1]["answers"][0]["choice"] = "D"
    answers = written(here, *contents)
    with pytest.raises(UserError, match=re.escape(str(answers[1]))):
        rating.read(params, answers)
    assert not paths.metrics("study").exists() and not paths.table("study").exists()


def test_answers_without_a_sheet(here):
    with pytest.raises(UserError, match=r"key\.json.*rating make"):
        rating.read(study_params(), written(here, {}))


def test_a_missing_artefact_is_one_clear_line_and_nothing_is_written(here):
    params = study_params()
    write_study(params)
    (paths.concepts("second") / "concepts.parquet").unlink()
    with pytest.raises(UserError, match=r"concepts\.parquet.*dvc repro"):
        rating.make(params)
    assert not rating.SHEET.parent.exists()


def test_from_the_command_line(here, monkeypatch, capsys):
    def called(*arguments):
        monkeypatch.setattr(sys, "argv", ["falcon", "rating", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr()

    shutil.copy(ROOT / "params.yaml", here)
    write_study(study_params(encoders=("supervised", "simclr")))
    code, said = called("make")
    assert not code and "sheet.html" in said.out
    key = read_json(rating.KEY)
    good, bad = written(here, answers_of(key, "Ann", ["explanation"] * len(key["questions"])), {})
    code, said = called("read", str(good))
    assert not code and "100%" in said.out and "chance 25%" in said.out
    code, said = called("read", str(good), str(bad))
    assert code == 2 and said.err.count("\n") == 1 and f"error: {bad}: " in said.err
    assert "make" in called()[1].err and called("read")[0] == 2


def test_another_method_is_one_function(here, monkeypatch):
    from falcon_dvc.rating import questions as rating_questions

    def weather(explained, generator):
        return dict.fromkeys(explained.words, ("rain", "wind", "hail"))

    monkeypatch.setitem(rating_questions.METHODS, "weather", weather)
    params = study_params(against=("weather", "other_feature"))
    write_study(params)
    rating.make(params)
    key = read_json(rating.KEY)
    metrics = rating.read(params, written(here, answers_of(key, "Ann", ["weather", "explanation"])))
    assert metrics["all"]["chosen"]["weather"]["share"] == 0.5
    assert pd.read_csv(paths.table("study"))["chose_weather"].sum() == 1
