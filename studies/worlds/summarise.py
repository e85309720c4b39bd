"""Study stage: compute shares over worlds with intervals, separately for the worlds of selection and the reported worlds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from falcon_dvc.artifacts.formats import read_table, write_json, write_table
from falcon_dvc.evaluation.statistics import interval_over_worlds, mean_over_worlds
from falcon_dvc.params.load import read_yaml
from worlds.worlds import STUDY, read_world

CONFIDENCE = 0.95
MEASURES = ("pearson", "auprc", "auc", "mad")
TABLES = Path("tables")
SAME_WORLDS = "default_on_the_varied_worlds"  # what the variations are compared with
# The numbers of a world's metrics that are summarised: of groups (C2), failures (C4) and transfer (C5).
USED = re.compile(
    r"of_\d\.(new_concept|beats_best_member)(_control)?\.share"
    r"|accuracy\.share|shortcut\.at_work\w*\.share|repair\.(boat_called_truck|truck_called_boat)\.\w+\.share"
    r"|r2(_null)?\.median|agreement\.\w+\.mean|control_\w+\.median|dimensions\.enough"
)


def run() -> None:
    """Write ``metrics/ROLE.json`` for each role of world, and the plot data."""
    worlds = {name: read_world(name) for name in read_yaml(STUDY)["worlds"]}
    methods, explainability = (_all(worlds, kind) for kind in ("methods", "explainability"))
    study = read_yaml(STUDY)
    plants, uses = _all(study["planted"], "plants"), _all(study["used"], "uses")
    for role in ("selection", "reported"):
        tables = [table[table["role"] == role] for table in (methods, explainability, plants, uses)]
        write_json(Path("metrics") / f"{role}.json", _summary(*tables))
    write_table(Path("plots") / "widths.csv", _widths(explainability, methods))
    write_table(Path("plots") / "methods.csv", _method_bars(methods[methods["role"] == "reported"]))


def _all(worlds: Iterable[str], kind: str) -> pd.DataFrame:
    return pd.concat([read_table(TABLES / f"{name}_{kind}.csv") for name in worlds], ignore_index=True)


def _share(hits: pd.Series, items: pd.Series) -> dict[str, float]:
    """Return a share over worlds with its interval."""
    has_items = (items > 0).to_numpy()
    counts = hits.to_numpy()[has_items].astype(int), items.to_numpy()[has_items].astype(int)
    low, high = interval_over_worlds(*counts, CONFIDENCE)
    return {
        "share": float(counts[0].sum() / counts[1].sum()),
        "interval_low": low,
        "interval_high": high,
        "of": int(counts[1].sum()),
        "worlds": int(has_items.sum()),
    }


def _summary(methods: pd.DataFrame, explainability: pd.DataFrame, plants: pd.DataFrame, uses: pd.DataFrame) -> dict:
    full = methods[methods["encoder"].isin(["supervised", "simclr"])]
    return {
        "right": {name: _right(rows) for name, rows in [("both", full), *full.groupby("encoder")]},
        "by_kind": _by_kind(full),
        "explainability": _explainability(explainability),
        "plants": _plants(plants),
        "uses": _uses(uses),
    }


def _right(methods: pd.DataFrame) -> dict:
    """Return the share of right first concepts and their selectivity, by variation and method."""
    whole = _with_same_worlds(methods[methods["kind"] == "all"])
    return {
        variation: {method: _of_method(counts) for method, counts in rows.groupby("method")}
        for variation, rows in whole.groupby("variation")
    }


def _with_same_worlds(whole: pd.DataFrame) -> pd.DataFrame:
    """Append the rows of the default settings again, for only the worlds with variations."""
    varied = whole.loc[whole["variation"] != "default", "world"]
    same = whole[whole["world"].isin(varied) & (whole["variation"] == "default") & (whole["method"] == "falcon")]
    return pd.concat([whole, same.assign(variation=SAME_WORLDS)], ignore_index=True)


def _of_method(rows: pd.DataFrame) -> dict:
    counts = rows.groupby("world")[["features", "first_right", "five_right"]].sum()
    return {
        "first": _share(counts["first_right"], counts["features"]),
        "first_five": _share(counts["five_right"], counts["features"]),
        **{measure: _mean_over_worlds(rows, measure) for measure in MEASURES},
    }


def _mean_over_worlds(rows: pd.DataFrame, measure: str) -> dict[str, float]:
    """Return the mean over features, with its interval over worlds."""
    weighted = (rows[measure] * rows["features"]).groupby(rows["world"]).sum()
    return _over_worlds((weighted / rows.groupby("world")["features"].sum()).to_numpy(), "mean")


def _by_kind(full: pd.DataFrame) -> dict:
    """Return the share of FALCON's right first concepts by the kind of attribute of the feature."""
    own = full[(full["variation"] == "default") & (full["method"] == "falcon") & (full["kind"] != "all")]
    return {
        f"{encoder}_{kind}": _share(rows["first_right"], rows["features"])
        for (encoder, kind), rows in own.groupby(["encoder", "kind"])
    }


def _explainability(table: pd.DataFrame) -> dict:
    """Return the interpretable share of single features and groups by size, relative to the explained ones and to the whole space."""
    shares: dict = {}
    for encoder, rows in table.groupby("encoder"):
        single = rows[rows["size"] == 1]
        sizes = {
            f"of_{size}": {
                "interpretable": _share(counts["interpretable"], counts["explained"]),
                "released_rule": _share(counts["released_rule"], counts["explained"]),
            }
            for size, counts in rows.groupby("size")
        }
        shares[encoder] = {
            **sizes,
            "of_the_space": {
                "interpretable": _share(single["interpretable"], single["features"]),
                "released_rule": _share(single["released_rule"], single["features"]),
            },
            "shuffled_activations": _share(single["shuffled_interpretable"], single["shuffled"]),
        }
    return shares


def _plants(plants: pd.DataFrame) -> dict:
    """Return the share of listed words that each contrast removes, for words of the planted ground and of the object."""
    if plants.empty:
        return {}
    case = ["world", "strength", "encoder", "feature", "low_match"]
    without = plants[plants["contrast"] == "falcon_off"].set_index(case)[["true_listed", "spurious_listed"]]
    joined = plants.join(without.add_suffix("_without"), on=case, validate="many_to_one")
    return {
        f"{contrast}_{low_match}": {
            "cases": len(rows),
            "spurious_listed_without": int(rows["spurious_listed_without"].sum()),
            "spurious_removed": _removed(rows, "spurious_listed"),
            "true_lost": _removed(rows, "true_listed"),
            "true_first": _share(*_counts(rows, rows["true_first"])),
            "spurious_first": _share(*_counts(rows, rows["spurious_first"])),
        }
        for (contrast, low_match), rows in joined.groupby(["contrast", "low_match"])
    }


def _uses(uses: pd.DataFrame) -> dict:
    """Return the means over worlds of the metrics of groups, failures and transfer, nested as in each world's metrics."""
    means: dict = {}
    for (name, key), values in uses.groupby(["metrics", "key"], sort=True)["value"]:
        if USED.fullmatch(key):
            *sections, last = f"{name}.{key}".split(".")
            place = means
            for section in sections:
                place = place.setdefault(section, {})
            place |= _over_worlds(values.to_numpy(), last)
    return means


def _over_worlds(values: np.ndarray, name: str) -> dict[str, float]:
    """Return the mean over worlds with its interval."""
    low, high, _ = mean_over_worlds(values, CONFIDENCE)
    return {name: float(values.mean()), "interval_low": low, "interval_high": high, "worlds": len(values)}


def _removed(rows: pd.DataFrame, column: str) -> dict[str, float]:
    listed = rows[rows[f"{column}_without"]]
    return _share(*_counts(listed, ~listed[column]))


def _counts(rows: pd.DataFrame, hits: pd.Series) -> tuple[pd.Series, pd.Series]:
    by_world = hits.groupby(rows["world"])
    return by_world.sum(), by_world.size()


def _widths(explainability: pd.DataFrame, methods: pd.DataFrame) -> pd.DataFrame:
    """Return plot data: the interpretable share and the share of right first concepts, by the width of the space."""
    own = methods[(methods["variation"] == "default") & (methods["method"] == "falcon") & (methods["kind"] == "all")]
    named = own.groupby("encoder")[["features", "first_right"]].sum()
    rows = []
    for (encoder, features, size), counts in explainability.groupby(["encoder", "features", "size"]):
        share = _share(counts["interpretable"], counts["explained"])
        clear = named.loc[encoder] if encoder in named.index else pd.Series({"features": 0, "first_right": 0})
        rows.append(
            {
                "encoder": encoder.split("_")[0],
                "features": features,
                "size": size,
                "interpretable": share["share"],
                "interval_low": share["interval_low"],
                "interval_high": share["interval_high"],
                "released_rule": counts["released_rule"].sum() / counts["explained"].sum(),
                "explained": int(counts["explained"].sum()),
                "clear_truth": int(clear["features"]),
                "first_right": float(clear["first_right"] / max(clear["features"], 1)),
            }
        )
    return pd.DataFrame(rows).sort_values(["encoder", "size", "features"], kind="stable")


def _method_bars(methods: pd.DataFrame) -> pd.DataFrame:
    """Return plot data: the share of right first concepts by method and variation, over both encoders."""
    right = _right(methods[methods["encoder"].isin(["supervised", "simclr"])])
    return pd.DataFrame(
        [
            {"method": method if variation == "default" else f"{method}, {variation}", **shares["first"]}
            for variation, methods_of_variation in right.items()
            for method, shares in methods_of_variation.items()
        ]
    )
