"""Measure the applications of a world's concepts: sets of words, groups (C2), failures (C4), transfer (C5), as one table of figures."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.params.load import read_yaml
from falcon_dvc.params.schema import Params
from stages import analyse_groups, failures, find_facets, transfer
from worlds import run_stages
from worlds.worlds import STUDY, World

NONE = pd.DataFrame(columns=["metrics", "key", "value"])


def worlds() -> list[str]:
    """Return the worlds whose groups, failures and transfer are also measured."""
    return list(read_yaml(STUDY).get("used", []))


def figures(params: Params, world: World) -> pd.DataFrame:
    """Run the stages on encoders that are already explained; return one row for each number of their metrics.

    Returns
    -------
    table
        Columns ``metrics`` (file), ``key`` (dotted) and ``value``.
    """
    used = _with_pairs_and_failures(params, world)
    for encoder in used.encoders:  # with the controls
        find_facets.run(used, encoder)
        analyse_groups.run(used, encoder)
    for encoder in used.failures.encoders:
        failures.run(used, encoder)
    for pair in used.transfers:
        transfer.run(used, pair)
    names = [f"{of}_{encoder}" for encoder in used.encoders for of in ("facets", "groups")]
    names += [f"failures_{encoder}" for encoder in used.failures.encoders]
    names += [f"transfer_{pair}" for pair in used.transfers]
    rows = [(name, key, value) for name in names for key, value in _numbers(read_json(paths.metrics(name)))]
    return pd.DataFrame(rows, columns=NONE.columns)


def _with_pairs_and_failures(params: Params, world: World) -> Params:
    """Return params with all ordered pairs of the world's encoders, and with the failures of its supervised encoders."""
    names = list(world.encoders)
    pairs = {f"{a}_to_{b}": {"explained": a, "unseen": b} for a in names for b in names if a != b}
    supervised = [name for name, spec in world.encoders.items() if spec.objective == "supervised"]
    return run_stages.varied(params, {"transfers": pairs, "failures": {"encoders": supervised, "seed": world.seed}})


def _numbers(content: dict, prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of nested metrics with its dotted key, without the intervals within one world."""
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _numbers(value, f"{prefix}{key}.")
        elif key not in ("interval_low", "interval_high"):
            yield f"{prefix}{key}", float(value)
