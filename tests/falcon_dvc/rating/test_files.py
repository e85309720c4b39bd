"""Files that people send back: only those of this sheet are taken, and the others are refused by name in one line."""

import json

import pytest

from falcon_dvc.errors import UserError
from falcon_dvc.rating.files import Key, read_answers, read_key

SHEET = "ab" * 32
GOOD = {
    "sheet": SHEET,
    "rater": "Ann",
    "answers": [
        {"question": "q1", "choice": "A", "confidence": 3},
        {"question": "q2", "choice": "none", "confidence": None},
    ],
}


def key_content():
    lists = [{"method": "explanation", "words": ["a"]}, {"method": "constant", "words": ["b"]}]
    questions = [{"question": f"q{n}", "encoder": "e", "group": f"f{n}", "lists": lists} for n in (1, 2)]
    frame = {"features": 4, "without_words": 0}
    return {"sheet": SHEET, "methods": ["explanation", "constant"], "encoders": {"e": frame}, "questions": questions}


KEY = Key.model_validate_json(json.dumps(key_content()))


def written(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def first(**changes):
    """The good answers with the first one changed."""
    return {**GOOD, "answers": [GOOD["answers"][0] | changes, GOOD["answers"][1]]}


def test_good_answers(tmp_path):
    (answers,) = read_answers([written(tmp_path / "a.json", GOOD)], KEY)
    assert answers.rater == "Ann" and [some.choice for some in answers.answers] == ["A", "none"]


BAD = {
    "no file": (None, "not readable"),
    "no JSON": ("answers", "JSON"),
    "half": (json.dumps(GOOD)[:40], "JSON"),
    "deep": ("[" * 100_000, "JSON"),
    "a list": ([GOOD], "object"),
    "empty": ({**GOOD, "answers": []}, "answers"),
    "unknown key": ({**GOOD, "time": 1}, "time"),
    "missing key": ({"sheet": SHEET, "rater": "Ann"}, "answers"),
    "no name": ({**GOOD, "rater": " \n"}, "rater"),
    "long name": ({**GOOD, "rater": "x" * 81}, "rater"),
    "other sheet": ({**GOOD, "sheet": "cd" * 32}, "cdcdcdcdcdcd"),
    "no sheet": ({**GOOD, "sheet": "\n\n" * 500}, "key"),
    "unknown question": (first(question="q3"), "'q3'"),
    "twice": ({**GOOD, "answers": GOOD["answers"][:1] * 2}, "q1 is answered 2 times"),
    "beyond the lists": (first(choice="C"), "q1: there is no choice 'C'; known are: A, B, none"),
    "small letter": (first(choice="a"), "'a'"),
    "number": (first(choice=0), "choice"),
    "too sure": (first(confidence=6), "confidence"),
    "not sure": (first(confidence=0), "confidence"),
    "a float": (first(confidence=2.5), "confidence"),
    "a bool": (first(confidence=True), "confidence"),
    "a text": (first(confidence="3"), "confidence"),
    "NaN": (json.dumps(first(confidence=float("nan"))), "confidence"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_answers_are_refused_in_one_line_that_names_the_file(tmp_path, name):
    content, words = BAD[name]
    good, path = written(tmp_path / "good.json", {**GOOD, "rater": "Zoe"}), tmp_path / "bad.json"
    if content is not None:
        written(path, content)
    with pytest.raises(UserError) as error:
        read_answers([good, path], KEY)
    line = str(error.value)
    assert line.startswith(f"{path}: ") and words in line
    assert "\n" not in line and len(line) < 500 + len(str(path))


@pytest.mark.parametrize("name", ["Ann", " ann ", "ANN"])
def test_a_rater_answers_once(tmp_path, name):
    paths = [written(tmp_path / f"{n}.json", {**GOOD, "rater": some}) for n, some in enumerate(["Ann", name])]
    with pytest.raises(UserError, match=r"1\.json: the rater '.*' has also sent .*0\.json"):
        read_answers(paths, KEY)


def test_the_order_of_the_files_does_not_matter(tmp_path):
    paths = [written(tmp_path / f"{name}.json", {**GOOD, "rater": name}) for name in ("Bob", "ann", "Cid")]
    assert read_answers(paths, KEY) == read_answers(paths[::-1], KEY)


def test_not_utf8(tmp_path):
    path = tmp_path / "latin.json"
    path.write_bytes('{"rater": "Zoë"}'.encode("latin-1"))
    with pytest.raises(UserError, match=r"latin\.json"):
        read_answers([path], KEY)


def test_good_key(tmp_path):
    assert read_key(written(tmp_path / "key.json", key_content())) == KEY


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"questions": []}, "questions"),
        ({"sheet": "ab"}, "sheet"),
        ({"methods": ["constant", "explanation"]}, "explanation"),
        ({"methods": ["explanation"]}, "q1"),
        ({"methods": ["explanation", "constant", "other"]}, "q1"),
    ],
)
def test_bad_key(tmp_path, changes, words):
    path = written(tmp_path / "key.json", key_content() | changes)
    with pytest.raises(UserError, match=words) as error:
        read_key(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_no_key(tmp_path):
    with pytest.raises(UserError, match="rating make"):
        read_key(tmp_path / "key.json")
