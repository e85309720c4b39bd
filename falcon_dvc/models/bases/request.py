"""Read the text by which a user asks for a basis: ``pca:64``, ``random:64``, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from falcon_dvc.errors import UserError

FITTED = ("pca", "ica", "nmf")
FILES = ("sae", "directions")
KINDS = "give pca:64, ica:64, nmf:64, random:64, a file or folder of a sparse autoencoder, or a matrix directions.npy"


def basis_entry(text: str, option: str) -> dict[str, Any]:
    """Return the entry of ``basis`` in the params; a file is a `Path`.

    Parameters
    ----------
    text
        A method or ``random`` with the number of features, or a path. A ``.npy`` file holds directions; any other file or
        folder is a sparse autoencoder, unless ``directions:`` or ``sae:`` stands before it.
    option
        Its name, for errors.

    Raises
    ------
    UserError
        If it is none of these, or there is no such file.
    """
    kind, _, rest = text.partition(":")
    if kind in (*FITTED, "random") and rest:
        if not (rest.isascii() and rest.isdecimal() and int(rest) >= 2):
            raise UserError(
                f"{option} {text}: write {kind}: and the number of features, at least 2, for instance {kind}:64"
            )
        return {"random": int(rest)} if kind == "random" else {"fit": kind, "components": int(rest)}
    named = kind in FILES and bool(rest)
    path = Path(rest if named else text)
    if not path.exists():
        raise UserError(f"{option} {text}: no such file; {KINDS}")
    if named:
        return {kind: path}
    return {"directions" if path.suffix == ".npy" else "sae": path}
