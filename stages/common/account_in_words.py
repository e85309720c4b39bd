"""The account of a stage as lines of its log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from stages.common.account import WORTH_SAYING, Account


def lines(stage: str, account: Account) -> Iterator[str]:
    """One line; one more for each input of which so much was dropped that it is worth saying."""
    parts = [("read", _counted(account.read)), ("dropped", _dropped(account)), ("", _counted(account.noted))]
    parts.append(("wrote", _counted(account.wrote)))
    yield f"{stage}: " + "; ".join(f"{verb} {text}".strip() for verb, text in parts if text)
    for what, share in account.shares.items():
        if share > WORTH_SAYING:
            yield f"{stage}: warning: {_percent(share)} of the {what} were dropped ({_counted(account.dropped[what])})"


def _dropped(account: Account) -> str:
    """What was dropped, with its share and the reasons; "nothing" where something could have been."""
    some = [
        f"{sum(reasons.values())} {what} ({_percent(account.shares[what])}): {_counted(reasons)}"
        for what, reasons in account.dropped.items()
        if any(reasons.values())
    ]
    return ", ".join(some) or ("nothing" if account.dropped else "")


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else f"{100 * share:.0f} %"
