"""Which captions are shown behind a card's concepts."""

import pandas as pd

from falcon_dvc.report.cards import CAPTIONS, MOST_CAPTIONS, concept_key, evidence_captions

COLUMNS = ["concept", "image", "caption", "weight"]


def behind(rows, concepts=("boat", "red"), images=("a", "b")):
    texts = pd.Series({caption: f"text {caption}" for _, _, caption, _ in rows})
    return evidence_captions(pd.DataFrame(rows, columns=COLUMNS), list(concepts), list(images), texts)


def test_a_caption_knows_its_crops_and_concepts():
    found = behind(
        [("boat", "b", 7, 0.5), ("red", "b", 7, 0.5), ("boat", "elsewhere", 7, 0.25), ("red", "a", 3, 0.125)]
    )
    assert [(some.text, some.weight, some.crops, some.elsewhere, some.concepts) for some in found] == [
        ("text 7", 0.75, [1], 1, [0, 1]),
        ("text 3", 0.125, [0], 0, [1]),
    ]


def test_captions_of_equal_weight_keep_their_order():
    rows = [("boat", "a", caption, 0.1) for caption in (9, 2, 5)]
    assert [some.text for some in behind(rows)] == ["text 2", "text 5", "text 9"]


def test_of_crops_that_are_not_shown_only_the_heaviest_captions_of_a_concept_are():
    rows = [("boat", f"elsewhere {caption}", caption, 1 / (1 + caption)) for caption in range(20)]
    assert [some.text for some in behind(rows)] == [f"text {caption}" for caption in range(CAPTIONS)]


def test_there_is_an_end_to_them():
    rows = [("boat", "a", caption, 0.5) for caption in range(200)]
    assert len(behind(rows)) == MOST_CAPTIONS


def test_concepts_that_the_card_does_not_show_bring_no_caption():
    assert behind([("other", "a", 1, 0.5)]) == []


def test_names_of_concept_pages_are_names_of_files():
    for text in ("boat", "../../etc", "<script>", "", "\ud800", "Boat"):
        assert len(concept_key(text)) == 12 and concept_key(text).isalnum()
    assert concept_key("boat") != concept_key("Boat")
