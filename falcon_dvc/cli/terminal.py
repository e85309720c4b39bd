"""Text, tables and pages for a terminal. Untrusted text cannot control the terminal, and is not read as markup."""

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

REPORT, SITE = paths.REPORTS / "index.html", paths.REPORTS / "site"
WIDTH = 120  # columns if the output is not a terminal
# Unicode categories: control characters (which start escape sequences), surrogates, line and paragraph separators.
HIDDEN = ("Cc", "Cs", "Zl", "Zp")
# Marks that change the direction of the text after them: a line must be shown in the order of its characters.
DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(text: str, longest: int = 200) -> Text:
    """Make one line of text without characters that control a terminal; rich does not read markup in it."""
    visible = "".join(" " if unicodedata.category(letter) in HIDDEN else letter for letter in DIRECTIONS.sub("", text))
    line = " ".join(visible.split())
    return Text(line if len(line) <= longest else line[: longest - 1] + "…")


def console() -> Console:
    """Open the standard output; if it is not a terminal, it is as wide as a table needs and has no colours."""
    terminal = Console(highlight=False, markup=False, emoji=False)
    return terminal if terminal.is_terminal else Console(highlight=False, markup=False, emoji=False, width=WIDTH)


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """Make an empty table; the columns in `right` hold numbers."""
    empty = Table(box=box.SIMPLE, pad_edge=False)
    for column in columns:
        empty.add_column(column, justify="right" if column in right else "left", no_wrap=column in right)
    return empty


def open_page(page: Path, anchor: str = "") -> str:
    """Open a page in the browser.

    Returns
    -------
    Its address, for users without a browser on this machine.

    Raises
    ------
    UserError
        If there is no such page.
    """
    if not page.is_file():
        raise UserError(f"{page}: not found; `dvc repro` writes the report")
    address = uri(page, anchor)
    webbrowser.open(address)
    return address


def report() -> Path:
    """Return the first page of the report."""
    return REPORT


def of_feature(encoder: str, group: str) -> tuple[Path, str]:
    """Return the file and the anchor of a feature or group: a page of its own, or its place on the first page."""
    page = SITE / encoder / f"{group}.html"
    return (page, "") if page.is_file() else (REPORT, f"{encoder}-{group}")


def uri(page: Path, anchor: str = "") -> str:
    """Return the address of a page for a browser on this machine."""
    return page.resolve().as_uri() + (f"#{quote(anchor)}" if anchor else "")
