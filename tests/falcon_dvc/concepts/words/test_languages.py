"""Words of captions in other languages than English."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simplemma.strategies.dictionaries.dictionary_factory import SUPPORTED_LANGUAGES
from stop_words import LANGUAGE_MAPPING

from falcon_dvc.concepts.words import languages
from falcon_dvc.concepts.words.languages import UNSPACED, grammar_words, has_lemmas, lemma_in, respelled
from falcon_dvc.concepts.words.parsing import known_form, parse_captions
from falcon_dvc.params.languages import LANGUAGES, known_language


def words_of(caption, language, **settings):
    found = parse_captions([caption], language=language, **settings)
    texts = np.array(found.vocabulary, dtype=object)[found.concept]
    return texts[~found.phrase].tolist(), texts[found.phrase].tolist()


# Other dictionaries take a second each to load.
@pytest.mark.parametrize(
    ("language", "caption", "words", "phrases"),
    [
        ("fr", "Un bateau rouge est sur la plage", ["bateau", "rouge", "plage"], ["bateau rouge"]),
        ("fr", "L’homme près d'une voiture", ["homme", "voiture"], []),
        ("fr", "deux chiens noirs, aujourd'hui", ["chien", "noir", "aujourd'hui"], ["chien noir"]),
        ("fr", "une pomme d'amour", ["pomme", "amour"], []),
        ("fr", "une personne à côté de l'arc‐en‐ciel", ["personne", "arc-en-ciel"], []),
        ("fr", "IMG_2034.JPG bateau 🚤 3D", ["bateau"], []),
        ("fr", "一只红色的方块 bateau", ["bateau"], []),
        ("it", "l'uomo è seduto sull'erba", ["uomo", "sedere", "erba"], []),
        ("nl", "een boot in de sneeuw", ["boot", "sneeuw"], []),
        ("el", "ένα κόκκινο ΣΚΆΦΟΣ στην παραλία", ["κόκκινος", "σκάφος", "παραλία"], ["κόκκινος σκάφος"]),
        ("ar", "الكَلْب والقط في البيت", ["كلب", "قط", "بيت"], ["كلب قط"]),
        ("he", "סירה עַל החוף", ["סירה", "חוף"], []),
        ("hi", "लड़का और लड़की", ["लड़का", "लड़की"], []),
        ("fa", "سگ‌ها در برف", ["سگ", "برف"], []),
        ("ko", "빨간색 자동차가 있다", ["빨간색", "자동차가"], ["빨간색 자동차가"]),
        ("zh", "红色 的 方块 在 雪地 上", ["红色", "方块", "雪地"], []),
        ("zh", "一只红色的方块在雪地上 方块", ["方块"], []),
        ("th", "รถ สีแดง บน ชายหาด", ["รถ", "สีแดง", "บน", "ชายหาด"], []),
        ("other", "lori mewn eira", ["lori", "mewn", "eira"], ["lori mewn eira"]),
        ("en", "a red boat 一只红色的方块在雪地上", ["red", "boat"], ["red boat"]),
        ("en", "a red bo\u00adat", ["red", "boat"], ["red boat"]),
    ],
)
def test_words_are_lemmas_without_grammar_words(language, caption, words, phrases):
    min_word = 1 if language in UNSPACED else 2 if language in ("ar", "fa", "ko") else 3
    found = words_of(caption, language, min_word=min_word)
    assert (found[0], found[1] if language not in UNSPACED else []) == (words, phrases)
    assert words_of(unicodedata.normalize("NFD", caption), language, min_word=min_word) == found


GERMAN = {
    "Rotes": "Rote",
    "rotes": "rot",
    "boot": "booten",
    "strand": "stranden",
    "haus": "hausen",
    "Häuser": "Haus",
    "häuser": "Haus",
}


@pytest.mark.parametrize(
    ("word", "form"),
    [
        ("Rotes", "rot"),
        ("rotes", "rot"),
        ("Boot", "boot"),
        ("boot", "boot"),
        ("Strand", "strand"),
        ("Häuser", "haus"),
        ("häuser", "haus"),
    ],
)
def test_german_nouns_are_no_verbs_and_a_capital_changes_no_adjective(word, form, monkeypatch):
    monkeypatch.setattr(languages, "_looked_up", lambda word, _: GERMAN.get(word, word).lower())
    languages.lemma_in.cache_clear()
    assert lemma_in(word, "de") == form
    languages.lemma_in.cache_clear()


@pytest.mark.parametrize(
    ("language", "text", "spelling"),
    [
        ("tr", "IŞIK, İSTANBUL’DA", "ışık, istanbul"),
        ("fr", "L’été d'Anne", " ' été  ' anne"),
        ("ro", "maşina ŢARĂ", "mașina țară"),
        ("de", "Das Boot", "Das Boot"),
        ("uk", "М’ЯЧ", "м'яч"),
        ("he", "עַל\u200f", "על"),
        ("ar", "كَـلْب", "كلب"),
        ("fr", "arc‑en‐ciel", "arc-en-ciel"),
    ],
)
def test_letters_and_marks_have_one_spelling(language, text, spelling):
    assert respelled(text, language) == respelled(unicodedata.normalize("NFD", text), language) == spelling


def test_more_than_three_words_in_a_row_are_no_phrase():
    assert words_of("bateau rouge plage neige", "fr") == (["bateau", "rouge", "plage", "neige"], [])


def test_discarded_words_are_discarded_in_every_form():
    assert words_of("des photos de bateaux", "fr", discard=frozenset(["photo"]))[0] == ["bateau"]


@given(st.text(max_size=40), st.sampled_from(["fr", "he", "hi", "ko", "zh", "other"]))
def test_any_text_gives_words_of_letters_each_once(text, language):
    words, _ = words_of(text, language)
    assert len(set(words)) == len(words)
    assert all(len(word) >= 3 and not any(letter.isdigit() or letter.isspace() for letter in word) for word in words)


@given(st.sampled_from(["bateaux", "L'HOMME", "rouges", "d'été", "crêpes", "Plage"]))
def test_a_query_has_the_form_that_captions_have(word):
    assert words_of(word, "fr")[0] in ([known_form(word, "fr")], [])


def test_codes_are_those_of_the_libraries():
    assert set(LANGUAGES) == SUPPORTED_LANGUAGES | set(LANGUAGE_MAPPING) | UNSPACED | {"other"}


@pytest.mark.parametrize("language", ["ko", "th", "other"])
def test_a_language_without_dictionary_keeps_its_words(language):
    assert not has_lemmas(language) and lemma_in("자동차가", language) == "자동차가"


@pytest.mark.parametrize(
    ("language", "word"),
    [("fr", "est"), ("de", "ist"), ("el", "στην"), ("he", "של"), ("nn", "ikke"), ("ro", "și"), ("ru", "на")],
)
def test_grammar_words_are_known(language, word):
    assert word in grammar_words(language)


def test_names_of_things_are_no_grammar_words():
    assert not grammar_words("ru") & {"человек", "люди"} and not grammar_words("et") and not grammar_words("other")


@pytest.mark.parametrize(
    ("language", "word", "form"),
    [
        ("en", "Boats", "boat"),
        ("fr", "L'homme", "homme"),
        ("fr", "HOMMES", "homme"),
        ("ko", "차", "차"),
        ("fr", "'", "'"),
    ],
)
def test_the_form_of_a_query(language, word, form):
    assert known_form(word, language) == form


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("French", "fr"),
        ("FR", "fr"),
        ("pt-BR", "pt"),
        ("zh_CN", "zh"),
        ("no", "nb"),
        ("hr", "hbs"),
        ("deutsch", "de"),
        ("Norwegian", "nb"),
        ("xx", "one of ar, "),
        ("", "one of ar, "),
    ],
)
def test_another_name_of_a_language_is_refused_with_its_code(value, meant):
    with pytest.raises(ValueError, match=f"no code of a language that is known; write {meant}"):
        known_language(value)
