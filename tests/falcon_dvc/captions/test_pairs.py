"""Pairs of an image and a caption from tables as they are released."""

import pandas as pd
import pytest

from falcon_dvc.captions.pairs import read_pairs
from falcon_dvc.errors import UserError

PAIRS = [("a/dog.jpg", "a dog runs, fast"), ("a/dog.jpg", "a brown dog"), ("cat.png", 'a "fat" cat')]
TABLES = {
    "tab and header": ("p.tsv", "path\tcaption\n" + "\n".join("\t".join(pair) for pair in PAIRS)),
    "Flickr8k.token.txt": (
        "Flickr8k.token.txt",
        'a/dog.jpg#0\ta dog runs, fast\na/dog.jpg#1\ta brown dog\ncat.png#0\ta "fat" cat\n',
    ),
    "Flickr8k of Kaggle": (
        "captions.txt",
        'image,caption\na/dog.jpg,"a dog runs, fast"\na/dog.jpg,a brown dog\ncat.png,"a ""fat"" cat"\n',
    ),
    "Flickr30k of Kaggle": (
        "results.csv",
        'image_name| comment_number| comment\na/dog.jpg| 0| a dog runs, fast\na/dog.jpg| 1| a brown dog\ncat.png| 0| a "fat" cat\n',
    ),
    "no header, caption first": ("p.tsv", "".join(f"{caption}\t{image}\n" for image, caption in PAIRS)),
}


@pytest.mark.parametrize("name", TABLES)
def test_every_spelling_gives_the_same_pairs(name, tmp_path):
    file, text = TABLES[name]
    (tmp_path / file).write_text(text)
    assert list(read_pairs(str(tmp_path / file), "pairs").itertuples(index=False, name=None)) == PAIRS


def test_parquet(tmp_path):
    table = pd.DataFrame([*PAIRS, ("no caption.jpg", None)], columns=["filename", "text"])
    table.to_parquet(tmp_path / "p.parquet")
    assert list(read_pairs(str(tmp_path / "p.parquet"), "pairs").itertuples(index=False, name=None)) == PAIRS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "pairs: .*does not exist; name a table"),
        ("id\tcaption\n1\ta dog runs\n2\ta cat sits\n", "no column with the names of images .id, caption.; call one"),
        ("image\tcaption\na.jpg\t\nb.jpg\t \n", "holds no row with an image and a caption"),
    ],
)
def test_what_is_no_such_table_is_one_line(text, message, tmp_path):
    if text is not None:
        (tmp_path / "p.tsv").write_text(text)
    with pytest.raises(UserError, match=message):
        read_pairs(str(tmp_path / "p.tsv"), "pairs")
