"""Cards: all that the report shows of one feature or group, collected from the artefacts of an encoder."""

import hashlib
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from falcon_dvc.concepts.words.clarity import NOT_MEASURED, Faithfulness
from falcon_dvc.html.histograms import Histogram
from falcon_dvc.members import member_lists

REMOVED = 8  # concepts that the contrast removed, on a card; the tables contain all of them
CAPTIONS = 3  # captions of each concept that are shown even if they describe none of the shown crops
MOST_CAPTIONS = 60  # on a card
ROLES = ("high", "low")


def concept_key(concept: str) -> str:
    """Name the page of a concept: the same in every run, and without the untrusted text of the concept."""
    return hashlib.sha256(concept.encode("utf-8", "surrogatepass")).hexdigest()[:12]


@dataclass(frozen=True)
class Concept:
    """A ranked concept of a card; numbers as in ``concepts.parquet``, `unclear` as in `clarity.listed_concepts`."""

    concept: str
    kind: str
    value: float
    score: float
    low_score: float
    prior: float
    interval_low: float
    interval_high: float
    support: int
    reason: str
    unclear: bool

    @property
    def key(self) -> str:
        return concept_key(self.concept)


@dataclass(frozen=True)
class Caption:
    """A caption that is evidence of concepts.

    Attributes
    ----------
    weight : sum over the crops that it describes.
    crops : indices of those crops among the highly activating crops that are shown.
    elsewhere : number of other crops that it describes.
    concepts : indices of its concepts among the card's words, then phrases.
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
    """The attribute that a single feature correlates with on held-out images, and how its concepts rank it.

    Attributes
    ----------
    verdict : ``first``, ``five``, ``missed``, or ``unclear`` if no attribute correlates enough.
    rank : rank of the first word that names the attribute; 0 if no word does.
    """

    kind: str
    value: str
    correlation: float
    verdict: str
    rank: int


@dataclass(frozen=True)
class Card:
    """A feature or a group of features.

    Attributes
    ----------
    side : of a direction that it is: ``positive`` or ``negative``; "" if directions are not divided. `opposite` is the id of
        the other side.
    faithfulness : how well its first word follows it on held-out images.
    doubts : why it is not explained; empty if it is.
    left_out : number of weak concepts that are not listed.
    """

    encoder: str
    group: str
    members: list[int]
    side: str
    opposite: str
    support: int
    lift: float
    p_value: float
    coherence: float
    z: float
    interpretable: bool
    released_coherence: float
    released_interpretable: bool
    faithfulness: Faithfulness
    doubts: list[str]
    left_out: int
    words: list[Concept]
    phrases: list[Concept]
    removed: list[Concept]
    captions: list[Caption]
    truth: Truth | None
    histogram: Histogram
    crops: dict[str, list[Crop]]

    @property
    def concepts(self) -> list[Concept]:
        """All kept concepts, in the order of `Caption.concepts`."""
        return [*self.words, *self.phrases]

    @property
    def says(self) -> str:
        """The first concept, the title of the card."""
        return self.concepts[0].concept if self.concepts else ""


@dataclass(frozen=True)
class Tables:
    """The tables of one encoder that the report reads.

    Attributes
    ----------
    concepts : those that the pages list, as from `clarity.listed_concepts`.
    left_out : number of concepts of each group that they do not list.
    faithfulness : how well the first word of each group follows it on held-out images.
    doubts : why a group is not explained, by group; empty if it is.
    """

    groups: pd.DataFrame
    concepts: pd.DataFrame
    evidence: pd.DataFrame
    explainability: pd.DataFrame
    evaluation: pd.DataFrame | None
    left_out: Mapping[str, int]
    faithfulness: Mapping[str, Faithfulness]
    doubts: Mapping[str, list[str]]


def crops_by_group(shown: pd.DataFrame) -> dict[str, dict[str, list[Crop]]]:
    """Collect the crops of each group by role."""
    crops: dict[str, dict[str, list[Crop]]] = {}
    for row in shown.itertuples(index=False):
        crops.setdefault(row.group, {role: [] for role in ROLES})[row.role].append(as_crop(row))
    return crops


def as_crop(row: Any) -> Crop:
    """Read a row of the crops of `crops.read_crops`."""
    return Crop(str(row.image), _text(row.label), float(row.activation), bool(row.empty))


def _text(value: Any) -> str:
    """Read the text of a cell; "" if it is missing."""
    return "" if value is None or value != value else str(value)


def ordered(groups: pd.DataFrame) -> pd.DataFrame:
    """Sort groups in the order of the report: by size, then members."""
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
    """Yield the cards in the order of `ordered`."""
    concepts = _concepts(tables.concepts)
    truths = _truths(tables.evaluation)
    texts = captions.set_index("caption")["text"]
    evidence = tables.evidence.groupby("group", sort=False).indices
    for row in _measured_groups(tables).itertuples(index=False):
        of_group, shown = concepts.get(row.group, {}), crops.get(row.group, {role: [] for role in ROLES})
        kept = [concept.concept for kind in ("word", "phrase") for concept in of_group.get(kind, [])]
        rows = tables.evidence.iloc[evidence.get(row.group, [])]
        listed = evidence_captions(rows, kept, [crop.image for crop in shown["high"]], texts)
        yield _card(name, row, tables, of_group, listed, truths.get(row.group), shown, histograms[row.group])


def _measured_groups(tables: Tables) -> pd.DataFrame:
    """Join the groups with their coherence; a group that was not measured is not interpretable."""
    verdicts = ["interpretable", "released_interpretable"]
    measured = tables.explainability[["group", "coherence", "z", "released_coherence", *verdicts]]
    rows = tables.groups.merge(measured, on="group", how="left", validate="one_to_one")
    return rows.assign(**{verdict: rows[verdict].eq(True) for verdict in verdicts})


def _card(
    name: str,
    row: Any,
    tables: Tables,
    concepts: Mapping[str, list[Concept]],
    captions: list[Caption],
    truth: Truth | None,
    crops: dict[str, list[Crop]],
    histogram: Histogram,
) -> Card:
    """Make one card."""
    return Card(
        encoder=name,
        group=row.group,
        members=row.member,
        side=_text(getattr(row, "side", "")),
        opposite=_text(getattr(row, "opposite", "")),
        support=int(row.support),
        lift=float(row.lift),
        p_value=float(row.p_value),
        coherence=float(row.coherence),
        z=float(row.z),
        interpretable=bool(row.interpretable),
        released_coherence=float(row.released_coherence),
        released_interpretable=bool(row.released_interpretable),
        faithfulness=tables.faithfulness.get(row.group, NOT_MEASURED),
        doubts=tables.doubts[row.group],
        left_out=tables.left_out.get(row.group, 0),
        words=concepts.get("word", []),
        phrases=concepts.get("phrase", []),
        removed=concepts.get("removed", []),
        captions=captions,
        truth=truth,
        histogram=histogram,
        crops=crops,
    )


def _concepts(table: pd.DataFrame) -> dict[str, dict[str, list[Concept]]]:
    """Collect the kept words, the kept phrases and the first removed concepts of each group."""
    ranked = table.sort_values(["group", "rank", "kind", "concept"], ascending=[True, True, False, True], kind="stable")
    concepts: dict[str, dict[str, list[Concept]]] = {}
    for row in ranked.itertuples(index=False):
        listed = concepts.setdefault(row.group, {}).setdefault(row.kind if row.kept else "removed", [])
        if row.kept or len(listed) < REMOVED:
            listed.append(_concept(row))
    return concepts


def _concept(row: Any) -> Concept:
    keys = ("value", "score", "low_score", "prior", "interval_low", "interval_high")
    numbers = {key: float(getattr(row, key)) for key in keys}
    return Concept(
        str(row.concept),
        row.kind,
        **numbers,
        support=int(row.support),
        reason=_text(row.reason),
        unclear=bool(row.unclear),
    )


def evidence_captions(
    evidence: pd.DataFrame, concepts: list[str], images: list[str], texts: pd.Series
) -> list[Caption]:
    """List the captions of the shown crops and those with the largest weights of each concept, by weight.

    Parameters
    ----------
    evidence : rows of one group: a crop, one of its concepts, and the best caption of the crop with the concept.
    concepts, images : those of the card, in its order.
    texts : captions by number.
    """
    place_of = {concept: place for place, concept in enumerate(concepts)}
    weights: dict[int, dict[str, float]] = {}
    named: dict[int, set[int]] = {}
    for concept, image, caption, weight in evidence[["concept", "image", "caption", "weight"]].itertuples(index=False):
        if concept in place_of:
            weights.setdefault(caption, {})[image] = weight
            named.setdefault(caption, set()).add(place_of[concept])
    total = {caption: round(float(sum(by_image.values())), 9) for caption, by_image in weights.items()}
    by_weight = sorted(total, key=lambda caption: (-total[caption], caption))
    wanted = {caption for caption, by_image in weights.items() if not by_image.keys().isdisjoint(images)}
    for place in range(len(concepts)):
        wanted |= set([caption for caption in by_weight if place in named[caption]][:CAPTIONS])
    listed = [caption for caption in by_weight if caption in wanted][:MOST_CAPTIONS]
    return [
        _caption(str(texts[caption]), total[caption], weights[caption].keys(), sorted(named[caption]), images)
        for caption in listed
    ]


def _caption(text: str, weight: float, described: Set[str], concepts: list[int], images: list[str]) -> Caption:
    shown = [place for place, image in enumerate(images) if image in described]
    return Caption(text, weight, shown, len(described) - len(shown), concepts)


def _truths(evaluation: pd.DataFrame | None) -> dict[str, Truth]:
    """Collect the truth of each single feature; empty if no truth is known."""
    rows = [] if evaluation is None else evaluation.itertuples(index=False)
    return {row.group: _truth(row) for row in rows}


def _truth(row: Any) -> Truth:
    return Truth(str(row.kind), str(row.value), float(row.correlation), _verdict(row), _place(row.rank_of_truth))


def _verdict(row: Any) -> str:
    """Rate how well the concepts name the attribute of a truth."""
    if not row.clear:
        return "unclear"
    return "first" if row.hit_first else ("five" if row.hit_five else "missed")


def _place(rank: float) -> int:
    """Return a rank as an integer; 0 if there is none (NaN or infinite)."""
    return int(rank) if np.isfinite(rank) else 0
