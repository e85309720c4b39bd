"""Sum up numbers over worlds, with intervals whose unit is the world."""

from __future__ import annotations

import numpy as np
import pandas as pd

from falcon_dvc.evaluation.statistics import interval_over_worlds, mean_over_worlds, sign_test

CONFIDENCE = 0.95
OWN = "falcon"


def share(hits: pd.Series, items: pd.Series) -> dict[str, float]:
    """Return a share over worlds; with an interval if two worlds or more have items.

    Parameters
    ----------
    hits, items : counts, a row for each world.
    """
    has_items = (items > 0).to_numpy()
    counts = hits.to_numpy()[has_items].astype(int), items.to_numpy()[has_items].astype(int)
    worlds = {"of": int(counts[1].sum()), "worlds": int(has_items.sum())}
    if not has_items.any():
        return worlds
    low, high = interval_over_worlds(*counts, CONFIDENCE) if has_items.sum() > 1 else (None, None)
    interval = {"interval_low": low, "interval_high": high} if low is not None else {}
    return {"share": float(counts[0].sum() / counts[1].sum()), **interval, **worlds}


def share_of(rows: pd.DataFrame, hits: str, items: str) -> dict[str, float]:
    """Return the share of two columns of counts, added up in each world."""
    counts = rows.groupby("world")[[hits, items]].sum()
    return share(counts[hits], counts[items])


def mean(values: np.ndarray, name: str) -> dict[str, float]:
    """Return the mean over worlds; with an interval if there are two worlds or more."""
    low, high, _ = mean_over_worlds(values, CONFIDENCE)
    interval = {"interval_low": low, "interval_high": high} if len(values) > 1 else {}
    return {name: float(np.mean(values)), **interval, "worlds": len(values)}


def difference(own: pd.Series, other: pd.Series) -> dict[str, float]:
    """Return the mean over worlds of the difference of two numbers of each world, and the p-value of a true mean of 0.

    Parameters
    ----------
    own, other : indexed by world. Worlds that lack one of them do not count.
    """
    values = (own - other).dropna()
    if values.empty:
        return {}
    p_value = mean_over_worlds(values.to_numpy(), CONFIDENCE)[2]
    return mean(values.to_numpy(), "difference") | ({"p_value": p_value} if len(values) > 1 else {})


def paired(features: pd.DataFrame, method: str) -> dict[str, float]:
    """Compare FALCON with a method on the same features: by world, and by the exact sign test over all features.

    Parameters
    ----------
    features : a row for each feature, a column for each method: 1 if its first word is right, 0 if not, NaN if not measured.

    Returns
    -------
    As `difference`, and ``features``, ``larger`` and ``smaller`` (features where only FALCON, or only the method, is right)
    with ``sign_test_p_value``, which takes features as independent.
    """
    rows = features.dropna(subset=[method])
    by_world = rows.groupby("world")[[OWN, method]].mean()
    larger, smaller = int((rows[OWN] > rows[method]).sum()), int((rows[OWN] < rows[method]).sum())
    counts = {"features": len(rows), "larger": larger, "smaller": smaller}
    return difference(by_world[OWN], by_world[method]) | counts | {"sign_test_p_value": sign_test(larger, smaller)}
