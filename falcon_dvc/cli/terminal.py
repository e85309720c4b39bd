"""Text and tables for a terminal: what strangers wrote can neither steer it nor pass for markup."""

import re
import unicodedata
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from falcon_dvc import paths
from falcon_dvc.errors import UserError

WIDE = 120  # columns where no terminal says how many there are
HIDDEN = (
    "Cc",
    "Cs",
    "Zl",
    "Zp",
)  # Unicode categories: controls (escape sequences begin with one), halves of letters, line ends
# Marks that turn the direction of what follows: a line must read as it is written.
DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str, longest: int = 200) -> Text:
    """One line of text without anything that acts on a terminal; never read as rich's markup."""
    visible = "".join(" " if unicodedata.category(letter) in HIDDEN else letter for letter in DIRECTIONS.sub("", text))
    line = " ".join(visible.split())
    return Text(line if len(line) <= longest else line[: longest - 1] + "…")


def console() -> Console:
    """Standard output; without a terminal as wide as a table needs, and without colours."""
    made = Console(highlight=False, markup=False, emoji=False)
    return made if made.is_terminal else Console(highlight=False, markup=False, emoji=False, width=WIDE)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table; columns of `right` hold numbers."""
    made = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)
    return made


def open_page(page: Path, anchor: str = "") -> str:
    """Open a page in the browser.

    Returns
    -------
    Its address, for those who have none here.

    Raises
    ------
    UserError
        If there is no such page yet.
    """
    if not page.is_file():
        raise UserError(f"{page}: not found; `dvc repro` writes the report")
    address = uri(page, anchor)
    webbrowser.open(address)
    return address


REPORT, SITE = paths.REPORTS / "index.html", paths.REPORTS / "site"


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
