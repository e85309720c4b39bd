"""What the report shows besides its pictures, collected from the artefacts: no markup yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from stages.common import files
from stages.common.artifacts import read_json, read_table
from stages.reporting.cards import Card, Tables, collect_cards, crops_by_group
from stages.reporting.failures import Failures
from stages.reporting.measurements import Measurement, MeasurementTable, at, tabulate

# Rows of the overview: label, metrics file, keys. A row that nobody measured is left out.
OVERVIEW = (
    ("features of the space", "explainability", "features"),
    ("features explained", "explainability", "single.explained"),
    ("of these interpretable", "explainability", "single.interpretable.share"),
    ("… by the released rule", "explainability", "single.released_rule.share"),
    ("pairs explained", "explainability", "groups_of_2.explained"),
    ("of these interpretable", "explainability", "groups_of_2.interpretable.share"),
    ("triples explained", "explainability", "groups_of_3.explained"),
    ("of these interpretable", "explainability", "groups_of_3.interpretable.share"),
    ("features with a clear truth", "evaluation", "clear_truth"),
    ("first concept is right", "evaluation", "all.top1"),
    ("… of those that see an object", "evaluation", "object.top1"),
    ("… a colour", "evaluation", "colour.top1"),
    ("… a texture", "evaluation", "texture.top1"),
    ("… a background", "evaluation", "background.top1"),
    ("… a position", "evaluation", "position.top1"),
    ("right among the first five", "evaluation", "all.top5"),
    ("without contrast: first is right", "evaluation", "methods.falcon_off.top1"),
    ("baseline, CLIP-Dissect's soft-WPMI: first is right", "evaluation", "methods.soft_wpmi.top1"),
    ("baseline, the best constant: first is right", "evaluation", "methods.best_constant.top1"),
    ("control, shuffled activations: first is right", "evaluation", "methods.shuffled_activations.top1"),
    ("failures of the classifier", "failures", "failures"),
    ("of those by the planted shortcut: it is named first", "failures", "shortcut.at_work.share"),
    ("control, shuffled blame: it is named first", "failures", "shortcut.at_work_by_chance.share"),
    ("control, other failures: it is named first", "failures", "shortcut.at_work_other_failures.share"),
)
# Blocks of the measurements: title, what they are, metrics file; one column for each encoder.
OF_ENCODERS = (
    ("Interpretability", "Do the crops of a feature look more alike than random crops?", "explainability"),
    ("Right or wrong", "First concepts against the attribute that a feature follows on held-out images.", "evaluation"),
    ("Concepts", "What the scoring found, and what the contrast removed.", "concepts"),
    ("Groups", "What features say together that none of them says alone.", "groups"),
    ("Failures", "What a classifier gets wrong, whether its causes are named, and what repairs it.", "failures"),
)
OF_THE_RUN = (
    ("Images", "Images that could be read, by split.", "images"),
    ("Captions", "The caption corpus.", "captions"),
    ("Image-text encoder", "Held-out zero-shot accuracy of the encoder that reads the crops.", "clip"),
)


@dataclass(frozen=True)
class EncoderPage:
    """All cards of one encoder: single features by number, then groups by size; its failures, if it has a classifier."""

    name: str
    kind: str
    cards: list[Card]
    failures: Failures | None

    @property
    def singles(self) -> int:
        return sum(len(card.members) == 1 for card in self.cards)

    @property
    def axis(self) -> float:
        """Right end of the scale on which the scores of this encoder are drawn."""
        scores = [some.interval_high for card in self.cards for some in (*card.words, *card.phrases)]
        return max([value for value in scores if np.isfinite(value)], default=1.0) or 1.0


@dataclass(frozen=True)
class Report:
    """Everything that the report shows."""

    source: str
    image_text: str
    images: dict[str, int]
    captions: int
    contrast: str
    overview: list[tuple[str, list[Measurement | None]]]
    tables: list[MeasurementTable]
    transfers: MeasurementTable
    pages: list[EncoderPage]
    claims: list[tuple[str, list[dict[str, str]]]]


def collect(params: Any, images: pd.DataFrame, shown: pd.DataFrame, failures: Mapping[str, Failures]) -> Report:
    """Collect the report.

    Parameters
    ----------
    params : mirrors params.yaml.
    images : ``data/images.parquet``.
    shown : `shown_crops` with a column ``uri``.
    failures : as from `collect_failures`.
    """
    captions = read_table(files.CAPTIONS / "captions.parquet")
    of_encoder = dict(list(shown.groupby("encoder", sort=False)))
    return Report(
        source=params.data.source,
        image_text=params.image_text.kind,
        images={split: int(count) for split, count in images["split"].value_counts(sort=False).items()},
        captions=len(captions),
        contrast=str(params.concepts.contrast),
        overview=_overview(params.encoders),
        tables=_measurements(params.encoders),
        transfers=_transfers(params.transfers),
        pages=[
            _encoder_page(name, spec.kind, captions, of_encoder[name], bool(params.worlds), failures.get(name))
            for name, spec in params.encoders.items()
        ],
        claims=_claims() if params.worlds else [],
    )


def _claims() -> list[tuple[str, list[dict[str, str]]]]:
    """The claims table of this run, if it has one, by claim."""
    path = files.table("claims")
    if not path.is_file():
        return []
    table = read_table(path).astype(str)
    return [(str(claim), some.to_dict("records")) for claim, some in table.groupby("claim", sort=False)]


def _metrics(name: str) -> Any | None:
    """Content of a metrics file, None if this run has none."""
    path = files.metrics(name)
    return read_json(path) if path.is_file() else None


def _overview(encoders: Iterable[str]) -> list[tuple[str, list[Measurement | None]]]:
    """The few numbers to know before reading any card, one column for each encoder."""
    kinds = dict.fromkeys(kind for _, kind, _ in OVERVIEW)
    content = {kind: [_metrics(f"{kind}_{name}") for name in encoders] for kind in kinds}
    rows = [(label, [at(some, path) for some in content[kind]]) for label, kind, path in OVERVIEW]
    return [row for row in rows if any(row[1])]


def _measurements(encoders: Iterable[str]) -> list[MeasurementTable]:
    """All metrics files but the transfer's."""
    of_encoders = [
        tabulate(title, about, {name: _metrics(f"{kind}_{name}") for name in encoders})
        for title, about, kind in OF_ENCODERS
    ]
    return of_encoders + [tabulate(title, about, {"this run": _metrics(kind)}) for title, about, kind in OF_THE_RUN]


def _transfers(pairs: Mapping[str, Any]) -> MeasurementTable:
    """One column for each ordered pair."""
    about = "A linear map carries the concepts of one space to another; measured on images that it was not learnt on."
    columns = {f"{pair.explained} → {pair.unseen}": _metrics(f"transfer_{name}") for name, pair in pairs.items()}
    return tabulate("Transfer", about, columns)


def _encoder_page(
    name: str, kind: str, captions: pd.DataFrame, shown: pd.DataFrame, truth_known: bool, failures: Failures | None
) -> EncoderPage:
    """All cards of one encoder."""
    tables = Tables(
        groups=read_table(files.groups(name) / "groups.parquet"),
        concepts=read_table(files.concepts(name) / "concepts.parquet"),
        evidence=read_table(files.concepts(name) / "evidence.parquet"),
        explainability=read_table(files.EXPLAINABILITY / f"{name}.parquet"),
        evaluation=read_table(files.table(f"{name}_truth")) if truth_known else None,
    )
    return EncoderPage(name, kind, collect_cards(name, tables, captions, crops_by_group(shown)), failures)
