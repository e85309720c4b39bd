"""Scripts without spaces between words."""

import pytest

from falcon_dvc.concepts.words.scripts import is_sentence, is_undivided, is_unspaced, script_of


@pytest.mark.parametrize(
    "caption",
    [
        "一只红色的方块在雪地上",
        "蓝色方块",
        "赤い四角",
        "雪の上の赤い四角、夜。",
        "รถสีแดงบนชายหาด",
        "ຫມາສອງໂຕຫຼິ້ນ",
        "កូនឆ្កែពីរក្បាល",
        "ခွေးနှစ်ကောင်",
        "红色方块 4K",
    ],
)
def test_several_words_without_spaces(caption):
    assert is_undivided(caption) and is_unspaced(caption)


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a red boat",
        "猫",
        "冰淇淋",
        "红色 的 方块 在 雪地 上",
        "รถ สีแดง บน ชายหาด",
        "a red boat 船",
        "iPhone 手机壳 for sale",
        "빨간 자동차가 있다",
        "красная лодка",
        "!!! 123",
    ],
)
def test_words_with_spaces_or_a_single_word(caption):
    assert not is_undivided(caption)


def test_a_long_word_is_no_sentence():
    assert is_sentence("一只红色的方块在雪地上") and not is_sentence("アイスクリーム") and not is_sentence("a" * 50)


@pytest.mark.parametrize(
    ("text", "script"),
    [("красная a", "Cyrillic"), ("été", "Latin"), ("12 !", ""), ("한 a", "Hangul"), ("赤い", "Cjk"), ("\ue000", "")],
)
def test_the_script_of_most_letters(text, script):
    assert script_of(text) == script
