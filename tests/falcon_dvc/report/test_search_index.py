"""The data that the site searches, and how fast."""

import json
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.report.pages import TEMPLATES
from falcon_dvc.report.search_index import script
from tests.support.large_index import large_index
from tests.support.pages import ATTACK

NODE = shutil.which("node")
SLOWEST = 100  # milliseconds that a search of them may take
needs_node = pytest.mark.skipif(NODE is None, reason="needs node")


def run_in_node(code, data):
    """What `code` returns, with `finding` and the `data` at hand."""
    finding = (TEMPLATES / "finding.js").read_text(encoding="utf-8")
    read = "const data = JSON.parse(require('fs').readFileSync(0, 'utf8'));"
    program = f"{finding}\n{read}\nconsole.log(JSON.stringify((() => {{ {code} }})()));"
    done = subprocess.run([NODE, "-e", program], input=json.dumps(data), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def small_index():
    concepts = ["boat", "red", "red boat", "steamboat", "Café"]
    first = [
        ["f0", "0", 3.0, 1, [0, 1], [900, 100], "first", "object boat", [1]],
        ["f1", "1", None, 0, [1], [500], "missed", "object truck", [0]],
        ["g0a", "0 1", 9.0, 1, [2, 3], [300, 200], "", "", []],
        ["f12", "12", 1.0, 0, [], [], "unclear", "colour red", []],
    ]
    second = [["f0", "0", 2.0, 1, [4, 0], [800, 700], "", "", []]]
    encoders = [{"name": "first", "groups": first}, {"name": "second", "groups": second}]
    also = ["ship vessel", "crimson", "", "", ""]
    return {"concepts": concepts, "also": also, "keys": [f"k{place}" for place in range(5)], "encoders": encoders}


CONCEPTS = [
    ("boat", ["boat", "red boat", "steamboat"]),
    ("RED", ["red", "red boat"]),
    ("boat red", ["red boat"]),
    ("cafe", ["Café"]),
    ("crimson", ["red"]),
    ("vess", ["boat"]),
    ("nothing", []),
    (" ", []),
]
GROUPS = [
    ({}, ["f0", "f1", "g0a", "f12"]),
    ({"query": "boat"}, ["f0", "g0a"]),
    ({"query": "boat", "sort": "relevance"}, ["f0", "g0a"]),
    ({"query": "red", "sort": "relevance"}, ["f12", "g0a", "f1", "f0"]),
    ({"query": "f1"}, ["f1", "g0a", "f12"]),
    ({"query": "truck"}, ["f1"]),
    ({"query": "red truck"}, ["f1"]),
    ({"show": "group"}, ["g0a"]),
    ({"show": "single"}, ["f0", "f1", "f12"]),
    ({"explained": "1"}, ["f0", "g0a"]),
    ({"verdict": "missed"}, ["f1"]),
    ({"least": 0.4}, ["f0", "f1"]),
    ({"sort": "score"}, ["f0", "f1", "g0a", "f12"]),
    ({"sort": "correlation"}, ["g0a", "f0", "f12", "f1"]),
    ({"sort": "concept"}, ["f0", "f1", "g0a", "f12"]),
]


@pytest.fixture(scope="module")
def answers():
    """What is found for each query of `CONCEPTS` and `GROUPS`, by one start of Node."""
    options = [{"encoder": "first"} | some for some, _ in GROUPS]
    code = f"""
      const concepts = (query) => finding.concepts(finding.prepare(data), query, 9).map((some) => some.text);
      const groups = (options) => finding.groups(finding.prepare(data), options).map((some) => some.row[0]);
      return [{json.dumps([query for query, _ in CONCEPTS])}.map(concepts), {json.dumps(options)}.map(groups)];
    """
    return run_in_node(code, small_index())


@needs_node
@pytest.mark.parametrize(
    ("place", "expected"), [*enumerate(expected for _, expected in CONCEPTS)], ids=[query for query, _ in CONCEPTS]
)
def test_concepts_are_found_whole_words_first(place, expected, answers):
    assert answers[0][place] == expected


@needs_node
@pytest.mark.parametrize(
    ("place", "expected"),
    [*enumerate(expected for _, expected in GROUPS)],
    ids=[json.dumps(some) for some, _ in GROUPS],
)
def test_groups_are_filtered_and_sorted(place, expected, answers):
    assert answers[1][place] == expected


@needs_node
def test_twenty_thousand_features_are_searched_at_once():
    code = """
      const index = finding.prepare(data);
      return ["b", "ba", "ban1", "boat", "f123", "s t", "nothing at all"].map((query) => {
        const times = [];
        for (let round = 0; round < 5; round += 1) {
          const start = process.cpuUsage();
          finding.concepts(index, query, 8);
          finding.groups(index, { query, sort: "relevance" });
          const { user, system } = process.cpuUsage(start);
          times.push((user + system) / 1e3);
        }
        return Math.min(...times);  // what the search takes, not what else this machine does
      });
    """
    times = run_in_node(code, large_index(["one", "two"]))
    print("milliseconds:", times)
    assert max(times) < SLOWEST


@given(st.text())
def test_data_cannot_leave_its_script(text):
    made = script("falcon", [text.encode("utf-8", "replace").decode(), ATTACK])
    assert not {"<", ">", "&", "\u2028", "\u2029"} & set(made)
    content = made.removeprefix('"use strict";\nwindow.falcon = ').removesuffix(";\n")
    assert json.loads(content) == [text.encode("utf-8", "replace").decode(), ATTACK]
