"""Summarise what a stage read, dropped and wrote. Every stage returns a summary, and its metrics hold the dropped shares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

WARNING_SHARE = 0.01  # share of an input; a stage that drops more prints a warning


@dataclass(frozen=True)
class StageSummary:
    """The summary of one run of a stage. Its texts come from the program, not from names or captions of the user.

    Attributes
    ----------
    read, wrote : dict of str to int
        Number of items by kind, in the plural ("images", "rows to data/images.parquet").
    dropped : dict of str to dict of str to int
        Number of read items that were not used, by kind and reason.
    noted : dict of str to int
        Number of changes to the items that were kept, by change ("duplicates merged").
    lacking : sequence of str
        What the input lacks, in sentences (`falcon_dvc.artifacts.shortfalls`).

    Raises
    ------
    ValueError
        If more items of a kind were dropped than read.
    """

    read: Mapping[str, int]
    wrote: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    noted: Mapping[str, int] = field(default_factory=dict)
    lacking: Sequence[str] = ()

    def __post_init__(self) -> None:
        for what, reasons in self.dropped.items():
            if sum(reasons.values()) > self.read[what]:
                raise ValueError(f"{sum(reasons.values())} {what} dropped of {self.read[what]}")

    @property
    def shares(self) -> dict[str, float]:
        """The dropped share of each input."""
        return {what: sum(reasons.values()) / max(self.read[what], 1) for what, reasons in self.dropped.items()}

    @property
    def metrics(self) -> dict:
        """The shares as metrics, with a flag if one is larger than `WARNING_SHARE`.

        The shares are always present, so that ``falcon compare`` shows a change. The flag is present only if it is set.
        """
        shares = {what.replace(" ", "_"): share for what, share in self.shares.items()}
        flag = {"dropped_more_than_1_percent": 1} if any(share > WARNING_SHARE for share in shares.values()) else {}
        return {"dropped_share": shares, **flag}


def lines(stage: str, summary: StageSummary) -> Iterator[str]:
    """Yield the summary as one line, then warnings: an input with a dropped share above `WARNING_SHARE`, and what is lacking."""
    clauses = [("read", _counted(summary.read)), ("dropped", _dropped(summary)), ("", _counted(summary.noted))]
    clauses.append(("wrote", _counted(summary.wrote)))
    yield f"{stage}: " + "; ".join(f"{verb} {text}".strip() for verb, text in clauses if text)
    for what, share in summary.shares.items():
        if share > WARNING_SHARE:
            yield f"{stage}: warning: {_percent(share)} of the {what} were dropped ({_counted(summary.dropped[what])})"
    yield from (f"{stage}: {sentence}" for sentence in summary.lacking)


def _dropped(summary: StageSummary) -> str:
    """Describe what was dropped, with shares and reasons; "nothing" if the stage can drop items but did not."""
    descriptions = [
        f"{sum(reasons.values())} {what} ({_percent(summary.shares[what])}): {_counted(reasons)}"
        for what, reasons in summary.dropped.items()
        if any(reasons.values())
    ]
    return ", ".join(descriptions) or ("nothing" if summary.dropped else "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
