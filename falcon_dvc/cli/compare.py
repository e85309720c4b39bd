"""Compare the results of two revisions: params, metrics and concepts, as a page and as Markdown."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.cli.pipeline import require_readable
from falcon_dvc.compare.comparison import (
    EncoderComparison,
    changed_params,
    compared_encoder,
    compared_metrics,
    read_concepts,
)
from falcon_dvc.compare.page import Comparison, render_markdown, render_page
from falcon_dvc.compare.pictures import in_lines, with_closeness, with_pictures
from falcon_dvc.compare.revisions import WORKSPACE, Revision, open_revision
from falcon_dvc.errors import UserError
from falcon_dvc.progress import track

PAGE = paths.REPORTS / "compare" / "index.html"
Sides = tuple[Revision, Revision]
Params = tuple[Any, Any]


def run(old: str, new: str, out: Path = PAGE, features: int = 50) -> str:
    """Write the comparison to the page `out`, and as Markdown beside it.

    Parameters
    ----------
    old, new : commits, branches, tags, experiments or ``workspace``.
    features : largest number of changed features to show with pictures.

    Returns
    -------
    The Markdown.

    Raises
    ------
    UserError
        If a revision does not exist or has no results, or DVC cannot read its files.
    """
    _writable(out)
    if WORKSPACE in (old, new):
        require_readable()
    first, second = (open_revision(name) for name in track((old, new), "reading revisions", total=2))
    comparison = compare((first, second), features)
    markdown = render_markdown(comparison)
    write_text(out, render_page(comparison))
    write_text(out.with_suffix(".md"), markdown)
    return markdown


def _writable(out: Path) -> None:
    """Refuse a name for the page that the Markdown beside it would have too."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise UserError(f"--out {out}: give the name of a page, ending in .html; the Markdown is written beside it")


def compare(sides: Sides, features: int) -> Comparison:
    """Compare the results of two revisions."""
    old, new = sides
    before, after = (_params(side) for side in sides)
    metrics, same = compared_metrics(_metrics(old), _metrics(new))
    encoders = _encoders(sides, (before, after))
    encoders, without_scores = with_closeness(encoders, old, new)
    encoders, without_pictures = with_pictures(encoders, features, (old, before), (new, after))
    lacking = in_lines(without_pictures + without_scores)
    return Comparison(old, new, changed_params(before, after), metrics, same, encoders, features, lacking)


def _params(side: Revision) -> dict[str, Any]:
    """Read params.yaml without its schema, which may differ between revisions."""
    text = side.text("params.yaml")
    try:
        content = {} if text is None else YAML(typ="safe", pure=True).load(io.StringIO(text))
    except YAMLError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"params.yaml at {side.name} is not valid YAML ({reason}); compare another revision") from error
    return content if isinstance(content, dict) else {}


def _metrics(side: Revision) -> dict[str, Any]:
    """Read all metrics files."""
    folder = paths.REPORTS / "metrics"
    metrics = {name: side.json(paths.metrics(name)) for name in side.names(folder, ".json")}
    if not metrics:
        raise UserError(f"{side.name} has no {folder}/*.json; compare revisions at which `dvc repro` was committed")
    return metrics


def _encoders(sides: Sides, params: Params) -> list[EncoderComparison]:
    """Compare every encoder that has a table of concepts at one of the revisions."""
    names = dict.fromkeys(name for content in params for name in (content.get("encoders") or {}))
    texts = {name: tuple(side.text(paths.table(f"{name}_concepts")) for side in sides) for name in names}
    inputs = [side.inputs("extract_activations") for side in sides]
    return [_encoder(str(name), texts[name], sides, inputs) for name in names if any(texts[name])]


def _encoder(
    name: str, texts: Sequence[str | None], sides: Sides, inputs: Sequence[dict[str, dict[str, str]]]
) -> EncoderComparison:
    old, new = (None if text is None else read_concepts(text) for text in texts)
    before, after = (hashes.get(name, {}) for hashes in inputs)
    differing = [path for path in before if path in after and before[path] != after[path]]
    return compared_encoder(name, (old, new), (sides[0].label, sides[1].label), differing)
