"""All that is known of one feature or group, for the terminal. No stage of the pipeline."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table
from falcon_dvc.cli import terminal
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from falcon_dvc.params.schema import Params

CAPTIONED, CAPTIONS = 3, 2  # concepts whose captions are shown, and captions of each


@dataclass(frozen=True)
class Explained:
    """A feature or group.

    Attributes
    ----------
    about : its row of ``groups.parquet``.
    concepts : its rows of ``concepts.parquet``.
    captions : the captions that weigh most for the first concepts, by concept.
    measured : its row of the explainability table; None if it was not measured.
    truth : its row of the truth table; None if none is known.
    """

    encoder: str
    group: str
    about: Any
    concepts: pd.DataFrame
    captions: dict[str, list[str]]
    measured: Any | None
    truth: Any | None


def run(params: Params, target: str, open_it: bool = False) -> None:
    """Print what is known of ``ENCODER:FEATURE``, a number or a group's id; with `open_it` open its page of the report.

    Raises
    ------
    UserError
        If there is no such encoder, feature or page.
    """
    encoder, group = found(params, target)
    if open_it:
        print(terminal.open_page(*terminal.of_feature(encoder, group)))
        return
    show(collect(encoder, group, truth_known=bool(params.worlds)))


def found(params: Params, target: str) -> tuple[str, str]:
    """Encoder and group that ``simclr:3``, ``simclr:f3`` or ``simclr:g3fa09c1e`` means.

    Raises
    ------
    UserError
        If it means none.
    """
    encoder, colon, feature = target.partition(":")
    known = ", ".join(params.encoders)
    if not colon or not feature:
        raise UserError(
            f"{target!r}: write ENCODER:FEATURE, such as {next(iter(params.encoders))}:3; encoders are: {known}"
        )
    if encoder not in params.encoders:
        raise UserError(f"params.yaml: encoders has no {encoder!r}; known are: {known}")
    groups = [str(group) for group in read_table(paths.groups(encoder) / "groups.parquet")["group"]]
    group = f"f{int(feature)}" if feature.isdecimal() and feature.isascii() else feature
    if group not in groups:
        raise UserError(f"{target!r}: {encoder} explains no such feature or group{_nearest(encoder, group, groups)}")
    return encoder, group


def _nearest(encoder: str, group: str, groups: list[str]) -> str:
    """What else there is: ids like it, and how many."""
    close = difflib.get_close_matches(group, groups, n=3)
    near = f"; close are: {', '.join(close)}" if close else ""
    return f" (it fires on too few images, or does not exist){near}; all {len(groups)} are in {paths.table(encoder + '_concepts')}"


def collect(encoder: str, group: str, truth_known: bool) -> Explained:
    """Read what the stages found."""
    concepts = _of(read_table(paths.concepts(encoder) / "concepts.parquet"), group)
    return Explained(
        encoder=encoder,
        group=group,
        about=_row(read_table(paths.groups(encoder) / "groups.parquet"), group),
        concepts=concepts.sort_values(["kept", "kind", "rank"], ascending=[False, False, True], kind="stable"),
        captions=_captions(encoder, group, concepts),
        measured=_row(read_table(paths.EXPLAINABILITY / f"{encoder}.parquet"), group),
        truth=_row(read_table(paths.table(f"{encoder}_truth")), group) if truth_known else None,
    )


def _of(table: pd.DataFrame, group: str) -> pd.DataFrame:
    return table[table["group"] == group]


def _row(table: pd.DataFrame, group: str) -> Any | None:
    """The row of a group, None if there is none."""
    return next(_of(table, group).itertuples(index=False), None)


def _captions(encoder: str, group: str, concepts: pd.DataFrame) -> dict[str, list[str]]:
    """Captions of the first words and the first phrase, by their weight summed over the crops."""
    kept = concepts[concepts["kept"]].sort_values("rank", kind="stable")
    words, phrases = (kept.loc[kept["kind"] == kind, "concept"] for kind in ("word", "phrase"))
    evidence = _of(read_table(paths.concepts(encoder) / "evidence.parquet"), group)
    texts = read_table(paths.CAPTIONS / "captions.parquet").set_index("caption")["text"]
    listed = [*words[: CAPTIONED - 1], *phrases[:1]]
    return {concept: _heaviest(evidence[evidence["concept"] == concept], texts) for concept in listed}


def _heaviest(evidence: pd.DataFrame, texts: pd.Series) -> list[str]:
    """Texts of the captions that weigh most; of equal weight the first of the corpus."""
    weight = evidence.groupby("caption")["weight"].sum().round(9).sort_index()
    first = weight.sort_values(ascending=False, kind="stable").index[:CAPTIONS]
    return [str(texts[caption]) for caption in first if caption in texts.index]


def show(some: Explained) -> None:
    """Print it."""
    console = terminal.console()
    console.print(terminal.plain(f"{some.encoder}:{some.group}: {_members(some.about)}"), style="bold")
    for line in (_coherence(some.measured), _truth(some.truth)):
        console.print(terminal.plain(line))
    kept = some.concepts["kept"].astype(bool)
    if kept.any():
        console.print(_kept(some.concepts[kept]))
    else:
        console.print("The contrast left no concept.")
    if (~kept).any():
        console.print(_removed(some.concepts[~kept]))
    for concept, texts in some.captions.items():
        console.print(terminal.plain(concept), style="italic")
        for text in texts:
            console.print("   ", terminal.plain(text))


def _members(about: Any) -> str:
    if " " not in str(about.members):
        return f"feature {about.members}, fires on {about.support} images"
    members = " + ".join(str(about.members).split())
    return f"features {members}, together on {about.support} images, {about.lift:.1f} x chance"


def _coherence(measured: Any | None) -> str:
    if measured is None:
        return "coherence: not measured"
    verdict = "interpretable" if measured.interpretable else "not interpretable"
    released = "yes" if measured.released_interpretable else "no"
    return (
        f"coherence {measured.coherence:.2f}, z {measured.z:.1f}: {verdict} "
        f"(released rule {measured.released_coherence:.2f}: {released})"
    )


def _truth(truth: Any | None) -> str:
    if truth is None:
        return "truth: not known"
    sees = f"{truth.kind} {truth.value} (r {truth.correlation:.2f})"
    if not truth.clear:
        return f"truth: none that is clear; closest is {sees}"
    verdict = (
        "first concept is right" if truth.hit_first else "right among the first five" if truth.hit_five else "not named"
    )
    return f"truth: {sees}; {verdict}"


def _kept(concepts: pd.DataFrame) -> Table:
    """Words, then phrases; best first."""
    numbers = ("score", "interval", "low", "prior", "crops")
    table = terminal.table("concept", "kind", *numbers, right=numbers)
    for row in concepts.itertuples(index=False):
        interval = f"{row.interval_low:.2f}-{row.interval_high:.2f}"
        values = (f"{row.score:.2f}", interval, f"{row.low_score:.2f}", f"{row.prior:.2f}", str(row.support))
        table.add_row(terminal.plain(str(row.concept), 60), str(row.kind), *values)
    return table


def _removed(concepts: pd.DataFrame) -> Table:
    """What the contrast removed, and why."""
    table = terminal.table("removed", "score", "low", "why", right=("score", "low"))
    for row in concepts[concepts["kind"] == "word"].itertuples(index=False):
        concept, reason = terminal.plain(str(row.concept), 60), terminal.plain(str(row.reason), 100)
        table.add_row(concept, f"{row.score:.2f}", f"{row.low_score:.2f}", reason)
    return table
