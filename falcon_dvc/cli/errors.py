"""Report errors of commands in one line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from falcon_dvc.params.keys import Keys
    from falcon_dvc.params.schema import Params


def reporting_errors(commands: typer.Typer, name: str) -> None:
    """Run the command that the arguments name, and report an error in one line.

    The exit code is 2 if the user can fix the error, and 1 if it is a bug. ``--debug`` shows the traceback.
    """
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
    """Format an error without characters that control a terminal."""
    text = " ".join(str(error).split())
    shown = "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)
    if isinstance(error, UserError):
        return f"error: {shown}"
    return f"error: {type(error).__name__}: {shown} (this is a bug in falcon_dvc; add --debug to see where)"


def require_encoder(params: Params | Keys, name: str) -> None:
    """Refuse a name that is not a key of the section ``encoders``.

    Raises
    ------
    UserError
        If params.yaml has no such encoder.
    """
    if name not in params.encoders:
        raise UserError(f"params.yaml: encoders has no {name!r}; known are: {', '.join(params.encoders) or 'none'}")
