"""Load models of open_clip by name, with published weights."""

from typing import Any

from falcon_dvc.errors import UserError, one_line


def published(name: str, pretrained: str, param: str, file: str) -> tuple[Any, Any]:
    """Load a model of open_clip and its preprocessing, without unpickling.

    Parameters
    ----------
    name : str
        An architecture of open_clip.
    pretrained : str
        A tag (from the cache of open_clip, or with a network), or a file of weights.
    param, file : str
        For error messages: the section of params.yaml, and its key that names a file of weights.

    Returns
    -------
    model : torch.nn.Module
    transform : callable
        From a PIL image to a tensor.

    Raises
    ------
    UserError
        If the name is unknown, or the weights cannot be loaded or do not fit.
    """
    import open_clip

    try:
        return open_clip.create_model_from_pretrained(name, pretrained, device="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # open_clip raises many types: for unknown names, missing files, no network, other shapes
        reason = one_line(error)
        raise UserError(
            f"{param}: open_clip cannot load {name!r} with {pretrained!r} ({reason}); "
            f"give a known name and tag on a machine with a network, or a local file as {file}"
        ) from error
