"""Features by their concepts: which of them see what somebody is looking for? No stage of the pipeline."""

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
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


SHOWN = 4  # concepts of a match that are listed


@dataclass(frozen=True)
class Match:
    """A feature or group whose concepts match all the words asked for.

    Attributes
    ----------
    score : of the word that is matched worst, by the best of its concepts.
    concepts : those that match, with their scores, best first.
    """

    encoder: str
    group: str
    members: str
    score: float
    concepts: list[tuple[str, float]]


def run(params: Params, query: str, encoder: str | None, top: int) -> None:
    """Print the features that match, best first.

    Raises
    ------
    UserError
        If nothing is asked for, or of an encoder that does not exist.
    """
    words = query.casefold().split()
    if not words:
        raise UserError("find: give a word or more, such as: find 'striped boat'")
    if encoder is not None and encoder not in params.encoders:
        raise UserError(f"params.yaml: encoders has no {encoder!r}; known are: {', '.join(params.encoders)}")
    names = list(params.encoders) if encoder is None else [encoder]
    tables = {name: _kept(name) for name in names}
    matches = found(words, tables, leading_synonyms())
    _show(matches, top, words, tables.values())


def _kept(encoder: str) -> pd.DataFrame:
    """Kept concepts of an encoder with the members of their groups."""
    concepts = read_table(paths.concepts(encoder) / "concepts.parquet")
    groups = read_table(paths.groups(encoder) / "groups.parquet")[["group", "members"]]
    kept = concepts.loc[concepts["kept"].astype(bool), ["group", "concept", "score"]]
    return kept.merge(groups, on="group", how="inner", sort=False)


def leading_synonyms() -> dict[str, str]:
    """The concept under which the captions' synonyms are counted, by synonym."""
    table = read_table(paths.table("synonyms"))
    rows = table[["concept", "synonyms"]].astype(str).itertuples(index=False)
    return {word.casefold(): row.concept.casefold() for row in rows for word in row.synonyms.split("; ") if word}


def found(words: Sequence[str], tables: Mapping[str, pd.DataFrame], synonyms: Mapping[str, str]) -> list[Match]:
    """Features whose kept concepts match every word, best first.

    Parameters
    ----------
    words : case-folded. One matches a concept that contains it, its lemma, or the concept that leads its synonyms.
    tables : kept concepts by encoder: ``group``, ``members``, ``concept``, ``score``.
    synonyms : leading concept by synonym.
    """
    forms = [_forms(word, synonyms) for word in words]
    matches = [match for name, table in tables.items() for match in _of_encoder(name, table, forms)]
    return sorted(matches, key=lambda match: -match.score)


def _forms(word: str, synonyms: Mapping[str, str]) -> frozenset[str]:
    """What a concept may contain instead of a word."""
    forms = {word, _lemma(word)}
    return frozenset(forms | {synonyms[form] for form in forms if form in synonyms})


@cache
def _lemma(word: str) -> str:
    from falcon_dvc.concepts.words.parsing import lemma

    return lemma(word, "NN")


def _of_encoder(name: str, table: pd.DataFrame, forms: Sequence[frozenset[str]]) -> list[Match]:
    """Matches of one encoder, in the order of its groups."""
    concepts = table["concept"].astype(str).str.casefold()
    hits = [concepts.map(lambda concept, some=some: any(form in concept for form in some)) for some in forms]
    best = [table[hit].groupby("group", sort=False)["score"].max() for hit in hits]
    score = pd.concat(best, axis=1, join="inner").min(axis=1)
    either = table[pd.concat(hits, axis=1).any(axis=1)]
    rows = either.sort_values("score", ascending=False, kind="stable").groupby("group", sort=False)
    matching = {str(group): some for group, some in rows}
    return [_match(name, str(group), float(score[group]), matching[str(group)]) for group in score.index]


def _match(name: str, group: str, score: float, rows: pd.DataFrame) -> Match:
    concepts = [(str(row.concept), float(row.score)) for row in rows.itertuples(index=False)]
    return Match(name, group, str(rows["members"].iloc[0]), score, concepts)


def _show(matches: Sequence[Match], top: int, words: Sequence[str], tables: Iterable[pd.DataFrame]) -> None:
    console = terminal.console()
    if not matches:
        console.print(terminal.plain(_nothing(words, tables)))
        return
    table = terminal.table("feature", "members", "score", "concepts that match", right=("score",))
    for match in matches[:top]:
        concepts = ", ".join(f"{concept} {score:.2f}" for concept, score in match.concepts[:SHOWN])
        name = terminal.plain(f"{match.encoder}:{match.group}")
        table.add_row(name, terminal.plain(match.members), f"{match.score:.2f}", terminal.plain(concepts))
    console.print(table)
    if len(matches) > top:
        console.print(f"{len(matches) - top} more; --top shows them")


def _nothing(words: Sequence[str], tables: Iterable[pd.DataFrame]) -> str:
    """That nothing matches, and which of the words no concept has, with what is close to it."""
    known = sorted(
        {part for table in tables for concept in table["concept"] for part in str(concept).casefold().split()}
    )
    strange = [word for word in words if not any(word in part or _lemma(word) in part for part in known)]
    near = [close for word in strange for close in difflib.get_close_matches(word, known, n=3)]
    advice = f"; close are: {', '.join(dict.fromkeys(near))}" if near else "; fewer words match more"
    return f"No feature has concepts that match {' and '.join(words)}{advice}"
