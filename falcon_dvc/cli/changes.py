"""Write how the results differ from a revision, as a comment on a pull request: headline numbers, plots and concepts.

The comment states differences only: `falcon verify` decides whether results are stale. If a section cannot be
compared, it states the reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import write_bytes, write_text
from falcon_dvc.cli import compare
from falcon_dvc.cli.pipeline import require_readable
from falcon_dvc.compare.page import code
from falcon_dvc.errors import UserError
from falcon_dvc.html.markup import NOTHING
from falcon_dvc.progress import track

FOLDER = paths.REPORTS / "changes"
LONGEST = 25_000  # characters of a section: GitHub refuses comments of more than 65 536
SCALE = 1.5  # pixels of a picture for each pixel of the plot


class _NotComparableError(Exception):
    """A section that cannot be compared; the message is the reason."""


def run(base: str, folder: Path = FOLDER) -> Path:
    """Write ``comment.md``, pictures of the changed plots, and the page of the comparison into a folder.

    Parameters
    ----------
    base : the revision to compare the working tree with.

    Raises
    ------
    UserError
        If there is no such revision, or DVC cannot read the files of the working tree.
    """
    _refuse_unknown(base)
    require_readable()
    sections = {"Headline numbers": _headline, "Plots": _plots, "Params, metrics with intervals, concepts": _comparison}
    progress = track(sections.items(), "comparing", len(sections))
    texts = [_section(title, write, base, folder) for title, write in progress]
    comment = folder / "comment.md"
    write_text(comment, "\n".join([f"## Results against `{base[:12]}`\n", *texts]))
    return comment


def _refuse_unknown(base: str) -> None:
    result = subprocess.run(["git", "rev-parse", "-q", "--verify", f"{base}^{{commit}}"], capture_output=True)
    if result.returncode:
        raise UserError(
            f"'{base}' is no revision of this repository; fetch it, or name another (make changes BASE=REV)"
        )


def _section(title: str, write: Any, base: str, folder: Path) -> str:
    """Write a section of the comment, or the reason why it cannot be compared."""
    try:
        text = _cut(write(base, folder))
    except _NotComparableError as error:
        text = f"Not compared: {error}\n"
    return f"### {title}\n\n{text}"


def _cut(text: str) -> str:
    """Cut a text that is too long for a comment at the end of a line."""
    if len(text) <= LONGEST:
        return text
    return text[: text.rindex("\n", 0, LONGEST)] + "\n\n… cut here; the whole is in the artifact of the run.\n"


def _dvc(*arguments: str) -> str:
    """Run a DVC command and return its output; if it fails, the last line of its errors is the reason."""
    result = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    if result.returncode:
        lines = [line.strip(" │") for line in result.stderr.splitlines() if any(map(str.isalnum, line))]
        raise _NotComparableError(lines[-1] if lines else f"dvc {arguments[0]} failed")
    return result.stdout


def _headline(base: str, folder: Path) -> str:
    """List the headline numbers that differ. The comparison lists all metrics.

    Names are formatted as code: a revision can have other metrics, named by classes of the user's data.
    """
    changes = json.loads(_dvc("metrics", "diff", "--json", base) or "{}")
    rows = [
        f"| {code(path)} | {code(name)} | {_shown(change.get('old'))} | {_shown(change.get('new'))} | {_shown(change.get('diff'))} |"
        for path, metrics in sorted(changes.items())
        for name, change in sorted(metrics.items())
    ]
    if not rows:
        return "No headline number differs.\n"
    table = "\n".join(["| Path | Metric | base | here | Change |", "|---|---|---|---|---|", *rows])
    return f"{len(rows)} numbers differ.\n\n{table}\n"


def _shown(value: Any) -> str:
    """Format a number as DVC does; a dash for none."""
    return f"{value:.5g}" if isinstance(value, (int, float)) else NOTHING


def _plots(base: str, folder: Path) -> str:
    """Draw the plots that differ, each with both revisions."""
    plots = json.loads(_dvc("plots", "diff", "--json", base) or "{}").get("data", {})
    changed = [(name, drawn[0]["content"]) for name, drawn in plots.items() if drawn and _differs(drawn[0]["content"])]
    images = [_picture(name, content, folder) for name, content in changed]
    shown = [f"![{name}]({image})\n" for (name, _), image in zip(changed, images, strict=True)]
    return "\n".join([*shown, f"{len(plots) - len(changed)} of {len(plots)} plots do not differ.\n"])


def _differs(content: dict[str, Any]) -> bool:
    """Whether the revisions of a plot have different rows, or only one of them has rows."""
    rows = _rows_by_revision(content)
    return len(rows) < 2 or any(other != next(iter(rows.values())) for other in rows.values())


def _rows_by_revision(content: dict[str, Any]) -> dict[str, list[str]]:
    rows: dict[str, list[str]] = {}
    for row in content["data"]["values"]:
        revision = row.get("rev", "")
        rows.setdefault(revision, []).append(json.dumps({key: value for key, value in row.items() if key != "rev"}))
    return rows


def _picture(name: str, content: dict[str, Any], folder: Path) -> str:
    """Draw one plot beside the comment and return the name of the picture."""
    import vl_convert

    image = f"{Path(name).stem}.png"
    write_bytes(folder / image, vl_convert.vegalite_to_png(json.dumps(content), scale=SCALE))
    return image


def _comparison(base: str, folder: Path) -> str:
    """Return the Markdown of the comparison, and write its page beside the comment."""
    try:
        text = compare.run(base, "workspace", folder / "comparison.html")
    except UserError as error:
        raise _NotComparableError(str(error)) from error
    return "\n".join(_lowered(text)) + "\n"


def _lowered(text: str) -> Iterator[str]:
    """Yield the lines of a Markdown text with its headings two levels lower, except inside code blocks."""
    inside = False
    for line in text.splitlines():
        inside ^= line.startswith("```")
        yield f"##{line}" if line.startswith("#") and not inside else line
