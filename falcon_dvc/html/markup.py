"""From what was collected to pages: nothing comes from outside, every stranger's text is escaped."""

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

PACKAGE = Path(__file__).parents[1]  # templates are named by their path in it
LONGEST = 240  # characters of a caption that are shown
NOTHING = "–"


@cache
def environment() -> Environment:
    """Templates that escape whatever they are given."""
    made = Environment(
        loader=FileSystemLoader(PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "measured": measured, "readable": readable, "along": along}
    return made


def policy(style: str, script: str) -> str:
    """Content security policy of a page that stands alone: pictures inside it, this style, this script, and nothing else."""
    own = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    return f"default-src 'none'; img-src data:; {own}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def heat_gradient() -> str:
    """The colours of the heatmaps as CSS, for the legend."""
    return ", ".join(f"rgb({red} {green} {blue})" for red, green, blue in HEAT)


def readable(text: str, longest: int = LONGEST) -> str:
    """One line of text without control characters, cut if it is very long."""
    visible = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") else letter for letter in text)
    line = re.sub(r" {2,}", " ", visible).strip()
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def number(value: float | None) -> str:
    """A number for people: whole ones with thin spaces, others with two places, or three, or a power of ten; a dash for none."""
    if value is None or not math.isfinite(value):
        return NOTHING
    value += 0  # no sign of zero
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


def measured(some: Measurement | None) -> Markup:
    """A measurement, its interval in a smaller hand behind it."""
    if some is None:
        return Markup(f'<span class="none">{NOTHING}</span>')
    if some.low is None or some.high is None:
        return Markup(number(some.value))
    return Markup(f'{number(some.value)} <span class="interval">{number(some.low)} to {number(some.high)}</span>')


def along(value: float, axis: float) -> str:
    """Place of a value on a scale from 0 to `axis` that is 100 units long, cut to it."""
    share = value / axis if math.isfinite(value) else 0.0
    return f"{100 * min(max(0.0, share), 1.0):.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Bars:
    """Paths of a histogram in a box of 100 x 40: bins below and above the threshold, and the place of the line."""

    below: str
    above: str
    threshold: str | None


def bars(some: Histogram) -> Bars:
    """Draw a histogram; heights are logarithmic, since most images fire few features."""
    width, highest = 100 / len(some.counts), math.log1p(max(some.counts))
    paths = {False: "", True: ""}
    for place, count in enumerate(some.counts):
        if count:
            centre = some.low + (place + 0.5) / len(some.counts) * (some.high - some.low)
            height = 38 * math.log1p(count) / highest
            fires = some.threshold is not None and centre >= some.threshold
            paths[fires] += f"M{place * width:g} 40v-{height:.1f}h{0.88 * width:g}V40z"
    at = None if some.threshold is None else along(some.threshold - some.low, some.high - some.low)
    return Bars(paths[False], paths[True], at)
