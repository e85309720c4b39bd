"""Find features by their concepts."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from falcon_dvc import paths
from falcon_dvc.cli import terminal
from falcon_dvc.cli.errors import require_encoder
from falcon_dvc.cli.records import read_records
from falcon_dvc.cli.verdicts import explained_groups
from falcon_dvc.concepts.words.clarity import MAY_BE_CHANCE
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from falcon_dvc.params.keys import Keys


SHOWN = 4  # concepts listed of a match
SENTENCE = 26  # characters of what a feature follows


@dataclass(frozen=True)
class Match:
    """A feature or group whose concepts match all words of a query.

    Attributes
    ----------
    explained : whether its words can be trusted.
    score : minimum over the words of the best score of a matching concept.
    concepts : matching concepts with their scores, best first; a weak one has a question mark.
    follows : the words that the feature follows, as a sentence; "" for a group of several features.
    """

    encoder: str
    group: str
    members: str
    explained: bool
    score: float
    concepts: list[tuple[str, float]]
    follows: str = ""


def run(params: Keys, query: str, encoder: str | None, top: int) -> None:
    """Print the features that match a query, best first.

    Raises
    ------
    UserError
        If the query is empty, or there is no such encoder.
    """
    words = unicodedata.normalize("NFC", query).split()
    if not words:
        raise UserError("find: give a word or more, such as: falcon find striped boat")
    if encoder is not None:
        require_encoder(params, encoder)
    names = [name for name in params.encoders if name not in params.controls] if encoder is None else [encoder]
    tables = {name: _kept(name) for name in names}
    matches = matching_features(words, tables, leading_synonyms(), params.language)
    follows = {name: _sentences(name) for name in {match.encoder for match in matches[:top]}}
    shown = [replace(match, follows=follows[match.encoder].get(match.group, "")) for match in matches[:top]]
    _show(shown, len(matches), _no_match(words, tables.values(), params.language) if not matches else "")


@dataclass(frozen=True)
class Concept:
    """A kept concept of a feature or group, and whether that is explained."""

    group: str
    members: str
    explained: bool
    concept: str
    score: float
    weak: bool


def _kept(encoder: str) -> list[Concept]:
    """Read the kept concepts of an encoder with the members of their groups."""
    groups = read_records(paths.groups(encoder) / "groups.parquet", ["group", "members"])
    members = {str(row.group): str(row.members) for row in groups}
    columns = ["group", "kind", "rank", "concept", "score", "kept", "interval_low", "interval_high", "prior", "weak"]
    rows = read_records(paths.concepts(encoder) / "concepts.parquet", columns)
    kept = [row for row in rows if row.kept and str(row.group) in members]
    explained = explained_groups(encoder, kept)
    return [_concept(row, members[str(row.group)], str(row.group) in explained) for row in kept]


def _sentences(encoder: str) -> dict[str, str]:
    """Read what the features of an encoder follow, by feature."""
    rows = read_records(paths.table(f"{encoder}_word_sets"), ["group", "sentence"])
    return {str(row.group): str(row.sentence) for row in rows}


def _concept(row: Any, members: str, explained: bool) -> Concept:
    return Concept(str(row.group), members, explained, str(row.concept), float(row.score), bool(row.weak))


def leading_synonyms() -> dict[str, str]:
    """Read the concept that stands for each synonym of the captions, by synonym."""
    rows = read_records(paths.table("synonyms"), ["concept", "synonyms"])
    return {word.casefold(): row.concept.casefold() for row in rows for word in row.synonyms.split("; ") if word}


def matching_features(
    words: Sequence[str], tables: Mapping[str, Sequence[Concept]], synonyms: Mapping[str, str], language: str = "en"
) -> list[Match]:
    """Find the features whose kept concepts match every word, best first.

    Parameters
    ----------
    words : a word matches concepts that contain it, its lemma, or the concept that stands for it, in any case. A word that
        is a concept is its own lemma, as the captions were parsed into lemmas.
    tables : kept concepts by encoder.
    synonyms : the concept that stands for each synonym.
    language : code of the language of the captions.
    """
    names = {concept.concept for table in tables.values() for concept in table}
    lemmas = {name.casefold() for name in names} | set(synonyms)
    forms = [_forms(word, synonyms, lemmas, language) for word in words]
    # Thousands of features share few concepts, so each concept is compared once.
    with_word = [{name for name in names if _contains(name.casefold(), forms_of)} for forms_of in forms]
    matches = [match for name, table in tables.items() for match in _of_encoder(name, table, with_word)]
    return sorted(matches, key=lambda match: -match.score)


def _forms(word: str, synonyms: Mapping[str, str], lemmas: Set[str], language: str) -> frozenset[str]:
    """List the forms of a word that a matching concept may contain."""
    low = word.casefold()
    forms = (
        {low} if low in lemmas else {low, _lemma(word, language)}
    )  # the dictionary takes a third of a second to load
    return frozenset(forms | {synonyms[form] for form in forms if form in synonyms})


@cache
def _lemma(word: str, language: str) -> str:
    from falcon_dvc.concepts.words.parsing import known_form, respelled

    return known_form(word, language).casefold() if respelled(word, language).strip() else ""


def _of_encoder(name: str, concepts: Iterable[Concept], with_word: Sequence[Set[str]]) -> list[Match]:
    """Find the matches of one encoder, in the order of its groups. `with_word` has the concepts that match each word."""
    wanted: Set[str] = frozenset().union(*with_word)
    groups: dict[str, list[Concept]] = {}
    for concept in concepts:
        if concept.concept in wanted:
            groups.setdefault(concept.group, []).append(concept)
    matches = (_match(name, of_group, with_word) for of_group in groups.values())
    return [match for match in matches if match]


def _match(name: str, concepts: Sequence[Concept], with_word: Sequence[Set[str]]) -> Match | None:
    """Match the concepts of one group that match any word; None if a word matches none of them."""
    matching = [[each.score for each in concepts if each.concept in names] for names in with_word]
    if not all(matching):
        return None
    score = min(max(scores) for scores in matching)
    best_first = sorted(concepts, key=attrgetter("score"), reverse=True)
    listed = [(f"{each.concept}{'?' if each.weak else ''}", each.score) for each in best_first]
    return Match(name, concepts[0].group, concepts[0].members, concepts[0].explained, score, listed)


def _contains(concept: str, forms: Iterable[str]) -> bool:
    return any(form in concept for form in forms)


def _show(matches: Sequence[Match], count: int, instead: str) -> None:
    """Print the best of `count` matches."""
    console = terminal.console()
    if not matches:
        console.print(terminal.plain(instead))
        return
    columns = ("feature", "members", "explained", "score", "concepts that match", "follows")
    table = terminal.table(*columns, right=("score",))
    for match in matches:
        concepts = ", ".join(f"{concept} {score:.2f}" for concept, score in match.concepts[:SHOWN])
        name = terminal.plain(f"{match.encoder}:{match.group}")
        texts = (terminal.plain(concepts), terminal.plain(match.follows, SENTENCE))
        table.add_row(
            name, terminal.plain(match.members), "yes" if match.explained else "no", f"{match.score:.2f}", *texts
        )
    console.print(table)
    if any(concept.endswith("?") for match in matches for concept, _ in match.concepts[:SHOWN]):
        console.print(MAY_BE_CHANCE)
    if count > len(matches):
        console.print(f"{count - len(matches)} more; --top shows them")


def _no_match(words: Sequence[str], tables: Iterable[Sequence[Concept]], language: str) -> str:
    """State that no feature matches, and suggest known words that are similar."""
    known = sorted({token for table in tables for concept in table for token in concept.concept.casefold().split()})
    forms = {word: (word.casefold(), _lemma(word, language)) for word in words}
    unknown = [word for word in words if not any(form in token for form in forms[word] for token in known)]
    similar = [close for word in unknown for close in difflib.get_close_matches(word.casefold(), known, n=3)]
    advice = f"; close are: {', '.join(dict.fromkeys(similar))}" if similar else "; try fewer words"
    return f"No feature has concepts that match {' and '.join(words)}{advice}"
