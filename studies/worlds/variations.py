"""Explain the encoders of a world under other settings: FALCON's words only, each of which replaces the artifacts before it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_text
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.methods import Words
from falcon_dvc.params.schema import Params
from worlds import run_stages

RELEASED_CONCEPTS = {"normaliser": "shard", "contrast": "released"}
SETTINGS: dict[str, dict] = {
    "whole_images": {"mine_crops": {"crop": False}},
    "without_contrast": {"concepts": {"contrast": "off"}},
    # The rule before words were ranked by correlation, with the look-alikes that it had.
    "score_relative": {
        "concepts": {"ranking": "score", "contrast": "relative"},
        "mine_crops": {"low_crops": True},
        "find_groups": {"redundancy": 0.5},
    },
    "low_match_released": {"find_groups": {"low_match": "released"}, "concepts": {"contrast": "released"}},
    # The released scoring on the images of our rule, because no image of a small dense space exceeds 5 sigma.
    "released_scoring": {"find_groups": {"low_images": 10, "low_match": "released"}, "concepts": RELEASED_CONCEPTS},
    "released": {"compat": "released"},
}
CAPTIONS = {"captions_300": 300}  # of the corpus's 6000: the first ones


def words_of(variation: str, params: Params, encoders: Iterable[str]) -> dict[str, Words]:
    """Return the words of each encoder's single features under a variation; none if no feature has enough images.

    Parameters
    ----------
    variation : a key of `SETTINGS` or `CAPTIONS`.
    """
    if variation in CAPTIONS:
        return _with_fewer_captions(params, encoders, CAPTIONS[variation])
    varied = run_stages.varied(params, SETTINGS[variation])
    return {encoder: _explained_by(varied, encoder) for encoder in encoders}


def _explained_by(params: Params, encoder: str) -> Words:
    if not run_stages.explain_again(run_stages.varied(params, {"find_groups": {"max_groups": 0}}), encoder):
        return {}
    return _listed(encoder)


def _listed(encoder: str) -> Words:
    return listed_words(read_table(paths.concepts(encoder) / "concepts.parquet"))


def _with_fewer_captions(params: Params, encoders: Iterable[str], count: int) -> dict[str, Words]:
    """Explain the same image sets with the first captions of the corpus only, and restore the corpus."""
    captions = Path(params.data.captions)
    lines = captions.read_text(encoding="utf-8").splitlines(keepends=True)
    write_text(captions, "".join(lines[:count]))
    run_stages.read_captions(params)
    words = {encoder: _explained_by(params, encoder) for encoder in encoders}
    write_text(captions, "".join(lines))
    run_stages.read_captions(params)
    return words
