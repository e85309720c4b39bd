"""Study stage: compute shares over worlds with intervals, separately for the worlds of selection and the reported worlds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from falcon_dvc.artifacts.formats import read_table, write_json, write_table, write_text
from falcon_dvc.params.load import read_yaml
from worlds.over_worlds import OWN, difference, mean, paired, share, share_of
from worlds.page import as_markdown
from worlds.worlds import CONTROL, STUDY, World, read_world

MEASURES = ("pearson", "auprc")
TABLES = Path("tables")
TRAINED, UNTRAINED = "both", "untrained"  # both trained encoders; all controls
FEATURE_KEYS = ("encoder", "feature", "kind", "value", "clear", "world", "role")
# The numbers of a world's metrics that are summarised: of sets of words, groups (C2), failures (C4) and transfer (C5).
USED = re.compile(
    r"of_\w+\.\w+\.(share|mean)|pairs\.\w+\.\w+\.(share|mean|difference)"
    r"|truth\.(set|first|first_five|permuted_words)\.(f1|exact|precision|recall)\.mean"
    r"|accuracy\.share|shortcut\.at_work\w*\.share|repair\.(boat_called_truck|truck_called_boat)\.\w+\.share"
    r"|r2(_null)?\.median|agreement\.\w+\.mean|control_\w+\.median|dimensions\.enough"
)
# Endings of the keys of controls. A number less its control is compared within each world.
CONTROLS = ("control", "by_chance", "other_failures", "random_features", "null")
WITHOUT = "without_contrast"
CASE = ["world", "strength", "encoder", "feature", "low_match"]


def run() -> None:
    """Write ``metrics/ROLE.json`` for each role of world, the page ``results.md`` of the reported worlds, and the plot data.

    The metrics are an empty mapping if no world has the role.
    """
    study = read_yaml(STUDY)
    worlds = {name: read_world(name) for name in study["worlds"]}
    tables = {kind: _all(worlds, kind) for kind in ("features", "methods", "explained", "explainability")}
    tables["features"] = _with_hits_as_numbers(tables["features"])
    of_some = {"plants": "planted", "dictionary": "bases", "units": "bases", "uses": "used"}
    tables |= {kind: _all(study[key], kind) for kind, key in of_some.items()}
    for role in ("selection", "reported"):  # the page and the plot are of the last one
        has_worlds = any(world.role == role for world in worlds.values())
        of_role = {kind: table[table["role"] == role] for kind, table in tables.items()}
        summary = _summary(**of_role) if has_worlds else {}
        write_json(Path("metrics") / f"{role}.json", summary)
    write_text(Path("results.md"), as_markdown(summary, _seeds(worlds)))
    write_table(Path("plots") / "methods.csv", _method_bars(summary["right"]))


def _all(worlds: Iterable[str], kind: str) -> pd.DataFrame:
    return pd.concat([read_table(TABLES / f"{name}_{kind}.csv") for name in worlds], ignore_index=True)


def _with_hits_as_numbers(features: pd.DataFrame) -> pd.DataFrame:
    """Turn the empty cells of methods that were not measured into NaN."""
    methods = features.columns.difference(FEATURE_KEYS)
    return features.assign(**features[methods].apply(pd.to_numeric, errors="coerce"))


def _seeds(worlds: dict[str, World]) -> list[int]:
    return [world.seed for world in worlds.values() if world.role == "reported"]


def _summary(
    features: pd.DataFrame,
    methods: pd.DataFrame,
    explained: pd.DataFrame,
    explainability: pd.DataFrame,
    plants: pd.DataFrame,
    dictionary: pd.DataFrame,
    units: pd.DataFrame,
    uses: pd.DataFrame,
) -> dict:
    return {
        "explained": _explained(explained),
        "right": _right(features, methods),
        "explainability": _explainability(explainability),
        "plants": _plants(plants),
        "dictionary": _dictionary(dictionary),
        "units": _units(units),
        "uses": _uses(uses),
    }


def _by_encoder(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the rows of both trained encoders, of each of them, and of all controls."""
    is_control = table["encoder"].str.startswith(CONTROL)
    known = {TRAINED: table["encoder"].isin(["supervised", "simclr"]), UNTRAINED: is_control}
    known |= {name: table["encoder"] == name for name in ("supervised", "simclr")}
    yield from ((name, table[rows]) for name, rows in known.items() if rows.any())


# ---- What is explained


def _explained(table: pd.DataFrame) -> dict:
    """Return the explained shares of features, groups and hand-made sets, and those of features less the controls'."""
    shares = {name: _shares_of_kinds(rows) for name, rows in _by_encoder(table)}
    by_world = {name: _share_by_world(rows) for name, rows in _by_encoder(table)}
    for name in set(shares) - {UNTRAINED} if UNTRAINED in shares else ():
        shares[name]["less_untrained"] = difference(by_world[name], by_world[UNTRAINED])
    return shares


def _shares_of_kinds(table: pd.DataFrame) -> dict:
    return {
        str(kind).replace(" ", "_"): {
            "explained": share_of(rows, "explained", "items"),
            "uncorrected": share_of(rows, "uncorrected", "items"),
            "permuted_words": share_of(rows, "permuted_explained", "items"),
            "median_pearson": mean(rows.groupby("world")["median_pearson"].mean().to_numpy(), "mean"),
        }
        for kind, rows in table.groupby("kind")
    }


def _share_by_world(table: pd.DataFrame) -> pd.Series:
    counts = table[table["kind"] == "feature"].groupby("world")[["explained", "items"]].sum()
    return counts["explained"] / counts["items"]


# ---- What is right


def _right(features: pd.DataFrame, methods: pd.DataFrame) -> dict:
    """Return the share of right first words of every method, over the features with a clear truth and over every feature."""
    scopes = {"clear": features[features["clear"] == 1], "every": features}
    return {
        scope: {
            **{name: _of_methods(of, methods[methods["scope"] == scope]) for name, of in _by_encoder(rows)},
            "less_untrained": _less_untrained(rows),
        }
        for scope, rows in scopes.items()
    }


def _of_methods(features: pd.DataFrame, methods: pd.DataFrame) -> dict:
    own = methods[methods["encoder"].isin(features["encoder"].unique())]
    names = [name for name in features.columns if name not in FEATURE_KEYS and features[name].notna().any()]
    return {name: _of_method(name, features, own[own["method"] == name]) for name in names}


def _of_method(method: str, features: pd.DataFrame, counts: pd.DataFrame) -> dict:
    by_world = features.dropna(subset=[method]).groupby("world")[method]
    return {
        "first": share(by_world.sum(), by_world.size()),
        "first_or_tie": share_of(counts, "first_or_tie", "features"),
        "first_five": share_of(counts, "five_right", "features"),
        **{measure: _mean_of_features(counts, measure) for measure in MEASURES},
        **({} if method == OWN else {"falcon_less_this": paired(features, method)}),
    }


def _mean_of_features(counts: pd.DataFrame, measure: str) -> dict[str, float]:
    """Return the mean over features, with its interval over worlds."""
    weighted = (counts[measure] * counts["features"]).groupby(counts["world"]).sum()
    return mean((weighted / counts.groupby("world")["features"].sum()).to_numpy(), "mean")


def _less_untrained(features: pd.DataFrame) -> dict:
    """Return by how much FALCON's first words are more often right for trained encoders than for untrained ones."""
    means = {name: rows.groupby("world")[OWN].mean() for name, rows in _by_encoder(features)}
    return difference(means[TRAINED], means[UNTRAINED]) if {TRAINED, UNTRAINED} <= set(means) else {}


# ---- Coherence of crops


def _explainability(table: pd.DataFrame) -> dict:
    """Return the interpretable share of single features and groups by size, relative to the explained ones and to the whole space."""
    rules = ("interpretable", "released_rule")
    return {
        encoder: {
            **{
                f"of_{size}": {rule: share_of(counts, rule, "explained") for rule in rules}
                for size, counts in rows.groupby("size")
            },
            "of_the_space": {rule: share_of(rows[rows["size"] == 1], rule, "features") for rule in rules},
            "shuffled_activations": share_of(rows[rows["size"] == 1], "shuffled_interpretable", "shuffled"),
        }
        for encoder, rows in _by_encoder(table)
    }


# ---- Planted co-occurrences


def _plants(plants: pd.DataFrame) -> dict:
    """Return the share of listed words that each contrast removes, for words of the planted ground and of the object.

    A contrast is compared with none under the same ranking of words.
    """
    if plants.empty:
        return {}
    ranking = plants["contrast"].where(plants["contrast"].isin([OWN, WITHOUT]), "falcon_off").replace({OWN: WITHOUT})
    ranked, key = plants.assign(ranking=ranking), [*CASE, "ranking"]
    without = ranked[ranked["contrast"] == ranking].set_index(key)[["true_listed", "spurious_listed"]]
    joined = ranked.join(without.add_suffix("_without"), on=key, validate="many_to_one")
    return {
        f"{contrast}_{low_match}": _of_contrast(rows)
        for (contrast, low_match), rows in joined.groupby(["contrast", "low_match"])
    }


def _of_contrast(rows: pd.DataFrame) -> dict:
    removed, lost = (_counts_removed(rows, column) for column in ("spurious_listed", "true_listed"))
    return {
        "cases": len(rows),
        "spurious_listed_without": int(rows["spurious_listed_without"].sum()),
        "spurious_removed": share(*removed),
        "true_lost": share(*lost),
        "spurious_removed_less_true_lost": difference(removed[0] / removed[1], lost[0] / lost[1]),
        "true_first": share(*_counts(rows, rows["true_first"])),
        "spurious_first": share(*_counts(rows, rows["spurious_first"])),
    }


def _counts_removed(rows: pd.DataFrame, column: str) -> tuple[pd.Series, pd.Series]:
    listed = rows[rows[f"{column}_without"]]
    return _counts(listed, ~listed[column])


def _counts(rows: pd.DataFrame, hits: pd.Series) -> tuple[pd.Series, pd.Series]:
    by_world = hits.groupby(rows["world"])
    return by_world.sum(), by_world.size()


# ---- Dictionaries with known directions


def _dictionary(latents: pd.DataFrame) -> dict:
    """Return the share of latents whose first word names the attribute of the same number, and of each kind of attribute."""
    shares = {}
    for name, rows in latents.groupby("dictionary"):
        kinds = {kind: share(*_counts(of, of["right"])) for kind, of in rows.groupby("kind")}
        shares[name] = {"right": share(*_counts(rows, rows["right"])), **kinds}
    return shares


# ---- Units that respond to several things


def _units(units: pd.DataFrame) -> dict:
    """Return what the sets of words of each kind of unit agree with what was planted, and how well the units follow it."""
    return {kind: _of_units(rows) for kind, rows in units.groupby("kind")}


def _of_units(rows: pd.DataFrame) -> dict:
    by_world = rows.groupby("world")[["r", "f1", "control_f1"]].mean()
    means = {key: mean(by_world[key].to_numpy(), "mean") for key in by_world}
    return means | {key: share(*_counts(rows, rows[key])) for key in ("exact", "relation")}


# ---- Groups, failures and transfer


def _uses(uses: pd.DataFrame) -> dict:
    """Return the means over worlds of the metrics of groups, failures and transfer, nested as in each world's metrics.

    A number with a control has a further entry, ``NAME_less_CONTROL.difference``.
    """
    means: dict = {}
    used = np.array([bool(USED.fullmatch(key)) for key in uses["key"]], dtype=bool)
    for name, rows in uses[used].groupby("metrics"):
        values = rows.pivot(index="key", columns="world", values="value")
        for key, of_worlds in values.iterrows():
            *sections, last = f"{name}.{key}".split(".")
            _place(means, sections).update(mean(of_worlds.dropna().to_numpy(), last))
        for key, less in _less_controls(values):
            _place(means, f"{name}.{key}".split(".")).update(less)
    return means


def _less_controls(values: pd.DataFrame) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield each number less its control, by world."""
    for control in CONTROLS:
        for key in values.index:
            stem, _, last = key.rpartition(".")
            own = f"{stem.removesuffix(f'_{control}')}.{last}"
            if own != key and own in values.index:
                yield f"{own.rpartition('.')[0]}_less_{control}", difference(values.loc[own], values.loc[key])


def _place(tree: dict, sections: list[str]) -> dict:
    for section in sections:
        tree = tree.setdefault(section, {})
    return tree


# ---- Plot data


def _method_bars(right: dict) -> pd.DataFrame:
    """Return plot data: the share of right first words of both trained encoders, by method and scope."""
    return pd.DataFrame(
        [
            {"method": method, "scope": scope, **of["first"]}
            for scope, encoders in right.items()
            for method, of in encoders.get(TRAINED, {}).items()
        ]
    )
