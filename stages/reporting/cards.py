"""A card for each explained feature and group, collected from the artefacts of one encoder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

WORDS, PHRASES, REMOVED = 5, 3, 4  # concepts of a card; the tables hold all of them
CAPTIONED, CAPTIONS = 3, 2  # concepts of a card whose captions are shown, and captions of each
ROLES = ("high", "low")


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


@dataclass(frozen=True)
class Captions:
    """Captions that a concept came from, the ones that weigh most first."""

    concept: str
    texts: list[str]


@dataclass(frozen=True)
class Crop:
    """One picture of a card; `uri` holds the crop and, beneath it, the original image."""

    image: str
    label: str
    activation: float
    empty: bool
    uri: str


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
    captions: list[Captions]
    truth: Truth | None
    crops: dict[str, list[Crop]]

    @property
    def anchor(self) -> str:
        return f"{self.encoder}-{self.group}"

    @property
    def says(self) -> str:
        """The first concept, by which people remember the card."""
        return self.words[0].concept if self.words else (self.phrases[0].concept if self.phrases else "")

    @property
    def searched(self) -> str:
        """Text that the search looks through."""
        numbers = [self.group, *(f"f{member}" for member in self.members)]
        truth = [self.truth.kind, self.truth.value] if self.truth else []
        concepts = [some.concept for some in (*self.words, *self.phrases)]
        return " ".join(dict.fromkeys([*numbers, *concepts, *truth])).lower()


@dataclass(frozen=True)
class Tables:
    """The artefacts of one encoder, as far as the report needs them."""

    groups: pd.DataFrame
    concepts: pd.DataFrame
    evidence: pd.DataFrame
    explainability: pd.DataFrame
    evaluation: pd.DataFrame | None


def crops_by_group(shown: pd.DataFrame) -> dict[str, dict[str, list[Crop]]]:
    """Pictures of each group by role."""
    crops: dict[str, dict[str, list[Crop]]] = {}
    for row in shown.itertuples(index=False):
        crop = Crop(str(row.image), _text(row.label), float(row.activation), bool(row.empty), row.uri)
        crops.setdefault(row.group, {role: [] for role in ROLES})[row.role].append(crop)
    return crops


def _text(value: Any) -> str:
    """Text of a cell that may be missing."""
    return "" if value is None or value != value else str(value)


def collect_cards(
    name: str, tables: Tables, captions: pd.DataFrame, crops: Mapping[str, dict[str, list[Crop]]]
) -> list[Card]:
    """Cards in the order of size, then members."""
    concepts = _concepts(tables.concepts)
    behind = _captions_behind(tables.evidence, captions)
    truths = _truths(tables.evaluation)
    rows = _measured_groups(tables)
    cards = [
        _card(name, row, concepts.get(row.group, {}), behind, truths.get(row.group), crops.get(row.group, {}))
        for row in rows.itertuples(index=False)
    ]
    return sorted(cards, key=lambda card: (len(card.members), card.members))


def _measured_groups(tables: Tables) -> pd.DataFrame:
    """Groups with their coherence; one that was not measured is not interpretable."""
    verdicts = ["interpretable", "released_interpretable"]
    measured = tables.explainability[["group", "coherence", "z", "released_coherence", *verdicts]]
    rows = tables.groups.merge(measured, on="group", how="left", validate="one_to_one")
    return rows.assign(**{verdict: rows[verdict].eq(True) for verdict in verdicts})


def _card(
    name: str,
    row: Any,
    concepts: Mapping[str, list[Concept]],
    behind: Mapping[tuple[str, str], list[str]],
    truth: Truth | None,
    crops: dict[str, list[Crop]],
) -> Card:
    """One card."""
    words, phrases = concepts.get("word", []), concepts.get("phrase", [])
    captioned = [some.concept for some in (*words[: CAPTIONED - 1], *phrases[:1])]
    return Card(
        encoder=name,
        group=row.group,
        members=[int(member) for member in row.members.split()],
        support=int(row.support),
        lift=float(row.lift),
        p_value=float(row.p_value),
        coherence=float(row.coherence),
        z=float(row.z),
        interpretable=bool(row.interpretable),
        released_coherence=float(row.released_coherence),
        released_interpretable=bool(row.released_interpretable),
        words=words,
        phrases=phrases,
        removed=concepts.get("removed", []),
        captions=[
            Captions(concept, behind[row.group, concept]) for concept in captioned if (row.group, concept) in behind
        ],
        truth=truth,
        crops={role: crops.get(role, []) for role in ROLES},
    )


def _concepts(table: pd.DataFrame) -> dict[str, dict[str, list[Concept]]]:
    """First kept words, first kept phrases and first removed concepts of each group."""
    ranked = table.sort_values(["group", "rank", "kind", "concept"], ascending=[True, True, False, True], kind="stable")
    concepts: dict[str, dict[str, list[Concept]]] = {}
    limits = {"word": WORDS, "phrase": PHRASES, "removed": REMOVED}
    for row in ranked.itertuples(index=False):
        place = row.kind if row.kept else "removed"
        some = concepts.setdefault(row.group, {}).setdefault(place, [])
        if len(some) < limits[place]:
            some.append(_concept(row))
    return concepts


def _concept(row: Any) -> Concept:
    keys = ("score", "low_score", "prior", "interval_low", "interval_high")
    numbers = {key: float(getattr(row, key)) for key in keys}
    return Concept(str(row.concept), row.kind, **numbers, support=int(row.support), reason=_text(row.reason))


def _captions_behind(evidence: pd.DataFrame, captions: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Captions of each group and concept, by their weight summed over the crops; those of equal weight by number."""
    keys = ["group", "concept", "caption"]
    weight = evidence.drop_duplicates([*keys, "image"]).groupby(keys, as_index=False)["weight"].sum()
    heaviest = weight.assign(weight=-weight["weight"].round(9)).sort_values(["group", "concept", "weight", "caption"])
    first = heaviest[heaviest.groupby(["group", "concept"]).cumcount() < CAPTIONS].merge(captions, on="caption")
    return {key: list(texts) for key, texts in first.groupby(["group", "concept"], sort=False)["text"]}


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
