"""Write the statements with their figures and verdicts, as a table and as a page."""

from __future__ import annotations

from math import isfinite

import pandas as pd

from falcon_dvc.claims.statements import Ref, Row
from falcon_dvc.claims.verdicts import CLAIMS, Figure

UNMEASURED = "not measured here"
SENTENCES = (("M",), ("C1", "C2"), ("C3",), ("C4", "C5"), ("R",))  # claims of each sentence of the summary
SHORT = {
    "M": "That the measure of what is explained passes its checks (M)",
    "C1": "That few single features can be explained (C1)",
    "C2": "that groups add to their members (C2)",
    "C3": "That contrast removes spurious words (C3)",
    "C4": "That words explain failures and help to repair them (C4)",
    "C5": "that words carry over to another encoder (C5)",
    "R": "That first words are right, and more often than those of other methods (R)",
}
OUTCOMES = {
    "holds": "holds",
    "does not hold": "does not hold",
    "undecided": "is undecided",
    "not testable": "is not testable",
}


def measured(row: Row) -> dict[str, str | float]:
    """Return a statement as a record, or that of the default run; without figures, its verdict is "not measured here"."""
    figure = row.measured.figure()
    other = row.against.figure() if isinstance(row.against, Ref) else row.against
    known = figure is not None and other is not None
    if not known and row.instead is not None:
        return measured(row.instead)
    return {
        "claim": row.claim,
        "statement": row.statement,
        "data": row.data + row.measured.seeds(),
        "measured": _shown(figure),
        "against": _comparison(row, other),
        "verdict": row.verdict(figure, other) if known else UNMEASURED,  # type: ignore[arg-type]
        "file": str(row.measured.file),
        "key": row.measured.key,
        "against_key": row.against.key if isinstance(row.against, Ref) else "",
    }


def _comparison(row: Row, other: Figure | float | None) -> str:
    """Format what a number is compared with."""
    words = {"below": "below ", "at least": "at least ", "positive": "above "}
    return words.get(row.rule, "") + _shown(other)


def _shown(figure: Figure | float | None) -> str:
    """Format a figure with its interval, to three digits."""
    if figure is None:
        return "–"
    if not isinstance(figure, Figure):
        return f"{figure:.3g}"
    has_interval = figure.low != figure.high and isfinite(figure.low)
    interval = f" [{figure.low:.3f}, {figure.high:.3f}]" if has_interval else ""
    return f"{figure.value:.3f}{interval}"


def as_markdown(table: pd.DataFrame) -> str:
    """Format the table as a page: what holds in five sentences, and one table of all statements."""
    head = "| claim | statement | data | measured | comparison | verdict | file: key |"
    lines = [
        "# Claims",
        "",
        *(f"- {sentence}" for sentence in in_short(table)),
        "",
        *_preamble(),
        "",
        head,
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.claim} | {row.statement} | {row.data} | {row.measured} | {row.against} | **{row.verdict}** | `{row.file}`: `{row.key}` |"
        for row in table.itertuples()
    ]
    lines += ["", *(f"- {claim}: {text}" for claim, text in CLAIMS.items())]
    return "\n".join(lines) + "\n"


def in_short(table: pd.DataFrame) -> list[str]:
    """Say in five sentences what holds and what does not, from the verdicts alone."""
    verdicts = {str(claim): list(rows["verdict"]) for claim, rows in table.groupby("claim")}
    return [
        f"{'; '.join(f'{SHORT[claim]} {_outcome(verdicts.get(claim, []))}' for claim in claims)}."
        for claims in SENTENCES
    ]


def _outcome(verdicts: list[str]) -> str:
    """Say what the verdicts of one claim amount to."""
    measured = [verdict for verdict in verdicts if verdict != UNMEASURED]
    if not measured:
        return "was not measured here"
    counts = {verdict: measured.count(verdict) for verdict in OUTCOMES}
    if len(set(measured)) == 1:
        return OUTCOMES[measured[0]] + (f" (all {len(measured)} statements)" if len(measured) > 1 else "")
    parts = [f"{OUTCOMES[verdict]} in {count}" for verdict, count in counts.items() if count]
    return f"{' and '.join(parts)} of {len(measured)} statements"


def _preamble() -> list[str]:
    return [
        "The stage `claims` writes this page from the metrics files in the last column. Brackets hold 95 % intervals.",
        "Over synthetic data sets, the interval is Student's t over data sets. Comparisons on the same items are paired:",
        "the number is the difference, which must be above 0. A verdict needs the whole interval on one side of the limit.",
        "Settings were chosen on other seeds (`docs/results.md`). The reported data sets are in `studies/params.yaml`.",
        "One image-text encoder, trained on another data set, reads all of them. Rows of seed 0 are those of the default",
        "run: they stand where the reported data sets have no number.",
    ]
