"""Shards in this process: their order, how far the tasks run ahead, and what an error says; no Ray."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.compute.executor import Local, PerProcess
from falcon_dvc.errors import UserError
from tests.support.tasks import tasks_of


@given(st.lists(st.integers()), st.integers())
def test_results_come_in_the_order_of_the_tasks(numbers, shared):
    assert list(Local("s").map(lambda a, b: (a, b), tasks_of(numbers), shared)) == [(shared, some) for some in numbers]


def test_a_shard_is_computed_when_it_is_asked_for():
    asked = []
    found = Local("s").map(abs, tasks_of(range(9), asked))
    assert asked == [] and next(found) == 0 and asked == [0]
    assert next(found) == 1 and asked == [0, 1]


def failing(number, error=None):
    if number == 2:
        raise error or ValueError("no\nnumber")
    return number


def test_a_poisoned_shard_is_named():
    found = Local("score_concepts").map(failing, tasks_of(range(4)))
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(UserError, match=r"^score_concepts: images 2-2: ValueError: no\nnumber$"):
        next(found)


def test_what_was_meant_for_the_user_stays_as_it_is():
    with pytest.raises(UserError, match=r"^the file is bad$"):
        list(Local("s").map(lambda number: failing(number, UserError("the file is bad")), tasks_of(range(4))))


def make(made, what):
    made.append(what)
    return what


def test_what_a_process_needs_is_made_once_and_only_when_it_is_needed():
    made = []
    once = PerProcess(make, made, "encoder")
    assert made == []
    assert [once(), once()] == ["encoder"] * 2 and made == ["encoder"]


MADE = []


def remember(what):
    MADE.append(what)
    return what


def arrived(once):
    """As in another process, for every shard anew."""
    function, arguments = once.__reduce__()
    return function(*copy.deepcopy(arguments))


def test_what_arrives_with_every_shard_is_made_once_in_the_process_that_it_arrives_in():
    MADE.clear()
    one, other = PerProcess(remember, "one"), PerProcess(remember, "other")
    assert [arrived(one)(), arrived(one)(), arrived(other)(), arrived(other)()] == ["one", "one", "other", "other"]
    assert MADE == ["one", "other"]
