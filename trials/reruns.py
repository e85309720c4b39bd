"""Change each value of params.yaml, and check that DVC would rerun exactly the stages whose code reads it.

``python -m trials.reruns`` needs a project whose dvc.lock is complete and whose outputs are in the cache (after ``dvc repro``
and a commit). What the code reads is recorded while the tiny pipeline of the tests runs; DVC is asked in a clone, where nothing runs.
"""

import copy
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import typer
from pydantic import ValidationError
from ruamel.yaml import YAML

from falcon_dvc.artifacts.formats import write_json
from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import Params
from falcon_dvc.progress import track
from stages import divide_encoders
from tests.support.recorder import KEYS, Leaf, leaves
from tests.support.reruns import BY_FILE, Reads, Stage, other_settings, stage_of
from tests.support.whole_runs import whole_run
from trials.tiny import TINY

ROOT = Path(__file__).resolve().parents[1]

# Values that cannot change alone: the values that change with them, by the section and the last key.
TOGETHER: dict[tuple[str, str], list[dict]] = {
    ("evaluate_human_captions", "encoders"): [{"pairs": "pairs.tsv"}],
    ("generate_captions", "encoders"): [{"checkpoint": "pins/weights.txt"}],
    ("concepts", "ranking"): [{"words_from": "captions"}],
    ("encoders", "kind"): [{"variant": 0, "checkpoint": "pins/weights.txt"}],
    ("train", "objective"): [
        {"weights": None, "further_share": None, "greyscale": 0.1, "projection": 32, "temperature": 0.1},
        {
            "weights": dict.fromkeys(("object", "colour", "texture", "background"), 1.0),
            "further_share": 0.5,
            **dict.fromkeys(("greyscale", "projection", "temperature")),
        },
    ],
}
PARSED: dict[str, Any] = {}  # texts of YAML files
THIRD = {"encoders": {"third": {"kind": "scenes", "checkpoint": "models/third.safetensors"}}}  # for pairs to name


@dataclass(frozen=True)
class Change:
    """Params with another value, and what of them differs."""

    leaf: Leaf
    content: dict
    differs: frozenset[Leaf]


@dataclass(frozen=True)
class Answer:
    """DVC's decision on a change: all stages, and those that it would rerun."""

    stages: frozenset[Stage]
    stale: frozenset[Stage]


def main(
    project: Annotated[Path, typer.Option(help="A git and DVC project whose dvc.lock is complete.")] = ROOT,
    out: Annotated[Path, typer.Option(help="Where the counts go.")] = Path("reports/reliability/reruns.json"),
) -> None:
    """Change every value, ask DVC, compare; exit code 1 if a stage too few or too many would run."""
    with tempfile.TemporaryDirectory(prefix="falcon-reruns-") as scratch:
        clone = cloned(project.resolve(), Path(scratch) / "clone")
        before = asked(clone)
        if before.stale:
            names = ", ".join(" ".join(stage) for stage in sorted(before.stale))
            raise typer.BadParameter(f"{project}: dvc.lock is stale for {names}; run `dvc repro` and commit it")
        reads = recorded(Path(scratch))
        found = measured(clone, reads, before)
    write_json(out, found["counts"])
    typer.echo("\n".join(found["wrong"] + [in_words(found["counts"])]))
    raise typer.Exit(1 if found["wrong"] else 0)


def cloned(project: Path, clone: Path) -> Path:
    """Return the last commit of a project with its outputs, from its own cache."""
    cache = dvc(project, "cache", "dir").strip()
    subprocess.run(["git", "clone", "-q", "--shared", str(project), str(clone)], check=True)
    dvc(clone, "cache", "dir", "--local", cache)
    dvc(clone, "checkout", "-q")
    return clone


def dvc(folder: Path, *arguments: str) -> str:
    """Return what a command of DVC prints."""
    command = [sys.executable, "-m", "dvc", *arguments]
    return subprocess.run(command, cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def recorded(scratch: Path) -> Reads:
    """Return what the code of each stage reads."""
    folders = scratch / "tiny", scratch / "other"
    for folder in folders:
        folder.mkdir()
    params, read, *_ = whole_run(folders[0])
    return other_settings(folders[0], params, read, folders[1])


def measured(clone: Path, reads: Reads, before: Answer) -> dict[str, Any]:
    """Ask DVC about every change, and count what it decides."""
    content = read_yaml(clone / "params.yaml")
    tried = [change for change in changes(content) if not _of_a_left_out_encoder(change.leaf)]
    wrong, stale = [], 0
    for change in track(tried, "asking DVC", total=len(tried)):
        with (clone / "params.yaml").open("w", encoding="utf-8") as file:
            YAML().dump(change.content, file)
        with chdir(clone):  # other stages see params of encoders through its files
            divide_encoders.run(validated(change.content))
        answer = asked(clone)
        both = answer.stages & before.stages & reads.keys()
        wrong += compared(change, reads, both, answer.stale & both)
        stale += len(answer.stale & both)
    few = sum("too few" in line for line in wrong)
    counts = {
        "parameters": len(list(leaves(content))),
        "parameters_tried": len(tried),
        "stages": len(before.stages),
        "reruns": stale,
        "too_few": few,
        "too_many": len(wrong) - few,
        "parameters_all_right": len(tried) - len({line.split(":")[0] for line in wrong}),
    }
    return {"counts": counts, "wrong": wrong}


def _of_a_left_out_encoder(leaf: Leaf) -> bool:
    """Whether a value is of an encoder that the tiny pipeline leaves out, whose stages are not recorded."""
    return leaf[0] == "encoders" and TINY["encoders"].get(leaf[1], {}) is None


def asked(clone: Path) -> Answer:
    """Return the stages that DVC finds changed; nothing runs."""
    from dvc.repo import Repo

    with parsed_once(), Repo(str(clone)) as repo, repo.lock:
        stages = [stage for stage in repo.index.stages if stage_of(stage.cmd) != BY_FILE]
        stale = [stage for stage in stages if stage.status()]
        return Answer(*(frozenset(stage_of(stage.cmd) for stage in some) for some in (stages, stale)))


@contextmanager
def parsed_once() -> Iterator[None]:
    """Parse each different YAML text only once, because parsing dvc.yaml, dvc.lock and params.yaml takes most of DVC's time."""
    plain = YAML.load

    def load(parser: YAML, stream: Any) -> Any:
        if parser.typ != ["safe"] or not isinstance(stream, str):
            return plain(parser, stream)
        if stream not in PARSED:
            PARSED[stream] = plain(parser, stream)
        return copy.deepcopy(PARSED[stream])

    with patch.object(YAML, "load", load):
        yield


def compared(change: Change, reads: Reads, stages: frozenset[Stage], stale: frozenset[Stage]) -> list[str]:
    """Return the stages for which DVC decides otherwise than the code."""
    name = ".".join(change.leaf)
    needed = {stage for stage in stages if reads.get(stage, set()) & change.differs}
    few = [f"{name}: too few: {' '.join(stage)}" for stage in sorted(needed - stale)]
    return few + [f"{name}: too many: {' '.join(stage)}" for stage in sorted(stale - needed)]


# ---- Other values


def changes(content: dict) -> Iterator[Change]:
    """For every value of params.yaml another that the schema accepts; values without one are left out."""
    words = sorted(schema_words(Params.model_json_schema()))
    for leaf in leaves(content):
        change = next(_valid(content, leaf, words), None)
        if change is not None:
            yield change


def _at(content: Any, place: Leaf) -> Any:
    for key in place:
        content = content[key]
    return content


def _valid(content: dict, leaf: Leaf, words: list[str]) -> Iterator[Change]:
    companions = [*TOGETHER.get((leaf[0], leaf[-1]), []), {}, *([THIRD] if leaf[0] == "transfers" else [])]
    old = _at(content, leaf)
    for value in (value for value in other_values(old, words) if value != old):
        for companion in companions:
            new = copy.deepcopy(content)
            merge(new if companion is THIRD else _at(new, leaf[:-1]), copy.deepcopy(companion))
            _at(new, leaf[:-1])[leaf[-1]] = value
            if accepted(new) not in (None, accepted(content)):
                yield Change(leaf, new, frozenset({leaf} | ({("encoders", KEYS)} if companion is THIRD else set())))


def accepted(content: dict) -> Params | None:
    """Return the validated params; None if the schema refuses them."""
    try:
        return validated(content)
    except ValidationError:
        return None


def other_values(value: Any, words: list[str]) -> Iterator[Any]:
    """Yield values of the same type, the likely ones first. The schema may refuse them."""
    if isinstance(value, bool):
        yield from (not value, *words)
    elif isinstance(value, int):
        yield from (value + step for step in (1, -1, 2, 6, 16, 32))
    elif isinstance(value, float):
        yield from (value * 0.9, value * 1.1, value + 0.1)
    elif isinstance(value, list):
        yield from ([*value[:-1], last] for last in (other_values(value[-1], words) if value else ()))
        yield value[:-1]
        yield from ([*value, word] for word in words)
    else:
        yield from (f"{value or ''}third", "third", *words, "third:1", 8)


def schema_words(schema: Any) -> set[str]:
    """Return every word that the schema allows anywhere."""
    if isinstance(schema, list):
        return set().union(*map(schema_words, schema))
    if not isinstance(schema, dict):
        return set()
    own = [*schema.get("enum", []), schema.get("const")]
    return {word for word in own if isinstance(word, str)} | schema_words(list(schema.values()))


def in_words(counts: dict[str, int]) -> str:
    """One line."""
    return (
        f"{counts['parameters_tried']} of {counts['parameters']} params changed in turn, {counts['stages']} stages: "
        f"{counts['reruns']} would run again, {counts['too_few']} too few, {counts['too_many']} too many"
    )


if __name__ == "__main__":
    typer.run(main)
