"""Step 9: words and noun phrases of captions, and text that is none."""

import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.concepts.words.parsing import (
    _import_nltk,
    _lexicon,
    concepts_of,
    given_words,
    is_content,
    lemma,
    parse_captions,
    tagged,
)

PLAIN = "a red boat on the water"


def parse_corpus(captions, *settings):
    """Rows (caption id, kind, concept)."""
    ids, texts = zip(*captions, strict=True) if captions else ((), ())
    found = parse_captions(texts, *settings)
    rows = zip(found.caption, found.phrase, found.concept, strict=True)
    return [
        (ids[caption], "phrase" if phrase else "word", found.vocabulary[concept]) for caption, phrase, concept in rows
    ]


RUBBISH = {
    "empty": "",
    "spaces": " \t \u00a0 ",
    "None": "None",
    "line breaks": "red boat\nred\r\nboat\rred\u2028boat\u0085",
    "NUL": "red\0boat",
    "right to left": "قارب أحمر على الماء \u202e dlrow",
    "emoji": "🚤🌊👩‍👩‍👧 red boat 🇩🇪",
    "HTML": "<b onclick='x()'>red</b> &amp; <script>alert(1)</script>",
    "formula": '=HYPERLINK("http://x.com","boat") @SUM(A1) +1 -2 =cmd|\' /C calc\'!A0',
    "chunk grammar": "{<NN>} <JJ.*>+ }red{ boat<NP>",
    "digits": "IMG_2034 1080p 4k 12-34 mp3",
    "surrogate": "red \ud800 boat",
    "combining": "a\u0301\u0301\u0301 " * 20,
    "brackets": "((((((((((" * 30,
}


@pytest.mark.parametrize(
    ("caption", "words", "phrases"),
    [
        (PLAIN, ["red", "boat", "water"], ["red boat"]),
        (
            "Two RED boats and a striped umbrella",
            ["red", "boat", "striped", "umbrella"],
            ["red boat", "striped umbrella"],
        ),
        ("children are running", ["child", "run"], []),
        ("boat boat boat", ["boat"], ["boat boat boat"]),
        ("IMG_2034.JPG free stock boats https://a.b/red.png", ["boat"], []),
        ("the of an is 123 x", [], []),
        ("a café near the crêperie", ["café", "crêperie"], []),
        ("лодка, 船 στο νερό", ["лодка", "στο", "νερό"], ["στο νερό"]),
    ],
)
def test_words_are_lemmas_of_nouns_verbs_and_adjectives(caption, words, phrases):
    discard = frozenset(["photo", "free", "stock"])
    found = concepts_of(caption, discard)
    assert [word for word in found[0] if word not in ("two", "near")] == words
    assert [phrase for phrase in found[1] if not phrase.startswith("two ")] == phrases


@pytest.mark.parametrize("caption", ["beach photo", "beach photos", "Beach PHOTOS", "photos beach"])
def test_a_discarded_word_is_discarded_in_every_form(caption):
    assert concepts_of(caption, frozenset(["photo"])) == (["beach"], [])


def test_a_word_whose_lemma_is_too_short_is_dropped():
    assert concepts_of("a man goes home")[0] == ["man", "home"]
    assert "go" in concepts_of("a man goes home", min_word=2)[0]


@pytest.mark.parametrize("caption", ["a big red photo", "red photo boat", "beach 20 boat", "red. boat", "red 🚤 boat"])
def test_a_phrase_ends_in_a_noun_and_jumps_over_nothing(caption):
    assert concepts_of(caption, frozenset(["photo"]))[1] == []


@pytest.mark.parametrize("text", RUBBISH.values(), ids=RUBBISH)
@pytest.mark.filterwarnings("error")
def test_rubbish_keeps_its_id_and_does_no_harm_to_the_others(text):
    rows = parse_corpus([(3, PLAIN), (8, text), (9, PLAIN)])
    own = [(kind, concept) for caption, kind, concept in rows if caption == 3]
    assert [(kind, concept) for caption, kind, concept in rows if caption == 9] == own
    assert {caption for caption, _, _ in rows} <= {3, 8, 9}
    for caption, _, concept in rows:
        if caption == 8:
            assert not set(concept) & set('\0\r\n\t<>=@+{}|"0123456789')
            assert concept[0].isalpha()


@pytest.mark.parametrize("caption", ["red boat\nat sea", "red boat\r\nat sea", "red boat\rat sea", "red boat\0at sea"])
def test_line_breaks_divide_words_as_spaces_do(caption):
    assert concepts_of(caption)[0] == concepts_of("red boat at sea")[0]


@pytest.mark.parametrize("piece", ["a", "a!", "-", "a-", "<b>", "red boat ", "_", ".com", "http:", "'", "\u0301", "🚤"])
def test_a_text_of_ten_thousand_characters_does_no_harm(piece):
    words, phrases = concepts_of((piece * 10_000)[:10_000])
    assert len(words) <= 3
    assert len(phrases) <= 2


def test_a_long_text_without_spaces_takes_no_quadratic_time():
    """100 000 characters: a fraction of a second, or half a minute where every character starts a search for a file name."""
    start = time.process_time()
    assert concepts_of("!" * 100_000) == ([], [])
    assert time.process_time() - start < 12


@given(st.text(max_size=60))
def test_any_text_gives_words_that_are_letters_each_once(text):
    words, phrases = concepts_of(text)
    assert len(set(words)) == len(words)
    assert len(set(phrases)) == len(phrases)
    for word in words:
        assert len(word) >= 3
        assert word == word.lower()
    for phrase in phrases:
        assert len(phrase.split(" ")) >= 2


@given(
    st.lists(st.sampled_from(["red boat", "a dog runs", "", "trees\n", "stock photo", "big dogs"]), max_size=8),
    st.randoms(),
)
def test_a_caption_is_parsed_alike_wherever_it_stands(captions, random):
    numbered = list(enumerate(captions))
    mixed = numbered.copy()
    random.shuffle(mixed)
    assert sorted(parse_corpus(mixed)) == sorted(parse_corpus(numbered))


def test_composed_and_decomposed_letters_are_one_word():
    assert concepts_of("a cafe\u0301") == concepts_of("a caf\u00e9")


def test_tags_come_from_the_lexicon_and_from_endings():
    tags = dict(tagged("the beautiful dog snorgling blarfy wugs"))
    assert (tags["the"], tags["beautiful"], tags["dog"]) == ("DT", "JJ", "NN")
    assert (tags["snorgling"], tags["blarfy"], tags["wugs"]) == ("VBG", "JJ", "NNS")


@pytest.mark.parametrize(
    ("word", "tag", "form"), [("geese", "NNS", "goose"), ("ran", "VBD", "run"), ("striped", "JJ", "striped")]
)
def test_lemmas_follow_the_part_of_speech(word, tag, form):
    assert lemma(word, tag) == form


@pytest.mark.parametrize(
    ("word", "tag", "expected"),
    [("playing", "VBG", "play"), ("mixed", "VBN", "mix"), ("dances", "VBZ", "dance"), ("plates", "NNS", "plate")],
)
def test_lemma_is_a_word(word, tag, expected):
    assert lemma(word, tag) == expected


WORDS = ["boats", "Dogs", "running", "mixed", "red", "the", "dog's", "mother-in-law", "été", "b2b", "x", "geese", "is"]
SENTENCES = st.lists(st.sampled_from([*WORDS, ".", "!", "\n"]), max_size=8)


@given(SENTENCES, SENTENCES)
def test_tokens_are_tagged_one_by_one_in_any_case(first, second):
    """No word changes the tag of its neighbour, so that a caption means the same wherever it stands."""
    whole, parts = tagged(" ".join(first + second)), [tagged(" ".join(some)) for some in (first, second)]
    assert whole == parts[0] + parts[1]
    assert tagged(" ".join(first).upper()) == parts[0]
    assert all(token == token.lower() and tag for token, tag in whole)
    assert "".join(token for token, _ in parts[0]) == "".join(" ".join(first).lower().split())


@given(st.sampled_from(WORDS).map(str.lower), st.sampled_from(["NN", "NNS", "VB", "VBG", "JJ", "JJR", "DT", "RB"]))
def test_a_lemma_is_one_lower_case_word_and_an_adjectives_is_itself(word, tag):
    found = lemma(word, tag)
    assert found == found.lower() and found.strip() == found != ""
    assert not tag.startswith("JJ") or found == word
    assert lemma(found, tag) == found, "a dictionary form is its own"


@given(st.sampled_from(WORDS).map(str.lower), st.sampled_from(["NN", "VBG", "JJ", "DT", "RB"]), st.integers(1, 8))
def test_content_is_letters_of_enough_length_in_every_form_and_not_discarded(word, tag, min_word):
    found = is_content(word, tag, frozenset(), min_word)
    assert not found or (tag[:2] in ("NN", "VB", "JJ") and not any(letter.isdigit() for letter in word))
    assert not found or min(len(word), len(lemma(word, tag))) >= min_word
    assert found or not is_content(word, tag, frozenset(), min_word + 1)
    for form in (word, lemma(word, tag)):
        assert not is_content(word, tag, frozenset([form]), min_word)
    assert is_content(word, tag, frozenset(["another"]), min_word) == found


@given(SENTENCES, st.frozensets(st.sampled_from(["dog", "boat", "red", "run"])), st.integers(1, 5))
def test_rows_of_a_corpus_are_the_concepts_of_its_captions_none_discarded(words, discard, min_word):
    text = " ".join(words)
    found, phrases = concepts_of(text, discard, min_word)
    rows = parse_corpus([(7, text), (9, text)], discard, min_word)
    own = [("word", word) for word in found] + [("phrase", phrase) for phrase in phrases]
    assert rows == [(caption, kind, concept) for caption in (7, 9) for kind, concept in own]
    assert not set(found) & discard and all(len(word) >= min_word for word in found)
    assert not {part for phrase in phrases for part in phrase.split(" ")} & discard
    assert concepts_of(text + " . " + text, discard, min_word) == (found, phrases), "each once"


TAGS = ["NN", "NNS", "NNP", "JJ", "JJR", "VBG", "VBN", "VB", "VBZ", "DT"]


@cache
def first_of(tag):
    """A word that stands in phrases and has this tag."""
    tagged = (word for word, its in _lexicon().items() if its == tag and word.isalpha())
    return next((word for word in tagged if is_content(word, tag, frozenset(), 3)), "the")


@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_phrases_are_the_chunks_that_nltk_finds(tags):
    """Adjectives or participles, then nouns."""
    chunker = _import_nltk().RegexpParser("NP: {<JJ.*|VBN|VBG>*<NN.*>+}")
    tokens = [(first_of(tag), tag) for tag in tags]
    chunks = chunker.parse(tokens).subtrees(lambda tree: tree.label() == "NP") if tokens else ()
    expected = [
        " ".join([*(token for token, _ in chunk.leaves()[:-1]), lemma(*chunk.leaves()[-1])])
        for chunk in chunks
        if len(chunk.leaves()) > 1
    ]
    found = concepts_of(" ".join(first_of(tag) for tag in tags))[1]
    assert found == list(dict.fromkeys(expected))


@given(
    st.lists(st.sampled_from([PLAIN, "", "two\nlines of boats", "https://a.b/c red.png dogs", "ΑΣ ΑΣΑ é"]), max_size=6)
)
def test_captions_parsed_together_are_those_parsed_alone(captions):
    alone = [(row, *rest) for row, text in enumerate(captions) for _, *rest in parse_corpus([(0, text)])]
    assert parse_corpus(list(enumerate(captions))) == alone


@pytest.mark.parametrize(
    "text", ["Kept.com", "a.PNG", "http://x y", "WWW.x", "see x.jpeg, boats", "end.", "e.g. dog", ".com", "a-b.png"]
)
def test_file_names_and_addresses_are_no_words(text):
    assert set(concepts_of(text)[0]) <= {"see", "boat", "end", "dog", "com"}


@given(st.lists(st.text(max_size=6), max_size=8))
def test_given_words_are_the_concepts_of_their_captions(words):
    found = given_words(words)
    assert [found.vocabulary[number] for number in found.concept] == words
    assert found.caption.tolist() == list(range(len(words)))
    assert found.phrase.tolist() == [" " in word for word in words]
