"""A comparison as one self-contained page, and as Markdown: whatever a stranger wrote is escaped."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from falcon_dvc.compare.comparison import EncoderComparison, FeatureChange, MetricChange, ParamChange, Verdict, Word
from falcon_dvc.compare.pictures import GAP, SIZE, first_shown
from falcon_dvc.compare.revisions import Revision
from falcon_dvc.html.markup import NOTHING, environment, number, policy, readable
from falcon_dvc.html.measurements import Measurement

# How metrics are divided: verdict, heading, what it means. The page and the Markdown say the same.
VERDICTS: tuple[tuple[tuple[Verdict, ...], str, str], ...] = (
    (("beyond",), "Beyond the intervals", "At least one value lies outside the other's interval."),
    (
        ("bare",),
        "Changed, without an interval",
        "Counts, and numbers that are measured without an interval: nothing says whether such a change is noise.",
    ),
    (("new", "gone"), "At one revision only", "A number that the other revision does not have."),
    (("noise",), "Noise", "Each value lies within the other's interval."),
)
LONGEST = 160  # characters of a name or a value that are shown
# Letters that Markdown or HTML give a meaning to.
MARKS = re.compile(r"([\\`*_\[\]<>#|~&$@])")
DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Comparison:
    """All that differs between two revisions.

    Attributes
    ----------
    same_metrics : numbers that do not differ.
    shown : changed features that are shown with pictures, at most.
    lacking : what is not on this machine, and what brings it, a line each.
    """

    old: Revision
    new: Revision
    params: list[ParamChange]
    metrics: list[MetricChange]
    same_metrics: int
    encoders: list[EncoderComparison]
    shown: int
    lacking: list[str]

    @property
    def verdicts(self) -> list[tuple[str, str, list[MetricChange]]]:
        """Heading, meaning and metrics of each verdict."""
        return [
            (heading, meaning, [some for some in self.metrics if some.verdict in kinds])
            for kinds, heading, meaning in VERDICTS
        ]

    def count(self, verdict: Verdict) -> int:
        """Metrics of a verdict."""
        return sum(some.verdict == verdict for some in self.metrics)

    def divided(self, encoder: EncoderComparison) -> tuple[list[FeatureChange], list[FeatureChange]]:
        """Changed features of an encoder that are shown with pictures, and the rest."""
        first = {(some.encoder, some.group) for some in first_shown(self.encoders, self.shown)}
        within = [(some.encoder, some.group) in first for some in encoder.changes]
        sides = (
            [some for some, inside in zip(encoder.changes, within, strict=True) if inside is side]
            for side in (True, False)
        )
        shown, rest = sides
        return shown, rest


def render_page(comparison: Comparison) -> str:
    """Fill the template."""
    style = (Path(__file__).parent / "templates/page.css").read_text(encoding="utf-8")
    size = {"width": SIZE, "height": 2 * SIZE + GAP}
    return (
        environment()
        .get_template("compare/templates/page.html.j2")
        .render(comparison=comparison, size=size, style=Markup(style), signed=signed, policy=policy(style, ""))
    )


def signed(value: int | float | None) -> str:
    """A difference with its sign; a dash for none."""
    return f"+{number(value)}" if value is not None and value > 0 else number(value)


def render_markdown(comparison: Comparison) -> str:
    """The comparison for a terminal, a pull request or a mail; features up to as many as the page has pictures of."""
    blocks = [_heading(comparison), _summary(comparison), _params(comparison)]
    blocks += [_metrics(heading, meaning, rows) for heading, meaning, rows in comparison.verdicts if rows]
    blocks += [_features(encoder, comparison) for encoder in comparison.encoders]
    blocks += ["\n".join(f"- {_with_commands(line)}" for line in comparison.lacking)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def plain(text: str, longest: int = LONGEST) -> str:
    """A stranger's text inside Markdown: one line, its letters and nothing but letters."""
    return MARKS.sub(r"\\\1", DIRECTIONS.sub("", readable(text, longest)))


def code(text: str, longest: int = LONGEST) -> str:
    """A stranger's text inside Markdown, letter by letter."""
    shown = DIRECTIONS.sub("", readable(text, longest)).replace("`", "'").replace("|", r"\|")
    return f"`{shown}`" if shown else "(empty)"


def _with_commands(line: str) -> str:
    """A line of ours that names files and revisions: its backticks stay, what HTML or a link could be does not."""
    return re.sub(r"([<>&\[\]])", r"\\\1", DIRECTIONS.sub("", readable(line, 1000)))


def _heading(comparison: Comparison) -> str:
    old, new = (code(side.label) for side in (comparison.old, comparison.new))
    return f"# Compared: {old} → {new}"


def _summary(comparison: Comparison) -> str:
    """The counts, one line each."""
    count = comparison.count
    lines = [f"params changed: {len(comparison.params)}"]
    lines += [
        f"numbers changed: {len(comparison.metrics)}, not changed: {comparison.same_metrics}; {count('beyond')} beyond the intervals, "
        f"{count('noise')} noise, {count('bare')} without an interval, {count('new')} new, {count('gone')} gone"
    ]
    lines += [f"{code(some.name)}: {in_short(some)}" for some in comparison.encoders]
    return "\n".join(f"- {line}" for line in lines)


def in_short(some: EncoderComparison) -> str:
    """What became of the features of an encoder."""
    if some.missing:
        return f"no concepts at {', '.join(code(name) for name in some.missing)}"
    close = f" ({some.close} of them a close call)" if some.close_known else ""
    text = (
        f"the first word changed for {some.first_changed} features and groups{close}, other words for "
        f"{len(some.changes) - some.first_changed}, none for {some.same}; {len(some.appeared)} appeared, {len(some.gone)} gone"
    )
    return f"{text}. {feature_warning(some)}".rstrip()


def feature_warning(some: EncoderComparison) -> str:
    """Whether a feature's number need not mean the same feature."""
    if not some.inputs:
        return ""
    return f"{', '.join(map(code, some.inputs))} differs: a feature's number need not mean the same feature at both revisions"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _params(comparison: Comparison) -> str:
    if not comparison.params:
        return ""
    rows = [[code(some.name), _value(some.old), _value(some.new)] for some in comparison.params]
    return "## Params\n\n" + _table(["param", code(comparison.old.label), code(comparison.new.label)], rows)


def _value(text: str | None) -> str:
    return NOTHING if text is None else code(text)


def _metrics(heading: str, meaning: str, rows: Sequence[MetricChange]) -> str:
    cells = [[_where(row), _measured(row.old), _measured(row.new), signed(row.difference)] for row in rows]
    return f"## {heading} ({len(rows)})\n\n{meaning}\n\n{_table(['number', 'old', 'new', 'difference'], cells)}"


def _where(row: MetricChange) -> str:
    return plain(" · ".join(part for part in (row.file, row.heading, row.label) if part))


def _measured(some: Measurement | None) -> str:
    if some is None:
        return NOTHING
    interval = "" if some.low is None or some.high is None else f" ({number(some.low)} to {number(some.high)})"
    return number(some.value) + interval


def _features(encoder: EncoderComparison, comparison: Comparison) -> str:
    """A table of the features whose words changed most."""
    shown, rest = comparison.divided(encoder)
    if not shown:
        return ""
    rows = [
        [code(some.group), _words(some.old), _words(some.new), number(some.change), closeness(some)] for some in shown
    ]
    table = _table(["feature", "old", "new", "change", "first word"], rows)
    more = f"\n\n{len(rest)} more are on the page." if rest else ""
    return f"## {code(encoder.name)}: words changed\n\n{table}{more}"


def _words(words: Sequence[Word]) -> str:
    return ", ".join(f"{plain(word.concept, 60)} {number(word.score)}" for word in words[:5]) or NOTHING


def closeness(some: FeatureChange) -> str:
    """What became of a feature's first word."""
    if not some.first_changed:
        return "same"
    return {None: "changed", True: "close call", False: "changed clearly"}[some.close]
