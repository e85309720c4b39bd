"""Weights that an installed package ships: ``weights: package:imgsim/model.pth``."""

from importlib.util import find_spec
from pathlib import Path, PurePosixPath

from falcon_dvc.errors import UserError

PREFIX = "package:"


def is_packaged(weights: str) -> bool:
    """Return whether a value of the param ``weights`` names a file of a package."""
    return weights.startswith(PREFIX)


def packaged_file(weights: str, param: str) -> Path:
    """Return the path of a file of an installed package, whose code is not run.

    Parameters
    ----------
    weights : str
        ``package:NAME/FILE``, with the name of a package that can be imported and a path inside it.
    param : str
        The entry, for messages.

    Raises
    ------
    UserError
        If the package is not installed, or has no such file.
    """
    package, *inside = PurePosixPath(weights.removeprefix(PREFIX)).parts or ("",)
    if not package.isidentifier() or not inside or ".." in inside:
        raise UserError(f"{param}.weights: {weights} names no file of a package; write package:NAME/FILE")
    found = find_spec(package)  # of a package without a dot, which is not imported
    if found is None:
        raise UserError(f"{param}.weights: the package {package} is not installed; install it, for instance by pip")
    for folder in found.submodule_search_locations or ():
        if (path := Path(folder, *inside)).is_file():
            return path
    raise UserError(f"{param}.weights: the package {package} has no file {'/'.join(inside)}; correct its path")
