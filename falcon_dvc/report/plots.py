"""Draw the plots of ``dvc plots`` for the report, with the same templates and without a network."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_text
from falcon_dvc.report.labels import names_on_pages
from falcon_dvc.report.pages import TEMPLATES

COLOUR = "#0072b2"  # of the data; colour-blind people can distinguish it, on light and on dark pages
LINES = "#8a8e94"
# Texts have the current colour, which follows the colour scheme of the page.
CONFIG = {
    "aria": False,
    "background": None,
    # Fonts of equal widths; vl-convert includes the first. The padding leaves room for machines without these fonts.
    "font": "Liberation Sans, Arial, Helvetica, sans-serif",
    "padding": {"left": 30, "right": 30, "top": 5, "bottom": 5},
    "title": {"color": "currentColor", "fontSize": 13},
    "axis": {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": "normal",
             "gridColor": LINES, "gridOpacity": 0.3, "domainColor": LINES, "tickColor": LINES},
    "legend": {"labelColor": "currentColor", "titleColor": "currentColor", "titleFontWeight": "normal"},
    "rule": {"color": "currentColor"},
    "view": {"stroke": None},
}  # fmt: skip
SCHEME = "<style>svg{color:#1c1e21}@media(prefers-color-scheme:dark){svg{color:#e7e5e0}}</style>"


@dataclass(frozen=True)
class Plot:
    """A plot as in dvc.yaml; `{}` stands for the encoder or the pair.

    Attributes
    ----------
    pages : the pages that show it.
    """

    file: str
    template: str
    x: str
    y: str
    x_label: str
    y_label: str
    title: str
    pages: tuple[str, ...]


OF_RUN = (
    Plot("explained", "shares", "share", "encoder", "share of features that is explained", "", "explained features", ("overview",)),
)  # fmt: skip
OF_ENCODERS = (
    Plot("{}_interpretable", "shares", "share", "groups", "share that is interpretable", "",
         "{}: interpretable, by size of group", ("overview", "{}")),
    Plot("{}_coherence", "coherence", "null_high", "coherence", "the null's upper end (random crops)", "coherence of the crops",
         "{}: coherence against random crops", ("{}",)),
    Plot("{}_scores", "ranked", "group_by_rank", "value", "feature or group, best first", "score of the first concept",
         "{}: scores of first concepts", ("{}",)),
    Plot("{}_quantiles", "shares", "score", "images", "mean score of the first word", "",
         "{}: first words below the maximum", ("{}",)),
    Plot("{}_frequency", "histogram", "log10_frequency", "features", "log10 of the share of images on which a feature is not 0",
         "features", "{}: frequency of the features", ("{}",)),
    Plot("{}_evaluation", "shares", "top1", "truth", "first concept is right", "",
         "{}: right concepts, by kind of truth", ("{}",)),
    Plot("{}_methods", "shares", "top1", "method", "first concept is right", "", "{}: right concepts, by method", ("{}",)),
    Plot("{}_classes_methods", "shares", "top1", "method", "first concept names the class", "",
         "{}: class named, by method", ("{}",)),
    Plot("{}_contrast", "shares", "top1", "contrast", "first concept is right", "", "{}: right concepts, by contrast", ("overview",)),
    Plot("{}_repairs", "shares", "accuracy", "classifier", "accuracy on the failed class", "",
         "{}: failures repaired", ("failures_{}",)),
)  # fmt: skip
OF_TRANSFERS = (
    Plot("transfer_{}", "line", "feature_by_rank", "r2", "feature, best first", "held-out R²", "{}: R² of each feature", ("transfer_{}",)),
    Plot("transfer_{}_images", "curve", "training_images", "r2", "training images", "held-out median R²",
         "{}: R² by training images", ("overview", "transfer_{}")),
    Plot("transfer_{}_rank", "curve", "rank", "r2", "rank of the map", "held-out mean R²",
         "{}: R² by rank of the map", ("transfer_{}",)),
)  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A plot in a file: name of the file, alternative text, and size in pixels."""

    name: str
    alt: str
    width: int
    height: int


def draw_plots(params: Any, folder: Path) -> dict[str, list[Drawn]]:
    """Write every plot with data in this run as SVG into `folder`, and return the plots by page.

    Parameters
    ----------
    params : the params; used are ``encoders``, ``without_controls``, ``transfers``, ``worlds``, ``failures.encoders`` and
        ``evaluate_classes.encoders``.
    """
    pages: dict[str, list[Drawn]] = {}
    names = names_on_pages(params)
    for plot, key in _of_run(params):
        table = _readable_table(plot.file.format(key))
        if table is not None:
            drawn = _draw(plot, key, _with_names(table, names), folder)
            for page in plot.pages:
                pages.setdefault(page.format(key), []).append(drawn)
    return pages


def _with_names(table: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """Write the names of encoders as on pages."""
    return table.assign(encoder=table["encoder"].map(names)) if "encoder" in table else table


def _of_run(params: Any) -> Iterator[tuple[Plot, str]]:
    """Yield the plots of this run by its params: files of other runs may be in the folder."""
    known = params.without_controls if params.worlds else ()
    of_some = {
        "{}_repairs": params.failures.encoders,
        "{}_classes_methods": params.evaluate_classes.encoders,
        **dict.fromkeys(("{}_evaluation", "{}_methods", "{}_contrast"), known),
    }
    yield from ((plot, "") for plot in OF_RUN)
    for plot in OF_ENCODERS:
        yield from ((plot, name) for name in of_some.get(plot.file, params.without_controls))
    yield from ((plot, pair) for plot in OF_TRANSFERS for pair in params.transfers)


def _readable_table(name: str) -> pd.DataFrame | None:
    """Read the data of a plot; None if it has no rows."""
    path = paths.plot(name)
    table = read_table(path) if path.is_file() else None
    return None if table is None or table.empty else table


def _draw(plot: Plot, key: str, table: pd.DataFrame, folder: Path) -> Drawn:
    """Write one plot as SVG."""
    import vl_convert

    name = plot.file.format(key)
    svg = vl_convert.vegalite_to_svg(specification(plot, key, table), config=CONFIG)
    head = re.match(r"<svg[^>]*>", svg)
    assert head
    write_text(folder / f"{name}.svg", head[0] + SCHEME + svg[head.end() :])
    width, height = (math.ceil(float(size)) for size in re.findall(r' (?:width|height)="([\d.]+)"', head[0])[:2])
    return Drawn(name, f"{plot.title.format(_spaced(key))}: {plot.y_label or plot.y} and {plot.x_label}", width, height)


def specification(plot: Plot, key: str, table: pd.DataFrame) -> dict[str, Any]:
    """Make the Vega-Lite specification that DVC would draw for one revision."""
    from dvc_render.vega_templates import Template

    content = json.loads((TEMPLATES / "plots" / f"{plot.template}.json").read_text(encoding="utf-8"))
    template = Template(content, name=plot.template)
    template.reset()
    values = {
        "data": json.loads(table.to_json(orient="records")), "title": plot.title.format(_spaced(key)), "x": plot.x, "y": plot.y,
        "x_label": plot.x_label, "y_label": plot.y_label, "color": {"value": COLOUR}, "tooltip": {"value": None},
    }  # fmt: skip
    for anchor, value in values.items():
        template.fill_anchor(anchor, value)
    return _of_one_revision(template.content)


def _spaced(key: str) -> str:
    """Write the name of an encoder or a pair without underscores."""
    return key.replace("_", " ")


def _of_one_revision(value: Any) -> Any:
    """Remove the encodings that distinguish revisions."""
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if not (isinstance(item, dict) and item.get("field") == "rev")}
        return {key: _of_one_revision(item) for key, item in kept.items()}
    return [_of_one_revision(item) for item in value] if isinstance(value, list) else value
