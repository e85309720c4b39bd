"""Templates, filters and policies of HTML pages: untrusted text is escaped, and pages load nothing from a network."""

import base64
import hashlib
import math
import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from falcon_dvc.html.histograms import Histogram
from falcon_dvc.html.measurements import Measurement
from falcon_dvc.html.pictures import HEAT

PACKAGE = Path(__file__).parents[1]  # a template is named by its path in this folder
LONGEST = 240  # characters shown of a caption
NOTHING = "–"


@cache
def environment() -> Environment:
    """Make the environment of the templates, which escape all values."""
    templates = Environment(
        loader=FileSystemLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {"number": number, "measured": measured, "readable": readable, "along": along}
    return templates


def policy(style: str, script: str) -> str:
    """Make the content security policy of a self-contained page: ``data:`` pictures, this style and this script only."""
    own = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    return f"default-src 'none'; img-src data:; {own}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def heat_gradient() -> str:
    """Format the colours of the heatmaps as CSS, for the legend."""
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in HEAT)


def readable(text: str, longest: int = LONGEST) -> str:
    """Make one line of text without control characters, cut to `longest` characters."""
    visible = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") else letter for letter in text)
    line = re.sub(r" {2,}", " ", visible).strip()
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def number(value: float | None) -> str:
    """Format a number; a dash for none.

    Integers and large numbers have narrow spaces, other numbers one to three places, tiny numbers a power of ten.
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    value += 0  # removes the sign of -0.0
    if isinstance(value, int) or round(abs(value), 1) >= 1000:
        return f"{round(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")
    if value and abs(value) < 0.001:
        digits, power = f"{value:.0e}".split("e")
        return f"{digits}·10{_superscript(int(power))}".replace("-", "\N{MINUS SIGN}")
    places = 1 if abs(value) >= 10 else 3 if 0 < abs(value) < 0.005 else 2
    shown = f"{value:.{places}f}"
    return shown.replace("-", "\N{MINUS SIGN}")


def _superscript(power: int) -> str:
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def measured(measurement: Measurement | None) -> Markup:
    """Format a measurement, followed by its interval in smaller type."""
    if measurement is None:
        return Markup(f'<span class="none">{NOTHING}</span>')
    if measurement.low is None or measurement.high is None:
        return Markup(number(measurement.value))
    return Markup(
        f'{number(measurement.value)} <span class="interval">{number(measurement.low)} to {number(measurement.high)}</span>'
    )


def along(value: float, axis: float) -> str:
    """Compute the place of a value on a scale from 0 to `axis` that is 100 units long; places outside are clipped."""
    share = value / axis if math.isfinite(value) else 0.0
    return f"{100 * min(max(0.0, share), 1.0):.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Bars:
    """SVG paths of a histogram in a box of 100 x 40: bins below and above the threshold, and the place of its line."""

    below: str
    above: str
    threshold: str | None


def bars(histogram: Histogram) -> Bars:
    """Draw a histogram with logarithmic heights, since most features fire on few images."""
    width, highest = 100 / len(histogram.counts), math.log1p(max(histogram.counts))
    paths = {False: "", True: ""}
    for place, count in enumerate(histogram.counts):
        if count:
            centre = histogram.low + (place + 0.5) / len(histogram.counts) * (histogram.high - histogram.low)
            height = 38 * math.log1p(count) / highest
            fires = histogram.threshold is not None and centre >= histogram.threshold
            paths[fires] += f"M{place * width:g} 40v-{height:.1f}h{0.88 * width:g}V40z"
    at = (
        None
        if histogram.threshold is None
        else along(histogram.threshold - histogram.low, histogram.high - histogram.low)
    )
    return Bars(paths[False], paths[True], at)
