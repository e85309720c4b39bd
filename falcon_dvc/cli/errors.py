"""Errors as one line."""

import sys

import typer

from falcon_dvc.errors import UserError


def reporting_errors(commands: typer.Typer, name: str) -> None:
    """Run a command; an error is one line: exit code 2 if the user can mend it, 1 if it is ours. Tracebacks by ``--debug``."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        commands(arguments, prog_name=name)
    except Exception as error:
        if debug:
            raise
        typer.secho(_in_one_line(error), fg="red", err=True)
        raise SystemExit(2 if isinstance(error, UserError) else 1) from None


def _in_one_line(error: Exception) -> str:
    """What went wrong, without anything that acts on a terminal."""
    text = " ".join(str(error).split())
    shown = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    if isinstance(error, UserError):
        return f"error: {shown}"
    return f"error: {type(error).__name__}: {shown} (not foreseen: a defect of the program; --debug shows where)"
