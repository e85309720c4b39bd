"""The encoders that the report explains: their groups in order, with first concepts and places of their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.activations.stored import open_rows
from falcon_dvc.artifacts.formats import read_array, read_table
from falcon_dvc.concepts.words.clarity import (
    NOT_MEASURED,
    Faithfulness,
    doubts,
    first_of_each,
    listed_concepts,
    read_faithfulness,
)
from falcon_dvc.groups.choice import chosen_features, stated
from falcon_dvc.html.histograms import Space, sampled
from falcon_dvc.report.cards import Tables, ordered

if TYPE_CHECKING:
    from pathlib import Path

    from falcon_dvc.params.schema import FeatureChoice

SHEET = 64  # covers of groups in one picture; as many are drawn together
COVERS = 8  # covers side by side


@dataclass(frozen=True)
class Link:
    """A link from another page to a group.

    Attributes
    ----------
    says : its first concept; "" if it has none.
    clear : whether its first concept is sure; otherwise pages show concept and cover as uncertain.
    sheet, column, row : place of its cover: number of the picture, and place in the picture.
    explained : whether it has a page and a cover; a feature that was not chosen has none.
    """

    encoder: str
    group: str
    says: str
    clear: bool
    sheet: int
    column: int
    row: int
    explained: bool = True


@dataclass(frozen=True)
class ExplainedEncoder:
    """An encoder with its tables.

    Attributes
    ----------
    tables : its artefacts; `groups` are in the order of the report.
    choice : the features that were chosen; None if all were.
    """

    name: str
    kind: str
    tables: Tables
    choice: FeatureChoice | None = None

    @property
    def groups(self) -> pd.DataFrame:
        return self.tables.groups

    @cached_property
    def links(self) -> list[Link]:
        """Links to the groups, in order."""
        first = first_of_each(self.tables.concepts).set_index("group")["concept"].astype(str).to_dict()
        return [
            Link(self.name, group, first.get(group, ""), not self.tables.doubts[group], *_place_of_cover(place))
            for place, group in enumerate(self.groups["group"])
        ]

    @cached_property
    def link_of(self) -> dict[str, Link]:
        """Links by group."""
        return {link.group: link for link in self.links}

    @property
    def clear(self) -> int:
        """Number of groups that are explained."""
        return sum(link.clear for link in self.links)

    @cached_property
    def groups_of(self) -> dict[int, list[Link]]:
        """Links to the larger groups of each feature."""
        by_feature: dict[int, list[Link]] = {}
        for link, members in zip(self.links, self.groups["member"], strict=True):
            for member in members if len(members) > 1 else []:
                by_feature.setdefault(member, []).append(link)
        return by_feature

    @property
    def singles(self) -> int:
        return int((self.groups["size"] == 1).sum())

    @cached_property
    def axis(self) -> float:
        """Right end of the scale of this encoder's scores."""
        kept = self.tables.concepts[self.tables.concepts["kept"]]
        highest = kept["interval_high"].replace([np.inf, -np.inf], np.nan).max()
        return float(highest) if highest > 0 else 1.0

    def activations(self, rows: np.ndarray) -> np.ndarray:
        """Return the activations of the images in `rows`, by which images were ranked."""
        return open_rows(paths.groups(self.name) / "activations").rows(rows)

    @cached_property
    def chosen(self) -> str:
        """Say how many features were chosen; "" if all were."""
        return stated(self.choice, self._width, self.name)

    @cached_property
    def not_chosen(self) -> list[Link]:
        """Links to the features that were not chosen and fire on an image, in order."""
        if self.choice is None:
            return []
        others = np.isfinite(read_array(paths.groups(self.name) / "thresholds.npy", mmap=False))
        others[chosen_features(self.choice, self._width, self.name)] = False
        return [
            Link(self.name, f"f{feature}", "", False, 0, 0, 0, explained=False) for feature in np.flatnonzero(others)
        ]

    @property
    def _width(self) -> int:
        return open_rows(paths.groups(self.name) / "activations").shape[1]

    def space(self, images: pd.DataFrame, not_chosen: bool = False) -> Space:
        """Return the activations of its groups on a sample of the explained images.

        Parameters
        ----------
        not_chosen : whether the features that were not chosen follow the groups.
        """
        others = [[int(link.group[1:])] for link in self.not_chosen] if not_chosen else []
        return Space(
            np.asfortranarray(self.activations(sampled(probe_rows(images)))), [*self.groups["member"], *others]
        )


def probe_rows(images: pd.DataFrame) -> np.ndarray:
    """Return the rows of the explained images."""
    return np.flatnonzero(images["split"] == "probe")


def _place_of_cover(place: int) -> tuple[int, int, int]:
    """Return picture, column and row of the cover of the group at `place`."""
    return place // SHEET, place % SHEET % COVERS, place % SHEET // COVERS


def tables_of_truths(params: Any) -> dict[str, Path]:
    """Return the table of the features' truths of each encoder that has one: known attributes, or the classes of images."""
    if params.worlds:
        return {name: paths.table(f"{name}_truth") for name in params.without_controls}
    return {name: paths.table(f"{name}_classes") for name in params.evaluate_classes.encoders}


def read_explained(encoders: Any, truths: Mapping[str, Path], most_weak: int) -> list[ExplainedEncoder]:
    """Read the tables of all encoders of params.yaml.

    Parameters
    ----------
    encoders : specifications by name.
    truths : tables of `tables_of_truths`.
    most_weak : most weak words, and most weak phrases, of a group that are listed.

    Raises
    ------
    UserError
        If a table is missing.
    """
    return [
        ExplainedEncoder(name, spec.kind, _tables(name, truths.get(name), most_weak), spec.features)
        for name, spec in encoders.items()
    ]


def _tables(name: str, truths: Path | None, most_weak: int) -> Tables:
    groups = ordered(read_table(paths.groups(name) / "groups.parquet"))
    explainability = read_table(paths.EXPLAINABILITY / f"{name}.parquet")
    concepts = read_table(paths.concepts(name) / "concepts.parquet")
    faithfulness = read_faithfulness_of(name)
    interpretable = dict(zip(explainability["group"], explainability["interpretable"].eq(True), strict=True))
    trusted = {group for group in groups["group"] if _trusted(group, faithfulness, interpretable)}
    listed = listed_concepts(concepts, trusted, most_weak)
    left_out = concepts["group"].value_counts().sub(listed["group"].value_counts(), fill_value=0)
    return Tables(
        groups=groups,
        concepts=listed,
        evidence=read_table(paths.concepts(name) / "evidence.parquet"),
        explainability=explainability,
        evaluation=read_table(truths) if truths else None,
        left_out={str(group): int(count) for group, count in left_out.items()},
        faithfulness=faithfulness,
        doubts=doubts_by_group(groups, listed, explainability, faithfulness),
    )


def _trusted(group: str, faithfulness: Mapping[str, Faithfulness], interpretable: Mapping[str, bool]) -> bool:
    return faithfulness.get(group, NOT_MEASURED).trusted(interpretable.get(group, False))


def read_faithfulness_of(name: str) -> dict[str, Faithfulness]:
    """Read how well the first word of each feature and group of an encoder follows it, by group.

    Raises
    ------
    UserError
        If the table is missing.
    """
    table = read_table(paths.EXPLAINED)
    own = table[(table["encoder"] == name) & table["kind"].isin(["feature", "group"])]
    return {str(row["group"]): read_faithfulness(row) for row in own.to_dict("records")}


def doubts_by_group(
    groups: pd.DataFrame,
    concepts: pd.DataFrame,
    explainability: pd.DataFrame,
    faithfulness: Mapping[str, Faithfulness],
) -> dict[str, list[str]]:
    """Say for each group why it is not explained.

    Parameters
    ----------
    groups, concepts, explainability : ``groups.parquet``, ``concepts.parquet``, and the table of the coherence.
    faithfulness : as from `read_faithfulness_of`.
    """
    first = {row.group: row for row in first_of_each(concepts).itertuples(index=False)}
    measured = explainability.set_index("group")
    crops, interpretable = measured["crops"].to_dict(), measured["interpretable"].eq(True).to_dict()
    return {
        group: doubts(
            first.get(group),
            interpretable.get(group, False),
            int(crops.get(group, 0)),
            faithfulness.get(group, NOT_MEASURED),
        )
        for group in groups["group"]
    }


def carriers(explained: Iterable[ExplainedEncoder]) -> pd.DataFrame:
    """Join the listed kept concepts of all groups of all encoders: columns of their table, and ``encoder``."""
    kept = [one.tables.concepts[one.tables.concepts["kept"]].assign(encoder=one.name) for one in explained]
    return pd.concat(kept, ignore_index=True)
