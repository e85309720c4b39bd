"""The tables themselves: enough rows, each with another name and an expectation, and every kind of rubbish that people meet."""

from collections import Counter

from tests.malformed_inputs import (
    test_artifacts,
    test_captions,
    test_checkpoints,
    test_embeddings,
    test_images,
    test_names,
    test_params,
)
from tests.support.outcomes import Read, Refused, Row, Skipped

MODULES = (test_artifacts, test_captions, test_checkpoints, test_embeddings, test_images, test_names, test_params)


def tables_of(module) -> dict[str, list[Row]]:
    """The tables of a module by their names."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, list) and value and isinstance(value[0], Row)
    }


TABLES = {module.__name__.rpartition(".test_")[2]: tables_of(module) for module in MODULES}
ROWS = {module: [row for rows in tables.values() for row in rows] for module, tables in TABLES.items()}


def test_there_are_enough_rows_of_each_kind():
    assert sum(map(len, ROWS.values())) >= 300
    assert all(len(rows) >= 40 for rows in ROWS.values()), {name: len(rows) for name, rows in ROWS.items()}


def test_every_row_says_what_must_come_of_it():
    for row in (row for rows in ROWS.values() for row in rows):
        assert isinstance(row.expected, (Refused, Skipped, Read)), row.name
        said = row.expected.value if isinstance(row.expected, Read) else row.expected.words
        assert said is not None and (not isinstance(said, str) or said), row.name


def test_no_two_rows_of_a_table_have_one_name():
    for rows in (rows for tables in TABLES.values() for rows in tables.values()):
        assert [name for name, times in Counter(row.name for row in rows).items() if times > 1] == []
