"""Render a comparison as one self-contained page and as Markdown; untrusted text is escaped."""

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

# Sections of metrics, for the page and the Markdown: verdicts, heading, meaning.
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
LONGEST = 160  # characters shown of a name or a value
# Characters with a meaning in Markdown or HTML.
MARKS = re.compile(r"([\\`*_\[\]<>#|~&$@])")
DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class Comparison:
    """All differences between two revisions.

    Attributes
    ----------
    same_metrics : count of numbers that do not differ.
    shown : largest number of changed features to show with pictures.
    lacking : missing artefacts with the commands that fetch them, one line each.
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
            (heading, meaning, [metric for metric in self.metrics if metric.verdict in kinds])
            for kinds, heading, meaning in VERDICTS
        ]

    def count(self, verdict: Verdict) -> int:
        """Count the metrics of a verdict."""
        return sum(metric.verdict == verdict for metric in self.metrics)

    def divided(self, encoder: EncoderComparison) -> tuple[list[FeatureChange], list[FeatureChange]]:
        """Divide the changed features of an encoder into those shown with pictures and the rest."""
        first = {(change.encoder, change.group) for change in first_shown(self.encoders, self.shown)}
        shown = [change for change in encoder.changes if (change.encoder, change.group) in first]
        rest = [change for change in encoder.changes if (change.encoder, change.group) not in first]
        return shown, rest


def render_page(comparison: Comparison) -> str:
    """Render the page as HTML."""
    style = (Path(__file__).parent / "templates/page.css").read_text(encoding="utf-8")
    size = {"width": SIZE, "height": 2 * SIZE + GAP}
    return (
        environment()
        .get_template("compare/templates/page.html.j2")
        .render(comparison=comparison, size=size, style=Markup(style), signed=signed, policy=policy(style, ""))
    )


def signed(value: int | float | None) -> str:
    """Format a difference with its sign; a dash for none."""
    return f"+{number(value)}" if value is not None and value > 0 else number(value)


def render_markdown(comparison: Comparison) -> str:
    """Render the comparison as Markdown, with the features that the page shows with pictures."""
    blocks = [_heading(comparison), _summary(comparison), _params(comparison)]
    blocks += [_metrics(heading, meaning, rows) for heading, meaning, rows in comparison.verdicts if rows]
    blocks += [_features(encoder, comparison) for encoder in comparison.encoders]
    blocks += ["\n".join(f"- {_with_commands(line)}" for line in comparison.lacking)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def plain(text: str, longest: int = LONGEST) -> str:
    """Escape untrusted text for Markdown, as one line of plain text."""
    return MARKS.sub(r"\\\1", DIRECTIONS.sub("", readable(text, longest)))


def code(text: str, longest: int = LONGEST) -> str:
    """Format untrusted text as code in Markdown."""
    shown = DIRECTIONS.sub("", readable(text, longest)).replace("`", "'").replace("|", r"\|")
    return f"`{shown}`" if shown else "(empty)"


def _with_commands(line: str) -> str:
    """Escape HTML and links in a line of this program that names files and revisions; its backticks stay."""
    return re.sub(r"([<>&\[\]])", r"\\\1", DIRECTIONS.sub("", readable(line, 1000)))


def _heading(comparison: Comparison) -> str:
    old, new = (code(side.label) for side in (comparison.old, comparison.new))
    return f"# Compared: {old} → {new}"


def _summary(comparison: Comparison) -> str:
    """List the counts, one line each."""
    count = comparison.count
    lines = [f"params changed: {len(comparison.params)}"]
    lines += [
        f"numbers changed: {len(comparison.metrics)}, not changed: {comparison.same_metrics}; {count('beyond')} beyond the intervals, "
        f"{count('noise')} noise, {count('bare')} without an interval, {count('new')} new, {count('gone')} gone"
    ]
    lines += [f"{code(encoder.name)}: {in_short(encoder)}" for encoder in comparison.encoders]
    return "\n".join(f"- {line}" for line in lines)


def in_short(encoder: EncoderComparison) -> str:
    """Summarise the changes of an encoder's features."""
    if encoder.missing:
        return f"no concepts at {', '.join(code(name) for name in encoder.missing)}"
    close = f" ({encoder.close} of them a close call)" if encoder.close_known else ""
    text = (
        f"the first word changed for {encoder.first_changed} features and groups{close}, other words for "
        f"{len(encoder.changes) - encoder.first_changed}, none for {encoder.same}; "
        f"{len(encoder.appeared)} appeared, {len(encoder.gone)} gone"
    )
    return f"{text}. {feature_warning(encoder)}".rstrip()


def feature_warning(encoder: EncoderComparison) -> str:
    """Warn if the inputs of an encoder differ, so that a feature's number may refer to another feature."""
    if not encoder.inputs:
        return ""
    return f"{', '.join(map(code, encoder.inputs))} differs: a feature's number need not mean the same feature at both revisions"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _params(comparison: Comparison) -> str:
    if not comparison.params:
        return ""
    rows = [[code(param.name), _value(param.old), _value(param.new)] for param in comparison.params]
    return "## Params\n\n" + _table(["param", code(comparison.old.label), code(comparison.new.label)], rows)


def _value(text: str | None) -> str:
    return NOTHING if text is None else code(text)


def _metrics(heading: str, meaning: str, rows: Sequence[MetricChange]) -> str:
    cells = [[_where(row), _measured(row.old), _measured(row.new), signed(row.difference)] for row in rows]
    return f"## {heading} ({len(rows)})\n\n{meaning}\n\n{_table(['number', 'old', 'new', 'difference'], cells)}"


def _where(row: MetricChange) -> str:
    return plain(" · ".join(text for text in (row.file, row.heading, row.label) if text))


def _measured(measurement: Measurement | None) -> str:
    if measurement is None:
        return NOTHING
    interval = (
        ""
        if measurement.low is None or measurement.high is None
        else f" ({number(measurement.low)} to {number(measurement.high)})"
    )
    return number(measurement.value) + interval


def _features(encoder: EncoderComparison, comparison: Comparison) -> str:
    """Tabulate the features whose words changed most."""
    shown, rest = comparison.divided(encoder)
    if not shown:
        return ""
    rows = [
        [code(change.group), _words(change.old), _words(change.new), number(change.change), closeness(change)]
        for change in shown
    ]
    table = _table(["feature", "old", "new", "change", "first word"], rows)
    more = f"\n\n{len(rest)} more are on the page." if rest else ""
    return f"## {code(encoder.name)}: words changed\n\n{table}{more}"


def _words(words: Sequence[Word]) -> str:
    return ", ".join(f"{plain(word.concept, 60)} {number(word.score)}" for word in words[:5]) or NOTHING


def closeness(change: FeatureChange) -> str:
    """Describe the change of a feature's first word."""
    if not change.first_changed:
        return "same"
    return {None: "changed", True: "close call", False: "changed clearly"}[change.close]
