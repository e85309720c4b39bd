"""Results of collected ratings: shares of choices beside chance, and agreement between the raters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from falcon_dvc.rating import agreement
from falcon_dvc.rating.files import OWN, Answers, Key, KeyQuestion
from falcon_dvc.rating.sheet import NONE, letters

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Study


@dataclass(frozen=True)
class CollectedAnswers:
    """Answers of all raters, with the key.

    Attributes
    ----------
    choices : letter of each choice, from 0; the last letter is none of the lists, `agreement.MISSING` is no answer.
    confidence : confidence of each answer; NaN if the rater gave none.
    positions : letter of each method in each question; the last column is none of the lists.
    """

    key: Key
    choices: Int[np.ndarray, "raters questions"]
    confidence: Float[np.ndarray, "raters questions"]
    positions: Int[np.ndarray, "questions letters"]

    @property
    def by_letter(self) -> Int[np.ndarray, "questions letters"]:
        """Count the raters who chose each letter."""
        return agreement.category_counts(self.choices, self.positions.shape[1])

    @property
    def chosen(self) -> Int[np.ndarray, "questions methods"]:
        """Count the raters who chose each method; the last column is none of the lists."""
        return agreement.by_method(self.by_letter, self.positions)


def collect(key: Key, answers: Sequence[Answers]) -> CollectedAnswers:
    """Collect the answers in arrays of raters x questions, joined by the names of the questions."""
    place = {question.question: number for number, question in enumerate(key.questions)}
    codes = {name: code for code, name in enumerate([*letters(len(key.methods)), NONE])}
    choices = np.full((len(answers), len(place)), agreement.MISSING)
    confidence = np.full(choices.shape, np.nan)
    for rater, file in enumerate(answers):
        for answer in file.answers:
            cell = rater, place[answer.question]
            choices[cell] = codes[answer.choice]
            confidence[cell] = np.nan if answer.confidence is None else answer.confidence
    return CollectedAnswers(key, choices, confidence, _positions(key))


def _positions(key: Key) -> np.ndarray:
    """Find the letter of each method in each question."""
    shown = [[words.method for words in question.lists] for question in key.questions]
    return np.array([[*(methods.index(method) for method in key.methods), len(methods)] for methods in shown])


def metrics_of(collected: CollectedAnswers, settings: Study) -> dict:
    """Compute shares of choices, overall and by encoder, beside chance and a null control; and the raters' agreement."""
    key, answered = collected.key, collected.by_letter.sum(axis=1) > 0
    encoder = np.array([question.encoder for question in key.questions])
    lists = len(key.methods)
    return {
        "raters": len(collected.choices),
        "questions": len(key.questions),
        "questions_answered": int(answered.sum()),
        "lists": lists,
        "chance": 1 / (lists + 1),
        "chance_among_lists": 1 / lists,
        "all": _shares(collected, np.ones(len(encoder), dtype=bool), settings),
        "encoders": {
            name: {**frame.model_dump(), **_shares(collected, encoder == name, settings)}
            for name, frame in key.encoders.items()
        },
        "agreement": _agreement(collected, settings),
    }


def _shares(collected: CollectedAnswers, asked: np.ndarray, settings: Study) -> dict:
    """Compute the share of the answers that chose each method, and the share with the key of another question."""
    chosen, letter = collected.chosen[asked], collected.by_letter[asked]
    answers, of_lists = chosen.sum(axis=1), chosen[:, :-1].sum(axis=1)
    null = agreement.paired_with_other_units(letter, collected.positions[asked][:, 0])
    confidence = collected.confidence[:, asked]
    stated = np.isfinite(confidence).sum(axis=0)
    shares = {
        "chosen": {
            method: _share(chosen[:, place], answers, settings)
            for place, method in enumerate([*collected.key.methods, NONE])
        },
        "explanation_among_lists": _share(chosen[:, 0], of_lists, settings),
        "explanation_with_shuffled_key": _share(null, answers, settings),
        "confidence": _share(np.nansum(confidence, axis=0), stated, settings, "mean"),
    }
    counts = {"asked": int(asked.sum()), "answers": int(answers.sum())}
    return counts | _without_empty(shares)


def _without_empty(shares: dict) -> dict:
    """Leave out entries for which there is no answer."""
    nested = {name: _without_empty(value) if name == "chosen" else value for name, value in shares.items()}
    return {name: value for name, value in nested.items() if value}


def _share(part: np.ndarray, whole: np.ndarray, settings: Study, name: str = "share") -> dict:
    """Estimate a ratio with its interval over questions; empty if there is no answer."""
    generator = np.random.default_rng(settings.seed)
    estimate = agreement.clustered_ratio(part, whole, settings.bootstrap, settings.confidence, generator)
    return _with_interval(name, estimate) if estimate else {}


def _with_interval(name: str, estimate: agreement.Estimate) -> dict:
    return {name: estimate.value, "interval_low": estimate.low, "interval_high": estimate.high}


def _agreement(collected: CollectedAnswers, settings: Study) -> dict:
    """Measure the agreement on the letters, which the raters saw.

    On methods, raters who often choose the right one would seem to agree by chance.
    """
    agreeing, pairs = agreement.agreeing_pairs(collected.by_letter)
    generator = np.random.default_rng(settings.seed)
    alpha = agreement.estimated_alpha(collected.choices, settings.bootstrap, settings.confidence, generator)
    figures = {
        "pairwise": _share(agreeing, pairs, settings),
        "krippendorff_alpha": _with_interval("value", alpha) if np.isfinite(alpha.value) else {},
    }
    return {"questions_with_two_raters": int((pairs > 0).sum())} | _without_empty(figures)


def table_of(collected: CollectedAnswers) -> pd.DataFrame:
    """Make a table for people with one row for each question, without the names of the raters."""
    key = collected.key
    rows = [(question.question, question.encoder, question.group, _own_words(question)) for question in key.questions]
    table = pd.DataFrame(rows, columns=["question", "encoder", "group", "explanation"])
    chosen = {f"chose_{name}": counts for name, counts in zip([*key.methods, NONE], collected.chosen.T, strict=True)}
    stated = np.isfinite(collected.confidence).sum(axis=0)
    total = np.nansum(collected.confidence, axis=0)
    mean = np.divide(total, stated, out=np.full(len(stated), np.nan), where=stated > 0)
    return table.assign(answers=collected.chosen.sum(axis=1), **chosen, confidence=mean)


def _own_words(question: KeyQuestion) -> str:
    return ", ".join(next(words.words for words in question.lists if words.method == OWN))
