"""The exception that the command line shows as a single line."""


class UserError(Exception):
    """Invalid input of the user. The message names the file, argument or param, and the fix."""


def one_line(error: object, longest: int = 200) -> str:
    """Return the text of an error on one line of at most `longest` characters."""
    return " ".join(str(error).split())[:longest]
