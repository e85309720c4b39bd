"""Find features by their concepts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.cli import terminal
from falcon_dvc.cli.errors import require_encoder
from falcon_dvc.concepts.words.clarity import MAY_BE_CHANCE, is_weak
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


SHOWN = 4  # concepts listed of a match


@dataclass(frozen=True)
class Match:
    """A feature or group whose concepts match all words of a query.

    Attributes
    ----------
    score : minimum over the words of the best score of a matching concept.
    concepts : matching concepts with their scores, best first; a weak one has a question mark.
    """

    encoder: str
    group: str
    members: str
    score: float
    concepts: list[tuple[str, float]]


def run(params: Params, query: str, encoder: str | None, top: int) -> None:
    """Print the features that match a query, best first.

    Raises
    ------
    UserError
        If the query is empty, or there is no such encoder.
    """
    words = query.casefold().split()
    if not words:
        raise UserError("find: give a word or more, such as: falcon find striped boat")
    if encoder is not None:
        require_encoder(params, encoder)
    names = list(params.encoders) if encoder is None else [encoder]
    tables = {name: _kept(name) for name in names}
    matches = matching_features(words, tables, leading_synonyms())
    _show(matches, top, words, tables.values())


def _kept(encoder: str) -> pd.DataFrame:
    """Read the kept concepts of an encoder with the members of their groups."""
    concepts = read_table(paths.concepts(encoder) / "concepts.parquet")
    groups = read_table(paths.groups(encoder) / "groups.parquet")[["group", "members"]]
    kept = concepts.loc[concepts["kept"].astype(bool), ["group", "concept", "score", "interval_low", "prior"]]
    return kept.merge(groups, on="group", how="inner", sort=False)


def leading_synonyms() -> dict[str, str]:
    """Read the concept that stands for each synonym of the captions, by synonym."""
    table = read_table(paths.table("synonyms"))
    rows = table[["concept", "synonyms"]].astype(str).itertuples(index=False)
    return {word.casefold(): row.concept.casefold() for row in rows for word in row.synonyms.split("; ") if word}


def matching_features(
    words: Sequence[str], tables: Mapping[str, pd.DataFrame], synonyms: Mapping[str, str]
) -> list[Match]:
    """Find the features whose kept concepts match every word, best first.

    Parameters
    ----------
    words : case-folded. A word matches concepts that contain it, its lemma, or the concept that stands for it.
    tables : kept concepts by encoder: ``group``, ``members``, ``concept``, ``score``, ``interval_low``, ``prior``.
    synonyms : the concept that stands for each synonym.
    """
    forms = [_forms(word, synonyms) for word in words]
    matches = [match for name, table in tables.items() for match in _of_encoder(name, table, forms)]
    return sorted(matches, key=lambda match: -match.score)


def _forms(word: str, synonyms: Mapping[str, str]) -> frozenset[str]:
    """List the forms of a word that a matching concept may contain."""
    forms = {word, _lemma(word)}
    return frozenset(forms | {synonyms[form] for form in forms if form in synonyms})


@cache
def _lemma(word: str) -> str:
    from falcon_dvc.concepts.words.parsing import lemma

    return lemma(word, "NN")


def _of_encoder(name: str, table: pd.DataFrame, forms: Sequence[frozenset[str]]) -> list[Match]:
    """Find the matches of one encoder, in the order of its groups."""
    concepts = table["concept"].astype(str).str.casefold()
    hits = [
        concepts.map(lambda concept, forms_of=forms_of: any(form in concept for form in forms_of)) for forms_of in forms
    ]
    best = [table[hit].groupby("group", sort=False)["score"].max() for hit in hits]
    score = pd.concat(best, axis=1, join="inner").min(axis=1)
    either = table[pd.concat(hits, axis=1).any(axis=1)]
    rows = either.sort_values("score", ascending=False, kind="stable").groupby("group", sort=False)
    matching = {str(group): of_group for group, of_group in rows}
    return [_match(name, str(group), float(score[group]), matching[str(group)]) for group in score.index]


def _match(name: str, group: str, score: float, rows: pd.DataFrame) -> Match:
    concepts = [
        (f"{row.concept}{'?' if is_weak(row.interval_low, row.prior) else ''}", float(row.score))
        for row in rows.itertuples(index=False)
    ]
    return Match(name, group, str(rows["members"].iloc[0]), score, concepts)


def _show(matches: Sequence[Match], top: int, words: Sequence[str], tables: Iterable[pd.DataFrame]) -> None:
    console = terminal.console()
    if not matches:
        console.print(terminal.plain(_no_match(words, tables)))
        return
    table = terminal.table("feature", "members", "score", "concepts that match", right=("score",))
    for match in matches[:top]:
        concepts = ", ".join(f"{concept} {score:.2f}" for concept, score in match.concepts[:SHOWN])
        name = terminal.plain(f"{match.encoder}:{match.group}")
        table.add_row(name, terminal.plain(match.members), f"{match.score:.2f}", terminal.plain(concepts))
    console.print(table)
    if any(concept.endswith("?") for match in matches[:top] for concept, _ in match.concepts[:SHOWN]):
        console.print(MAY_BE_CHANCE)
    if len(matches) > top:
        console.print(f"{len(matches) - top} more; --top shows them")


def _no_match(words: Sequence[str], tables: Iterable[pd.DataFrame]) -> str:
    """State that no feature matches, and suggest known words that are similar."""
    known = sorted(
        {token for table in tables for concept in table["concept"] for token in str(concept).casefold().split()}
    )
    unknown = [word for word in words if not any(word in token or _lemma(word) in token for token in known)]
    similar = [close for word in unknown for close in difflib.get_close_matches(word, known, n=3)]
    advice = f"; close are: {', '.join(dict.fromkeys(similar))}" if similar else "; try fewer words"
    return f"No feature has concepts that match {' and '.join(words)}{advice}"
