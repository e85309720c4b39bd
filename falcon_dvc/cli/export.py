"""Write the explanations of a run as tidy CSV tables and as one JSON file, for a paper or another program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_table, write_json, write_table
from falcon_dvc.cli.errors import require_encoder
from falcon_dvc.concepts.words.sentences import SET_COLUMNS
from falcon_dvc.errors import UserError
from falcon_dvc.groups.choice import chosen_features
from falcon_dvc.params.load import read_yaml
from falcon_dvc.report.explained import doubts_by_group, read_faithfulness_of

if TYPE_CHECKING:
    from falcon_dvc.concepts.words.clarity import Faithfulness
    from falcon_dvc.params.schema import Params

LOCK = Path("dvc.lock")
FIRST = ["concept", "score", "prior", "interval_low", "interval_high"]
MEASURED = ["crops", "coherence", "z", "p_value", "interpretable", "released_interpretable"]
HELD_OUT = {  # columns of features.csv, by attribute of Faithfulness
    "correlation": "heldout_correlation",
    "low": "heldout_correlation_low",
    "high": "heldout_correlation_high",
    "level": "untrained_level",
    "p_value": "verdict_p_value",
}
TRUTH = ["kind", "value", "correlation", "clear", "hit_first", "hit_five"]
NAMES = {"concept": "first_concept", "p_value": "coherence_p_value"}  # in features.csv
TABLES = ("features", "concepts", "captions")


def run(params: Params, encoders: Sequence[str], out: Path, captions: int) -> list[Path]:
    """Write ``features.csv``, ``concepts.csv``, ``captions.csv`` and ``falcon.json``.

    Parameters
    ----------
    encoders : keys of the section ``encoders``; all if empty.
    out : folder of the files.
    captions : most captions of a concept, the heaviest first.

    Returns
    -------
    The files.

    Raises
    ------
    UserError
        If there is no such encoder, or none at all, or a result is missing.
    """
    for name in encoders:
        require_encoder(params, name)
    names = list(dict.fromkeys(encoders or params.encoders))
    if not names:
        raise UserError("params.yaml: encoders is empty; there is nothing to export")
    texts = read_table(paths.CAPTIONS / "captions.parquet").set_index("caption")["text"]
    tables = {name: _tables(params, name, texts, captions) for name in names}
    written = {out / f"{kind}.csv": _joined(tables, kind) for kind in TABLES}
    for path, table in written.items():
        write_table(path, table)
    nested = {name: {"features": _nested(tables[name])} for name in names}
    content = {"encoders": nested, "params": _relative(params.model_dump(mode="json")), "outputs": _outputs()}
    write_json(out / "falcon.json", content, indent=None)
    return [*written, out / "falcon.json"]


def _joined(tables: Mapping[str, Mapping[str, pd.DataFrame]], kind: str) -> pd.DataFrame:
    """Join the tables of one kind of all encoders; the first column names the encoder."""
    joined = pd.concat([of_one[kind].assign(encoder=name) for name, of_one in tables.items()], ignore_index=True)
    return joined[["encoder", *joined.columns.drop("encoder")]]


def _tables(params: Params, name: str, texts: pd.Series, captions: int) -> dict[str, pd.DataFrame]:
    """Read the results of one encoder as tidy tables."""
    concepts = pd.DataFrame(read_table(paths.concepts(name) / "concepts.parquet"))
    evidence = read_table(paths.concepts(name) / "evidence.parquet")
    return {
        "features": _features(params, name, concepts),
        "concepts": concepts,
        "captions": _captions(evidence, concepts, texts, captions),
    }


def _features(params: Params, name: str, concepts: pd.DataFrame) -> pd.DataFrame:
    """List every feature and group of an encoder, explained or not, in one row each."""
    groups = pd.DataFrame(read_table(paths.groups(name) / "groups.parquet"))
    width = open_rows(paths.activations(name) / "features").shape[1]
    table = _all_features(groups, width)
    kept = concepts[concepts["kept"]]
    explainability, faithfulness = read_table(paths.EXPLAINABILITY / f"{name}.parquet"), read_faithfulness_of(name)
    doubts = doubts_by_group(groups, concepts, explainability, faithfulness)
    table.insert(3, "explained", [doubts.get(group) == [] for group in table["group"]])
    named = table["group"].isin(kept["group"])
    reasons = _reasons(table, named, concepts, params.find_groups.min_images).astype(object)  # texts of any length
    reasons[named] = [" ".join(doubts[group]) for group in table.loc[named, "group"]]
    chosen = chosen_features(params.encoders[name].features, width, name)
    reasons[:width][~np.isin(np.arange(width), chosen)] = f"not chosen by encoders.{name}.features"
    table.insert(4, "reason", reasons)
    table.insert(5, "control", bool(params.encoders[name].control_of))
    # A group's kept words stand first, by rank.
    table = table.join(kept.drop_duplicates("group").set_index("group")[FIRST].rename(columns=NAMES), on="group")
    table = table.join(_word_sets(name), on="group")
    table = table.join(_held_out(faithfulness), on="group")
    measured = explainability.set_index("group")[MEASURED]
    table = table.join(measured.rename(columns=NAMES), on="group")
    if params.worlds:
        truth = read_table(paths.table(f"{name}_truth")).set_index("group")[TRUTH]
        table = table.join(truth.add_prefix("truth_"), on="group")
    return table.astype({"support": "Int64", "crops": "Int64"})  # both are missing where nothing was measured


def _word_sets(name: str) -> pd.DataFrame:
    """Read the words that each feature follows, with the sentence; a group of several features has none."""
    table = read_table(paths.table(f"{name}_word_sets")).set_index("group")[["sentence", "r2", *SET_COLUMNS]]
    return table.rename(columns={column: f"set_{column}" for column in table.columns[1:]})


def _held_out(faithfulness: Mapping[str, Faithfulness]) -> pd.DataFrame:
    """Tabulate how well first words follow their groups on held-out images; an empty verdict is none."""
    said = {None: "", True: "explained", False: "not explained"}
    rows = [
        {**{column: getattr(found, key) for key, column in HELD_OUT.items()}, "verdict": said[found.verdict]}
        for found in faithfulness.values()
    ]
    return pd.DataFrame(rows, index=pd.Index(list(faithfulness)), columns=[*HELD_OUT.values(), "verdict"])


def _all_features(groups: pd.DataFrame, width: int) -> pd.DataFrame:
    """List all single features by number, then the larger groups."""
    names = [f"f{feature}" for feature in range(width)]
    features = pd.DataFrame({"group": names, "members": [name[1:] for name in names], "size": 1})
    single = groups["size"] == 1
    known = features.merge(groups[single].drop(columns=["members", "size"]), on="group", how="left")
    return pd.concat([known, groups[~single]], ignore_index=True)


def _reasons(table: pd.DataFrame, named: pd.Series, concepts: pd.DataFrame, least: int) -> np.ndarray:
    """Say why a feature or group has no concept; "" if it has one."""
    few = f"fewer than {least} highly activating images"
    removed = table["group"].isin(concepts["group"])
    found = np.where(removed, "the contrast removed every concept", "no caption of its crops holds a concept")
    return np.where(named, "", np.where(table["support"].isna(), few, found))


def _captions(evidence: pd.DataFrame, concepts: pd.DataFrame, texts: pd.Series, most: int) -> pd.DataFrame:
    """List the captions with the largest weight of each kept concept, in the order of the concepts."""
    keys = ["group", "concept"]
    weights = evidence.groupby([*keys, "caption"], sort=False, observed=True)["weight"].agg(["size", "sum"])
    weights = weights.rename(columns={"size": "crops", "sum": "weight"}).reset_index()
    order = {key: number for number, key in enumerate(concepts.loc[concepts["kept"], keys].itertuples(index=False))}
    place = [order[key] for key in weights[keys].itertuples(index=False)]
    # Rounding makes ties go to the earlier caption, whatever the last bits are.
    weights = weights.assign(place=place, rounded=weights["weight"].round(9), text=weights["caption"].map(texts))
    weights = weights.sort_values(["place", "rounded", "caption"], ascending=[True, False, True], kind="stable")
    heaviest = weights.groupby("place", sort=False).head(most)
    return heaviest[[*keys, "caption", "text", "crops", "weight"]].reset_index(drop=True)


def _nested(tables: Mapping[str, pd.DataFrame]) -> list[dict[str, Any]]:
    """Nest captions in concepts, and concepts in features."""
    captions = _by(tables["captions"], "group", "concept")
    concepts = _by(tables["concepts"], "group")
    features = []
    for feature in _records(tables["features"]):
        group, of_feature = feature["group"], concepts.get((feature["group"],), [])
        for concept in of_feature:
            if concept["kept"]:
                concept["captions"] = captions.get((group, concept["concept"]), [])
        feature["members"] = [int(member) for member in feature["members"].split()]
        features.append({**feature, "concepts": of_feature})
    return features


def _by(table: pd.DataFrame, *keys: str) -> dict[tuple, list[dict[str, Any]]]:
    """Divide the rows of a table by keys, which are left out of the rows."""
    found: dict[tuple, list[dict[str, Any]]] = {}
    rows = _records(table.drop(columns=list(keys)))
    for key, row in zip(zip(*(table[name] for name in keys), strict=True), rows, strict=True):
        found.setdefault(key, []).append(row)
    return found


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows as JSON can hold them; missing values become null."""
    columns = [_values(table[name]) for name in table.columns]
    return [dict(zip(table.columns, row, strict=True)) for row in zip(*columns, strict=True)]


def _values(column: pd.Series) -> list[Any]:
    values = column.tolist()
    return [None if missing else value for missing, value in zip(column.isna(), values, strict=True)]


def _relative(value: Any) -> Any:
    """Return params, with the last part alone of a path that is absolute."""
    if isinstance(value, dict):
        return {key: _relative(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_relative(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _outputs() -> dict[str, str]:
    """Read the MD5 of each output of the stages from dvc.lock; empty if the stages ran without DVC."""
    if not LOCK.is_file():
        return {}
    stages = read_yaml(LOCK, by_dvc=True).get("stages") or {}
    outputs = {out["path"]: out.get("md5", "") for stage in stages.values() for out in stage.get("outs", [])}
    return {path: outputs[path] for path in sorted(outputs)}
