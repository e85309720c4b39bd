"""Where the report shows a feature; the one place that knows it."""

from pathlib import Path
from urllib.parse import quote

from stages.common import files

REPORT, SITE = files.REPORTS / "index.html", files.REPORTS / "site"


def report() -> Path:
    """The page that the report starts with."""
    return REPORT


def of_feature(encoder: str, group: str) -> tuple[Path, str]:
    """File and anchor of a feature or group: a page of its own if the report has one, else its place in the one page."""
    own = SITE / encoder / f"{group}.html"
    return (own, "") if own.is_file() else (REPORT, f"{encoder}-{group}")


def uri(page: Path, anchor: str = "") -> str:
    """A page's address for a browser on this machine."""
    return page.resolve().as_uri() + (f"#{quote(anchor)}" if anchor else "")
