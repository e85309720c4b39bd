"""Templates, style sheet and content security policy of the report's pages."""

import re
from pathlib import Path
from typing import Any

from falcon_dvc.html.markup import environment, heat_gradient

TEMPLATES = Path(__file__).parent / "templates"
# Pages may load the style, scripts and pictures of the site. Chromium counts all files on the disk as `self`.
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; base-uri 'none'; form-action 'none'"
)


def render(template: str, **content: Any) -> str:
    """Render a template of the site."""
    text = environment().get_template(f"report/templates/{template}.html.j2").render(policy=POLICY, **content)
    return re.sub(r"\n\s*\n+", "\n", text) + "\n"


def style(columns: int) -> str:
    """Make the style sheet of the site.

    Parameters
    ----------
    columns : tiles side by side in the widest picture.
    """
    text = (TEMPLATES / "site.css").read_text(encoding="utf-8").replace("HEAT_COLOURS", heat_gradient())
    places = [
        f".tile .x{place} {{ left: -{place}00%; }} .tile .y{place} {{ top: -{place}00%; }}" for place in range(columns)
    ]
    widths = [f".tile .w{width} {{ width: {width}00%; }}" for width in range(2, columns + 1)]
    return "\n".join([text.rstrip(), *places, *widths, ""])
