"""Print the explanation of one feature or group in the terminal."""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from falcon_dvc import paths
from falcon_dvc.activations.parts import PLACES
from falcon_dvc.cli import terminal
from falcon_dvc.cli.errors import require_encoder
from falcon_dvc.cli.records import read_records
from falcon_dvc.cli.verdicts import faithfulness_by_group
from falcon_dvc.concepts.words.clarity import MAY_BE_CHANCE, NOT_MEASURED, Faithfulness, doubts
from falcon_dvc.concepts.words.sentences import PAIR_COLUMNS, SET_COLUMNS, Together, pairs_of, words_of_set
from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from rich.table import Table

    from falcon_dvc.params.keys import Keys

CONCEPTS, CAPTIONS = 3, 2  # concepts that are shown with captions, and captions of each


@dataclass(frozen=True)
class FeatureExplanation:
    """The explanation of a feature or group.

    Attributes
    ----------
    row : its row of ``groups.parquet``.
    concepts : its rows of ``concepts.parquet``, the kept ones first, words before phrases, by rank.
    captions : captions with the largest weights for the first concepts, by concept.
    faithfulness : how well its first word follows it on held-out images.
    follows : its row of the table of word sets; None for a group of several features.
    together : what it follows with another feature, or what its two members follow together.
    measured : its row of the explainability table; None if it was not measured.
    truth : its row of the truth table; None if the truth is not known.
    quantiles : its rows of the table of quantiles, the largest activations first; empty for a group.
    """

    encoder: str
    group: str
    row: Any
    concepts: list[SimpleNamespace]
    captions: dict[str, list[str]]
    faithfulness: Faithfulness
    follows: SimpleNamespace | None
    together: list[Together]
    measured: Any | None
    truth: Any | None
    quantiles: list[SimpleNamespace]


def run(params: Keys, target: str, open_it: bool = False) -> None:
    """Print the explanation of ``ENCODER:FEATURE``, or open its page of the report if `open_it`.

    Raises
    ------
    UserError
        If there is no such encoder, feature or page.
    """
    encoder, group = parse_target(params, target)
    if open_it:
        print(terminal.open_page(*terminal.of_feature(encoder, group)))
        return
    show(collect(encoder, group, truth_known=bool(params.worlds)))


def parse_target(params: Keys, target: str) -> tuple[str, str]:
    """Return the encoder and the group that ``simclr:3``, ``simclr:f3`` or ``simclr:g3fa09c1e`` names.

    Raises
    ------
    UserError
        If there is no such encoder or group.
    """
    encoder, colon, feature = target.partition(":")
    if not colon or not feature:
        raise UserError(
            f"{target!r}: write ENCODER:FEATURE, such as {next(iter(params.encoders))}:3; "
            f"encoders are: {', '.join(params.encoders)}"
        )
    require_encoder(params, encoder)
    groups = [str(row.group) for row in read_records(paths.groups(encoder) / "groups.parquet", ["group"])]
    group = f"f{int(feature)}" if feature.isdecimal() and feature.isascii() else feature
    if group not in groups:
        raise UserError(
            f"{target!r}: {encoder} has no such feature or group{_suggestions(params, encoder, group, groups)}"
        )
    return encoder, group


def _suggestions(params: Keys, encoder: str, group: str, groups: list[str]) -> str:
    """Give possible reasons, similar ids, and the table with all of them."""
    chosen = encoder in params.chosen
    why = f"encoders.{encoder}.features may not choose it, or it fires" if chosen else "it may fire"
    close = difflib.get_close_matches(group, groups, n=3)
    near = f"; close are: {', '.join(close)}" if close else ""
    return f" ({why} on too few images){near}; all {len(groups)} are in {paths.table(encoder + '_concepts')}"


def collect(encoder: str, group: str, truth_known: bool) -> FeatureExplanation:
    """Read the results of a feature or group from the artefacts of the stages."""
    concepts = read_records(paths.concepts(encoder) / "concepts.parquet", group=group)
    concepts.sort(key=lambda row: (not row.kept, row.kind != "word", row.rank))
    row = _row(paths.groups(encoder) / "groups.parquet", group)
    pairs = map(vars, read_records(paths.table(f"{encoder}_pairs"), PAIR_COLUMNS))
    return FeatureExplanation(
        encoder=encoder,
        group=group,
        row=row,
        concepts=concepts,
        captions=_captions(encoder, group, concepts),
        faithfulness=faithfulness_by_group(encoder, group).get(group, NOT_MEASURED),
        follows=_row(paths.table(f"{encoder}_word_sets"), group, ["group", "sentence", *SET_COLUMNS]),
        together=pairs_of(pairs, str(row.members)) if row else [],
        measured=_row(paths.EXPLAINABILITY / f"{encoder}.parquet", group),
        truth=_row(paths.table(f"{encoder}_truth"), group) if truth_known else None,
        quantiles=read_records(paths.table(f"{encoder}_quantiles"), group=group),
    )


def _row(path: Path, group: str, columns: Sequence[str] = ()) -> Any | None:
    """Return the row of a group in a table; None if there is none."""
    return next(iter(read_records(path, columns, group)), None)


def _captions(encoder: str, group: str, concepts: Sequence[SimpleNamespace]) -> dict[str, list[str]]:
    """Select captions of the first words and of the first phrase, by weight summed over the crops."""
    words, phrases = ([row.concept for row in concepts if row.kept and row.kind == kind] for kind in ("word", "phrase"))
    columns = ["group", "concept", "caption", "weight"]
    evidence = read_records(paths.concepts(encoder) / "evidence.parquet", columns, group)
    texts = {row.caption: row.text for row in read_records(paths.CAPTIONS / "captions.parquet", ["caption", "text"])}
    listed = [*words[: CONCEPTS - 1], *phrases[:1]]
    return {concept: _heaviest([row for row in evidence if row.concept == concept], texts) for concept in listed}


def _heaviest(evidence: Sequence[SimpleNamespace], texts: dict[int, str]) -> list[str]:
    """Select the texts with the largest weights; equal weights in the order of the corpus."""
    weights: defaultdict[int, float] = defaultdict(float)
    for row in evidence:
        weights[row.caption] += row.weight
    first = sorted(weights, key=lambda caption: (-round(weights[caption], 9), caption))[:CAPTIONS]
    return [str(texts[caption]) for caption in first if caption in texts]


def show(explanation: FeatureExplanation) -> None:
    """Print an explanation."""
    console = terminal.console()
    console.print(
        terminal.plain(f"{explanation.encoder}:{explanation.group}: {_members(explanation.row)}"), style="bold"
    )
    measured = (
        *_follows(explanation.follows),
        *(line for pair in explanation.together for line in (pair.text, pair.of_gain)),
        _faithfulness(explanation.faithfulness),
        _coherence(explanation.measured),
        _truth(explanation.truth),
    )
    for line in (*measured, *_below_maximum(explanation.quantiles), *_doubts(explanation)):
        console.print(terminal.plain(line))
    kept = [row for row in explanation.concepts if row.kept]
    removed = [row for row in explanation.concepts if not row.kept]
    if kept:
        console.print(_kept(kept))
    else:
        console.print("No concept is left.")
    if removed:
        console.print(_removed(removed))
    for concept, texts in explanation.captions.items():
        console.print(terminal.plain(concept), style="italic")
        for text in texts:
            console.print("   ", terminal.plain(text))


def _members(row: Any) -> str:
    if " " not in str(row.members):
        opposite = getattr(row, "opposite", "")
        side = f" ({row.side} side; the other side is {opposite})" if opposite else ""
        return f"feature {row.members}{side}, fires on {row.support} images"
    members = " + ".join(str(row.members).split())
    return f"features {members}, together on {row.support} images, {row.lift:.1f} x chance"


def _follows(row: SimpleNamespace | None) -> list[str]:
    """State the words that the feature follows, and what each adds to R² on images that did not choose it."""
    if row is None:
        return []
    if not row.sentence:
        return ["follows nothing that single words name"]
    gains = ", ".join(
        f"{'' if one.raises else 'not '}{one.word} {one.gain:.2f} ({one.low:.2f}-{one.high:.2f})"
        for one in words_of_set(vars(row))
    )
    return [f"follows: {row.sentence}", f"gain in R² of each word: {gains}"]


def _faithfulness(found: Faithfulness) -> str:
    """State the correlation of the first word with the group, what it is compared with, and the verdict."""
    if not found.measured:
        return f"first word on held-out images: not measured, {found.no_verdict}"
    level = f", copies with random weights {found.level:.2f}" if found.level == found.level else ""
    p_value = f", p {found.p_value:.2g}" if found.p_value == found.p_value else ""
    verdict = f"no verdict, {found.no_verdict}"
    if found.verdict is not None:
        verdict = "explained" if found.verdict else "not explained"
    interval = f"{found.low:.2f}-{found.high:.2f}"
    return f"first word on held-out images: r {found.correlation:.2f} ({interval}){level}{p_value}: {verdict}"


def _coherence(measured: Any | None) -> str:
    if measured is None:
        return "coherence: not measured"
    verdict = "interpretable" if measured.interpretable else "not interpretable"
    released = "yes" if measured.released_interpretable else "no"
    return (
        f"coherence {measured.coherence:.2f}, z {measured.z:.1f}: {verdict} "
        f"(released rule {measured.released_coherence:.2f}: {released})"
    )


def _below_maximum(quantiles: Sequence[SimpleNamespace]) -> list[str]:
    """State how often the feature is not 0, and the mean score of the first word by part of the activations."""
    if not quantiles:
        return []
    first = quantiles[0]
    share = float(first.frequency)
    often = f"active on {100 * share:.3g} % of the images" if share else "active on no image"
    if not first.holds_to:
        return [often]
    percentile = int(float(first.holds_to))
    holds = {100: "does not hold in the top decile", 0: "holds wherever the feature is active"}
    said = holds.get(percentile, f"holds down to the {percentile}th percentile of the activations")
    parts = [f"{float(row.score):.2f} {PLACES[row.part]}" for row in quantiles if row.score]
    scores = f"its score: {', '.join(parts)}; on all images {float(first.chance):.2f}"
    return [often, f"below the maximum: the first word {said}", scores]


def _doubts(explanation: FeatureExplanation) -> list[str]:
    """Say why the group is not explained, and what the question marks mean."""
    rows = [row for row in explanation.concepts if row.kept]
    found = []
    measured, faithful = explanation.measured, explanation.faithfulness
    if measured is not None or faithful.verdict is not None:
        interpretable, crops = (bool(measured.interpretable), measured.crops) if measured is not None else (False, 0)
        reasons = doubts(next(iter(rows), None), interpretable, crops, faithful)
        found += [f"not explained: {' '.join(reasons)}"] if reasons else []
    if any(row.weak for row in rows):
        found.append(MAY_BE_CHANCE)
    return found


def _truth(truth: Any | None) -> str:
    if truth is None:
        return "truth: not known"
    attribute = f"{truth.kind} {truth.value} (r {float(truth.correlation):.2f})"
    if not truth.clear:
        return f"truth: none that is clear; closest is {attribute}"
    verdict = (
        "first concept is right" if truth.hit_first else "right among the first five" if truth.hit_five else "not named"
    )
    return f"truth: {attribute}; {verdict}"


def _kept(concepts: Sequence[SimpleNamespace]) -> Table:
    """Tabulate the kept concepts: words, then phrases, best first."""
    ranked = ("value",) if any(row.value != row.score for row in concepts) else ()  # Eq. 1 ranks by the score itself
    numbers = (*ranked, "score", "interval", "low", "prior", "crops")
    table = terminal.table("concept", "kind", *numbers, right=numbers)
    for row in concepts:
        interval = f"{row.interval_low:.2f}-{row.interval_high:.2f}" if row.interval_low == row.interval_low else ""
        value = [f"{row.value:.2f}"] if ranked else []
        values = (*value, f"{row.score:.2f}", interval, f"{row.low_score:.2f}", f"{row.prior:.2f}", str(row.support))
        concept = terminal.plain(str(row.concept), 60).append("?" if row.weak else "")
        table.add_row(concept, str(row.kind), *values)
    return table


def _removed(concepts: Sequence[SimpleNamespace]) -> Table:
    """Tabulate the words that the contrast removed, with the reasons."""
    table = terminal.table("removed", "score", "low", "why", right=("score", "low"))
    for row in (row for row in concepts if row.kind == "word"):
        concept, reason = terminal.plain(str(row.concept), 60), terminal.plain(str(row.reason), 100)
        table.add_row(concept, f"{row.score:.2f}", f"{row.low_score:.2f}", reason)
    return table
