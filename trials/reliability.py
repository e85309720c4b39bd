"""Write ``reports/reliability.md`` from the JSON files of the trials: what was tried, how often, and the results.

``make reliability`` runs all trials and this; ``python -m trials.reliability`` writes the table from what is there.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from falcon_dvc.artifacts.formats import read_json, write_text

ROOT = Path(__file__).resolve().parents[1]

FOLDER = ROOT / "reports" / "reliability"
HEAD = """# Reliability

What was tried, how often, and what happened. Every row is written from a file in `reports/reliability/`, which the command beside it
leaves; `make reliability` runs them all. The trials run the real stages on a tiny world (`trials/tiny.py`), but for the load.

| tried | how often | what happened | by |
|---|---|---|---|
"""
Row = tuple[str, str, str]


def clean_runs(found: dict) -> Iterator[Row]:
    yield (
        "`dvc repro` in new folders: other path, hash seed, time zone, locale, home, number of cores",
        f"{found['runs']} runs of {found['stages']} stages",
        f"{found['outputs_with_another_hash']} of {found['outputs']} outputs have another hash; `dvc.lock` "
        f"{'is the same' if found['same_lock_file'] else 'differs'}; {found['files_that_differ']} of {found['files']} files differ",
    )


def settings(found: dict) -> Iterator[Row]:
    for setting, differing in found["differing"].items():
        yield (
            f"another setting: {setting.replace('_', ' ')}",
            "1 run",
            f"{differing} of {found['compared']} tables and metrics differ (floats of tables to 5 digits)",
        )


def together(found: dict) -> Iterator[Row]:
    second = "refused" if found["second_refused"] else "NOT refused"
    rest = "ended well" if found["first_ended_well"] and found["up_to_date_afterwards"] else "was DISTURBED"
    yield (
        "a second `dvc --wait-for-lock repro` (as `make repro`) while one runs",
        "1",
        f"the second was {second}; the first {rest}",
    )


def reruns(found: dict) -> Iterator[Row]:
    yield (
        "each value of params.yaml changed in turn; the stages that DVC runs again against those that read it",
        ", ".join(f"{value} {name.replace('_', ' ')}" for name, value in found.items() if "too" not in name),
        f"too few: {found['too_few']}; too many: {found['too_many']}",
    )


def kills_of_stages(found: dict) -> Iterator[Row]:
    yield (
        "a stage killed (SIGKILL) at a random moment, run again without cleaning",
        f"{found['kills']} kills over {found['stages']} stages; {found['with_finished_work']} left finished work to go on from",
        f"{found['differing']} of {found['runs_that_ended']} runs gave other bytes; "
        f"{found['files_left_over_or_lost']} of {found['files']} files left over or lost",
    )


def kills_of_repro(found: dict) -> Iterator[Row]:
    yield (
        "`dvc repro` killed with all its processes at a random moment, run again without cleaning",
        f"{found['kills']} kills in {found['projects']} projects",
        f"{found['differing']} of {found['projects']} projects gave other bytes or another `dvc.lock`",
    )


def disk(found: dict) -> Iterator[Row]:
    told = f"{found['other_than_one_clear_line']} ended otherwise than by one clear line and exit code 2"
    yield (
        "the disk full, with space for 0, 30 or 70 % of a stage's outputs; or read-only",
        f"{found['full']} times full, {found['read_only']} times read-only, over {found['stages']} stages",
        f"{told}; {found['damaged']} damaged or left something; {found['differing_afterwards']} gave other bytes afterwards",
    )


def tests(found: dict) -> Iterator[Row]:
    names = {
        "bad_inputs": "bad inputs, each with the behaviour expected (`tests/malformed_inputs`)",
        "fuzzing": "readers fuzzed: bytes flipped, cut, put in (`tests/malformed_inputs/test_fuzz.py`)",
        "attacks": "attacks: strings through the whole run to the browser, code, paths, policies (`tests/security`)",
        "properties_of_the_method": "properties and examples of every pure function (`trials/suites.py: METHOD`)",
    }
    for name, text in names.items():
        counts, of = found[name], found[name].get("examples_a_test")
        often = f"{sum(counts[kind] for kind in ('passed', 'failed', 'skipped'))} tests" + (
            f" of {of} examples" if of else ""
        )
        yield text, often, f"{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped"


def load(found: dict) -> Iterator[Row]:
    sizes, stages = found["sizes"], found["stages"]
    name, most = max(stages.items(), key=lambda item: item[1]["peak_mb"])
    yield (
        f"load: {sizes['C']} captions, {sizes['N'] + sizes['H']} images x {sizes['r']} features",
        f"{len(stages)} stages",
        f"{sum(one['within_limit'] for one in stages.values())} stay within their formula and 8 GB; "
        f"most memory: {name}, {most['peak_mb'] / 1000:.2f} GB; {sum(one['seconds'] for one in stages.values()) / 60:.0f} minutes in all",
    )


def soak(found: dict) -> Iterator[Row]:
    runs, memory, cleared = found["runs"], found["memory"], found["cleared"]
    left = sum(len(one["left_behind"]) for one in runs)
    strange = sum(one["unexplained_objects"] for one in runs)
    yield (
        "runs in a row with other params, then `dvc gc --workspace`",
        f"{len(runs)} × `dvc repro`, and as often in one process",
        f"{left} temporary files left, {strange} objects in the cache that are of no output; {cleared['not_needed_after']} "
        f"not needed after clearing; memory after the second run {memory['second_mb']:.0f} MB, after the last {memory['last_mb']:.0f} MB",
    )


TRIALS: dict[str, tuple[str, Callable[[dict], Iterator[Row]]]] = {
    "clean_runs": ("trials.twice clean", clean_runs),
    "settings": ("trials.twice settings", settings),
    "reruns": ("trials.reruns", reruns),
    "kills_of_stages": ("trials.kills stages", kills_of_stages),
    "kills_of_repro": ("trials.kills repro", kills_of_repro),
    "together": ("trials.twice together", together),
    "disk": ("trials.disk", disk),
    "tests": ("trials.suites", tests),
    "load": ("trials.load", load),
    "soak": ("trials.soak", soak),
}


def table() -> str:
    """Return the report; a trial without a result is said to have none."""
    lines = []
    for name, (command, rows) in TRIALS.items():
        file = FOLDER / f"{name}.json"
        found = rows(read_json(file)) if file.exists() else iter([(name.replace("_", " "), "–", "not run")])
        lines += [f"| {' | '.join(row)} | `{command}` |\n" for row in found]
    return HEAD + "".join(lines)


def main() -> None:
    """Write the table."""
    write_text(ROOT / "reports" / "reliability.md", table())


if __name__ == "__main__":
    typer.run(main)
