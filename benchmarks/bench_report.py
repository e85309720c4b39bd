"""Write ``reports/benchmarks.md`` from the JSON files of the benchmarks in ``reports/benchmarks/``.

``make bench`` runs all of them and this; ``python -m benchmarks.bench_report`` writes the page from what is there.
"""

import statistics
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

import typer

from benchmarks.profile_run import as_markdown
from benchmarks.sampled import STARTING
from benchmarks.works import WORKS
from falcon_dvc.artifacts.formats import read_json, write_text

ROOT = Path(__file__).resolve().parents[1]

FOLDER = ROOT / "reports" / "benchmarks"
NO_OP = 1.5  # times the seconds in a project of one stage, at most
WHOLE_RUN = 4  # times faster than the released flow on photographs
HEAD = """# Benchmarks

Every number is written from `reports/benchmarks/*.json`; `make bench` measures again.
"""
METHOD = """
Our core against the released algorithms, written afresh from their description (`benchmarks/released.py`): the same inputs, the same
number of threads, each side in a process of its own, the median of its repetitions (least to most in brackets). *Memory* is what the
work adds to its inputs. Where the reference would take hours it does a share of the work, and its time is divided by that share. *Same*
is the share of the results that agree at a small size, in the same run.
"""


Row = tuple[str, str, str, bool, str]  # what people wait for, measured, aim, whether it is met, what limits it


def waiting(files: dict[str, dict]) -> Iterator[str]:
    """Yield the table of what people wait for, from the files that are there."""
    yield "\n## What people wait for\n"
    yield "| what | measured | aim | | limit |"
    yield "|---|---|---|---|---|"
    for name, rows in WAITING.items():
        if name in files:
            yield from (
                f"| {what} | {measured} | {aim} | {'met' if met else '**missed**'} | {limit} |"
                for what, measured, aim, met, limit in rows(files[name])
            )


def _of_whole_run(found: dict) -> Iterator[Row]:
    before, now = (statistics.median(found[side]) for side in ("before", "now"))
    measured = f"{now:.0f} s, before {before:.0f} s: {before / now:.2f} times as fast"
    yield "`make repro` in a fresh clone", measured, "2 times", before >= 2 * now, ""


def _of_profile(found: dict) -> Iterator[Row]:
    stages = found["stages"].values()
    share = sum(one["shares"][STARTING] * one["seconds"] for one in stages) / sum(one["seconds"] for one in stages)
    yield "of it: starts and imports of the stages", f"{share:.1%}", "10 %", share <= 0.1, ""


def _of_speed(found: dict) -> Iterator[Row]:
    if {"no_op", "no_op_of_one_stage", "no_op_of_small_stages"} <= found.keys():
        ours, one, small = (found[name]["seconds"] for name in ("no_op", "no_op_of_one_stage", "no_op_of_small_stages"))
        limit = f"DVC takes {small:.2f} s for {found['no_op_of_small_stages']['stages']} stages with one param and one output"
        what = "`dvc repro` with nothing to do"
        yield (
            what,
            f"{ours:.2f} s, {ours / one:.1f} times that of one stage",
            f"{NO_OP} times",
            ours <= NO_OP * one,
            limit,
        )
    for name, product in (("captions", "product"), ("soft_wpmi", "soft_wpmi_product")):
        if name in found and product in found:
            times, aim = found[name]["times_faster"], WORKS[name].aim
            bound = found[name]["reference"]["seconds"] / _fastest(found[product])[1]["seconds"]
            limit = "" if times >= aim else f"the matrix product that both sides compute: at most {bound:.1f} times"
            yield WORKS[name].title, f"{times:.2f} times as fast as the reference", f"{aim} times", times >= aim, limit


def _of_photos(found: dict) -> Iterator[Row]:
    times = found["times_faster"]
    what = f"the run on {found['images']} photographs"
    yield what, f"{times:.1f} times as fast as the released flow", f"{WHOLE_RUN} times", times >= WHOLE_RUN, ""


def _of_test_suite(found: dict) -> Iterator[Row]:
    measured = f"{found['seconds']:.0f} s, {found['tests']} tests"
    yield "the test suite (`make test`)", measured, "180 s", found["seconds"] <= 180, ""


def _of_large_report(found: dict) -> Iterator[Row]:
    first, search = found["milliseconds_until_drawn"]["median"], found["milliseconds_of_a_search"]["median"]
    what = f"a list of {found['features']} features in the report"
    yield f"{what}: until it is drawn", f"{first:.0f} ms", "1000 ms", first < 1000, ""
    yield f"{what}: a search", f"{search:.0f} ms", "100 ms", search < 100, ""


WAITING: dict[str, Callable[[dict], Iterator[Row]]] = {  # by the name of the file
    "whole_run": _of_whole_run,
    "profile": _of_profile,
    "speed": _of_speed,
    "photos": _of_photos,
    "test_suite": _of_test_suite,
    "large_report": _of_large_report,
}


def speed(found: dict) -> Iterator[str]:
    """Yield the table of works."""
    yield f"\n## The method: {found['threads']} threads, {found['repeats']} repetitions"
    yield METHOD
    if kernels := found.get("kernels"):
        yield f"numpy multiplies matrices by OpenBLAS, with kernels for {kernels}; torch by MKL or oneDNN.\n"
    yield "| work | reference | its time | its memory | share measured | ours | our memory | times faster | aim | same |"
    yield "|---" * 10 + "|"
    for name, work in WORKS.items():
        if name in found:
            one = found[name]
            reference, ours = one["reference"], one["ours"]
            times, share = one["times_faster"], one["share_measured"]
            yield (
                f"| {work.title} | {work.by} | {seconds(reference)} | {memory(reference)} | {share:.3g} | {seconds(ours)} | {memory(ours)} "
                f"| **{times:.3g}** | {work.aim}: {'met' if times >= work.aim else 'missed'} | {one['same']:.2f} |"
            )
    if "product" in found and "captions" in found:
        yield from against_product(found)
    if "soft_wpmi_product" in found and "soft_wpmi" in found:
        yield from soft_wpmi_bound(found)
    if "no_op" in found:
        yield f"\n`dvc repro` with nothing to do: {seconds(found['no_op'])}."
    if "no_op_of_one_stage" in found:
        yield f"In a project of one stage without dependencies: {seconds(found['no_op_of_one_stage'])}."
    if "no_op_of_small_stages" in found:
        small = found["no_op_of_small_stages"]
        yield f"In a project of {small['stages']} stages, each with one param and one output: {seconds(small)}."
    if "start" in found:
        yield "\nStart of the stages that need no torch (they import none; aim: at most 1 s):\n"
        yield "| stage | start |\n|---|---|"
        yield from (f"| `{stage}` | {seconds(one)} |" for stage, one in found["start"].items())
    if "start_of_libraries" in found:
        yield f"\n`import pandas, scipy.sparse` alone: {seconds(found['start_of_libraries'])}."


def against_product(found: dict) -> Iterator[str]:
    """Yield the comparison of captioning with the matrix products that it consists of."""
    name, product = _fastest(found["product"])
    ours, reference = found["captions"]["ours"], found["captions"]["reference"]
    yield (
        f"\nThe matrix products of captioning alone in single precision, by {name}, the faster of numpy and torch: {seconds(product)}, "
        f"{product['gflops']:.0f} GFLOP/s. A search that makes them cannot be more than {reference['seconds'] / product['seconds']:.1f} "
        f"times faster than the reference. Ours takes {ours['seconds'] / product['seconds']:.0%} of their time: where the processor has "
        "the instructions, it excludes most captions by products in bfloat16, whose error is bounded, and compares the others in double "
        f"precision. Memory, with torch: {ours['added_mb'] / reference['added_mb']:.2f} of the reference's (aim: a quarter)."
    )


def soft_wpmi_bound(found: dict) -> Iterator[str]:
    """Yield the comparison of soft-WPMI with the product of embeddings, which both sides compute."""
    name, product = _fastest(found["soft_wpmi_product"])
    bound = found["soft_wpmi"]["reference"]["seconds"] / product["seconds"]
    yield (
        f"\nThe product of soft-WPMI's embeddings alone, by {name}: {seconds(product)}; with it, nothing is more than {bound:.1f} times "
        "faster than the reference."
    )


def _fastest(products: dict) -> tuple[str, dict]:
    return min(products.items(), key=lambda item: item[1]["seconds"])


def profile(found: dict) -> Iterator[str]:
    """Yield the table of the time of each stage of a whole run."""
    yield f"\n## Where the time of the default run goes ({found['cores']} cores, after training)\n"
    yield as_markdown(found)


def whole_run(found: dict) -> Iterator[str]:
    """Yield the seconds of the default run, before and now."""
    before, now = (statistics.median(found[side]) for side in ("before", "now"))
    yield (
        f"\n`make repro` in a fresh clone, rendering to report ({found['cores']} cores, median of {len(found['now'])} runs in turn): "
        f"{before:.0f} s at commit {found['before_commit']}, **{now:.0f} s** now, {before / now:.2f} times as fast (aims: 2 times, 180 s)."
    )


def passes(found: dict) -> Iterator[str]:
    """Yield the rates of the encoders."""
    yield "\n## Encoder passes, images a second\n"
    yield from flat_table(found)


def cluster(found: dict) -> Iterator[str]:
    """Yield the table of the costs of Ray."""
    yield "\n## Two nodes of one processor each (`benchmarks/cluster.py`)\n"
    yield from flat_table(found)


def limited_nodes(found: dict) -> Iterator[str]:
    """Yield what nodes of limited memory searched."""
    yield f"\n## {found['nodes']} nodes of limited memory (`benchmarks/limited_nodes.py`)\n"
    yield from flat_table(found)


def stages_on_nodes(found: dict) -> Iterator[str]:
    """Yield the sizes of the run of all stages on nodes of limited memory; docs/scale.md has the stages."""
    yield f"\n## Every stage with shards on {found['nodes']} nodes of limited memory (`benchmarks/stages_on_nodes.py`)\n"
    yield from flat_table({name: value for name, value in found.items() if name != "stages"})
    same = sum(one["same_files"] for one in found["stages"].values())
    yield f"\n{same} of {len(found['stages'])} stages wrote the same bytes as in one process ([docs/scale.md](../docs/scale.md))."


def photos(found: dict) -> Iterator[str]:
    """Yield the comparison of a whole run with the released flow."""
    yield f"\n## The whole run on {found['images']} photographs, {found['groups']} groups explained (`benchmarks/photos.py`)\n"
    yield "| released flow | seconds | ours | seconds |"
    yield "|---" * 4 + "|"
    for one, other in zip_longest(found["reference"].items(), found["ours"].items()):
        yield f"| {_named(one)} | {_named(other)} |"
    yield f"| **all** | {seconds(found['reference_seconds'])} | **all** | {seconds(found['ours_seconds'])} |"
    yield f"| most memory of a process | {found['reference_peak_mb']:.0f} MB | | {found['ours_peak_mb']:.0f} MB |"
    yield (
        f"\nMedians of {found['repeats']} repetitions: **{found['times_faster']:.2g}** times faster (aim: {WHOLE_RUN}), "
        f"{found['times_faster_without_embedding_captions']:.2g} times without the captions' embedding. "
        f"The released flow explained {found['groups_measured']} of the groups; its steps from heatmaps on are extrapolated, and its "
        f"embedding of captions. {found['same_features']:.2f} of the features are the same. "
    )


def half(found: dict) -> Iterator[str]:
    """Yield the comparison of a whole run in both precisions."""
    yield f"\n## The same run in half precision ({found['precision']}; `benchmarks/photos.py half`)\n"
    yield "| stage | single, seconds | half, seconds |\n|---|---|---|"
    yield from (f"| {stage} | {taken:.3g} | {found['half'][stage]:.3g} |" for stage, taken in found["ours"].items())
    yield f"| **all** | {seconds(found['ours_seconds'])} | {seconds(found['half_seconds'])} |"
    yield f"| most memory of a process | {found['ours_peak_mb']:.0f} MB | {found['half_peak_mb']:.0f} MB |"
    yield (
        f"\n`image_text.precision` and `extract_activations.precision`. Medians of {found['repeats']} repetitions: "
        f"**{found['times_faster']:.2g}** times faster. The results are others: single precision finds {found['groups']} groups, half "
        f"{found['groups_in_half']}; {found['same_groups']:.0%} of all are in both, and of these {found['same_first_word']:.0%} have "
        "the same first word."
    )


def _named(step: tuple[str, float] | None) -> str:
    return " | " if step is None else f"{step[0]} | {step[1]:.3g}"


def flat_table(found: dict) -> Iterator[str]:
    """Yield every number with its path."""
    yield "| what | value |\n|---|---|"
    yield from (
        f"| {name} | {value:.4g} |" if isinstance(value, float) else f"| {name} | {value} |"
        for name, value in leaves(found)
    )


def leaves(found: dict, before: str = "") -> Iterator[tuple[str, float | int | str]]:
    """Yield the values of nested dictionaries."""
    for key, value in found.items():
        name = f"{before}{key}".replace("_", " ")
        yield from leaves(value, f"{name}, ") if isinstance(value, dict) else [(name, value)]


def seconds(found: dict) -> str:
    """Return the median and range, with the digits that matter."""
    return f"{duration(found['seconds'])} ({duration(found['least'])}–{duration(found['most'])})"


def duration(value: float) -> str:
    """Return seconds, or milliseconds where they are less than a tenth."""
    return f"{value:.3g} s" if value >= 0.1 else f"{1000 * value:.3g} ms"


def memory(found: dict) -> str:
    """Return the megabytes that a side adds."""
    return f"{found['added_mb']:.0f} MB"


PARTS: dict[str, Callable[[dict], Iterator[str]]] = {  # by the name of the file
    "speed": speed,
    "profile": profile,
    "whole_run": whole_run,
    "passes": passes,
    "cluster": cluster,
    "limited_nodes": limited_nodes,
    "stages_on_nodes": stages_on_nodes,
    "photos": photos,
    "half": half,
}


def page() -> str:
    """Return the page, from the files that are there."""
    files = {path.stem: read_json(path) for path in sorted(FOLDER.glob("*.json"))}
    parts = (line for name, part in PARTS.items() if name in files for line in part(files[name]))
    return HEAD + "\n".join([*waiting(files), *parts]) + "\n"


def main() -> None:
    """Write the page."""
    write_text(ROOT / "reports" / "benchmarks.md", page())


if __name__ == "__main__":
    typer.run(main)
