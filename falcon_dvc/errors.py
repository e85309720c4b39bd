"""The exception that the command line shows as a single line, and files that a merge of git left in conflict."""

import re

MARKER = re.compile(r"^(<{7}|\|{7}|>{7}) ", re.MULTILINE)  # git writes `=======` too, which Markdown has as well


class UserError(Exception):
    """Invalid input of the user. The message names the file, argument or param, and the fix."""


def one_line(error: object, longest: int = 200) -> str:
    """Return the text of an error on one line of at most `longest` characters."""
    return " ".join(str(error).split())[:longest]


def refuse_conflict(name: object, text: str, fix: str) -> None:
    """Refuse a text with conflict markers of git.

    Parameters
    ----------
    name
        The file, for the message.
    text
        Its content.
    fix
        What to do.

    Raises
    ------
    UserError
        If a line begins with a marker.
    """
    if MARKER.search(text):
        raise UserError(f"{name}: merge conflict; {fix}")
