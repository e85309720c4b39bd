"""Say in words what the data of a run lack, from the numbers that the stages write as metrics.

The log of a stage and the report show the same sentences. Metrics hold these numbers only where something is lacking.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

FEW_IMAGES = 50  # explained images; fewer leave few crops for a feature
FEW_CAPTIONS = 50
FEW_WORDS = 5
LEAST_EXPLAINED = 0.5  # of the variance of activations, by a basis that was made for them
MOST_LANGUAGES = 4  # that a sentence names
GREY_SHARE = 0.5  # of the images, from which on words for colours are doubtful
ENOUGH = 0.9  # of the best reachable count: the smallest change of a param that reaches it is proposed


def proposed(explained: Mapping[float, int], now: int) -> dict[str, float]:
    """Choose the first value of a param, in the order given, that explains nearly as many items as the best one.

    Parameters
    ----------
    explained : number of items that each value explains.
    now : number of items that the present value explains.

    Returns
    -------
    ``value`` and ``explained``; empty if no value explains more than the present one.
    """
    best = max(explained.values(), default=0)
    if best <= now:
        return {}
    value = next(value for value, count in explained.items() if count > now and count >= ENOUGH * best)
    return {"value": value, "explained": explained[value]}


def of_images(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the images lack.

    Parameters
    ----------
    metrics : content of ``images.json``.
    """
    count, skipped = metrics["images"], metrics["skipped"]
    identical, grey = metrics.get("identical", 0), metrics.get("grey", 0)
    copies = (
        f"all {count} images are identical, so no feature differs between them; point data.images at different pictures"
        if identical == count - 1
        else f"{identical} of {count} images repeat another one, so there are fewer different images than counted"
    )
    sentences = {
        f"{skipped} of {count + skipped} images cannot be read and are left out": skipped > 0,
        _few_images(metrics["probe"], metrics["test"]): metrics["probe"] < FEW_IMAGES,
        copies: identical > 0,
        f"{grey} of {count} images are grey-scale, so words for colours are not reliable": 0
        < GREY_SHARE * count
        <= grey,
        "all images are of one class, so nothing is known of the differences between classes": metrics.get(
            "of_one_class", 0
        )
        > 0,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _few_images(probe: int, test: int) -> str:
    fix = f"add images to data.images{f', or lower data.heldout, which holds out {test}' if test else ''}"
    return f"only {_counted(probe, 'image')} can explain features, and each feature needs find_groups.min_images of them; {fix}"


def of_activations(metrics: Mapping[str, Any], name: str) -> list[str]:
    """Say that a basis does not fit the activations of an encoder, and how many of its features never fire.

    Parameters
    ----------
    metrics : content of ``activations_NAME.json``.
    name : key of the encoder.
    """
    share, never = metrics.get("explained_variance"), metrics.get("never_fire", 0)
    if share is None:
        return []
    low = (
        f"warning: the basis explains {_percent(share)} of the variance of the activations; check that encoders.{name} has the "
        "layer, pooling (tokens) and normalisation that the basis was made for, or use more components (docs/bases.md)"
    )
    sentences = {
        low: share < LEAST_EXPLAINED,
        f"{never} of {metrics['features']} features of the basis never fire on the explained images": never > 0,
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def of_features(metrics: Mapping[str, Any]) -> list[str]:
    """Say which features of an encoder are not explained, and which params would explain more.

    Parameters
    ----------
    metrics : content of ``search_NAME.json``.
    """
    lacking = metrics.get("not_explained")
    if lacking is None:
        return []
    few = f"firing on fewer than {lacking['least_images']} of {lacking['images']} explained images (find_groups.min_images)"
    reasons = {
        f"constant on the {lacking['images']} explained images": lacking["constant"],
        few: lacking["on_fewer_images"],
    }
    total = f"{sum(reasons.values())} of {lacking['features']} features are not explained"
    return [f"{total}: {_counts(reasons)}", *_proposals("find_groups", metrics, "are explained")]


def of_captions(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the corpus lacks.

    Parameters
    ----------
    metrics : content of ``captions.json``.
    """
    count = metrics["captions"]
    said = f"the corpus has only {_counted(count, 'different caption')}, so different features get the same words; add captions"
    return [said] if count < FEW_CAPTIONS else []


def of_words(metrics: Mapping[str, Any]) -> list[str]:
    """Say what the words of the corpus lack.

    Parameters
    ----------
    metrics : content of ``parsed.json``.
    """
    count, undivided = metrics.get("different_words", FEW_WORDS), metrics.get("undivided", 0)
    few = (
        f"the captions have only {_counted(count, 'different word')}, so words cannot tell features apart; add captions"
    )
    sentences = {
        f"{few}, or shorten parse_captions.discard": count < FEW_WORDS,
        f"{undivided} of {metrics.get('captions')} captions have no spaces between words, so their words are not found; "
        "put spaces between the words, or take these captions out of data.captions": undivided > 0,
        _other_languages(metrics.get("other_languages", {})): "other_languages" in metrics,
        "no grammar words are known of the language parse_captions.language, so articles and prepositions become concepts; "
        "list them in parse_captions.discard": "without_grammar_words" in metrics,
        "no dictionary forms are known of the language parse_captions.language, so each form of a word is its own concept": (
            "without_lemmas" in metrics
        ),
    }
    return [sentence for sentence, holds in sentences.items() if holds]


def _other_languages(shares: Mapping[str, float]) -> str:
    """Say which languages the captions have beside that of the params, and which one to set."""
    listed = ", ".join(f"{code} {_percent(share)}" for code, share in islice(shares.items(), MOST_LANGUAGES))
    said = f"about {_percent(sum(shares.values()))} of the captions are in other languages than parse_captions.language names ({listed})"
    first = next(iter(shares), "")
    if shares.get(first, 0) <= 0.5:
        return f"{said}, so their grammar words may become concepts; use captions in one language"
    return f"{said}; set parse_captions.language: {first if first.islower() else 'other'} (docs/captions.md)"


def of_concepts(metrics: Mapping[str, Any]) -> list[str]:
    """Say whether captions are too few, which features and groups have no word, and which params would give more of them one.

    Parameters
    ----------
    metrics : content of ``concepts_NAME.json``.
    """
    return [*_all_retrieved(metrics.get("fewer_captions")), *_without_word(metrics)]


def _all_retrieved(fewer: Mapping[str, int] | None) -> list[str]:
    """Say that the corpus has fewer captions than a crop retrieves."""
    if fewer is None:
        return []
    corpus = f"the corpus has {_counted(fewer['captions'], 'caption')}, fewer than concepts.captions_per_image {fewer['retrieved']}"
    return [f"{corpus}, so every crop retrieves all of them and words differ by weight alone; add captions"]


def _without_word(metrics: Mapping[str, Any]) -> list[str]:
    """Count the groups without a word, and propose params."""
    lacking = metrics.get("without_word")
    if lacking is None:
        return []
    reasons = {
        "whose words the contrast all removes (concepts.contrast)": lacking["by_contrast"],
        "whose crops have captions without words": lacking["by_captions"],
    }
    total = f"{sum(reasons.values())} of {metrics['groups']} features and groups have no word"
    return [f"{total}: {_counts(reasons)}", *_proposals("concepts", metrics, "have a word")]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _proposals(section: str, metrics: Mapping[str, Any], outcome: str) -> list[str]:
    """Write the proposals of a metrics file as one sentence."""
    ways = [
        f"with {_param(section, name)}{_value(found)}, {found['explained']} {outcome}"
        for name, found in metrics.get("proposed", {}).items()
    ]
    return ["; ".join(ways)] if ways else []


def _value(found: Mapping[str, float]) -> str:
    return f" {found['value']:g}" if "value" in found else ""


def _counts(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items() if count)


def _param(section: str, name: str) -> str:
    """Name a param; ``rule_quantile`` stands for the value quantile of the param rule."""
    settings = {
        "rule_quantile": "rule: quantile",
        "grouping_cofire": "grouping: cofire",
        "contrast_off": "contrast: false",
    }
    return f"{section}.{settings.get(name, name)}"


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
