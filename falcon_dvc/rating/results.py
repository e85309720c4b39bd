"""What collected ratings say: shares of choices beside chance, and agreement between the raters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from falcon_dvc.rating import agreement as rating
from falcon_dvc.rating.files import OWN, Answers, Asked, Key
from falcon_dvc.rating.sheet import NONE, letters

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Study


@dataclass(frozen=True)
class Collected:
    """Answers of all raters beside the key.

    Attributes
    ----------
    choices : letter, from 0, that each rater chose in each question; the last for none of them, `rating.MISSING` for no answer.
    sure : how sure each rater was of each answer; NaN where not said.
    positions : letter behind which each method stood in each question; the last column is none of them.
    """

    key: Key
    choices: Int[np.ndarray, "raters questions"]
    sure: Float[np.ndarray, "raters questions"]
    positions: Int[np.ndarray, "questions letters"]

    @property
    def by_letter(self) -> Int[np.ndarray, "questions letters"]:
        """How many raters chose each letter."""
        return rating.category_counts(self.choices, self.positions.shape[1])

    @property
    def chosen(self) -> Int[np.ndarray, "questions methods"]:
        """How many raters chose each method; none of them last."""
        return rating.by_method(self.by_letter, self.positions)


def collect(key: Key, answers: Sequence[Answers]) -> Collected:
    """Arrays of raters x questions, joined by the questions' names."""
    place = {asked.question: at for at, asked in enumerate(key.questions)}
    codes = {name: code for code, name in enumerate([*letters(len(key.methods)), NONE])}
    choices = np.full((len(answers), len(place)), rating.MISSING)
    sure = np.full(choices.shape, np.nan)
    for rater, given in enumerate(answers):
        for answer in given.answers:
            at = rater, place[answer.question]
            choices[at] = codes[answer.choice]
            sure[at] = np.nan if answer.confidence is None else answer.confidence
    return Collected(key, choices, sure, _positions(key))


def _positions(key: Key) -> np.ndarray:
    """Letter of each method in each question."""
    shown = [[some.method for some in asked.lists] for asked in key.questions]
    return np.array([[*(methods.index(method) for method in key.methods), len(methods)] for methods in shown])


def metrics_of(collected: Collected, settings: Study) -> dict:
    """Shares of choices in all and of each encoder, beside chance and the null; agreement between the raters."""
    key, answered = collected.key, collected.by_letter.sum(axis=1) > 0
    encoder = np.array([asked.encoder for asked in key.questions])
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


def _shares(collected: Collected, asked: np.ndarray, settings: Study) -> dict:
    """Share of the answers that chose each method, and what the choices would be worth with another question's key."""
    chosen, letter = collected.chosen[asked], collected.by_letter[asked]
    answers, of_lists = chosen.sum(axis=1), chosen[:, :-1].sum(axis=1)
    null = rating.paired_with_other_units(letter, collected.positions[asked][:, 0])
    sure = collected.sure[:, asked]
    given = np.isfinite(sure).sum(axis=0)
    shares = {
        "chosen": {
            method: _share(chosen[:, place], answers, settings)
            for place, method in enumerate([*collected.key.methods, NONE])
        },
        "explanation_among_lists": _share(chosen[:, 0], of_lists, settings),
        "explanation_with_shuffled_key": _share(null, answers, settings),
        "confidence": _share(np.nansum(sure, axis=0), given, settings, "mean"),
    }
    counts = {"asked": int(asked.sum()), "answers": int(answers.sum())}
    return counts | _without_nothing(shares)


def _without_nothing(shares: dict) -> dict:
    """Leave out what nobody's answers say anything about."""
    nested = {name: _without_nothing(value) if name == "chosen" else value for name, value in shares.items()}
    return {name: value for name, value in nested.items() if value}


def _share(part: np.ndarray, whole: np.ndarray, settings: Study, name: str = "share") -> dict:
    """A ratio with its interval over questions; nothing if there is no answer."""
    generator = np.random.default_rng(settings.seed)
    found = rating.clustered_ratio(part, whole, settings.bootstrap, settings.confidence, generator)
    return _with_interval(name, found) if found else {}


def _with_interval(name: str, found: rating.Estimate) -> dict:
    return {name: found.value, "interval_low": found.low, "interval_high": found.high}


def _agreement(collected: Collected, settings: Study) -> dict:
    """Agreement on the letters, which is what the raters saw: on methods, being right often would look like chance."""
    agreeing, pairs = rating.agreeing_pairs(collected.by_letter)
    generator = np.random.default_rng(settings.seed)
    alpha = rating.estimated_alpha(collected.choices, settings.bootstrap, settings.confidence, generator)
    figures = {
        "pairwise": _share(agreeing, pairs, settings),
        "krippendorff_alpha": _with_interval("value", alpha) if np.isfinite(alpha.value) else {},
    }
    return {"questions_with_two_raters": int((pairs > 0).sum())} | _without_nothing(figures)


def table_of(collected: Collected) -> pd.DataFrame:
    """One row a question, for people; the raters' names stay out of it."""
    key = collected.key
    asked = [(some.question, some.encoder, some.group, _own_words(some)) for some in key.questions]
    table = pd.DataFrame(asked, columns=["question", "encoder", "group", "explanation"])
    chosen = {f"chose_{name}": counts for name, counts in zip([*key.methods, NONE], collected.chosen.T, strict=True)}
    given = np.isfinite(collected.sure).sum(axis=0)
    total = np.nansum(collected.sure, axis=0)
    mean = np.divide(total, given, out=np.full(len(given), np.nan), where=given > 0)
    return table.assign(answers=collected.chosen.sum(axis=1), **chosen, confidence=mean)


def _own_words(asked: Asked) -> str:
    return ", ".join(next(some.words for some in asked.lists if some.method == OWN))
