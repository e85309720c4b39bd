"""The profile of a run: what a stage does is told apart, functions are named, and the project stays as it is."""

import cProfile
import json
import pstats
import subprocess
import sys
import threading
import time

import pytest

from benchmarks import profile_run, sampled
from benchmarks.sampled import COMPUTING, FILES, STARTING
from falcon_dvc.params.load import load_params
from tests.support.paths import ROOT

# A stage that imports, reads and computes for as long as it is told.
SLOW = "import time\ntime.sleep(0.25)\n"
READER = "import time\ndef read():\n    time.sleep(0.35)\n"
COMMAND = """import sys, time, pathlib
from falcon_dvc.artifacts import formats
import slow
formats.read()
end = time.perf_counter() + 0.3
while time.perf_counter() < end:
    sum(range(1000))
pathlib.Path("data/told.txt").write_text(" ".join(sys.argv[1:]))
if sys.argv[1] == "find":
    sys.exit("no such thing")
"""


@pytest.fixture
def project(tmp_path):
    files = {
        "stages/__init__.py": "",
        "stages/__main__.py": COMMAND,
        "falcon_dvc/__init__.py": "",
        "falcon_dvc/artifacts/__init__.py": "",
        "falcon_dvc/artifacts/formats.py": READER,
        "slow.py": SLOW,
        "data/a.txt": "before",
        "data/.checkpoints/b.txt": "left",
        "reports/c.txt": "before",
        ".git/d.txt": "",
    }
    for name, text in files.items():
        path = tmp_path / "project" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "project"


def test_a_copy_is_run_and_the_project_stays_as_it_is(project, tmp_path):
    place = tmp_path / "copy"
    profile_run.copy_project(project, place)
    assert sorted(path.name for path in place.iterdir()) == ["data", "falcon_dvc", "reports", "slow.py", "stages"]
    assert [path.name for path in (place / "data").iterdir()] == ["a.txt"]
    (place / "data" / "a.txt").write_text("after")
    found = profile_run.profiled([("report", ()), ("find_groups", ("net",))], place)
    assert list(found) == ["report", "find_groups net"]
    assert (place / "data" / "told.txt").read_text() == "find_groups net"
    assert (project / "data" / "a.txt").read_text() == "before" and not (project / "data" / "told.txt").exists()
    one = found["find_groups net"]
    assert sum(one["shares"].values()) == pytest.approx(1)
    assert one["seconds"] * one["shares"][FILES] == pytest.approx(0.35, rel=0.5)
    assert one["seconds"] * one["shares"][COMPUTING] > 0.2 and one["seconds"] * one["shares"][STARTING] > 0.2
    assert one["cpu_seconds"] < one["seconds"] and one["peak_mb"] > 5
    assert len(one["top"]) == 3 and "time:sleep" in one["top"]


def test_a_stage_that_fails_is_told(project, tmp_path, monkeypatch):
    profile_run.copy_project(project, tmp_path / "copy")
    monkeypatch.setattr(profile_run, "outputs", lambda _: [])
    with pytest.raises(RuntimeError, match="find ended with 1: no such thing"):
        profile_run.profiled([("find", ())], tmp_path / "copy")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["/x/numpy/core.py", "/p/stages/find_groups.py"], COMPUTING),
        (["/x/pyarrow/parquet.py", "/p/falcon_dvc/artifacts/formats.py", "/p/stages/report.py"], FILES),
        (["<frozen importlib._bootstrap>", "/p/falcon_dvc/artifacts/formats.py"], STARTING),
        (["/x/threading.py", "/x/concurrent/futures/_base.py", "/p/falcon_dvc/models/encoders/passes.py"], FILES),
        (["/p/falcon_dvc/concepts/words/parsing.py"], COMPUTING),
    ],
)
def test_what_a_thread_is_doing(files, expected):
    assert sampled.group(files) == expected


def test_a_thread_is_watched_until_the_end():
    ended, seconds = threading.Event(), {STARTING: 0.0, FILES: 0.0, COMPUTING: 0.0}
    watcher = threading.Thread(target=sampled.watch, args=(threading.get_ident(), ended, seconds))
    watcher.start()
    time.sleep(0.1)
    ended.set()
    watcher.join(10)
    assert not watcher.is_alive() and seconds[COMPUTING] > 0 and seconds[FILES] == 0


def test_the_time_that_nobody_saw_is_the_start_of_python():
    found = profile_run.shares({STARTING: 1.0, FILES: 2.0, COMPUTING: 1.0}, 8.0)
    assert found == {STARTING: 5 / 8, FILES: 2 / 8, COMPUTING: 1 / 8}
    assert sum(profile_run.shares({STARTING: 0.0, FILES: 2.0, COMPUTING: 2.0}, 3.9).values()) == 1


@pytest.mark.parametrize(
    ("file", "name", "expected"),
    [
        ("/x/lib/python3.11/site-packages/numpy/_core/numeric.py", "full", "numpy._core.numeric:full"),
        ("/p/falcon_dvc/groups/groups.py", "closed_sets", "falcon_dvc.groups.groups:closed_sets"),
        ("falcon_dvc/groups/groups.py", "closed_sets", "falcon_dvc.groups.groups:closed_sets"),
        ("~", "<built-in method time.sleep>", "time:sleep"),
        ("~", "<built-in method torch._C._nn.linear>", "torch._C._nn:linear"),
        ("~", "<built-in method conv2d>", "builtins:conv2d"),
        ("~", "<method 'acquire' of '_thread.lock' objects>", "_thread.lock:acquire"),
        ("<frozen importlib._bootstrap>", "_find_and_load", "importlib._bootstrap:_find_and_load"),
    ],
)
def test_functions_are_named_without_places(file, name, expected):
    assert profile_run.named(file, name) == expected


def test_the_function_with_the_most_time_of_its_own_comes_first():
    profile = cProfile.Profile()
    profile.runcall(lambda: (time.sleep(0.02), sum(range(10))))
    assert profile_run.top(pstats.Stats(profile))[0] == "time:sleep"


def test_only_stages_after_training_run_and_those_of_the_world_where_there_is_one():
    params = load_params(ROOT / "params.yaml")
    names = [name for name, _ in profile_run.stages_after_training(params)]
    assert names[0] == "collect_images" and names[-1] == "report" and names.count("find_groups") == len(params.encoders)
    assert "evaluate_concepts" in names
    without = profile_run.stages_after_training(params.model_copy(update={"worlds": {}}))
    assert "evaluate_concepts" not in [name for name, _ in without]


def test_the_table_has_a_line_for_each_stage_and_one_for_all():
    def one(seconds, files):
        parts = {STARTING: 0.5, FILES: files, COMPUTING: 0.5 - files}
        return {"seconds": seconds, "cpu_seconds": 2.0, "peak_mb": 100.0, "shares": parts, "top": ["a:b", "c:d"]}

    found = json.loads(json.dumps({"stages": {"report": one(1.0, 0.5), "transfer x": one(3.0, 0.1)}}))
    lines = profile_run.as_markdown(found).splitlines()
    assert lines[2] == "| `report` | 1.0 | 2.0 | 100 | 50% | 50% | 0% | `a:b`, `c:d` |"
    assert lines[4] == "| all | 4.0 | 4.0 | 100 | 50% | 20% | 30% |  |"


def test_nothing_but_the_standard_library_is_imported_by_what_watches():
    code = "import sys; before = set(sys.modules); import sampled; print(*{name.split('.')[0] for name in set(sys.modules) - before})"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(ROOT / 'benchmarks')!r}); {code}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) <= sys.stdlib_module_names | {"sampled"}
