"""Write docs/params.md: every param with its type, range, default and meaning.

Types, ranges and meanings are from the schema, defaults and more meanings from params.yaml and its comments.
"""

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
type lists `off`. `falcon check` compares a `params.yaml` with all of this before any work. Formulas: [method.md](method.md).
"""
REQUIRED = object()
HEADING = "| param | type | range | default | meaning |\n|---|---|---|---|---|\n"
TYPES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
BOUNDS = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
BOUNDS |= {"multipleOf": "a multiple of {}", "minItems": "{} or more", "maxItems": "at most {}", "pattern": "`{}`"}
# Meanings that are in no comment of params.yaml and no docstring of the schema, by path or by name.
MEANINGS = {
    "seed": "of all that is drawn at random",
    "bootstrap": "samples that an interval is drawn from",
    "confidence": "of the intervals",
    "fdr": "false discovery rate (Benjamini-Hochberg) of what is called interpretable",
    "kind": "which of the kinds",
    "objective": "which of the kinds",
    "checkpoint": "the file of the weights; left out if they come from elsewhere",
    "head": "file with a linear classifier of the encoder's features, .safetensors or .npz (docs/encoders.md)",
    "head_digest": "written by `falcon profile` for DVC; leave it out",
    "classes": "names of the outputs of `head` in order, or imagenet",
    "control_of": "for random weights: the encoders of the same architecture whose explanations it calibrates ([glossary](glossary.md))",
    "weight_decay": "decoupled, of AdamW",
    "variant": "0, 1 or 2: EfficientNet-Lite0 to Lite2",
    "explained": "key of `encoders`: the encoder whose concepts are transferred",
    "unseen": "key of `encoders`: the encoder that they are transferred to",
    "image_text.name": "a model of open_clip; null: a checkpoint of this project",
    "image_text.pretrained": "the tag of its weights, or checkpoint: a file; with name (not with hf-hub: and local-dir: names)",
    "quick_gelu": "whether the activation is QuickGELU; null: as in the release ([encoders.md](encoders.md#releases-that-differ))",
    "image_text.size": "size of the input in pixels; null: the network's own",
    "image_text.mean": "of the channels; null: as in the release",
    "image_text.std": "of the channels; null: as in the release",
    "image_text.squash": "squash the whole image to a square (true), or use the central square (false); null: as in the release",
    "image_text.interpolation": "filter for scaling; null: as in the release",
    "alignments.NAME.batch_size": "images in a pass of the networks",
    "alignments.NAME.splits.train": "share of the images that fit the map",
    "alignments.NAME.splits.validation": "share that chooses the penalty; the rest is held out",
    "image_text.top": "classes that make up an image's embedding (T of ConSE)",
    "image_text.classifier": "any encoder with a classifier, written as under `encoders`; null: EfficientNet-Lite2",
    "image_text.sentences": "folder of a sentence encoder; null: MiniLM",
    "image_text.precision": "what its networks compute in, as `extract_activations.precision`",
    "encoders.NAME.name": "name of the network in its library",
    "encoders.NAME.basis": "latents, components or directions as features ([bases.md](bases.md)); null: the channels of the layer",
    "encoders.NAME.features": "the features to explain: numbers, or `{random: COUNT, seed: SEED}`; null: all ([encoders.md](encoders.md))",
}
COMMENT = re.compile(r"(?:^|\s)# (.*)$")
KEY = re.compile(r"^( *)([\w]+):")

Schema = Mapping[str, Any]


def run(params: Path = Path("params.yaml"), page: Path = PAGE) -> Path:
    """Write the page and return its path."""
    write_text(page, render(read_yaml(params), comments(params.read_text(encoding="utf-8"))))
    return page


def comments(text: str) -> dict[str, str]:
    """Read the comments of a YAML file by dotted key: the lines above the key, and the comment on its line."""
    by_key: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    above: list[str] = []
    for line in text.splitlines():
        key, comment = KEY.match(line), COMMENT.search(line)
        if key is None:
            above = [*above, comment[1]] if comment else []
            continue
        path = [*((depth, name) for depth, name in path if depth < len(key[1])), (len(key[1]), key[2])]
        text_of_key = " ".join([*above, *([comment[1]] if comment else [])])
        if text_of_key:
            by_key[".".join(name for _, name in path)] = text_of_key
        above = []
    return by_key


def render(values: Mapping[str, Any], meanings: Mapping[str, str]) -> str:
    """Render the page with a section for each section of params.yaml."""
    schema = Params.model_json_schema()
    sections = [INTRODUCTION]
    plain = {
        name: definition for name, definition in schema["properties"].items() if not _is_section(definition, schema)
    }
    sections.append(_table("Of the whole run", _rows("", {"properties": plain}, schema, values, meanings)))
    for name, definition in schema["properties"].items():
        sections += [
            _table(title, rows) for title, rows in _section(name, definition, schema, values.get(name), meanings)
        ]
    return "\n".join(sections)


def _is_section(definition: Schema, schema: Schema) -> bool:
    """Whether a param is a section with a table of its own."""
    definition = _resolved(definition, schema)
    return "properties" in definition or "oneOf" in definition or _entry_schema(definition) is not None


def _entry_schema(definition: Schema) -> Schema | None:
    """Return the schema of the entries if the user chooses the keys of a section; None for other sections."""
    return next(iter(definition.get("patternProperties", {}).values()), None)


def _section(
    name: str, definition: Schema, schema: Schema, value: Any, meanings: Mapping[str, str]
) -> Iterator[tuple[str, list[str]]]:
    """Yield title and rows of each table of a section: one table, or one for each kind of its entries."""
    definition = _resolved(definition, schema)
    keyed = _entry_schema(definition)
    place, entry = (name, definition) if keyed is None else (f"{name}.NAME", keyed)
    entry = _resolved(entry, schema)
    if "oneOf" not in entry:
        if "properties" in entry:
            written = value if place == name else {}
            yield (
                _titled(place, meanings.get(name)),
                _rows(place, entry, schema, written or {}, _of_entries(name, place, meanings)),
            )
        return
    key = entry["discriminator"]["propertyName"]
    for kind, reference in entry["discriminator"]["mapping"].items():
        model = _resolved({"$ref": reference}, schema)
        written = next((entry for entry in _entries(value, place == name) if entry.get(key) == kind), {})
        title = _titled(f"{place}, {key}: {kind}", meanings.get(name))
        yield title, _rows(place, model, schema, written if name == "train" else {}, _of_entries(name, place, meanings))


def _entries(value: Any, single: bool) -> list[Any]:
    return [value] if single else list((value or {}).values())


def _titled(place: str, comment: str | None) -> str:
    return f"{place}\n\n{comment[0].upper()}{comment[1:]}." if comment else place


def _of_entries(name: str, place: str, meanings: Mapping[str, str]) -> dict[str, str]:
    """Collect the comments of a keyed section under ``NAME``, for all its keys; of several comments the first counts."""
    if place == name:
        return dict(meanings)
    by_path: dict[str, str] = {}
    for key, comment in meanings.items():
        if key.startswith(f"{name}.") and key.count(".") > 1:
            by_path.setdefault(".".join([place, *key.split(".")[2:]]), comment)
    return by_path


def _rows(
    place: str, model: Schema, schema: Schema, values: Mapping[str, Any], meanings: Mapping[str, str]
) -> list[str]:
    """Make a row for each param; the params of nested sections follow in their place."""
    rows = []
    for name, reference in model["properties"].items():
        path, definition = f"{place}.{name}".lstrip("."), _resolved(reference, schema)
        if "properties" in definition:
            rows += _rows(path, definition, schema, values.get(name, {}), _inherited(path, definition, meanings))
        else:
            default = values.get(name, reference.get("default", REQUIRED))
            meaning = _meaning(path, name, model, meanings)
            rows.append(
                _row(f"`{path}`", _type(definition, schema), _range(definition, schema), _shown(default), meaning)
            )
    return rows


def _inherited(path: str, definition: Schema, meanings: Mapping[str, str]) -> dict[str, str]:
    """Give the params of a nested section the comment of the section, if they have none."""
    return {f"{path}.{name}": meanings[path] for name in definition["properties"] if path in meanings} | dict(meanings)


def _meaning(path: str, name: str, model: Schema, meanings: Mapping[str, str]) -> str:
    """Find the meaning of a param: its comment, the schema's docstring, or an entry of `MEANINGS`."""
    described = _of_docstring(name, model.get("description", ""))
    if not described and path.startswith("encoders."):
        described = _of_docstring(name, Network.__doc__ or "")
    return meanings.get(path) or described or MEANINGS.get(path) or MEANINGS.get(name, "")


def _of_docstring(name: str, docstring: str) -> str:
    """Return the sentences of a docstring that name a param."""
    sentences = re.split(r"(?<=[.;])\s+(?=[A-Z`])", " ".join(docstring.split()))
    return " ".join(sentence for sentence in sentences if f"``{name}``" in sentence).replace("``", "`")


def _resolved(definition: Schema, schema: Schema) -> Schema:
    reference = definition.get("$ref")
    return schema["$defs"][reference.rsplit("/", 1)[1]] if reference else definition


def _type(definition: Schema, schema: Schema) -> str:
    """Describe the type of a value."""
    definition = _resolved(definition, schema)
    if "const" in definition or "enum" in definition:
        return ", ".join(f"`{value}`" for value in definition.get("enum", [definition.get("const")]))
    alternatives = [*definition.get("anyOf", []), *definition.get("oneOf", [])]
    if alternatives:
        return " or ".join(dict.fromkeys(_type(alternative, schema) for alternative in alternatives))
    if definition.get("type") == "array":
        inner = definition.get("items") or definition["prefixItems"][0]
        count = f"{len(definition['prefixItems'])} × " if "prefixItems" in definition else ""
        return f"list of {count}{_type(inner, schema)}"
    return TYPES.get(definition.get("type", ""), "mapping")


def _range(definition: Schema, schema: Schema) -> str:
    """Describe the bounds of a value, of the items of a list, and of alternatives."""
    definition = _resolved(definition, schema)
    if "prefixItems" in definition:
        return _range(definition["prefixItems"][0], schema)
    own = [text.format(definition[name]) for name, text in BOUNDS.items() if name in definition]
    if "minItems" in definition and definition["minItems"] == definition.get("maxItems"):
        own = [f"exactly {definition['minItems']}"]
    inner = [
        *definition.get("anyOf", []),
        *definition.get("oneOf", []),
        *([definition["items"]] if "items" in definition else []),
    ]
    bounds = [*own, *(_range(other, schema) for other in inner)]
    return ", ".join(dict.fromkeys(bound for bound in bounds if bound))


def _shown(value: Any) -> str:
    """Format a value as in YAML."""
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
