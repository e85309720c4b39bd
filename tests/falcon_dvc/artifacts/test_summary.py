"""The account of a stage: shares, the flag beyond 1 %, and what the log says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.artifacts.summary import StageSummary, lines

COUNTS = st.integers(0, 10_000)


def of_images(read: int, *dropped: int) -> StageSummary:
    reasons = {f"reason {number}": count for number, count in enumerate(dropped)}
    return StageSummary(
        {"probe images": read}, {"rows to data/images.parquet": read - sum(dropped)}, {"probe images": reasons}
    )


@given(COUNTS, COUNTS, COUNTS)
def test_the_share_is_always_there_and_the_flag_beyond_1_percent(kept, first, second):
    read = kept + first + second
    metrics = of_images(read, first, second).metrics
    share = metrics.pop("dropped_share")["probe_images"]
    assert share * read == pytest.approx(first + second)
    assert metrics == ({"dropped_more_than_1_percent": 1} if 100 * (first + second) > read else {})


@given(COUNTS, COUNTS)
def test_it_is_said_by_a_line_of_its_own(kept, dropped):
    said = list(lines("stage", of_images(kept + dropped, dropped)))
    assert len(said) == 1 + (100 * dropped > kept + dropped)
    assert all(line.startswith("stage: ") and "\n" not in line for line in said)


def test_the_lines_as_people_read_them():
    images = StageSummary({"images": 1000}, {"rows to data/images.parquet": 997}, {"images": {"cannot be read": 3}})
    assert list(lines("collect_images", images)) == [
        "collect_images: read 1000 images; dropped 3 images (0.3 %): 3 cannot be read; wrote 997 rows to data/images.parquet"
    ]
    some = StageSummary(
        {"captions": 40},
        {"rows": 30},
        {"captions": {"without text": 4, "without words": 0}},
        {"merged with another": 6},
    )
    assert list(lines("s e", some)) == [
        "s e: read 40 captions; dropped 4 captions (10 %): 4 without text; 6 merged with another; wrote 30 rows",
        "s e: warning: 10 % of the captions were dropped (4 without text)",
    ]


def test_nothing_dropped_is_said_where_something_could_have_been():
    assert list(lines("s", of_images(5, 0))) == [
        "s: read 5 probe images; dropped nothing; wrote 5 rows to data/images.parquet"
    ]
    assert list(lines("s", StageSummary({"images": 5}, {"models": 1}))) == ["s: read 5 images; wrote 1 models"]


def test_no_more_is_dropped_than_was_read():
    with pytest.raises(ValueError, match="3 probe images dropped of 2"):
        of_images(2, 3)


def test_all_of_it_is_100_percent():
    assert "100 %" in next(lines("s", of_images(5, 5)))
    assert of_images(0, 0).shares == {"probe images": 0}
