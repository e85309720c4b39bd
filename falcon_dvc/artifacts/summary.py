"""What a stage read, dropped and wrote, in numbers: every stage returns it, and its metrics carry the share that it dropped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

WORTH_SAYING = 0.01  # share of an input; a stage that drops more of it says so


@dataclass(frozen=True)
class StageSummary:
    """The summary of one run of a stage; texts are the program's own, never a name or a caption.

    Attributes
    ----------
    read, wrote : what, in the plural ("images", "rows to data/images.parquet"), and how many.
    dropped : of what was read, how many had no part in what was written, by reason.
    noted : what happened to what was kept ("duplicates merged"), and how often.

    Raises
    ------
    ValueError
        If more of something was dropped than read.
    """

    read: Mapping[str, int]
    wrote: Mapping[str, int]
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    noted: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, reasons in self.dropped.items():
            if sum(reasons.values()) > self.read[what]:
                raise ValueError(f"{sum(reasons.values())} {what} dropped of {self.read[what]}")

    @property
    def shares(self) -> dict[str, float]:
        """The share of each input that was dropped."""
        return {what: sum(reasons.values()) / max(self.read[what], 1) for what, reasons in self.dropped.items()}

    @property
    def metrics(self) -> dict:
        """Those shares as metrics, with a flag if one is worth saying.

        The shares are always there, so that ``dvc metrics diff`` shows a change; the flag only when it is up, so that it shows itself.
        """
        shares = {what.replace(" ", "_"): share for what, share in self.shares.items()}
        flag = {"dropped_more_than_1_percent": 1} if any(share > WORTH_SAYING for share in shares.values()) else {}
        return {"dropped_share": shares, **flag}


def lines(stage: str, summary: StageSummary) -> Iterator[str]:
    """One line; one more for each input of which so much was dropped that it is worth saying."""
    parts = [("read", _counted(summary.read)), ("dropped", _dropped(summary)), ("", _counted(summary.noted))]
    parts.append(("wrote", _counted(summary.wrote)))
    yield f"{stage}: " + "; ".join(f"{verb} {text}".strip() for verb, text in parts if text)
    for what, share in summary.shares.items():
        if share > WORTH_SAYING:
            yield f"{stage}: warning: {_percent(share)} of the {what} were dropped ({_counted(summary.dropped[what])})"


def _dropped(summary: StageSummary) -> str:
    """What was dropped, with its share and the reasons; "nothing" where something could have been."""
    some = [
        f"{sum(reasons.values())} {what} ({_percent(summary.shares[what])}): {_counted(reasons)}"
        for what, reasons in summary.dropped.items()
        if any(reasons.values())
    ]
    return ", ".join(some) or ("nothing" if summary.dropped else "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
