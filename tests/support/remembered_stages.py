"""Runs the stages of dvc.yaml in this process, and links what a stage wrote before for the same params and inputs."""

import hashlib
import importlib
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, reduce
from pathlib import Path
from typing import Any

import pandas as pd

from falcon_dvc.params.load import read_yaml, validated
from falcon_dvc.params.schema import Params
from tests.support.paths import ROOT

CODE = ("stages", "falcon_dvc")
IMAGES = Path("data/images.parquet")
LABELLED = {
    "failures",
    "evaluate_units",
    "report",
}  # stages for which a label matters; the others read ids, splits and sizes
UNSPLIT = {"extract_activations", "evaluate_units"}  # stages that read all images alike


@dataclass(frozen=True)
class ResolvedStage:
    """A stage of dvc.yaml for one key, with the values of the params in its paths.

    Attributes
    ----------
    key : () or the encoder or pair that it runs for.
    params : dotted names.
    """

    name: str
    key: tuple[str, ...]
    params: list[str]
    deps: list[Path]
    outs: list[Path]


def resolved_stages(content: dict[str, Any]) -> Iterator[ResolvedStage]:
    """Yield the stages that DVC would run with some params, in the order of dvc.yaml."""
    for definition in _pipeline().values():
        for values in _items(definition, content):
            yield _resolved(definition.get("do", definition), values)


@cache
def _pipeline() -> dict[str, Any]:
    return read_yaml(ROOT / "dvc.yaml")["stages"]


def _items(definition: dict, content: dict) -> Iterator[dict]:
    """Yield the values that a definition's placeholders have: one for each run of the stage."""
    if "foreach" in definition:
        listed = _at(content, definition["foreach"].strip("${}"))
        yield from ({**content, "key": key, "item": item} for key, item in listed.items())
        return
    lists = {name: list(_at(content, path.strip("${}"))) for name, path in definition.get("matrix", {}).items()}
    for chosen in itertools.product(*lists.values()):
        yield {**content, "item": dict(zip(lists, chosen, strict=True))}


def _resolved(definition: dict, values: dict) -> ResolvedStage:
    def filled(text: str) -> str:
        return re.sub(r"\$\{([\w.]+)\}", lambda found: str(_at(values, found[1])), text)

    name, *key = filled(definition["cmd"]).split()[3:]
    outs = [entry for kind in ("outs", "metrics", "plots") for entry in definition.get(kind, [])]
    return ResolvedStage(
        name,
        tuple(key),
        [filled(param) for param in definition.get("params", [])],
        [Path(filled(path)) for path in definition["deps"] if not path.startswith(CODE)],
        [Path(filled(entry if isinstance(entry, str) else next(iter(entry)))) for entry in outs],
    )


def _at(content: Any, place: str) -> Any:
    return reduce(lambda section, key: section.get(key), place.split("."), content)


class RememberedStages:
    """The stages, with what they wrote so far.

    Parameters
    ----------
    store : folder of the remembered outputs.
    """

    def __init__(self, store: Path) -> None:
        self.store, self.runs = store, 0

    def run(self, content: dict[str, Any], made: set[str]) -> None:
        """Run in the working folder every stage that dvc.yaml has for these params, except those named in `made`."""
        params = validated(content)
        for stage in resolved_stages(content):
            missing = [path for path in stage.deps if not path.exists()]
            assert not missing, f"inputs of {stage.name}: {missing}"
            if stage.name not in made:
                self._run_or_link(stage, content, params)

    def _run_or_link(self, stage: ResolvedStage, content: dict, params: Params) -> None:
        kept = self.store / _fingerprint(stage, content)
        if kept.exists():
            _link(kept, Path(), stage.outs)
            return
        importlib.import_module(f"stages.{stage.name}").run(params, *stage.key)
        _link(Path(), kept, stage.outs)
        self.runs += 1


def _fingerprint(stage: ResolvedStage, content: dict) -> str:
    # How the images were listed is in their table.
    names = [
        name for name in stage.params if stage.name == "collect_images" or name not in ("data.list", "data.heldout")
    ]
    values = [_at(content, name) for name in names]
    inputs = [_content(path, stage.name) for path in stage.deps]
    described = [stage.name, stage.key, values, [*map(str, stage.outs)], inputs]
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _content(path: Path, stage: str) -> str:
    """Digest the contents of a file or folder, without the columns of the images that a stage does not use."""
    if path == IMAGES:
        unused = ["label"] * (stage not in LABELLED) + ["split"] * (stage in UNSPLIT)
        return pd.read_parquet(path).drop(columns=unused).to_csv()
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file).encode())
        digest.update(file.read_bytes() if file.is_file() else b"")
    return digest.hexdigest()


def _link(here: Path, there: Path, outs: list[Path]) -> None:
    for path in outs:
        (there / path).parent.mkdir(parents=True, exist_ok=True)
        if (here / path).is_dir():
            shutil.copytree(here / path, there / path, copy_function=os.link)
        else:
            os.link(here / path, there / path)
