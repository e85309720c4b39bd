"""Choose the features to explain: those that ``encoders.NAME.features`` names, or all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from falcon_dvc.errors import UserError

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FeatureChoice


def chosen_features(choice: FeatureChoice | None, width: int, name: str) -> np.ndarray:
    """Return the numbers of the chosen features, ascending.

    Parameters
    ----------
    choice : ``encoders.NAME.features``; None chooses all.
    width : number of features of the encoder `name`.

    Raises
    ------
    UserError
        If the encoder has no such features, or not so many.
    """
    if choice is None:
        return np.arange(width)
    param = f"params.yaml: encoders.{name}.features"
    if isinstance(choice, tuple):
        if max(choice) >= width:
            raise UserError(
                f"{param}: names feature {max(choice)}, but the encoder has {width} features; name 0 to {width - 1}"
            )
        return np.sort(choice)
    if choice.random > width:
        raise UserError(f"{param}.random: {choice.random} features, but the encoder has {width}; lower it")
    return np.sort(np.random.default_rng(choice.seed).choice(width, choice.random, replace=False))


def number_chosen(choice: FeatureChoice | None) -> int | None:
    """Count the chosen features; None if all are chosen, whose number only the encoder knows."""
    if choice is None:
        return None
    return len(choice) if isinstance(choice, tuple) else choice.random


def stated(choice: FeatureChoice | None, width: int, name: str) -> str:
    """Say in a sentence how many features were chosen; "" if all are."""
    count = number_chosen(choice)
    return "" if count is None else f"{count} of {width} features were chosen by encoders.{name}.features."
