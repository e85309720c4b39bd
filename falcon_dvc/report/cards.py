"""A card for each explained feature and group, collected from the artefacts of one encoder."""

import hashlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc.html.histograms import Histogram
from falcon_dvc.members import member_lists

REMOVED = 8  # concepts that the contrast removed, on a card; the tables hold all of them
CAPTIONS = 3  # captions of each concept that are shown whether or not one of the crops has them
MOST_CAPTIONS = 60  # on a card
ROLES = ("high", "low")


def concept_key(concept: str) -> str:
    """Name of a concept's page: the same in every run, and no text of a stranger."""
    return hashlib.sha256(concept.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True)
class Concept:
    """A ranked concept of a card; numbers as in ``concepts.parquet``."""

    concept: str
    kind: str
    score: float
    low_score: float
    prior: float
    interval_low: float
    interval_high: float
    support: int
    reason: str

    @property
    def key(self) -> str:
        return concept_key(self.concept)


@dataclass(frozen=True)
class Caption:
    """A caption behind some concepts.

    Attributes
    ----------
    weight : summed over the crops that it describes.
    crops : places of those crops among the highly activating ones that are shown.
    elsewhere : how many more crops it describes.
    concepts : places of its concepts among the card's words, then phrases.
    """

    text: str
    weight: float
    crops: list[int]
    elsewhere: int
    concepts: list[int]


@dataclass(frozen=True)
class Crop:
    """One highly or lowly activating crop."""

    image: str
    label: str
    activation: float
    empty: bool


@dataclass(frozen=True)
class Truth:
    """What a single feature follows on held-out images, and whether its concepts say so.

    Attributes
    ----------
    verdict : ``first``, ``five``, ``missed``, or ``unclear`` if no attribute correlates enough.
    rank : place of the first word that names it; 0 if none does.
    """

    kind: str
    value: str
    correlation: float
    verdict: str
    rank: int


@dataclass(frozen=True)
class Card:
    """A feature or a group of features."""

    encoder: str
    group: str
    members: list[int]
    support: int
    lift: float
    p_value: float
    coherence: float
    z: float
    interpretable: bool
    released_coherence: float
    released_interpretable: bool
    words: list[Concept]
    phrases: list[Concept]
    removed: list[Concept]
    captions: list[Caption]
    truth: Truth | None
    histogram: Histogram
    crops: dict[str, list[Crop]]

    @property
    def concepts(self) -> list[Concept]:
        """All kept concepts, in the order that captions count them in."""
        return [*self.words, *self.phrases]

    @property
    def says(self) -> str:
        """The first concept, by which people remember the card."""
        return self.concepts[0].concept if self.concepts else ""


@dataclass(frozen=True)
class Tables:
    """The artefacts of one encoder, as far as the report needs them."""

    groups: pd.DataFrame
    concepts: pd.DataFrame
    evidence: pd.DataFrame
    explainability: pd.DataFrame
    evaluation: pd.DataFrame | None


def crops_by_group(shown: pd.DataFrame) -> dict[str, dict[str, list[Crop]]]:
    """Crops of each group by role."""
    crops: dict[str, dict[str, list[Crop]]] = {}
    for row in shown.itertuples(index=False):
        crop = Crop(str(row.image), _text(row.label), float(row.activation), bool(row.empty))
        crops.setdefault(row.group, {role: [] for role in ROLES})[row.role].append(crop)
    return crops


def _text(value: Any) -> str:
    """Text of a cell that may be missing."""
    return "" if value is None or value != value else str(value)


def ordered(groups: pd.DataFrame) -> pd.DataFrame:
    """Groups in the order of the report: by size, then members."""
    members = member_lists(groups["members"])
    order = sorted(range(len(groups)), key=lambda row: (len(members[row]), members[row]))
    return groups.assign(member=members).iloc[order].reset_index(drop=True)


def collect_cards(
    name: str,
    tables: Tables,
    captions: pd.DataFrame,
    crops: Mapping[str, dict[str, list[Crop]]],
    histograms: Mapping[str, Histogram],
) -> Iterator[Card]:
    """Cards in the order of `ordered`, one after the other."""
    concepts = _concepts(tables.concepts)
    truths = _truths(tables.evaluation)
    texts = captions.set_index("caption")["text"]
    evidence = tables.evidence.groupby("group", sort=False).indices
    for row in _measured_groups(tables).itertuples(index=False):
        some, shown = concepts.get(row.group, {}), crops.get(row.group, {role: [] for role in ROLES})
        kept = [*some.get("word", []), *some.get("phrase", [])]
        rows = tables.evidence.iloc[evidence.get(row.group, [])]
        behind = captions_behind(rows, [each.concept for each in kept], [crop.image for crop in shown["high"]], texts)
        yield _card(name, row, some, behind, truths.get(row.group), shown, histograms[row.group])


def _measured_groups(tables: Tables) -> pd.DataFrame:
    """Groups (`ordered`) with their coherence; one that was not measured is not interpretable."""
    verdicts = ["interpretable", "released_interpretable"]
    measured = tables.explainability[["group", "coherence", "z", "released_coherence", *verdicts]]
    rows = tables.groups.merge(measured, on="group", how="left", validate="one_to_one")
    return rows.assign(**{verdict: rows[verdict].eq(True) for verdict in verdicts})


def _card(
    name: str,
    row: Any,
    concepts: Mapping[str, list[Concept]],
    captions: list[Caption],
    truth: Truth | None,
    crops: dict[str, list[Crop]],
    histogram: Histogram,
) -> Card:
    """One card."""
    return Card(
        encoder=name,
        group=row.group,
        members=row.member,
        support=int(row.support),
        lift=float(row.lift),
        p_value=float(row.p_value),
        coherence=float(row.coherence),
        z=float(row.z),
        interpretable=bool(row.interpretable),
        released_coherence=float(row.released_coherence),
        released_interpretable=bool(row.released_interpretable),
        words=concepts.get("word", []),
        phrases=concepts.get("phrase", []),
        removed=concepts.get("removed", []),
        captions=captions,
        truth=truth,
        histogram=histogram,
        crops=crops,
    )


def _concepts(table: pd.DataFrame) -> dict[str, dict[str, list[Concept]]]:
    """Kept words, kept phrases and the first removed concepts of each group."""
    ranked = table.sort_values(["group", "rank", "kind", "concept"], ascending=[True, True, False, True], kind="stable")
    concepts: dict[str, dict[str, list[Concept]]] = {}
    for row in ranked.itertuples(index=False):
        some = concepts.setdefault(row.group, {}).setdefault(row.kind if row.kept else "removed", [])
        if row.kept or len(some) < REMOVED:
            some.append(_concept(row))
    return concepts


def _concept(row: Any) -> Concept:
    keys = ("score", "low_score", "prior", "interval_low", "interval_high")
    numbers = {key: float(getattr(row, key)) for key in keys}
    return Concept(str(row.concept), row.kind, **numbers, support=int(row.support), reason=_text(row.reason))


def captions_behind(evidence: pd.DataFrame, concepts: list[str], images: list[str], texts: pd.Series) -> list[Caption]:
    """Captions of the crops that are shown, and the heaviest of each concept, the heaviest first.

    Parameters
    ----------
    evidence : rows of one group: a crop, one of its concepts, and the crop's best caption that has it.
    concepts, images : of the card, in its order.
    texts : captions by number.
    """
    place_of = {concept: place for place, concept in enumerate(concepts)}
    weights: dict[int, dict[str, float]] = {}
    named: dict[int, set[int]] = {}
    for concept, image, caption, weight in evidence[["concept", "image", "caption", "weight"]].itertuples(index=False):
        if concept in place_of:
            weights.setdefault(caption, {})[image] = weight
            named.setdefault(caption, set()).add(place_of[concept])
    total = {caption: round(float(sum(some.values())), 9) for caption, some in weights.items()}
    heaviest = sorted(total, key=lambda caption: (-total[caption], caption))
    wanted = {caption for caption, some in weights.items() if not some.keys().isdisjoint(images)}
    for place in range(len(concepts)):
        wanted |= set([caption for caption in heaviest if place in named[caption]][:CAPTIONS])
    listed = [caption for caption in heaviest if caption in wanted][:MOST_CAPTIONS]
    return [
        _caption(str(texts[some]), total[some], weights[some].keys(), sorted(named[some]), images) for some in listed
    ]


def _caption(text: str, weight: float, described: Set[str], concepts: list[int], images: list[str]) -> Caption:
    shown = [place for place, image in enumerate(images) if image in described]
    return Caption(text, weight, shown, len(described) - len(shown), concepts)


def _truths(evaluation: pd.DataFrame | None) -> dict[str, Truth]:
    """Truth of each single feature, if it is known."""
    rows = [] if evaluation is None else evaluation.itertuples(index=False)
    return {row.group: _truth(row) for row in rows}


def _truth(row: Any) -> Truth:
    return Truth(str(row.kind), str(row.value), float(row.correlation), _verdict(row), _place(row.rank_of_truth))


def _verdict(row: Any) -> str:
    """How well the concepts name a truth."""
    if not row.clear:
        return "unclear"
    return "first" if row.hit_first else ("five" if row.hit_five else "missed")


def _place(rank: float) -> int:
    """A rank from 1, 0 if there is none (NaN or infinite)."""
    return int(rank) if np.isfinite(rank) else 0
