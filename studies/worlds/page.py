"""Write the page ``studies/results.md``: the tables of the reported worlds, with every number from the metrics."""

from __future__ import annotations

from collections.abc import Iterable

from falcon_dvc.evaluation.selectivity import TIE

ENCODERS = {"supervised": "supervised", "simclr": "SimCLR", "untrained": "untrained"}
METHODS = {
    "falcon": "**FALCON, our default**",
    "without_contrast": "… without contrast",
    "whole_images": "… whole images instead of crops",
    "falcon_combined": "… ranked by Eq. 1 alone",
    "falcon_relative": "… ranked by Eq. 1 alone, relative cut",
    "score_relative": "… ranked by Eq. 1 alone, relative cut, cropped look-alikes (`low_crops` true, `redundancy` 0.5)",
    "falcon_released": "… ranked by Eq. 1 alone, released cut",
    "falcon_off": "… ranked by Eq. 1 alone, without contrast",
    "low_match_released": "… low images matched as released, and the released cut",
    "captions_300": "… 300 captions instead of 6 000",
    "released": "everything as released (`compat: released`)",
    "caption_correlation": "correlation with captions, r(capt)",
    "contrastive_projection": "contrast as a projection (CSP)",
    "nearest_text": "nearest text (as SemanticLens)",
    "clip_dissect": "CLIP-Dissect, as released",
    "clip_dissect_tuned": "CLIP-Dissect, constants tuned on selection data sets",
    "best_constant": "best constant label",
    "most_frequent_word": "most frequent word",
    "shuffled_activations": "shuffled activations",
}
CONTRASTS = {
    "falcon_distinct": "combined, distinct (default)",
    "without_contrast_distinct": "none, default ranking",
    "falcon_combined_distinct": "combined, distinct, Eq. 1 alone",
    "falcon_relative_distinct": "relative, distinct, Eq. 1 alone",
    "falcon_released_distinct": "released cut, distinct, Eq. 1 alone",
    "falcon_released_released": "released cut, as released, Eq. 1 alone",
    "falcon_off_distinct": "none, Eq. 1 alone",
}
DICTIONARIES = {"planted": "one direction for each attribute", "random": "random directions"}
KINDS = {"all": "right", "object": "object", "colour": "colour", "texture": "texture", "background": "background"}
KINDS_OF_UNITS = {"or": "one of two", "several": "one of an object, a colour and a background", "and": "two together"}
UNITS = {
    "r.mean": "r with what was planted",
    "f1.mean": "F1",
    "control_f1.mean": "F1, words of the next unit",
    "exact.share": "same things",
    "relation.share": 'same things, right "and" or "or"',
}
Cells = Iterable[str]


def as_markdown(summary: dict, seeds: list[int]) -> str:
    """Format the summary of the reported worlds as a page.

    Parameters
    ----------
    summary : contents of ``metrics/reported.json``. seeds : of the reported worlds.
    """
    worlds = ", ".join(str(seed) for seed in seeds)
    lines = [
        "# Results over synthetic data sets",
        "",
        f"The stage `summarise` of `studies/dvc.yaml` writes this page from `studies/metrics/reported.json`. Seeds: {worlds}.",
        "Brackets hold 95 % intervals over data sets (Student's t). Differences are means over data sets, on the same features.",
        "p is of the exact sign test over all features.",
        f"A first word is tied if it follows the feature by at most {TIE:.2f} less than the truth (correlation on held-out images).",
        *_section("Explained", ["encoder", *EXPLAINED.values()], _explained(summary["explained"])),
        *_section("First word right: trained encoders", METHOD_HEAD, _methods(summary["right"])),
        *_section("First word right: FALCON, by encoder", ["encoder", *OWN.values()], _own(summary)),
        *_section(
            "Sets of words: what a feature follows", ["encoder", *SETS.values()], _uses(summary["uses"], "facets", SETS)
        ),
        *_section(
            "Pairs whose words occur together", ["encoder", *PAIRS.values()], _uses(summary["uses"], "groups", PAIRS)
        ),
        *_section("Planted co-occurrences", ["contrast, low images", *PLANTS.values()], _plants(summary["plants"])),
        *_section(
            "Sparse dictionaries: first word right", ["dictionary", *KINDS], _dictionaries(summary["dictionary"])
        ),
        *_section("Units of several things: sets of words", ["unit", *UNITS.values()], _units(summary["units"])),
    ]
    return "\n".join(lines) + "\n"


EXPLAINED = {
    "feature.explained": "features explained",
    "feature.uncorrected": "features with p ≤ .05, uncorrected",
    "feature.permuted_words": "with permuted words",
    "group.explained": "groups explained",
    "class_set.explained": "sets of one class",
    "random_set.explained": "random sets",
}
METHOD_HEAD = ["method", "every feature", "FALCON less this", "p", "clear truth", "FALCON less this", "p"]
OWN = {
    "every first": "every feature",
    "clear first": "clear truth",
    "every first_or_tie": "every feature, right or tied",
    "clear first_or_tie": "clear truth, right or tied",
}
SETS = {
    "truth.set.f1 mean": "F1",
    "truth.set.exact mean": "exact",
    "truth.set.precision mean": "precision",
    "truth.set.recall mean": "recall",
    "truth.first.f1 mean": "F1, first word alone",
    "truth.permuted_words.f1 mean": "F1, words of another feature",
}
PAIRS = {
    "pairs.conjunction.exact_pair share": "both things named",
    "pairs.conjunction.exact_pair_control share": "by the truth of a random partner",
}
PLANTS = {"spurious_removed": "planted word gone", "true_lost": "true word lost", "true_first": "true word first"}


def _section(title: str, head: list[str], rows: Iterable[Cells]) -> list[str]:
    table = [" | ".join(row) for row in (head, ["---"] * len(head), *rows)]
    return ["", f"## {title}", "", *(f"| {row} |" for row in table)]


def _explained(explained: dict) -> Iterable[Cells]:
    for encoder, name in ENCODERS.items():
        yield [name, *(_cell(explained, f"{encoder}.{key}", "share") for key in EXPLAINED)]


def _methods(right: dict) -> Iterable[Cells]:
    for method, name in METHODS.items():
        cells = [name]
        for scope in ("every", "clear"):
            place = f"{scope}.both.{method}"
            less = f"{place}.falcon_less_this"
            cells += [_cell(right, f"{place}.first", "share"), _cell(right, less, "difference"), _p(_at(right, less))]
        yield cells


def _own(summary: dict) -> Iterable[Cells]:
    for encoder, name in ENCODERS.items():
        places = [key.split(" ") for key in OWN]
        yield [
            name,
            *(_cell(summary, f"right.{scope}.{encoder}.falcon.{number}", "share") for scope, number in places),
        ]


def _uses(uses: dict, metrics: str, columns: dict[str, str]) -> Iterable[Cells]:
    for encoder, name in list(ENCODERS.items())[:2]:
        places = [key.split(" ") for key in columns]
        yield [name, *(_cell(uses, f"{metrics}_{encoder}.{place}", number) for place, number in places)]


def _plants(plants: dict) -> Iterable[Cells]:
    for contrast, name in CONTRASTS.items():
        yield [name, *(_cell(plants, f"{contrast}.{key}", "share") for key in PLANTS)]


def _dictionaries(dictionaries: dict) -> Iterable[Cells]:
    for dictionary, name in DICTIONARIES.items():
        yield [name, *(_cell(dictionaries, f"{dictionary}.{key}", "share") for key in KINDS.values())]


def _units(units: dict) -> Iterable[Cells]:
    for kind, name in KINDS_OF_UNITS.items():
        yield [name, *(_cell(units, f"{kind}.{place}", number) for place, number in (key.split(".") for key in UNITS))]


def _at(content: dict, place: str) -> dict:
    for section in place.split("."):
        content = content.get(section, {})
    return content


def _cell(content: dict, place: str, name: str) -> str:
    """Format a number with its interval; – if it was not measured."""
    found = _at(content, place)
    if name not in found:
        return "–"
    interval = f" ({found['interval_low']:.2f} to {found['interval_high']:.2f})" if "interval_low" in found else ""
    return f"{found[name]:.2f}{interval}"


def _p(found: dict) -> str:
    return f"{found['sign_test_p_value']:.1g}" if "sign_test_p_value" in found else "–"
