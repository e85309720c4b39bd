"""How many captions are in the language that the params name."""

import pytest

from falcon_dvc.concepts.words import census
from falcon_dvc.concepts.words.census import Census, count_languages, lacking_in, refusal

CAPTIONS = {
    "en": ["a red boat on the beach", "two dogs playing in the snow", "a car near the sea", "Red Lamp with the cat"],
    "fr": ["un bateau rouge sur la plage", "deux chiens jouent dans la neige", "l'homme est assis sur un banc"],
    "de": ["ein rotes Boot am Strand", "zwei Hunde spielen im Schnee", "das Haus ist groß"],
    "es": ["un barco rojo en la playa", "una mujer sostiene un paraguas cerca de un coche"],
    "it": ["una barca rossa sulla spiaggia", "due cani giocano nella neve"],
    "nl": ["een rode boot op het strand", "twee honden spelen in de sneeuw"],
    "pl": ["dwa psy bawią się w śniegu", "to jest czerwona łódka na plaży"],
    "tr": ["plajda kırmızı bir tekne", "karda oynayan iki köpek"],
    "ru": ["красная лодка на пляже", "две собаки играют в снегу"],
    "uk": ["двоє собак граються біля моря", "це червоний м'яч на пляжі"],
    "el": ["ένα κόκκινο σκάφος στην παραλία"],
    "he": ["סירה אדומה על החוף"],
    "ar": ["قارب أحمر على الشاطئ"],
    "hi": ["दो कुत्ते बर्फ में खेल रहे हैं"],
    "ko": ["빨간 자동차가 있다"],
    "zh": ["红色 的 方块 在 雪地 上"],
    "ja": ["赤い しかく が ある"],
    "th": ["รถ สีแดง บน ชายหาด"],
    "Bengali": ["লাল নৌকা"],
}


@pytest.fixture(autouse=True)
def no_dictionary(monkeypatch):
    """Dictionaries take up to a second to load."""
    monkeypatch.setattr(census, "_is_known", lambda word, language: word in ("car", "sea", "one"))


@pytest.mark.parametrize("language", CAPTIONS)
def test_a_corpus_in_one_language_is_told(language):
    captions = CAPTIONS[language]
    assert count_languages([captions], len(captions), language).others(language) == {}
    other = "de" if language == "en" else "en"
    assert count_languages([captions], len(captions), other).others(other) == {language: 1.0}


@pytest.mark.parametrize("language", ["et", "nn", "hbs", "mk"])
def test_a_language_that_cannot_be_told_from_others_is_taken_as_said(language):
    captions = CAPTIONS["ru" if language == "mk" else "de"]
    assert count_languages([captions], len(captions), language).others(language) == {}


def test_shares_of_a_mixed_corpus_do_not_depend_on_blocks():
    captions = [*CAPTIONS["en"], *CAPTIONS["de"], *CAPTIONS["zh"], "red lamp", "", "123"]
    whole = count_languages([captions], len(captions), "en")
    assert whole.others("en") == {"de": 3 / 8, "zh": 1 / 8}
    assert count_languages([captions[:3], captions[3:]], len(captions), "en") == whole
    assert lacking_in(whole, "en") == {"other_languages": {"de": 3 / 8, "zh": 1 / 8}}


def test_a_large_corpus_is_sampled_evenly(monkeypatch):
    monkeypatch.setattr(census, "SAMPLED", 4)
    captions = ["a boat on the sea", "x", "x"] * 4
    blocks = [captions[:2], captions[2:7], captions[7:]]
    assert count_languages(blocks, len(captions), "en").languages == {"en": 4}


def test_english_lacks_nothing_and_languages_without_lists_do():
    assert lacking_in(Census(5, 0, {"en": 5}), "en") == lacking_in(Census(5, 0, {"fr": 5}), "fr") == {}
    assert lacking_in(Census(100, 0, {"en": 97, "fr": 3}), "en") == {}
    assert lacking_in(Census(5, 0, {}), "et") == {"without_grammar_words": 1}
    assert lacking_in(Census(5, 0, {}), "ko") == {"without_lemmas": 1}
    assert lacking_in(Census(5, 1, {}), "other") == {"undivided": 1, "without_grammar_words": 1, "without_lemmas": 1}


def test_a_corpus_without_spaces_is_refused_with_the_fix():
    assert refusal(Census(4, 2, {})) == ""
    said = refusal(Census(4, 3, {}))
    assert said.startswith("3 of 4 captions have no spaces ") and "set parse_captions.language and min_word: 1" in said
