"""The caption grammar: every word of the lexicon is used, for its own value only, and the corpus has what a web corpus has."""

import re

import numpy as np
import pytest
import simplemma

from falcon_dvc.synthetic import captions as grammar
from falcon_dvc.synthetic.scenes.scenes import VALUES, draw_attributes


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(seed))


@pytest.fixture(scope="module")
def described() -> list[tuple[dict[str, str], str]]:
    """Scenes with one caption each, without noise."""
    rng = generator()
    return [(scene, grammar.describe(scene, rng)) for scene in draw_attributes(4000, rng).to_dict("records")]


def words_of(caption: str) -> str:
    """The caption's words and their lemmas, spaced."""
    words = re.findall(r"[a-z]+", caption.lower())
    lemmas = [simplemma.lemmatize(word, "en") for word in words]
    return f" {' '.join(words)} | {' '.join(lemmas)} "


def test_lexicon_covers_every_value_own_name_first():
    table = grammar.lexicon()
    for kind, values in VALUES.items():
        first = table[table["kind"] == kind].drop_duplicates("value")
        assert tuple(first["value"]) == values and tuple(first["word"]) == values


def test_no_word_names_two_values():
    assert grammar.lexicon()["word"].is_unique


def test_every_word_occurs_and_only_for_its_value(described):
    texts = [(scene, words_of(caption)) for scene, caption in described]
    for kind, value, word in grammar.lexicon().itertuples(index=False):
        scenes = [scene for scene, text in texts if f" {word} " in text]
        assert scenes, word
        assert all(scene[kind] == value for scene in scenes), word


def test_captions_leave_attributes_out(described):
    for kind, share in grammar.MENTIONED.items():
        table = grammar.lexicon().query("kind == @kind")
        named = [
            any(f" {word} " in words_of(caption) for word in table[table["value"] == scene[kind]]["word"])
            for scene, caption in described[:800]
        ]
        assert np.mean(named) == pytest.approx(share, abs=0.08), kind


def test_corpus_has_its_shares():
    rng = generator(3)
    scenes = draw_attributes(6000, rng)
    captions = grammar.corpus(scenes, 0.1, 0.2, rng)
    assert len(captions) == 6000 and all(caption and "\n" not in caption for caption in captions)
    absent = np.mean([any(activity in caption.lower() for activity in grammar.ACTIVITIES) for caption in captions])
    assert absent == pytest.approx(0.2, abs=0.04)
    files = np.mean(
        [
            bool(re.search(r"_\d{4}|www\.|wallpaper|stock photo|online|shipping", caption.lower()))
            for caption in captions
        ]
    )
    assert 0.04 < files < 0.12


def test_corpus_without_noise_is_clean_and_repeatable():
    scenes = draw_attributes(300, generator(4))
    first, second = (grammar.corpus(scenes, 0.0, 0.0, generator(5), near_duplicates=0.0) for _ in range(2))
    assert first == second
    assert not any(re.search(r"\d", caption) for caption in first)


def test_things_that_are_not_there_use_no_word_of_the_lexicon():
    words = set(grammar.lexicon()["word"])
    rng = generator(6)
    for _ in range(500):
        assert not words & set(words_of(grammar.absent(rng)).split())
    assert not words & set(words_of(" ".join(grammar.GOODS)).split())


def test_near_duplicates_keep_the_meaning():
    rng = generator(7)
    captions = grammar.corpus(draw_attributes(2000, rng), 0.0, 0.0, rng, near_duplicates=0.3)
    keys = [" ".join(re.findall(r"[a-z]+", caption.lower())) for caption in captions]
    assert len(set(captions)) > len(set(keys)) and len(set(keys)) < 0.85 * len(keys)


@pytest.mark.parametrize("kind", ["object", "colour", "texture", "background"])
def test_prompts_name_one_value(kind):
    for value in VALUES[kind]:
        words = set(grammar.LEXICON[kind][value])
        assert all(words & set(words_of(prompt).split()) for prompt in grammar.prompts(kind, value))


def test_training_captions_have_noise():
    rng = generator(8)
    captions = grammar.training_captions(draw_attributes(500, rng), each=3, noise=0.2, rng=rng)
    assert {len(each) for each in captions} == {3}
    absent = np.mean([any(activity in text for activity in grammar.ACTIVITIES) for each in captions for text in each])
    assert absent == pytest.approx(0.1, abs=0.04)
