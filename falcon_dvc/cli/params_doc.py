"""docs/params.md: every param with type, range, default and meaning, from the schema and from the comments of params.yaml. No stage."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from falcon_dvc.artifacts.formats import write_text
from falcon_dvc.params.load import read_yaml
from falcon_dvc.params.schema import Network, Params

PAGE = Path("docs/params.md")
INTRODUCTION = """# Params

Written by `make docs` from the schema (`falcon_dvc/params/schema.py`) and the comments of `params.yaml`: change those, not this page.
*Default* is the value in `params.yaml`, or what holds where a param is left out; *required* has none. `false` stands for `off` where the
type lists `off`. `python -m stages check` compares a `params.yaml` with all of this before any work. Formulas: [method.md](method.md).
"""
REQUIRED = object()
HEADING = "| param | type | range | default | meaning |\n|---|---|---|---|---|\n"
TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
BOUNDS |= {"multipleOf": "a multiple of {}", "minItems": "{} or more", "maxItems": "at most {}", "pattern": "`{}`"}
# What neither a comment of params.yaml nor a docstring of the schema says, by path or by name.
MEANINGS = {
    "seed": "of all that is drawn at random",
    "bootstrap": "samples that an interval is drawn from",
    "confidence": "of the intervals",
    "fdr": "false discovery rate (Benjamini-Hochberg) of what is called interpretable",
    "kind": "which of the kinds",
    "objective": "which of the kinds",
    "checkpoint": "a file that DVC watches: the weights, or what pins their version, for instance `requirements.txt`",
    "weight_decay": "decoupled, of AdamW",
    "variant": "0, 1 or 2: EfficientNet-Lite0 to Lite2",
    "explained": "key of `encoders`: the space whose concepts are carried over",
    "unseen": "key of `encoders`: the space that they are carried to",
    "image_text.name": "a model of open_clip; null: a checkpoint of this project",
    "image_text.pretrained": "the tag of its weights; with name",
    "image_text.top": "classes that make up an image's embedding (T of ConSE)",
    "image_text.classifier": "any encoder with a classifier, written as under `encoders`; null: EfficientNet-Lite2",
    "image_text.sentences": "folder of a sentence encoder; null: MiniLM",
    "image_text.precision": "what its networks compute in, as `extract_activations.precision`",
    "encoders.NAME.name": "name of the network in its library",
}
COMMENT = re.compile(r"(?:^|\s)# (.*)$")
KEY = re.compile(r"^( *)([\w]+):")

Schema = Mapping[str, Any]


def run(params: Path = Path("params.yaml"), page: Path = PAGE) -> Path:
    """Write the page."""
    write_text(page, render(read_yaml(params), comments(params.read_text(encoding="utf-8"))))
    return page


def comments(text: str) -> dict[str, str]:
    """What the comments of a YAML file say of each dotted key: those above it, and the one on its line."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        key, comment = KEY.match(line), COMMENT.search(line)
        if key is None:
            above = [*above, comment[1]] if comment else []
            continue
        path = [*((depth, name) for depth, name in path if depth < len(key[1])), (len(key[1]), key[2])]
        said = " ".join([*above, *([comment[1]] if comment else [])])
        if said:
            found[".".join(name for _, name in path)] = said
        above = []
    return found


def render(values: Mapping[str, Any], said: Mapping[str, str]) -> str:
    """The page, a section for each section of params.yaml."""
    schema = Params.model_json_schema()
    parts = [INTRODUCTION]
    plain = {name: some for name, some in schema["properties"].items() if not _tables(some, schema)}
    parts.append(_table("Of the whole run", _rows("", {"properties": plain}, schema, values, said)))
    for name, some in schema["properties"].items():
        parts += [_table(title, rows) for title, rows in _section(name, some, schema, values.get(name), said)]
    return "\n".join(parts)


def _tables(some: Schema, schema: Schema) -> bool:
    """Whether a param is a section of its own."""
    some = _resolved(some, schema)
    return "properties" in some or "oneOf" in some or _of_keys(some) is not None


def _of_keys(some: Schema) -> Schema | None:
    """What stands under each key of a section whose keys the user chooses."""
    return next(iter(some.get("patternProperties", {}).values()), None)


def _section(
    name: str, some: Schema, schema: Schema, value: Any, said: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Title and rows of the tables of one section: one, or one for each kind that its entries can be of."""
    some = _resolved(some, schema)
    keyed = _of_keys(some)
    place, entry = (name, some) if keyed is None else (f"{name}.NAME", keyed)
    entry = _resolved(entry, schema)
    if "oneOf" not in entry:
        if "properties" in entry:
            written = value if place == name else {}
            yield (
                _titled(place, said.get(name)),
                _rows(place, entry, schema, written or {}, _of_entries(name, place, said)),
            )
        return
    key = entry["discriminator"]["propertyName"]
    for kind, reference in entry["discriminator"]["mapping"].items():
        model = _resolved({"$ref": reference}, schema)
        written = next((some for some in _entries(value, place == name) if some.get(key) == kind), {})
        title = _titled(f"{place}, {key}: {kind}", said.get(name))
        yield title, _rows(place, model, schema, written if name == "train" else {}, _of_entries(name, place, said))


def _entries(value: Any, single: bool) -> list[Any]:
    return [value] if single else list((value or {}).values())


def _titled(place: str, comment: str | None) -> str:
    return f"{place}\n\n{comment[0].upper()}{comment[1:]}." if comment else place


def _of_entries(name: str, place: str, said: Mapping[str, str]) -> dict[str, str]:
    """Comments of a keyed section under the name that stands for all its keys; the first one that says something counts."""
    if place == name:
        return dict(said)
    found: dict[str, str] = {}
    for key, comment in said.items():
        if key.startswith(f"{name}.") and key.count(".") > 1:
            found.setdefault(".".join([place, *key.split(".")[2:]]), comment)
    return found


def _rows(place: str, model: Schema, schema: Schema, values: Mapping[str, Any], said: Mapping[str, str]) -> list[str]:
    """A row for each param, those of nested sections in their place."""
    rows = []
    for name, reference in model["properties"].items():
        path, some = f"{place}.{name}".lstrip("."), _resolved(reference, schema)
        if "properties" in some:
            rows += _rows(path, some, schema, values.get(name, {}), _inherited(path, some, said))
        else:
            default = values.get(name, reference.get("default", REQUIRED))
            meaning = _meaning(path, name, model, said)
            rows.append(_row(f"`{path}`", _type(some, schema), _range(some, schema), _shown(default), meaning))
    return rows


def _inherited(path: str, some: Schema, said: Mapping[str, str]) -> dict[str, str]:
    """Comments with that of a nested section for each of its params that has none."""
    return {f"{path}.{name}": said[path] for name in some["properties"] if path in said} | dict(said)


def _meaning(path: str, name: str, model: Schema, said: Mapping[str, str]) -> str:
    """What a comment, the schema's docstring, or nobody else says."""
    described = _of_docstring(name, model.get("description", ""))
    if not described and path.startswith("encoders."):
        described = _of_docstring(name, Network.__doc__ or "")
    return said.get(path) or described or MEANINGS.get(path) or MEANINGS.get(name, "")


def _of_docstring(name: str, docstring: str) -> str:
    """Sentences of a docstring that name a param."""
    sentences = re.split(r"(?<=[.;])\s+(?=[A-Z`])", " ".join(docstring.split()))
    return " ".join(some for some in sentences if f"``{name}``" in some).replace("``", "`")


def _resolved(some: Schema, schema: Schema) -> Schema:
    reference = some.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[1]] if reference else some


def _type(some: Schema, schema: Schema) -> str:
    """The type of a value in words."""
    some = _resolved(some, schema)
    if "const" in some or "enum" in some:
        return ", ".join(f"`{value}`" for value in some.get("enum", [some.get("const")]))
    if "anyOf" in some:
        return " or ".join(dict.fromkeys(_type(part, schema) for part in some["anyOf"]))
    if some.get("type") == "array":
        inner = some.get("items") or some["prefixItems"][0]
        count = f"{len(some['prefixItems'])} × " if "prefixItems" in some else ""
        return f"list of {count}{_type(inner, schema)}"
    return TYPES.get(some.get("type", ""), "mapping")


def _range(some: Schema, schema: Schema) -> str:
    """Bounds of a value, and of the parts of a list or of alternatives."""
    some = _resolved(some, schema)
    if "prefixItems" in some:
        return _range(some["prefixItems"][0], schema)
    own = [text.format(some[name]) for name, text in BOUNDS.items() if name in some]
    if "minItems" in some and some["minItems"] == some.get("maxItems"):
        own = [f"exactly {some['minItems']}"]
    inner = [_range(part, schema) for part in [*some.get("anyOf", []), *([some["items"]] if "items" in some else [])]]
    return ", ".join(dict.fromkeys(part for part in [*own, *inner] if part))


def _shown(value: Any) -> str:
    """A value as YAML has it."""
    if value is REQUIRED:
        return "required"
    if isinstance(value, bool) or value is None:
        return "`null`" if value is None else f"`{str(value).lower()}`"
    if isinstance(value, (list, tuple)):
        return "`[" + ", ".join(map(str, value)) + "]`"
    return f'`"{value}"`' if value == "" else f"`{value}`"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(title: str, rows: list[str]) -> str:
    return f"## {title}\n\n{HEADING}" + "\n".join(rows) + "\n"
