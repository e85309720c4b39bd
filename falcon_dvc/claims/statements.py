"""List the statements of each claim: what was measured, against what, and in which file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.claims.verdicts import Figure, Verdict, at_least, below, exceeds, is_positive

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params, Shortcut


STUDY = Path("studies/metrics/reported.json")
PHOTOS = Path("reports/photos/metrics")

WORLDS = "embedded world"  # the table adds the number of seeds
ONE = "embedded world, seed 0"
VARIATIONS = ("whole_images", "low_match_released", "released_scoring", "released", "captions_300", "reader_narrow")
PICTURES = "1000 photographs"


@dataclass(frozen=True)
class Ref:
    """Refer to a number of a metrics file, such as ``single.interpretable.share``, with the interval beside it."""

    file: Path
    key: str

    def figure(self) -> Figure | None:
        """Read the number; None if this run has no such file or key."""
        content, last = self._section(), self.key.rpartition(".")[2]
        if last not in content:
            return None
        value = float(content[last])
        return Figure(value, float(content.get("interval_low", value)), float(content.get("interval_high", value)))

    def seeds(self) -> str:
        """Say how many synthetic data sets the number covers, if the file says so."""
        worlds = self._section().get("worlds")
        return f", {worlds} seed{'s' * (worlds > 1)}" if worlds else ""

    def _section(self) -> dict[str, Any]:
        """Read the section that holds the number; empty if this run has no such file or key."""
        content: Any = read_json(self.file) if self.file.is_file() else {}
        for section in self.key.split(".")[:-1]:
            content = content.get(section) if isinstance(content, dict) else None
        return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class Row:
    """Hold one line of the table: a statement, where it was measured, and what decides it."""

    claim: str
    statement: str
    data: str
    measured: Ref
    against: Ref | float
    rule: str = "exceeds"

    def verdict(self, figure: Figure, other: Figure | float) -> Verdict:
        """Decide by the intervals alone."""
        if isinstance(other, Figure):
            return exceeds(figure, other)
        if self.rule == "positive":
            return is_positive(figure)
        return below(figure, other) if self.rule == "below" else at_least(figure, other)


def rows(params: Params) -> Iterator[Row]:
    """Yield every statement, in the order of the claims."""
    yield from _interpretable()
    yield from _groups(params)
    yield from _contrast()
    yield from _failures(params)
    yield from _transfer(params)
    yield from _right()


def _study(key: str) -> Ref:
    return Ref(STUDY, key)


def _own(name: str, key: str) -> Ref:
    return Ref(paths.metrics(name), key)


def _photos(name: str, key: str) -> Ref:
    return Ref(PHOTOS / f"{name}.json", key)


def _interpretable() -> Iterator[Row]:
    space = "of_the_space.{}.share"
    for encoder in ("supervised", "simclr", "untrained"):
        for rule, words in (("released_rule", "by the released rule"), ("interpretable", "against random crops")):
            text = f"share of the {encoder} space that is interpretable {words}, below 0.2"
            yield Row("C1", text, WORLDS, _study(f"explainability.{encoder}.{space.format(rule)}"), 0.2, "below")
    for encoder in ("lite0", "lite1"):
        for rule, words in (("released_rule", "by the released rule"), ("interpretable", "against random crops")):
            text = f"share of the {encoder} space that is interpretable {words}, below 0.2"
            yield Row("C1", text, PICTURES, _photos(f"explainability_{encoder}", space.format(rule)), 0.2, "below")
    for encoder in ("supervised", "simclr"):
        control = _study(f"explainability.{encoder}.shuffled_activations.share")
        text = f"more single features of {encoder} are interpretable than with shuffled activations"
        yield Row("C1", text, WORLDS, _study(f"explainability.{encoder}.of_1.interpretable.share"), control)
        untrained = _study("explainability.untrained.of_1.interpretable.share")
        text = f"more single features of {encoder} are interpretable than of an untrained encoder"
        yield Row("C1", text, WORLDS, _study(f"explainability.{encoder}.of_1.interpretable.share"), untrained)


def _used(name: str) -> Callable[[str], Ref]:
    """Refer to the figures of one metrics file, averaged over the synthetic data sets of the studies."""
    return lambda key: _study(f"uses.{name}.{key}")


def _groups(params: Params) -> Iterator[Row]:
    for encoder in ("supervised", "simclr"):
        for size in (2, 3):
            for rule, words in (("released_rule", "by the released rule"), ("interpretable", "against random crops")):
                key = f"explainability.{encoder}.of_{{}}.{rule}.share"
                text = f"groups of {size} of {encoder} are more often interpretable than single features, {words}"
                yield Row("C2", text, WORLDS, _study(key.format(size)), _study(key.format(1)))
    for encoder in ("supervised", "simclr"):
        yield from _group_rows(encoder, (2, 3), WORLDS, _used(f"groups_{encoder}"))
    for encoder in params.without_controls:
        sizes = range(2, params.find_groups.max_size + 1)
        yield from _group_rows(encoder, sizes, ONE, partial(_own, f"groups_{encoder}"))


def _group_rows(encoder: str, sizes: Iterable[int], data: str, ref: Callable[[str], Ref]) -> Iterator[Row]:
    """Yield the statements on what groups add to their members."""
    for size in sizes:
        for key, words in (
            ("new_concept", "have a word that no member has"),
            ("beats_best_member", "predict their concept better than their best member does, on held-out images"),
        ):
            text = f"groups of {size} of {encoder} {words}, more often than the control"
            yield Row("C2", text, data, ref(f"of_{size}.{key}.share"), ref(f"of_{size}.{key}_control.share"))


def _contrast() -> Iterator[Row]:
    for name, words in (
        ("falcon_relative_distinct", "our default contrast"),
        ("falcon_released_released", "the released contrast"),
    ):
        removed, lost = (_study(f"plants.{name}.{key}.share") for key in ("spurious_removed", "true_lost"))
        yield Row(
            "C3",
            f"{words}: a planted ground's word is removed more often than the object's own word",
            WORLDS,
            removed,
            lost,
        )
        yield Row(
            "C3", f"{words}: the planted word is gone in at least 0.8 of the cases", WORLDS, removed, 0.8, "at least"
        )
        yield Row("C3", f"{words}: the object's word is lost in at most 0.05", WORLDS, lost, 0.05, "below")


def _failures(params: Params) -> Iterator[Row]:
    planted = params.render_scenes.shortcut
    yield from _failure_rows("supervised", planted, WORLDS, _used("failures_supervised"))
    for encoder in params.failures.encoders:
        yield from _failure_rows(encoder, planted, ONE, partial(_own, f"failures_{encoder}"))


def _failure_rows(encoder: str, planted: Shortcut, data: str, ref: Callable[[str], Ref]) -> Iterator[Row]:
    """Yield the statements on the planted shortcut.

    They say whether it is named, and what switching it off does to the object and its look-alike.
    """
    for key, words in (
        ("at_work_by_chance", "with the blame shuffled over the features"),
        ("at_work_other_failures", "for failures of other classes"),
    ):
        text = f"{encoder}: the first-named concept of a failure by the planted shortcut is the ground at work, more often than {words}"
        yield Row("C4", text, data, ref("shortcut.at_work.share"), ref(f"shortcut.{key}.share"))
    text = f"{encoder}: switching off the features that carry the blamed concepts repairs"
    for right, wrong in ((planted.object, planted.lookalike), (planted.lookalike, planted.object)):
        gain = f"repair.{right}_called_{wrong}.right_class_gain"
        what = f"{text} {right}s called {wrong}s, more than switching off as many random ones does"
        yield Row("C4", what, data, ref(f"{gain}.share"), ref(f"{gain}_random_features.share"))


def _transfer(params: Params) -> Iterator[Row]:
    for explained, unseen in (("supervised", "simclr"), ("simclr", "supervised")):
        name = f"transfer_{explained}_to_{unseen}"
        yield from _transfer_rows(f"{explained} from {unseen}", WORLDS, _used(name))
        yield from _control_rows(f"{explained} from {unseen}", WORLDS, _used(name))
    for name, pair in params.transfers.items():
        own = lambda key, name=name: _own(f"transfer_{name}", key)  # noqa: E731
        yield from _transfer_rows(f"{pair.explained} from {pair.unseen}", ONE, own)
        yield from _control_rows(f"{pair.explained} from {pair.unseen}", ONE, own)
    for explained, unseen in (("lite0", "lite1"), ("lite1", "lite0")):
        yield from _transfer_rows(
            f"{explained} from {unseen}",
            PICTURES,
            partial(_photos, f"transfer_{explained}_to_{unseen}"),
        )


def _control_rows(to: str, data: str, ref: Callable[[str], Ref]) -> Iterator[Row]:
    """Yield the statements on controls: a linear map must be recovered, a non-linear one must not."""
    text = f"{to}: a known linear map is recovered (held-out R² above 0.99 at noise 0.05)"
    yield Row("C5", text, data, ref("control_linear.median"), 0.99, "at least")
    text = f"{to}: a non-linear one is not (held-out R² below 0.1)"
    yield Row("C5", text, data, ref("control_nonlinear.median"), 0.1, "below")


def _transfer_rows(to: str, data: str, ref: Callable[[str], Ref]) -> Iterator[Row]:
    yield Row(
        "C5",
        f"{to}: median held-out R² of the map exceeds that of shuffled pairs",
        data,
        ref("r2.median"),
        ref("r2_null.median"),
    )
    yield Row(
        "C5",
        f"{to}: the first concept survives the map more often than a map of shuffled pairs",
        data,
        ref("agreement.same_first.mean"),
        ref("agreement.same_first_null.mean"),
    )


def _right() -> Iterator[Row]:
    own = "right.{}.default.falcon.first.share"
    for encoder in ("both", "supervised", "simclr"):
        yield Row(
            "R",
            f"first concept right for at least 0.9 of the features with a clear truth ({encoder})",
            WORLDS,
            _study(own.format(encoder)),
            0.9,
            "at least",
        )
    methods = (
        "soft_wpmi",
        "soft_wpmi_photo",
        "soft_wpmi_photo_tuned",
        "soft_wpmi_told_attributes",
        "falcon_off",
        "falcon_released",
        "most_frequent_word",
        "best_constant",
        "shuffled_activations",
    )
    for method in methods:
        against = _study(f"right.both.default.{method}.first.share")
        yield Row("R", f"first concept right more often than by {method}", WORLDS, _study(own.format("both")), against)
    for variation in VARIATIONS:
        own_there, against = (
            _study(f"right.both.{settings}.falcon.first.share")
            for settings in ("default_on_the_varied_worlds", variation)
        )
        yield Row("R", f"first concept right more often than with {variation}", WORLDS, own_there, against)
    for scope in ("all_units", "units_whose_images_show_the_class"):
        measured, against = (
            _photos("units_lite0", f"{scope}.{method}.top1.share") for method in ("falcon", "soft_wpmi")
        )
        yield Row(
            "R",
            f"final-layer units of lite0 ({scope.replace('_', ' ')}): class name first, more often than by soft_wpmi",
            PICTURES,
            measured,
            against,
        )
