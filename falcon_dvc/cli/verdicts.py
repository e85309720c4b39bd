"""Read which features and groups of an encoder are explained, without pandas."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace

from falcon_dvc import paths
from falcon_dvc.cli.records import read_records
from falcon_dvc.concepts.words.clarity import NOT_MEASURED, Faithfulness, doubts, read_faithfulness

KINDS = ("feature", "group")  # the other rows of the table are hand-made sets of images


def faithfulness_by_group(encoder: str, group: str | None = None) -> dict[str, Faithfulness]:
    """Read how well the first words of an encoder's features and groups, or of one of them, follow them.

    Raises
    ------
    UserError
        If the table is missing or damaged.
    """
    rows = read_records(paths.EXPLAINED, group=group)
    own = (row for row in rows if row.encoder == encoder and row.kind in KINDS)
    return {str(row.group): read_faithfulness(vars(row)) for row in own}


def explained_groups(encoder: str, kept: Iterable[SimpleNamespace]) -> set[str]:
    """Select the features and groups that are explained.

    Parameters
    ----------
    kept : the kept rows of the encoder's ``concepts.parquet``.

    Raises
    ------
    UserError
        If a table is missing or damaged.
    """
    columns = ["group", "crops", "interpretable"]
    measured = {str(row.group): row for row in read_records(paths.EXPLAINABILITY / f"{encoder}.parquet", columns)}
    faithful = faithfulness_by_group(encoder)
    return {
        group
        for group, first in _first_of_each(kept).items()
        if not _doubts(first, measured.get(group), faithful.get(group, NOT_MEASURED))
    }


def _first_of_each(kept: Iterable[SimpleNamespace]) -> dict[str, SimpleNamespace]:
    """Select the first word of each group, or its first phrase if it has no word."""
    first: dict[str, SimpleNamespace] = {}
    for row in sorted(kept, key=lambda row: (row.kind != "word", row.rank)):
        first.setdefault(str(row.group), row)
    return first


def _doubts(first: SimpleNamespace, measured: SimpleNamespace | None, faithful: Faithfulness) -> list[str]:
    crops, interpretable = (measured.crops, bool(measured.interpretable)) if measured else (0, False)
    return doubts(first, interpretable, crops, faithful)
