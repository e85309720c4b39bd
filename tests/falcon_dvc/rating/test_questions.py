"""Whose words stand beside a feature's own, and which features are asked about."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_table
from falcon_dvc.errors import UserError
from falcon_dvc.html.pictures import data_uri
from falcon_dvc.images.decode import resized
from falcon_dvc.rating.questions import METHODS, OWN, ExplainedEncoder, ask, draw
from tests.support.rating_study import study_params, write_study
from tests.support.report_artifacts import WORDS

SEEDS = st.integers(0, 2**32 - 1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def explained(seed, features=12, vocabulary=9):
    """Features with one to three words."""
    rng = np.random.default_rng(seed)
    names = [f"w{word}" for word in range(vocabulary)]
    words = {f"f{j}": tuple(rng.choice(names, rng.integers(1, 4), replace=False)) for j in range(features)}
    share = np.sort(rng.random(vocabulary) + 0.1)[::-1]
    return ExplainedEncoder("some", words, pd.Series(share / share.sum(), index=pd.Index(names, dtype=object)))


@given(SEEDS)
def test_another_feature_has_another_first_word_and_words_enough(seed):
    some = explained(seed)
    found = METHODS["other_feature"](some, np.random.default_rng(seed))
    for group, words in found.items():
        assert words in some.words.values() and words[0] != some.words[group][0]
        assert len(words) >= len(some.words[group])


def test_without_another_feature_there_is_no_list():
    some = ExplainedEncoder("some", {"f1": ("a", "b"), "f2": ("a", "c"), "f3": ("d",)}, pd.Series(dtype=float))
    assert set(METHODS["other_feature"](some, np.random.default_rng(0))) == {"f3"}


def test_frequent_words_come_as_often_as_in_the_corpus_and_never_twice_in_a_list():
    frequency = pd.Series([0.6, 0.3, 0.1], index=["a", "b", "c"])
    some = ExplainedEncoder("some", {f"f{j}": ("x",) for j in range(3000)}, frequency)
    found = METHODS["frequent_words"](some, np.random.default_rng(0))
    count = Counter(words[0] for words in found.values())
    assert [count[word] / 3000 for word in "abc"] == pytest.approx([0.6, 0.3, 0.1], abs=0.03)
    longer = METHODS["frequent_words"](
        ExplainedEncoder("some", {"f1": tuple("xyz")}, frequency), np.random.default_rng(0)
    )
    assert sorted(longer["f1"]) == ["a", "b", "c"]


def test_the_constant_is_the_most_frequent_words():
    some = explained(0)
    assert set(METHODS["constant"](some, np.random.default_rng(0)).values()) == {("w0", "w1", "w2")}


def test_questions_are_shared_equally_and_each_feature_is_asked_once(here):
    params = study_params(questions=9)
    write_study(params)
    asked, frames = ask(params)
    assert Counter(some.encoder for some in asked) == {"first": 5, "second": 4}
    assert len({(some.encoder, some.group) for some in asked}) == 9
    assert [some.question for some in asked] == [f"q{number}" for number in range(1, 10)]
    assert {name: frame.features for name, frame in frames.items()} == {"first": 8, "second": 8}


def test_only_single_features_are_asked(here):
    params = study_params(questions=100)
    write_study(params)
    assert {some.group for some in ask(params)[0]} <= {f"f{j}" for j in range(8)}


def test_lists_are_the_features_own_first_words_and_equally_long(here):
    params = study_params(questions=100, words=4)
    write_study(params)
    for some in ask(params)[0]:
        concepts = read_table(paths.concepts(some.encoder) / "concepts.parquet")
        own = concepts[(concepts["group"] == some.group) & concepts["kept"] & (concepts["kind"] == "word")]
        lists = {listed.method: listed.words for listed in some.lists}
        assert list(lists[OWN]) == list(own.sort_values("rank")["concept"][:4])
        assert {len(words) for words in lists.values()} == {4}


def test_order_of_lists_and_questions_is_random_and_seeded(here):
    params = study_params(questions=16, words=2)
    write_study(params)
    asked, _ = ask(params)
    assert asked == ask(params)[0]
    first = Counter([listed.method for listed in some.lists].index(OWN) for some in asked)
    assert set(first) == {0, 1, 2}
    assert len({some.encoder for some in asked[:8]}) == 2
    assert ask(study_params(questions=16, words=2, seed=1))[0] != asked


def test_rows_of_the_tables_may_come_in_any_order(here):
    params = study_params()
    write_study(params)
    before = ask(params)[0]
    inputs = [paths.groups("first") / "groups.parquet", paths.concepts("first") / "concepts.parquet", paths.MENTIONS]
    for path in inputs:
        write_table(path, read_table(path).sample(frac=1, random_state=0))
    assert ask(params)[0] == before


def test_features_without_words_are_counted_not_asked(here):
    params = study_params(encoders=("only",), questions=100)
    write_study(params)
    path = paths.concepts("only") / "concepts.parquet"
    concepts = read_table(path)
    write_table(path, concepts.assign(kept=concepts["kept"] & ~concepts["group"].isin(["f1", "f5"])))
    asked, frames = ask(params)
    assert frames["only"].without_words == 2 and frames["only"].features == 8
    assert not {"f1", "f5"} & {some.group for some in asked}


def test_a_feature_of_one_word_has_lists_of_one_word_so_that_length_tells_nothing(here):
    params = study_params(encoders=("only",), questions=100)
    write_study(params)
    path = paths.concepts("only") / "concepts.parquet"
    write_table(path, read_table(path).query("rank == 1 or group not in ['f2', 'f3']"))
    lengths = {some.group: {len(listed.words) for listed in some.lists} for some in ask(params)[0]}
    assert lengths["f2"] == {1} and all(len(some) == 1 for some in lengths.values())
    assert {3} in lengths.values()


def test_no_question_shows_the_same_words_twice(here):
    params = study_params(encoders=("only",), questions=100, against=("constant",), words=1)
    write_study(params)
    asked, _ = ask(params)
    assert asked and all(len({some.words for some in question.lists}) == 2 for question in asked)
    concepts = read_table(paths.concepts("only") / "concepts.parquet")
    first = concepts[concepts["kept"] & (concepts["kind"] == "word") & (concepts["rank"] == 1)]
    umbrella = set(first.loc[first["concept"] == WORDS[-1], "group"])
    assert not umbrella & {some.group for some in asked}


def test_pictures_are_the_strongest_crops_of_the_feature(here):
    params = study_params(pictures=3)
    write_study(params)
    asked, _ = ask(params)
    row = {image: row for row, image in enumerate(read_table(paths.IMAGES)["image"])}
    images = read_array(paths.SCENES / "images.npy")
    for some, question in zip(asked, draw(asked, params), strict=True):
        assert question.name == some.question
        crops = read_table(paths.crops(some.encoder) / "crops.parquet").query("role == 'high' and rank < 3")
        own = crops[crops["group"] == some.group].sort_values("rank")[["image", "left", "top", "right", "bottom"]]
        assert question.pictures == [data_uri(resized(images[row[image]], 16, box)) for image, *box in own.to_numpy()]


def test_a_feature_with_fewer_crops_shows_what_it_has(here):
    params = study_params(pictures=25)
    write_study(params)
    assert {len(some.pictures) for some in draw(ask(params)[0], params)} == {10}


def test_crops_are_joined_by_key(here):
    params = study_params()
    write_study(params)
    asked, _ = ask(params)
    before = draw(asked, params)
    for name in params.encoders:
        path = paths.crops(name) / "crops.parquet"
        write_table(path, read_table(path).sample(frac=1, random_state=0))
    assert draw(asked, params) == before


@pytest.mark.parametrize("against", [("nosuch",), ("constant", "constant"), (OWN,)])
def test_an_unknown_method_is_one_clear_line(here, against):
    with pytest.raises(UserError, match=r"params\.yaml: study\.against: .*known are: other_feature"):
        ask_written(study_params(against=against))


def test_nothing_to_ask_is_one_clear_line(here):
    params = study_params(encoders=("only",))
    with pytest.raises(UserError, match=r"study\.against"):
        ask_written(params, singles=1, groups=0)


def test_missing_crops_are_one_clear_line(here):
    params = study_params()
    write_study(params)
    asked, _ = ask(params)
    path = paths.crops("first") / "crops.parquet"
    write_table(path, read_table(path).query("role != 'high'"))
    with pytest.raises(UserError, match="dvc repro"):
        draw(asked, params)


def ask_written(params, **changes):
    write_study(params, **changes)
    return ask(params)
