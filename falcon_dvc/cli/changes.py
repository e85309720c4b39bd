"""What a pull request changes in the results, as one comment: metrics, plots and the comparison of concepts. No stage of the pipeline.

Nothing here judges: `python -m stages verify` does. A base without results, or without what a part needs, is said in its place.
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
from falcon_dvc.compare.page import code
from falcon_dvc.errors import UserError
from falcon_dvc.html.markup import NOTHING
from falcon_dvc.progress import track

FOLDER = paths.REPORTS / "changes"
LONGEST = 25_000  # characters of a part: GitHub refuses comments beyond 65 536
SHARPER = 1.5  # pixels of a picture for each of the plot's own


class _NotComparableError(Exception):
    """A part that cannot be compared; the message is why."""


def run(base: str, folder: Path = FOLDER) -> Path:
    """Write ``comment.md``, pictures of the plots that changed, and the page of the comparison.

    Parameters
    ----------
    base : the revision that the working tree is compared with.

    Raises
    ------
    UserError
        If there is no such revision.
    """
    _refuse_unknown(base)
    parts = {"Metrics": _metrics, "Plots": _plots, "Params, metrics with intervals, concepts": _comparison}
    texts = [_part(title, write, base, folder) for title, write in track(parts.items(), "what changed", len(parts))]
    comment = folder / "comment.md"
    write_text(comment, "\n".join([f"## Results against `{base[:12]}`\n", *texts]))
    return comment


def _refuse_unknown(base: str) -> None:
    found = subprocess.run(["git", "rev-parse", "-q", "--verify", f"{base}^{{commit}}"], capture_output=True)
    if found.returncode:
        raise UserError(
            f"'{base}' is no revision of this repository; fetch it, or name another (make changes BASE=REV)"
        )


def _part(title: str, write: Any, base: str, folder: Path) -> str:
    """A section of the comment; why there is none, if there is none."""
    try:
        text = _cut(write(base, folder))
    except _NotComparableError as error:
        text = f"Not compared: {error}\n"
    return f"### {title}\n\n{text}"


def _cut(text: str) -> str:
    """The first lines of a text that is too long for a comment."""
    if len(text) <= LONGEST:
        return text
    return text[: text.rindex("\n", 0, LONGEST)] + "\n\n… cut here; the whole is in the artifact of the run.\n"


def _dvc(*arguments: str) -> str:
    """What a DVC command prints."""
    return _printed("dvc", *arguments)


def _printed(module: str, *arguments: str) -> str:
    """What a Python module prints as a program; the last words of its errors are the reason if it fails."""
    done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, text=True)
    if done.returncode:
        said = [line.strip(" │") for line in done.stderr.splitlines() if any(map(str.isalnum, line))]
        raise _NotComparableError(said[-1] if said else f"{module} {arguments[0]} failed")
    return done.stdout


def _metrics(base: str, folder: Path) -> str:
    """The metrics that differ, as DVC finds them, folded: they can be many. Classes lend metrics their names, so names stand as code."""
    found = json.loads(_dvc("metrics", "diff", "--json", base) or "{}")
    rows = [
        f"| {code(path)} | {code(name)} | {_shown(some.get('old'))} | {_shown(some.get('new'))} | {_shown(some.get('diff'))} |"
        for path, metrics in sorted(found.items())
        for name, some in sorted(metrics.items())
    ]
    if not rows:
        return "No metric differs.\n"
    table = "\n".join(["| Path | Metric | base | here | Change |", "|---|---|---|---|---|", *rows])
    return f"<details><summary>{len(rows)} numbers differ</summary>\n\n{table}\n\n</details>\n"


def _shown(value: Any) -> str:
    """A number as DVC shows it; a dash for none."""
    return f"{value:.5g}" if isinstance(value, (int, float)) else NOTHING


def _plots(base: str, folder: Path) -> str:
    """Pictures of the plots that differ, each with both revisions in it."""
    plots = json.loads(_dvc("plots", "diff", "--json", base) or "{}").get("data", {})
    changed = [(name, drawn[0]["content"]) for name, drawn in plots.items() if drawn and _differs(drawn[0]["content"])]
    images = [_picture(name, content, folder) for name, content in changed]
    shown = [f"![{name}]({image})\n" for (name, _), image in zip(changed, images, strict=True)]
    return "\n".join([*shown, f"{len(plots) - len(changed)} of {len(plots)} plots do not differ.\n"])


def _differs(content: dict[str, Any]) -> bool:
    """Whether the revisions of a plot hold other rows; also if only one of them has any."""
    rows = _rows_by_revision(content)
    return len(rows) < 2 or any(some != next(iter(rows.values())) for some in rows.values())


def _rows_by_revision(content: dict[str, Any]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in content["data"]["values"]:
        revision = row.get("rev", "")
        found.setdefault(revision, []).append(json.dumps({key: value for key, value in row.items() if key != "rev"}))
    return found


def _picture(name: str, content: dict[str, Any], folder: Path) -> str:
    """Draw one plot; the name of its picture beside the comment."""
    import vl_convert

    image = f"{Path(name).stem}.png"
    write_bytes(folder / image, vl_convert.vegalite_to_png(json.dumps(content), scale=SHARPER))
    return image


def _comparison(base: str, folder: Path) -> str:
    """The comparison's Markdown; its page is written beside the comment."""
    page = folder / "comparison.html"
    _printed("stages", "compare", base, "workspace", "--out", str(page))
    text = page.with_suffix(".md").read_text(encoding="utf-8")
    return "\n".join(_lowered(text)) + "\n"


def _lowered(text: str) -> Iterator[str]:
    """Lines of a Markdown text with its headings two levels down, outside of code."""
    inside = False
    for line in text.splitlines():
        inside ^= line.startswith("```")
        yield f"##{line}" if line.startswith("#") and not inside else line
