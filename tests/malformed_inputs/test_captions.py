"""Bad caption files of every format, through the stage that reads them: what is kept and counted, or one line that names the file."""

import gzip
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json
from stages import build_caption_index
from tests.support.outcomes import Read, Refused, Row, assert_refused, each
from tests.support.stage_params import params_of
from tests.support.word_corpus import Words

GOOD = ("a cat", "a dog")
ONLY_ONE = {"a cat": 0}


def kept(captions: dict[str, int], **counts: int) -> Read:
    """Texts that are kept with their numbers, and counts that are not zero."""
    return Read((captions, counts))


def parquet(texts: object, column: str = "caption", kind: object = None, **options: object) -> bytes:
    """A parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({column: pa.array(texts, kind)}), sink, **options)
    return sink.getvalue().to_pybytes()


def zipped(*names: str) -> bytes:
    """An archive of small files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "a cat\n")
    return content.getvalue()


def coco(*annotations: object) -> bytes:
    return json.dumps({"annotations": annotations}).encode()


def lines_of(text: str) -> bytes:
    """A text between two good lines."""
    return f"a cat\n{text}\na dog\n".encode("utf-8", errors="surrogatepass")


def between(text: str, **counts: int) -> Read:
    return kept({"a cat": 0, text: 1, "a dog": 2}, **counts)


WITHOUT = {"a cat": 0, "a dog": 2}
LAUGHS = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
TEXT = [
    Row("an empty file", ("c.txt", b""), Refused(r"data\.captions: .*c\.txt is empty; point data\.captions at")),
    Row("only line ends", ("c.txt", b"\n" * 1000), Refused("1000 lines and no caption among them; check data.caption_format")),
    Row("only white space", ("c.txt", b" \t \n\r\n \x0b\x0c\n"), Refused("3 lines and no caption")),
    Row("only None and nan", ("c.txt", b"None\nnan\nNULL\nN/A\n"), kept({"NULL": 2, "N/A": 3}, empty=2)),
    Row("only NULs", ("c.txt", bytes(100_000)), Refused("1 lines and no caption")),
    Row("an empty line", ("c.txt", lines_of("")), kept(WITHOUT, empty=1)),
    Row("None", ("c.txt", lines_of("None")), kept(WITHOUT, empty=1)),
    Row("nan", ("c.txt", lines_of("nan")), kept(WITHOUT, empty=1)),
    Row("a carriage return", ("c.txt", lines_of("a red\rbus")), between("a red bus")),
    Row("line ends of Windows", ("c.txt", b"a cat\r\na dog\r\n"), kept({"a cat": 0, "a dog": 1})),
    Row("line ends of old Macs", ("c.txt", b"a cat\ra dog\r"), kept({"a cat a dog": 0})),
    Row("other separators of lines", ("c.txt", lines_of("a\u2028b\u2029c\x85d\x0ce\x1cf")), between("a b c d e f")),
    Row("a NUL", ("c.txt", lines_of("a\0bus")), between("a bus")),
    Row("colours of a terminal", ("c.txt", lines_of("\x1b[31mred\x07")), between("[31mred")),
    Row("10 000 characters", ("c.txt", lines_of("x" * 10_000)), between("x" * 1000, cut=1)),
    Row("one line of 50 megabytes", ("c.txt", b"x" * 50_000_000), kept({"x" * 1000: 0}, cut=1)),
    Row("10 000 accents on one letter", ("c.txt", lines_of("a" + "\u0301" * 10_000)), between("\u00e1" + "\u0301" * 999, cut=1)),
    Row("letters that become longer", ("c.txt", lines_of("\ufdfa" * 20_000)), between("\ufdfa" * 1000, cut=1)),
    Row("right to left", ("c.txt", lines_of("كلب أسود يركض")), between("كلب أسود يركض")),
    Row("a turn of the direction of writing", ("c.txt", lines_of("a \u202etac")), between("a \u202etac")),
    Row("letters without width", ("c.txt", lines_of("a\u200bb\ufeff")), between("a\u200bb\ufeff")),
    Row("emoji of several letters", ("c.txt", lines_of("👩‍👩‍👧 on a 🏖️")), between("👩‍👩‍👧 on a 🏖️")),
    Row("HTML", ("c.txt", lines_of("<script>alert(1)</script>")), between("<script>alert(1)</script>")),
    Row("a formula", ("c.txt", lines_of("=HYPERLINK(1)")), between("=HYPERLINK(1)")),
    Row("a template of Jinja", ("c.txt", lines_of("{{ 7 * 7 }}")), between("{{ 7 * 7 }}")),
    Row("places for formatting", ("c.txt", lines_of("%s {0} %(a)s {}")), between("%s {0} %(a)s {}")),
    Row("the end mark of the tokenizer", ("c.txt", lines_of("<|endoftext|> <start_of_text>")), between("<|endoftext|> <start_of_text>")),
    Row("half a surrogate pair", ("c.txt", lines_of("a \ud83d cat")), between("a \ufffd\ufffd\ufffd cat", undecodable=1)),
    Row("letters beyond Unicode", ("c.txt", lines_of("a \U0010ffff\ufffe")), between("a \U0010ffff\ufffe")),
    Row("Latin-1 among UTF-8", ("c.txt", b"a cat\ncaf\xe9\na dog\n"), between("caf\ufffd", undecodable=1)),
    Row("an overlong encoding", ("c.txt", b"a cat\n\xc0\xafx\na dog\n"), between("\ufffd\ufffdx", undecodable=1)),
    Row("a letter cut in the middle", ("c.txt", "a cat\né".encode()[:-1]), kept({"a cat": 0, "\ufffd": 1}, undecodable=1)),
    Row("all of it in Windows-1251", ("c.txt", "кошка\nсобака\n".encode("cp1251")), Refused("2 of the 2 lines in .* are not UTF-8; save it as UTF-8")),
    Row("a byte order mark", ("c.txt", b"\xef\xbb\xbfa cat\n"), kept(ONLY_ONE)),
    Row("UTF-16", ("c.txt", "a cat\n".encode("utf-16")), kept(ONLY_ONE)),
    Row("UTF-16 without a mark", ("c.txt", "a cat\na dog\n".encode("utf-16-le")), kept({"a cat": 0, "a dog": 1})),
    Row("UTF-16 cut in a letter", ("c.txt", "a cat\na dog\n".encode("utf-16")[:-3]), kept({"a cat": 0, "a do\ufffd": 1})),
    Row("UTF-32", ("c.txt", "a cat\n".encode("utf-32")), kept(ONLY_ONE)),
    Row("compressed", ("c.txt", gzip.compress(b"a cat\na dog\n" * 100)), kept({"a cat": 0, "a dog": 1}, duplicates=198)),
    Row("compressed and cut", ("c.txt", gzip.compress(b"a cat\na dog\n" * 100)[:-9]), Refused(r"c\.txt cannot be read")),
    Row("compressed and damaged", ("c.txt.gz", gzip.compress(b"a cat\n")[:12] + b"\xff" * 20), Refused(r"c\.txt\.gz cannot be read")),
    Row("an archive of two files", ("c.zip", zipped("a.txt", "b.txt")), Refused(r"c\.zip is an archive of 2 files; unpack it")),
    Row("names of images only", ("c.txt", b"1.jpg\n2.jpg\n"), Refused("c.txt holds names of images and no captions")),
    Row("an image", ("c.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10), Refused(r"of the \d+ lines in .*c\.txt are not UTF-8; save it as UTF-8")),
    Row("a folder of nothing", ("c.d", None), Refused("c.d holds no captions; set data.caption_format, or point")),
    Row("no file", ("none/c.txt", None), Refused("c.txt cannot be read .*No such file")),
]  # fmt: skip
JSON = [
    Row("an empty file of JSON lines", ("c.jsonl", b""), Refused("c.jsonl is empty")),
    Row("only empty lines of JSON", ("c.jsonl", b"\n\n"), Refused("c.jsonl is empty")),
    Row("a line that is cut", ("c.jsonl", b'{"caption": "a cat"}\n{"caption": "a d'), Refused("c.jsonl, line 2: not valid JSON .*give one object a line")),
    Row("a list a line", ("c.jsonl", b'["a cat"]\n["a dog"]\n'), Refused("line 1: not a JSON object; give one object a line")),
    Row("one list of objects", ("c.jsonl", b'[{"caption": "a"},\n{"caption": "b"}]'), kept({"a": 0, "b": 1})),
    Row("one list of objects that is cut", ("c.jsonl", b'[{"caption": "a"},\n{"caption": "b"}'), Refused("c.jsonl is not readable JSON")),
    Row("nested too deep", ("c.jsonl", b'{"caption": ' + b"[" * 100_000), Refused("not readable JSON")),
    Row("nested deep in another key", ("c.jsonl", b'{"x": ' + b"[" * 900 + b"]" * 900 + b', "caption": "a cat"}'), kept(ONLY_ONE)),
    Row("a caption that is a list", ("c.jsonl", b'{"caption": ["a cat"]}\n'), kept(ONLY_ONE)),
    Row("a caption that is null", ("c.jsonl", b'{"caption": null}\n{"caption": "a cat"}\n'), kept({"a cat": 1}, empty=1)),
    Row("a caption that is NaN", ("c.jsonl", b'{"caption": NaN}\n{"caption": "a cat"}\n'), kept({"a cat": 1}, empty=1)),
    Row("a caption that is a number of 5000 digits", ("c.jsonl", b'{"caption": ' + b"9" * 5000 + b"}\n"), Refused("not readable JSON")),
    Row("a caption that is there twice", ("c.jsonl", b'{"caption": "a", "caption": "a cat"}\n'), kept(ONLY_ONE)),
    Row("an escaped NUL and half a pair", ("c.jsonl", b'{"caption": "a\\u0000cat \\ud800"}\n'), kept({"a cat \ufffd": 0})),
    Row("another key", ("c.jsonl", b'{"x": "a cat", "n": 1}\n{"x": "a dog"}\n'), Refused("no column of captions; set data.caption_column to one of: x, n")),
    Row("JSON lines in UTF-16", ("c.jsonl", '{"caption": "a"}\n'.encode("utf-16")), kept({"a": 0})),
    Row("a line of 20 megabytes", ("c.jsonl", b'{"caption": "' + b"x" * 20_000_000 + b'"}\n' * 2), Refused("not readable JSON")),
    Row("COCO that is empty", ("c.json", b""), Refused("c.json is empty")),
    Row("COCO without annotations", ("c.json", b"{}"), Refused("1 entries and no caption among them")),
    Row("COCO with no annotation", ("c.json", b'{"annotations": []}'), Refused("c.json is empty")),
    Row("COCO whose annotations are a text", ("c.json", b'{"annotations": "a cat"}'), Refused("1 entries and no caption among them")),
    Row("COCO whose annotation is a text", ("c.json", coco("a cat")), kept(ONLY_ONE)),
    Row("COCO whose annotation is a number", ("c.json", coco(7)), Refused("a caption must be text, not int")),
    Row("COCO without ids", ("c.json", coco({"caption": "a cat"})), kept(ONLY_ONE)),
    Row("COCO of objects in images", ("instances.json", coco({"id": 1, "bbox": [1, 2], "image_id": 3})), Refused("no column of captions; set .* to one of: id, bbox, image_id")),
    Row("COCO of bytes that are no UTF-8", ("c.json", b'{"annotations": [{"caption": "caf\xe9"}, {"caption": "a dog"}]}'), kept({"caf\ufffd": 0, "a dog": 1}, undecodable=1)),
    Row("COCO with an id twice", ("c.json", coco({"id": 1, "caption": "a cat"}, {"id": 1, "caption": "a dog"})), kept({"a cat": 0, "a dog": 1})),
    Row("COCO with a caption of objects", ("c.json", coco({"id": 1, "caption": {}})), Refused("c.json: a caption must be text, not an object")),
    Row("COCO without a caption", ("c.json", coco({"id": 1}, {"id": 2, "caption": "a cat"})), kept({"a cat": 1}, empty=1)),
    Row("COCO cut in the middle", ("c.json", coco({"id": 1, "caption": "a cat"})[:-9]), Refused("not readable JSON")),
    Row("COCO nested too deep", ("c.json", b"[" * 100_000), Refused("not readable JSON")),
    Row("COCO in UTF-16", ("c.json", '{"annotations": ["a cat"]}'.encode("utf-16")), kept(ONLY_ONE)),
]  # fmt: skip
TABLES = [
    Row("an empty CSV file", ("c.csv", b""), Refused("c.csv is empty")),
    Row("a CSV file of a header", ("c.csv", b"caption,n\n"), Refused("c.csv is empty")),
    Row("a quote left open", ("c.csv", b'caption,n\na cat,1\n"a dog,2\n'), kept({"a cat": 0, '"a dog': 1})),
    Row("a quote in the middle", ("c.csv", b'caption,n\na 5" cat,1\na dog,2\n'), kept({'a 5" cat': 0, "a dog": 1})),
    Row("text after a quote", ("c.csv", b'caption,n\n"a" cat,1\na dog,2\n'), kept({'"a" cat': 0, "a dog": 1})),
    Row("too many cells", ("c.csv", b"caption,n\na cat,1,2\n"), Refused("1 of the 1 rows in .* have another number of cells than the table has columns")),
    Row("too many cells in one row", ("c.csv", b"caption,n\na cat,1\na,b,2\na dog,3,\n"), kept({"a cat": 0, "a dog": 2}, empty=1, misfits=1)),
    Row("too few cells", ("c.csv", b"n,caption\n1,a cat\n2\n"), kept(ONLY_ONE, empty=1, misfits=1)),
    Row("a missing separator of Flickr30k", ("r.csv", b"image_name| comment_number| comment\n1.jpg| 0| a cat\n2.jpg| 4   a dog\n"), kept(ONLY_ONE, empty=1, misfits=1)),
    Row("semicolons for commas", ("c.csv", b"caption;n\na cat;1\n"), kept(ONLY_ONE)),
    Row("a column twice", ("c.csv", b"caption,caption\na,b\n"), Refused("several columns caption; set data.caption_column to another")),
    Row("another column", ("c.csv", b"x,n\na cat,1\n"), Refused("no column of captions.*one of: x, n; or to a number from 1")),
    Row("line ends in quotes", ("c.csv", b'caption,n\n"a\r\ncat",1\na dog,2\n'), kept({"a cat": 0, "a dog": 1}, of_several_lines=1)),
    Row("a NUL in a cell", ("c.csv", b"caption,n\na\0cat,1\n"), kept({"a cat": 0})),
    Row("a NUL in the header", ("c.csv", b"cap\0tion,n\na cat,1\n"), Refused("no column of captions")),
    Row("Latin-1 in a cell", ("c.csv", b"caption,n\ncaf\xe9,1\na dog,2\n"), kept({"caf\ufffd": 0, "a dog": 1}, undecodable=1)),
    Row("CSV in UTF-16", ("c.csv", "caption,n\na cat,1\n".encode("utf-16")), kept(ONLY_ONE)),
    Row("a cell of 20 megabytes", ("c.csv", b'caption,n\n"' + b"x" * 20_000_000 + b'",1\n'), kept({'"' + "x" * 999: 0}, cut=1)),
    Row("a header of 20 megabytes", ("c.csv", b"x" * 20_000_000), kept({"x" * 1000: 0}, cut=1)),
    Row("100 000 columns", ("c.csv", b",".join(b"c%d" % n for n in range(100_000))), Refused("no column of captions")),
    Row("an empty parquet file", ("c.parquet", b""), Refused("c.parquet is not a readable table")),
    Row("parquet cut in the middle", ("c.parquet", parquet(GOOD)[:100]), Refused("not a readable table")),
    Row("parquet without its end", ("c.parquet", parquet(GOOD)[:-8]), Refused("not a readable table")),
    Row("parquet without its beginning", ("c.parquet", parquet(GOOD)[8:]), Refused("not a readable table")),
    Row("CSV named .parquet", ("c.parquet", b"caption\na cat\n"), kept(ONLY_ONE)),
    Row("parquet named .csv", ("c.csv", parquet(GOOD)), kept({"a cat": 0, "a dog": 1})),
    Row("parquet of no rows", ("c.parquet", parquet([], kind=pa.string())), Refused("c.parquet is empty")),
    Row("parquet of nulls", ("c.parquet", parquet([None, None], kind=pa.string())), Refused("2 rows and no caption")),
    Row("parquet of lists", ("c.parquet", parquet([["a cat"]])), kept(ONLY_ONE)),
    Row("parquet of languages", ("c.parquet", parquet([{"en": "a cat"}])), Refused("must be text, not an object with the keys en; set data.caption_column to a column of text")),
    Row("parquet of dates", ("c.parquet", parquet([0], kind=pa.date32())), Refused("must be text, not date")),
    Row("parquet of numbers", ("c.parquet", parquet([1.5, None])), kept({"1.5": 0}, empty=1)),
    Row("parquet of bytes that are no UTF-8", ("c.parquet", parquet([b"caf\xe9", b"a dog"])), kept({"caf\ufffd": 0, "a dog": 1}, undecodable=1)),
    Row("parquet with the only column", ("c.parquet", parquet(GOOD, "other")), kept({"a cat": 0, "a dog": 1})),
    Row("parquet of 20 000 copies", ("c.parquet", parquet(pa.repeat("a cat", 20_000))), kept({"a cat": 0}, duplicates=19_999)),
]  # fmt: skip
TEMPLATES = [
    Row("templates that are empty", ("c.yaml", b""), Refused("c.yaml has no templates and words")),
    Row("templates without words", ("c.yaml", b"templates: ['a {}']\n"), Refused("no templates and words .*words.*give a YAML file with lists")),
    Row("no words", ("c.yaml", b"templates: ['a {}']\nwords: []\n"), Refused("1 templates and 0 words")),
    Row("a template without a place", ("c.yaml", b"templates: [a]\nwords: [cat]\n"), Refused("the template 'a' needs exactly one {}")),
    Row("a template with two places", ("c.yaml", b"templates: ['{} {}']\nwords: [cat]\n"), Refused("needs exactly one {}")),
    Row("a place that would be formatted", ("c.yaml", b"templates: ['{0.__class__} {}']\nwords: [cat]\n"), kept({"{0.__class__} cat": 0})),
    Row("a tag that runs code", ("c.yaml", b"templates: ['{}']\nwords: !!python/object/apply:os.system ['touch ran']\n"), Refused("c.yaml has no templates and words .*constructor")),
    Row("a billion laughs", ("c.yaml", f"a0: &a0 [ha]\n{LAUGHS}\ntemplates: ['{{}}']\nwords: *a29\n".encode()), Refused("must be text, not list")),
    Row("words that refer to themselves", ("c.yaml", b"templates: ['{}']\nwords: &a [*a]\n"), Refused("must be text, not list")),
    Row("words that are a mapping", ("c.yaml", b"templates: ['{}']\nwords: {a: 1}\n"), Refused("not a mapping of lists")),
    Row("words that are no text", ("c.yaml", b"templates: ['{}']\nwords: [1, 2.5, yes, no, ~]\n"), kept({"1": 0, "2.5": 1, "yes": 2, "no": 3})),
    Row("words nested too deep", ("c.yaml", b"templates: ['{}']\nwords: " + b"[" * 500), Refused("c.yaml has no templates and words")),
    Row("a date that is none", ("c.yaml", b"templates: ['{}']\nwords: [2020-13-45]\n"), Refused("c.yaml has no templates and words")),
    Row("templates in UTF-16", ("c.yaml", "templates: []".encode("utf-16")), Refused("c.yaml has no templates and words")),
]  # fmt: skip


def run(path: Path, **data: object) -> None:
    """Index the corpus with a model of words."""
    build_caption_index.build(params_of({"data": {"captions": str(path), **data}}), Words)


@each([*TEXT, *JSON, *TABLES, *TEMPLATES])
def test_captions(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, content = row.make
    if content is not None:
        (tmp_path / name).write_bytes(content)
    elif "/" not in name:
        (tmp_path / name).mkdir()
    if isinstance(row.expected, Refused):
        assert_refused(row.expected.words, lambda: run(tmp_path / name))
        assert not paths.CAPTIONS.exists() or list(paths.CAPTIONS.iterdir()) == []
    else:
        run(tmp_path / name)
        assert_kept(*row.expected.value)
    assert not (tmp_path / "ran").exists()


def assert_kept(captions, counts):
    """The texts with their numbers, an embedding for each, and the counts."""
    table = pd.read_parquet(paths.CAPTIONS / "captions.parquet")
    assert dict(zip(table["text"], table["caption"], strict=True)) == captions
    assert np.load(paths.CAPTIONS / "embeddings.npy").shape == (len(captions), Words.dim)
    zeros = dict.fromkeys(("empty", "duplicates", "cut", "undecodable"), 0)
    found = read_json(paths.metrics("captions"))
    share = found.pop("dropped_share")["captions"]
    assert found.pop("dropped_more_than_1_percent", 0) == (share > 0.01)
    assert found == {"captions": len(captions), **zeros, **counts}
