"""The tables themselves: enough rows, each with another name and an expectation, and every kind of rubbish that people meet."""

from collections import Counter, defaultdict
from pathlib import Path

import pytest

from tests.support.outcomes import Read, Refused, Row, Skipped


@pytest.fixture
def tables(request) -> dict[tuple[str, str], list[Row]]:
    """The rows that this session has collected, by their file and the test that runs them."""
    found = defaultdict(list)
    for item in request.session.items:
        row = item.callspec.params.get("row") if hasattr(item, "callspec") else None
        if isinstance(row, Row):
            found[item.path.name, item.originalname].append(row)
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")} - {"test_tables.py", "test_fuzz.py"}
    if {file for file, _ in found} != files:
        pytest.skip("needs the whole folder")
    return found


def test_there_are_enough_rows_of_each_kind(tables):
    rows = Counter()
    for (file, _), some in tables.items():
        rows[file] += len(some)
    assert rows.total() >= 300
    assert all(count >= 40 for count in rows.values()), rows


def test_every_row_says_what_must_come_of_it(tables):
    for row in (row for rows in tables.values() for row in rows):
        assert isinstance(row.expected, (Refused, Skipped, Read)), row.name
        said = row.expected.value if isinstance(row.expected, Read) else row.expected.words
        assert said is not None and (not isinstance(said, str) or said), row.name


def test_no_two_rows_of_a_table_have_one_name(tables):
    for rows in tables.values():
        assert [name for name, times in Counter(row.name for row in rows).items() if times > 1] == []
