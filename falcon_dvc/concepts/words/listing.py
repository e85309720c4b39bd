"""Select the kept words of a table of concepts, as rows, lists and text."""

import pandas as pd


def kept_concepts(table: pd.DataFrame, kind: str = "word", top: int | None = None) -> pd.DataFrame:
    """Select the kept concepts of one kind, by group and rank.

    Parameters
    ----------
    kind : ``word`` or ``phrase``.
    top : last rank (from 1) that is selected; all ranks if not given.
    """
    rows = table[table["kept"] & (table["kind"] == kind) & (table["rank"] <= (top or table["rank"].max()))]
    return rows.sort_values(["group", "rank"], kind="stable")


def listed_words(table: pd.DataFrame, top: int | None = None) -> dict[str, list[str]]:
    """List the kept words of each group, by rank."""
    concepts = kept_concepts(table, top=top).groupby("group", sort=False)["concept"]
    return {group: list(words) for group, words in concepts}


def in_words(table: pd.DataFrame, kind: str = "word") -> pd.Series:
    """Write the kept concepts of each group as text: group -> ``boat:0.91; ship:0.40``."""
    kept = kept_concepts(table, kind)
    text = kept["concept"] + ":" + kept["score"].map("{:.2f}".format)
    return text.groupby(kept["group"], sort=False).agg("; ".join)


def first_concepts(table: pd.DataFrame) -> pd.Series:
    """Return the first kept word of each group."""
    return kept_concepts(table, top=1).set_index("group")["concept"]


def explanations_in_words(groups: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """List each group with members, side (if it has one), support, kept words and phrases, and removed words."""
    removed = table[~table["kept"]].assign(kept=True)
    columns = {"words": in_words(table), "phrases": in_words(table, "phrase"), "removed": in_words(removed)}
    texts = {column: groups["group"].map(text).fillna("") for column, text in columns.items()}
    own = [key for key in ("group", "members", "side", "size", "support") if key in groups]
    return groups[own].assign(**texts)
