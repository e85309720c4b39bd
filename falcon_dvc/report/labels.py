"""Labels of measurements for people: names of metrics in whole words, with what is counted first and the statistic last."""

import re
from dataclasses import replace
from typing import Any

from falcon_dvc.html.measurements import MeasurementTable, Section

# Whole labels and headings, by the words of the keys of a metrics file.
WHOLE = {
    "features": "features",
    "clear truth": "features with a clear truth",
    "all": "all kinds of truth",
    "background": "truth is a background",
    "colour": "truth is a colour",
    "object": "truth is an object",
    "position": "truth is a position",
    "texture": "truth is a texture",
    "of the space": "all features of the space",
    "single": "single features",
    "explained": "that fire on enough images",
    "groups": "number of groups",
    "of 1": "single features",
    "of all sizes": "groups of all sizes",
    "measured": "number that was measured",
    "not measured": "number that could not be measured",
    "feature": "features",
    "group": "groups",
    "class set": "sets of one class (control)",
    "random set": "random sets of images (control)",
    "uncorrected": "share, without correction for the number of features",
    "permuted words": "share, with permuted words (control)",
    "gain mean": "gain over the best member, mean",
    "gain control mean": "gain with random partners (control), mean",
    "gain control same words mean": "gain with random partners and the same words (control), mean",
    "outputs": "number of logits, or of words",
    "fall mean": "largest fall of a logit or cosine, mean",
    "random fall mean": "largest fall by random directions (control), mean",
    "fall less random": "largest fall less that by random directions, same features",
    "beyond random share": "falls more than with 95 % of the random directions, share",
    "rise mean": "rise of the same one if the feature is increased, mean",
    "features whose word names an output": "features whose first word names a logit or cosine",
    "word names it share": "the named one falls most, share",
    "word less permuted": "the named one falls most, less that with permuted words",
    "own word fall mean": "fall of the named one, mean",
    "own word random change mean": "size of its change by random directions (control), mean",
    "own word less random": "fall of the named one less its change by random directions",
    "own word beyond random share": "the named one falls more than with 95 % of the random directions, share",
    "other words fall mean": "fall of those that other features' words name (control), mean",
    "own less other words": "fall of the named one less that of the others",
    "holds to median": "percentile of the activations down to which the first word holds, median",
    "permuted holds to median": "percentile with permuted words (control), median",
    "positive sides": "positive sides of directions",
    "negative sides": "negative sides of directions",
    "directions with both": "directions of which both sides are explained",
    "median frequency": "share of images on which a feature is not 0, median",
    "never above 0": "features that are never above 0 on these images",
    "without a word": "features without a word",
    "score median": "mean score, median over features",
    "lift median": "score over that of all images, median",
    "shown median": "share of images that show it, median",
    "shown by chance median": "share of all images that show it, median",
    "above chance share": "scores above all images, share of features",
    "images median": "number of images, median",
    "without low images": "explained without lowly activating images",
    "held out": "measured on held-out images (1: yes, 0: no)",
    "label names no class": "images whose label names no class",
    "dropped more than 1 percent": "a share above 0.01 was left out (1: yes)",
    "concepts of several words": "concepts that stand for several words",
    "cut": "captions that were cut",
    "empty": "empty captions",
    "duplicates": "repeated captions",
    "undecodable": "captions that could not be decoded",
    "probe": "explained images",
    "test": "held-out images",
    "skipped": "images that could not be read",
    "zero shot": "zero-shot, whole images",
    "ridge": "ridge parameter",
    "train": "training images",
    "validation": "validation images",
    "heldout": "held-out images",
    "enough": "that are enough for the map",
    "enough for explained space": "that are enough for the explained space itself",
    "full": "of the unseen space",
    "dimensions": "number of dimensions",
    "agreement": "agreement with the explained space",
    "follow nothing share": "follow nothing, share",
    "follow one share": "follow one word, share",
    "follow several share": "follow several words, share",
    "with not share": "with a word that lowers the feature (not), share",
    "with and share": "with words that raise it only together (and), share",
    "several facets share": "with several facets, share",
    "median r2 of set": "R² of the set on held-out images, median",
    "permuted images": "permuted images (control)",
}
# Words of keys that are no words of the language, or that are defined elsewhere.
PARTS = {
    "top1": "first concept is right",
    "top5": "right among the first five",
    "mean reciprocal rank": "reciprocal rank of the right concept",
    "pearson": "correlation of the first word",
    "auprc": "area under the precision-recall curve",
    "auc": "area under the ROC curve",
    "mad": "difference of the means, in standard deviations",
    "methods · falcon off": "FALCON without contrast",
    "methods · falcon": "FALCON",
    "methods": "baseline",
    "every feature · falcon off": "every feature · FALCON without contrast",
    "every feature · falcon": "every feature · FALCON",
    "soft wpmi": "CLIP-Dissect's soft-WPMI",
    "clip dissect": "CLIP-Dissect, as released",
    "caption correlation": "correlation with captions",
    "falcon less this": "FALCON less this, on the same features",
    "set less this f1": "F1 of the set less this, on the same features",
    "set less this exact": "exact sets less this, on the same features",
    "f1": "F1",
    "p value": "p-value",
    "dropped share": "left out of the",
    "lift beyond parts": "lift beyond that of smaller sets",
    "new concept": "has a word that no member has",
    "new concept control": "control: members with a word that no other has",
    "new first concept": "first word is one that no member has",
    "new first concept control": "control: members whose first word no other has",
    "beats best member": "better than the best member",
    "beats best member control": "control: better with random partners",
    "low score": "score on the lowly activating images",
    "prior": "score on random crops (prior)",
    "lookalike": "look-alike",
    "R² of features": "R² of the features",
    "same first": "same first concept",
}
STATISTICS = ("share", "mean", "median")
_PARTS = re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(part) for part in sorted(PARTS, key=len, reverse=True))})(?!\w)")


def names_on_pages(params: Any) -> dict[str, str]:
    """Name the columns of the encoders, by encoder: first those that are explained, then "untrained 1" and so on.

    Parameters
    ----------
    params : the params; used are ``encoders`` and ``without_controls``.
    """
    controls = [name for name in params.encoders if name not in params.without_controls]
    untrained = {name: f"untrained {number}" for number, name in enumerate(controls, start=1)}
    return {name: name for name in params.without_controls} | untrained


def labelled(table: MeasurementTable) -> MeasurementTable:
    """Replace the names of metrics in a table by labels for people."""
    return replace(table, sections=[_labelled(section) for section in table.sections])


def _labelled(section: Section) -> Section:
    return Section(label(section.heading), [(label(name), cells) for name, cells in section.rows])


def label(name: str) -> str:
    """Return the label of a measurement, from the words of its key: "auc mean" becomes "area under the ROC curve, mean"."""
    if name in WHOLE:
        return WHOLE[name]
    if size := re.fullmatch(r"(?:groups )?of (\d+)", name):
        return f"groups of {size[1]}"
    return _with_statistic(_PARTS.sub(lambda part: PARTS[part[0]], name))


def _with_statistic(name: str) -> str:
    """Write the statistic after a comma: at the end, or at the beginning of the name."""
    first, *rest = name.split(" ")
    if rest and first in STATISTICS:
        return f"{' '.join(rest)}, {first}"
    *rest, last = name.split(" ")
    return f"{' '.join(rest)}, {last}" if rest and last in STATISTICS else name
