"""Make captions from templates ("a photo of a {}") and words: every word in every template."""

from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from falcon_dvc.captions.corpus_file import ROWS_AT_ONCE, Batch, as_text
from falcon_dvc.captions.folders import refuse_links_out
from falcon_dvc.errors import UserError, one_line

PLACEHOLDER = "{}"
FIX = 'give a YAML file with lists `templates` ("a photo of a {}") and `words`, or a folder with templates.txt and words.txt'


class Templates:
    """Captions from a YAML file with lists ``templates`` and ``words``, or a folder with ``templates.txt`` and ``words.txt``."""

    unit = "captions"

    def __init__(self, path: str) -> None:
        self.files = (path,)

    def batches(self) -> Iterator[Batch]:
        """Yield the captions: the first word in every template, then the next word in every template.

        Raises
        ------
        UserError
            If the file is missing or has no such lists, or a template has none or several placeholders.
        """
        templates, words = _lists(Path(self.files[0]))
        for template in templates:
            if template.count(PLACEHOLDER) != 1:
                raise UserError(
                    f"data.captions: {self.files[0]}: the template {template[:60]!r} needs exactly one {PLACEHOLDER}"
                )
        at_once = max(1, ROWS_AT_ONCE // len(templates))
        for start in range(0, len(words), at_once):
            block = words[start : start + at_once]
            texts = [template.replace(PLACEHOLDER, word) for word in block for template in templates]
            yield Batch(0, start * len(templates), texts)


def _lists(path: Path) -> tuple[list[str], list[str]]:
    """Read templates and words; leave empty ones out."""
    try:
        content = _read_folder(path) if path.is_dir() else _read_file(path)
        lists = [content[name] for name in ("templates", "words")]
        templates, words = ([text for text in map(as_text, texts) if text and text.strip()] for texts in lists)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, YAMLError) as error:
        reason = one_line(error, 120)
        raise UserError(f"data.captions: {path} has no templates and words ({reason}); {FIX}") from error
    if not templates or not words:
        raise UserError(f"data.captions: {path} has {len(templates)} templates and {len(words)} words; {FIX}")
    return templates, words


def _read_folder(path: Path) -> dict[str, list[str]]:
    lists = {name: path / f"{name}.txt" for name in ("templates", "words")}
    refuse_links_out(path, lists.values())
    return {name: file.read_text(encoding="utf-8-sig").split("\n") for name, file in lists.items()}


def _read_file(path: Path) -> dict:
    content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict) or not all(isinstance(texts, list) for texts in content.values()):
        raise TypeError("not a mapping of lists")
    return content
