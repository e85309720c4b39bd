"""The page of benchmarks is written from the files that are there."""

from benchmarks import bench_report
from benchmarks.bench_report import WAITING, waiting

SPREAD = {"least": 1.0, "most": 1.0}
WHOLE_RUN = {"cores": 2, "before_commit": "abc", "before": [300.0, 320.0, 310.0], "now": [150.0, 160.0, 155.0]}
PROFILE = {
    "stages": {
        "one": {"seconds": 8.0, "shares": {"starting": 0.05, "files": 0.05, "computing": 0.9}},
        "two": {"seconds": 2.0, "shares": {"starting": 0.5, "files": 0.1, "computing": 0.4}},
    }
}


def lines(**files):
    return list(waiting(files))[3:]


def test_a_row_tells_what_was_measured_and_whether_the_aim_is_met():
    (met,) = lines(whole_run=WHOLE_RUN)
    assert "155 s, before 310 s: 2.00 times as fast" in met and "| met |" in met
    (missed,) = lines(whole_run=WHOLE_RUN | {"now": [156.0]})
    assert "**missed**" in missed


def test_the_share_of_starts_is_weighted_by_the_seconds():
    (row,) = lines(profile=PROFILE)
    assert "| 14.0% | 10 % | **missed** |" in row


def test_nothing_to_do_is_compared_with_one_stage():
    seconds = {"no_op": 1.4, "no_op_of_one_stage": 1.0, "no_op_of_small_stages": 1.2}
    found = {name: {"seconds": value, **SPREAD} for name, value in seconds.items()}
    found["no_op_of_small_stages"]["stages"] = 67
    (row,) = lines(speed=found)
    assert "1.40 s, 1.4 times that of one stage" in row and "| met |" in row and "67 stages" in row


def test_a_product_that_both_sides_compute_bounds_the_gain():
    work = {"reference": {"seconds": 8.0}, "ours": {"seconds": 4.0}, "times_faster": 2.0}
    (row,) = lines(speed={"captions": work, "product": {"numpy": {"seconds": 5.0}, "torch": {"seconds": 4.0}}})
    assert "2.00 times as fast" in row and "at most 2.0 times" in row


def test_files_that_are_not_there_have_no_row():
    assert lines() == [] and lines(cluster={}) == []


def test_every_committed_file_has_its_place_on_the_page():
    page = (bench_report.ROOT / "reports" / "benchmarks.md").read_text(encoding="utf-8")
    assert page == bench_report.page()
    named = {path.stem for path in bench_report.FOLDER.glob("*.json")}
    assert named - {"rates"} <= bench_report.PARTS.keys() | WAITING.keys()
