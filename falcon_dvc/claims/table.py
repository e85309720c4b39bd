"""Write the statements with their figures and verdicts, as a table and as a page."""

from __future__ import annotations

import pandas as pd

from falcon_dvc.claims.statements import Ref, Row
from falcon_dvc.claims.verdicts import CLAIMS, Figure

UNMEASURED = "not measured here"


def measured(row: Row) -> dict[str, str | float]:
    """Return a statement as a record; without figures, its verdict is "not measured here"."""
    figure = row.measured.figure()
    other = row.against.figure() if isinstance(row.against, Ref) else row.against
    known = figure is not None and other is not None
    return {
        "claim": row.claim,
        "statement": row.statement,
        "data": row.data + row.measured.seeds(),
        "measured": _shown(figure),
        "against": _shown(other),
        "verdict": row.verdict(figure, other) if known else UNMEASURED,  # type: ignore[arg-type]
        "file": str(row.measured.file),
        "key": row.measured.key,
        "against_key": row.against.key if isinstance(row.against, Ref) else "",
    }


def _shown(figure: Figure | float | None) -> str:
    """Format a figure with its interval, to three digits."""
    if figure is None:
        return "–"
    if not isinstance(figure, Figure):
        return f"{figure:.3g}"
    interval = f" [{figure.low:.3f}, {figure.high:.3f}]" if figure.low != figure.high else ""
    return f"{figure.value:.3f}{interval}"


def as_markdown(table: pd.DataFrame) -> str:
    """Format the table as a page, with a section for each claim."""
    lines = ["# Claims\n", *_preamble()]
    for claim, text in CLAIMS.items():
        statements = table[table["claim"] == claim]
        counts = statements["verdict"].value_counts(sort=False)
        lines += [
            f"\n## {claim}: {text}\n",
            "; ".join(f"{verdict}: {count}" for verdict, count in counts.items()) + "\n",
        ]
        lines += ["| statement | data | measured | against | verdict | file: key |", "|---|---|---|---|---|---|"]
        lines += [
            f"| {row.statement} | {row.data} | {row.measured} | {row.against} | **{row.verdict}** | `{row.file}`: `{row.key}` |"
            for row in statements.itertuples()
        ]
    return "\n".join(lines) + "\n"


def _preamble() -> list[str]:
    return [
        "Made by the stage `claims` from the metrics files named in the last column; `dvc.lock` says which stage wrote each, with",
        "which params and inputs (`studies/dvc.lock` for `studies/`, `reports/photos/dvc.lock` for the photographs).",
        "Intervals are 95 %, by bootstrap; over worlds (and features) where several worlds were measured. A verdict needs the whole",
        "interval on one side of the limit, or two intervals that do not overlap; anything else is undecided.",
        "Settings were chosen on seeds 0, 1 and 12 to 16; the five seeds reported (21 to 25) were run once, afterwards. One image-text",
        "encoder, trained on seed 0, reads all worlds, except in the row that says another did. Figures on seed 0 (“embedded world,",
        "seed 0”) are of a seed that settings were chosen on.",
    ]
