"""Read the words that share a concept with the word that names it."""

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table


def read_synonyms() -> dict[str, list[str]]:
    """Read the other words of each concept of several words, by the concept.

    Raises
    ------
    UserError
        If the table is missing.
    """
    table = read_table(paths.table("synonyms"))[["concept", "synonyms"]].astype(str)
    return {row.concept: row.synonyms.split("; ") for row in table.itertuples(index=False)}
