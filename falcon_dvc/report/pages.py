"""The pages of the report: their templates, their style sheet, and what a browser may load from them."""

import re
from pathlib import Path
from typing import Any

from falcon_dvc.html.markup import environment, heat_gradient

TEMPLATES = Path(__file__).parent / "templates"
# Of the site's pages: their own style, script and pictures. Chromium counts files of the disk as `self`, whatever their folder.
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'"
)


def render(template: str, **content: Any) -> str:
    """Fill a template of the site."""
    text = environment().get_template(f"report/templates/{template}.html.j2").render(policy=POLICY, **content)
    return re.sub(r"\n\s*\n+", "\n", text) + "\n"


def style(columns: int) -> str:
    """The style sheet of the site.

    Parameters
    ----------
    columns : tiles side by side in the widest sheet of pictures.
    """
    text = (TEMPLATES / "site.css").read_text(encoding="utf-8").replace("HEAT_COLOURS", heat_gradient())
    places = [
        f".tile .x{place} {{ left: -{place}00%; }} .tile .y{place} {{ top: -{place}00%; }}" for place in range(columns)
    ]
    widths = [f".tile .w{width} {{ width: {width}00%; }}" for width in range(2, columns + 1)]
    return "\n".join([text.rstrip(), *places, *widths, ""])
