"""List the statements of each claim: what was measured, against what, and in which file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.claims.verdicts import Figure, Verdict, at_least, below, exceeds, is_positive

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params


STUDY = Path("studies/metrics/reported.json")
PHOTOS = Path("reports/photos/metrics")

WORLDS = "synthetic"  # the table adds the number of data sets
SEED_0 = "synthetic, seed 0"
PICTURES = "photographs"
ENCODERS = {"supervised": "supervised", "simclr": "SimCLR"}
RIVALS = {
    "caption_correlation": "by the correlation with captions, r(capt)",
    "contrastive_projection": "by a contrast of embeddings (CSP)",
    "nearest_text": "by the nearest text (as SemanticLens)",
    "clip_dissect": "by CLIP-Dissect as released",
}


@dataclass(frozen=True)
class Ref:
    """Refer to a number of a metrics file, such as ``single.interpretable.share``, with the interval beside it."""

    file: Path
    key: str

    def figure(self) -> Figure | None:
        """Read the number; None if this run has no such file or key.

        A number of a single synthetic data set has no interval over data sets, so it decides nothing.
        """
        content, last = self._section(), self.key.rpartition(".")[2]
        if last not in content:
            return None
        value = float(content[last])
        if content.get("worlds") == 1:
            return Figure(value, -inf, inf)
        return Figure(value, float(content.get("interval_low", value)), float(content.get("interval_high", value)))

    def seeds(self) -> str:
        """Say how many synthetic data sets the number covers, if the file says so."""
        worlds = self._section().get("worlds")
        return f", {worlds} data set{'s' * (worlds > 1)}" if worlds else ""

    def _section(self) -> dict[str, Any]:
        """Read the section that holds the number; empty if this run has no such file or key."""
        content: Any = read_json(self.file) if self.file.is_file() else {}
        for section in self.key.split(".")[:-1]:
            content = content.get(section) if isinstance(content, dict) else None
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Row:
    """Hold one line of the table: a statement, where it was measured, and what decides it.

    With the rule ``positive``, `measured` is a difference on the same items, which must lie above `against`, 0. If the
    number was not measured, `instead` is the line of the default run.
    """

    claim: str
    statement: str
    data: str
    measured: Ref
    against: Ref | float
    rule: str = "exceeds"
    instead: Row | None = None

    def or_own(self, name: str, key: str, against: str = "", of: str = "") -> Row:
        """Add the line of the default run, which stands for this one if the studies have no number.

        Parameters
        ----------
        name, key : metrics file of this run, and the number in it.
        against : number of the same file that it must exceed; "" for the limit of this line.
        of : the encoder, if the statement does not name it.
        """
        statement = f"{of}: {self.statement}" if of else self.statement
        other, rule = (_own(name, against), "exceeds") if against else (self.against, self.rule)
        return replace(self, instead=Row(self.claim, statement, SEED_0, _own(name, key), other, rule))

    def verdict(self, figure: Figure, other: Figure | float) -> Verdict:
        """Decide by the intervals alone."""
        if isinstance(other, Figure):
            return exceeds(figure, other)
        if self.rule == "positive":
            return is_positive(figure)
        return below(figure, other) if self.rule == "below" else at_least(figure, other)


def rows(params: Params) -> Iterator[Row]:
    """Yield every statement, at most 30, in the order of the claims."""
    yield from _measure()
    yield from _explained()
    yield from _groups()
    yield from _contrast()
    yield from _failures(params)
    yield from _transfer()
    yield from _right()


def _study(key: str) -> Ref:
    return Ref(STUDY, key)


def _own(name: str, key: str) -> Ref:
    return Ref(paths.metrics(name), key)


def _photos(name: str, key: str) -> Ref:
    return Ref(PHOTOS / f"{name}.json", key)


def _positive(claim: str, statement: str, key: str) -> Row:
    """State that a difference over the synthetic data sets is positive."""
    return Row(claim, statement, WORLDS, _study(f"{key}.difference"), 0.0, "positive")


def _measure() -> Iterator[Row]:
    for text, place, own, limit, rule in (
        (
            "untrained encoders: at most 0.05 of the features are explained",
            "untrained.feature.explained",
            "untrained_1.feature.share",
            0.05,
            "below",
        ),
        (
            "permuted words: at most 0.02 of the trained features are explained",
            "both.feature.permuted_words",
            "supervised.feature.permuted_words.share",
            0.02,
            "below",
        ),
        (
            "hand-made sets of one class: at least 0.9 are explained",
            "both.class_set.explained",
            "supervised.class_set.share",
            0.9,
            "at least",
        ),
        (
            "random sets: at most 0.05 are explained",
            "both.random_set.explained",
            "supervised.random_set.share",
            0.05,
            "below",
        ),
    ):
        yield Row("M", text, WORLDS, _study(f"explained.{place}.share"), limit, rule).or_own("explained", own)
    yield _positive("M", "more trained features than untrained ones are explained", "explained.both.less_untrained")


def _explained() -> Iterator[Row]:
    for encoder, name in ENCODERS.items():
        measured = _study(f"explained.{encoder}.feature.explained.share")
        row = Row("C1", f"less than 0.2 of the {name} features are explained", WORLDS, measured, 0.2, "below")
        yield row.or_own("explained", f"{encoder}.feature.share")
    measured = _photos("explained", "lite0.feature.share")
    yield Row("C1", "less than 0.2 of EfficientNet-Lite0's features are explained", PICTURES, measured, 0.2, "below")


def _groups() -> Iterator[Row]:
    """Yield the statements on pairs of features whose first words differ."""
    for encoder, name in ENCODERS.items():
        place = f"uses.groups_{encoder}.pairs.different_words"
        text = f"{name}: a pair follows its label better than its best member follows that member's own word"
        own, pairs = f"groups_{encoder}", "pairs.different_words"
        row = Row("C2", text, WORLDS, _study(f"{place}.own_word_gain.mean"), 0.0, "positive")
        yield row.or_own(own, f"{pairs}.own_word_gain.mean")
        text = f"{name}: a pair follows its label better than its best member does, and gains more than with a random partner"
        yield _positive("C2", text, f"{place}.gain_less_control").or_own(own, f"{pairs}.gain_less_control.difference")


def _contrast() -> Iterator[Row]:
    own, released = "plants.falcon_distinct", "plants.falcon_released_released"
    text = "our contrast removes a planted background's word more often than the object's own word"
    yield _positive("C3", text, f"{own}.spurious_removed_less_true_lost")
    lost = "loses the object's own word in at most 0.05 of the cases"
    for name, place in (("our contrast", own), ("the released contrast", released)):
        yield Row("C3", f"{name} {lost}", WORLDS, _study(f"{place}.true_lost.share"), 0.05, "below")


def _failures(params: Params) -> Iterator[Row]:
    """Yield the statements on the planted shortcut.

    They say whether it is named, and what switching it off does to the object and its look-alike.
    """
    planted, place = params.render_scenes.shortcut, "uses.failures_supervised"
    for control, text in (("by_chance", "with shuffled blame"), ("other_failures", "for failures of other classes")):
        statement = (
            f"the first word of a failure by the planted shortcut is the background at work, more often than {text}"
        )
        row = _positive("C4", statement, f"{place}.shortcut.at_work_less_{control}")
        yield row.or_own("failures_supervised", "shortcut.at_work.share", f"shortcut.at_work_{control}.share")
    for right, wrong in ((planted.object, planted.lookalike), (planted.lookalike, planted.object)):
        statement = (
            f"switching off the blamed features repairs {right}s called {wrong}s, more than switching off random ones"
        )
        gain = f"repair.{right}_called_{wrong}.right_class_gain"
        row = _positive("C4", statement, f"{place}.{gain}_less_random_features")
        yield row.or_own("failures_supervised", f"{gain}.share", f"{gain}_random_features.share")


def _transfer() -> Iterator[Row]:
    text = "the first concept survives the map from {} to {}, more often than a map of shuffled pairs"
    for explained, unseen in (("supervised", "simclr"), ("simclr", "supervised")):
        name, same = f"transfer_{explained}_to_{unseen}", "agreement.same_first"
        row = _positive("C5", text.format(ENCODERS[explained], ENCODERS[unseen]), f"uses.{name}.{same}_less_null")
        yield row.or_own(name, f"{same}.mean", f"{same}_null.mean")
    measured, null = (_photos("transfer_lite0_to_imgsim", f"agreement.same_first{end}.mean") for end in ("", "_null"))
    yield Row("C5", text.format("EfficientNet-Lite0", "the ResNet-50 of imgsim"), PICTURES, measured, null)


def _right() -> Iterator[Row]:
    own, of = "evaluation_supervised", "supervised"
    clear = _study("right.clear.both.falcon.first.share")
    row = Row("R", "right for at least 0.9 of the features with a clear truth", WORLDS, clear, 0.9, "at least")
    yield row.or_own(own, "all.top1", of=of)
    for method, text in RIVALS.items():
        key = f"right.every.both.{method}.falcon_less_this"
        row = _positive("R", f"every feature: right more often than {text}", key)
        yield row.or_own(own, f"every_feature.{method}.falcon_less_this.difference", of=of)
    text = f"features with a clear truth: right more often than {RIVALS['caption_correlation']}"
    row = _positive("R", text, "right.clear.both.caption_correlation.falcon_less_this")
    yield row.or_own(own, "methods.caption_correlation.falcon_less_this.difference", of=of)
    text = "every feature: right more often for trained encoders than for untrained ones"
    yield _positive("R", text, "right.every.less_untrained")
    measured, other = (_photos("units_lite0", f"all_units.{method}.top1.share") for method in ("falcon", "soft_wpmi"))
    text = "final-layer units of EfficientNet-Lite0: the class name comes first, more often than by soft-WPMI"
    yield Row("R", text, PICTURES, measured, other)
