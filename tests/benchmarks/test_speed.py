"""The benchmarks against the released algorithms: both sides say the same, and the page says what was measured."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import bench_report, speed
from benchmarks.works import WORKS


@pytest.mark.parametrize("name", WORKS)
def test_both_sides_of_a_work_say_the_same(name):
    assert speed.same(WORKS[name]) >= WORKS[name].least


def test_a_side_is_measured_in_a_process_of_its_own(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    found = speed._elsewhere("further_group", "ours", repeats=1, threads=1)
    assert found["seconds"] > 0 and found["least"] <= found["most"]


def test_results_that_differ_are_no_benchmark():
    wrong = WORKS["auc"].__class__(
        **{**WORKS["auc"].__dict__, "ours": lambda inputs: WORKS["auc"].ours(inputs) + 0.1, "checked": None}
    )
    with pytest.raises(RuntimeError, match=r"0\.0000 of the results are the same"):
        speed.same(wrong)


def one_side(seconds: float, memory: float) -> dict:
    return {"seconds": seconds, "least": seconds / 2, "most": seconds * 2, "added_mb": memory}


FOUND = {
    "threads": 2,
    "repeats": 5,
    "groups": {
        "reference": one_side(50.0, 10.0),
        "ours": one_side(1.0, 5.0),
        "times_faster": 50.0,
        "share_measured": 0.5,
        "same": 1.0,
    },
    "captions": {
        "reference": one_side(30.0, 1000.0),
        "ours": one_side(12.5, 100.0),
        "times_faster": 2.4,
        "share_measured": 1.0,
        "same": 1.0,
    },
    "product": {"numpy": {**one_side(10.0, 0), "gflops": 100.0}, "torch": {**one_side(11.0, 0), "gflops": 90.0}},
    "soft_wpmi": {
        "reference": one_side(9.0, 1000.0),
        "ours": one_side(6.0, 100.0),
        "times_faster": 1.5,
        "share_measured": 1.0,
        "same": 1.0,
    },
    "soft_wpmi_product": {"numpy": {**one_side(4.0, 0), "gflops": 50.0}, "torch": {**one_side(2.0, 0), "gflops": 66.0}},
    "start": {"find_groups": one_side(0.75, 0)},
    "start_of_libraries": one_side(0.5, 0),
    "no_op": one_side(0.04, 0),
    "no_op_of_one_stage": one_side(0.01, 0),
}


def test_the_page_says_which_aims_are_missed(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_report, "FOLDER", tmp_path)
    (tmp_path / "speed.json").write_text(json.dumps(FOUND))
    page = bench_report.page()
    assert "| 50 s (25 s–100 s) | 10 MB | 0.5 | 1 s (0.5 s–2 s) | 5 MB | **50** | 100: missed | 1.00 |" in page
    assert "Ours takes 125% of their time" in page and "more than 3.0 times" in page
    assert "Memory, with torch: 0.10 of the reference's" in page
    assert "The product of soft-WPMI's embeddings alone, by torch: 2 s" in page and "more than 4.5 times faster" in page
    assert "nothing to do: 40 ms" in page and "of one stage without dependencies: 10 ms" in page
    assert "| `find_groups` | 0.75 s (0.375 s–1.5 s) |" in page and "`import pandas, scipy.sparse` alone: 0.5 s" in page
    assert "Encoder passes" not in page, "not measured"


def test_a_page_of_one_work_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(bench_report, "FOLDER", tmp_path)
    (tmp_path / "speed.json").write_text(json.dumps({key: FOUND[key] for key in ("threads", "repeats", "no_op")}))
    assert "nothing to do: 40 ms" in bench_report.page()


def test_time_is_divided_by_the_share_that_was_done(monkeypatch):
    monkeypatch.setattr(speed, "elapsed", lambda do: 2.0)
    work = WORKS["auc"].__class__(
        **{**WORKS["auc"].__dict__, "share": 0.25, "make": lambda full: WORKS["auc"].make(False)}
    )
    assert speed.timed_side(work, "reference", 3)["seconds"] == 8.0
    assert speed.timed_side(work, "ours", 3)["seconds"] == 2.0


def test_a_project_of_one_stage_has_nothing_to_do_the_second_time(monkeypatch):
    ran = []
    monkeypatch.setattr(speed, "elapsed", lambda do: ran.append(do().returncode) or len(ran))
    assert speed.no_op_of_one_stage(1) == {"seconds": 2, "least": 2, "most": 2}
    assert ran == [0, 0]


def test_a_start_that_fails_is_no_start():
    with pytest.raises(subprocess.CalledProcessError):
        speed._starts("import json, sys; sys.exit('json' in sys.modules)", 1)


def test_the_kernels_of_numpy_are_those_of_its_environment():
    command = [sys.executable, "-c", "from benchmarks.speed import kernels; print(kernels())"]
    done = subprocess.run(
        command,
        env={**os.environ, "OPENBLAS_CORETYPE": "Nehalem"},
        cwd=speed.ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() in ("Nehalem", "")  # "": this numpy has no OpenBLAS


def test_the_committed_page_is_of_the_committed_numbers():
    page = bench_report.ROOT / "reports" / "benchmarks.md"
    assert page.read_text(encoding="utf-8") == bench_report.page()
