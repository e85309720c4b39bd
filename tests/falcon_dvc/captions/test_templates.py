"""Captions from templates: every word in every template, words first; what is no template or vocabulary is one line."""

import pytest

from falcon_dvc.captions import templates
from falcon_dvc.captions.selection import select
from falcon_dvc.captions.templates import Templates
from falcon_dvc.errors import UserError

CAPTIONS = ["a photo of a cat", "a cat, drawn", "a photo of a hot dog", "a hot dog, drawn"]


def captions_of(path):
    found = []
    for batch in Templates(str(path)).batches():
        assert batch.row == len(found)
        found += batch.texts
    return found


def write_yaml(folder, text):
    (folder / "t.yaml").write_text(text, encoding="utf-8")
    return folder / "t.yaml"


def test_every_word_stands_in_every_template(tmp_path):
    path = write_yaml(tmp_path, 'templates: ["a photo of a {}", "a {}, drawn"]\nwords: [cat, hot dog]\n')
    assert captions_of(path) == CAPTIONS
    (tmp_path / "templates.txt").write_text("a photo of a {}\na {}, drawn\n\n")
    (tmp_path / "words.txt").write_text("cat\r\n\nhot dog")
    assert captions_of(tmp_path) == CAPTIONS


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_batches_change_nothing(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(templates, "ROWS_AT_ONCE", rows)
    path = write_yaml(tmp_path, 'templates: ["a photo of a {}", "a {}, drawn"]\nwords: [cat, hot dog]\n')
    assert captions_of(path) == CAPTIONS
    assert select(Templates(str(path))).captions.tolist() == [0, 1, 2, 3]


def test_words_are_put_in_as_they_are(tmp_path):
    path = write_yaml(tmp_path, 'templates: ["{}!"]\nwords: ["{0.__class__}", "{}", 7, true, null, "", шалаш]\n')
    assert captions_of(path) == ["{0.__class__}!", "{}!", "7!", "True!", "шалаш!"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('templates: ["a photo"]\nwords: [cat]', "'a photo' needs exactly one {}"),
        ('templates: ["{} and {}"]\nwords: [cat]', "needs exactly one {}"),
        ('templates: ["{}"]', "no templates and words .*'words'"),
        ('templates: ["{}"]\nwords: cat', "not a mapping of lists"),
        ("- a", "not a mapping of lists"),
        ('templates: ["{}"]\nwords: [[a]]', "must be text, not list"),
        ('templates: ["{}"]\nwords: []', "1 templates and 0 words"),
        ("templates: [", "no templates and words"),
        ("templates: !!python/object/apply:os.system [ls]\nwords: [a]", "no templates and words"),
    ],
)
def test_what_is_no_template_gets_one_clear_line(tmp_path, text, message):
    with pytest.raises(UserError, match=rf"^data\.captions: [^\n]*{message}[^\n]*$"):
        captions_of(write_yaml(tmp_path, text))


def test_missing_lists_of_a_folder_get_one_clear_line(tmp_path):
    (tmp_path / "templates.txt").write_text("{}")
    with pytest.raises(UserError, match=r"no templates and words[^\n]*words\.txt"):
        captions_of(tmp_path)
