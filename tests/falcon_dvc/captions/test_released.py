"""Caption files as they are released or exported: the captions alone, in order, without a setting."""

# ruff: noqa: E501 (tables: a row is a line)

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from falcon_dvc.captions.formats import is_plain, open_captions, open_given
from falcon_dvc.captions.selection import select, selected
from falcon_dvc.errors import UserError
from tests.support.caption_files import data, rows_for, texts_of, write_parquet, write_shard

TWO = ["a cat, on a mat", "a dog runs in the grass"]
FIVE = ["a cat", "the cat sits", "one cat on a mat", "cat", "a small cat"]


def parquet(**columns: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def dumped(value: object, **options: object) -> bytes:
    return json.dumps(value, **options).encode()


def lines(*values: object) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


FLICKR = {
    "Flickr8k of Kaggle": ("captions.txt", b'image,caption\n1_a.jpg,"a cat, on a mat"\n1_a.jpg,a dog runs in the grass\n'),
    "Flickr8k of Kaggle, Windows": ("captions.txt", b'\xef\xbb\xbfimage,caption\r\n1_a.jpg,"a cat, on a mat"\r\n1_a.jpg,a dog runs in the grass\r\n'),
    "Flickr8k without header": ("captions.txt", b"1_a.jpg,a cat, on a mat\n1_a.jpg,a dog runs in the grass\n"),
    "Flickr8k.token.txt": ("Flickr8k.token.txt", b"1_a.jpg#0\ta cat, on a mat\n1_a.jpg#1\ta dog runs in the grass\n"),
    "Flickr30k": ("results_20130124.token", b"1.jpg#0\ta cat, on a mat\n1.jpg#1\ta dog runs in the grass\n"),
    "Flickr30k of Kaggle": ("results.csv", b"image_name| comment_number| comment\n1.jpg| 0| a cat, on a mat\n1.jpg| 1| a dog runs in the grass\n"),
    "Flickr30k of Kaggle as text": ("results.txt", b"image_name| comment_number| comment\n1.jpg| 0| a cat, on a mat\n1.jpg| 1| a dog runs in the grass\n"),
    "Flickr30k as CSV": ("captions.txt", b"image_name,comment_number,comment\n1.jpg,0,\"a cat, on a mat\"\n1.jpg,1,a dog runs in the grass\n"),
    "Flickr30k without header": ("results.csv", b"1.jpg| 0| a cat, on a mat\n1.jpg| 1| a dog runs in the grass\n"),
    "three columns without header": ("c.txt", b"1.jpg,0,a cat, on a mat\n1.jpg,1,a dog runs in the grass\n"),
    "names with a space": ("c.txt", b"1.jpg a cat, on a mat\n1.jpg a dog runs in the grass\n"),
    "ids of Flickr": ("descriptions.txt", b"1000268201_693b08cb0e a cat, on a mat\n1000268201_693b08cb0e a dog runs in the grass\n"),
    "numbers of images": ("c.txt", b"000000391895 a cat, on a mat\n000000391896 a dog runs in the grass\n"),
    "paths of images": ("c.txt", b"train/my cat.JPEG\ta cat, on a mat\ntrain/2.png\ta dog runs in the grass\n"),
    "quoted names": ("c.txt", b'"1.jpg","a cat, on a mat"\n"2.jpg","a dog runs in the grass"\n'),
    "names and a header in German": ("c.csv", b"Datei;Beschreibung\n" + b"1.jpg;a cat, on a mat\n2.jpg;a dog runs in the grass\n" * 10),
    "lists in cells": ("c.csv", b'raw,sentids,split,filename\n"[""a cat, on a mat"", ""a dog runs in the grass""]","[0, 1]",train,1.jpg\n'),
    "lists of Python in cells": ("c.csv", b"filename,raw\n1.jpg,\"['a cat, on a mat', 'a dog runs in the grass']\"\n"),
    "URLs": ("c.txt", b"http://x.org/1,2.jpg|a cat, on a mat\nhttp://x.org/2.jpg|a dog runs in the grass\n"),
}  # fmt: skip
TABLES = {
    "CC3M": ("Train_GCC-training.tsv", b"a cat, on a mat\thttp://x/1.jpg\na dog runs in the grass\thttp://x/2.jpg\n"),
    "CC12M": ("cc12m.tsv", b"http://x/1.jpg\ta cat, on a mat\nhttp://x/2.jpg\ta dog runs in the grass\n"),
    "CC12M as text": ("cc12m.txt", b"http://x/1.jpg\ta cat, on a mat\nhttp://x/2.jpg\ta dog runs in the grass\n"),
    "open_clip": ("train.csv", b"filepath\ttitle\n1.jpg\ta cat, on a mat\n2.jpg\ta dog runs in the grass\n"),
    "numbers without header": ("c.tsv", b"0\ta cat, on a mat\n1\ta dog runs in the grass\n"),
    "CSV without header": ("c.csv", b'1,"a cat, on a mat"\n2,a dog runs in the grass\n'),
    "one column without header": ("c.csv", b'"a cat, on a mat"\na dog runs in the grass\n'),
    "one column of another name": ("c.csv", b'beschreibung\n"a cat, on a mat"\na dog runs in the grass\n'),
    "a header of one column": ("c.txt", b'caption\n"a cat, on a mat"\na dog runs in the grass\n'),
    "semicolons": ("c.csv", b"n;caption\n1;a cat, on a mat\n2;a dog runs in the grass\n"),
    "quoted header": ("c.csv", b'"Image ID","Alt Text"\n"1","a cat, on a mat"\n"2","a dog runs in the grass"\n'),
    "spaces after commas": ("c.csv", b'url, caption, n\nu, "a cat, on a mat", 1\nu, a dog runs in the grass, 2\n'),
    "the index of pandas": ("c.csv", b',caption,url\n0,"a cat, on a mat",u\n1,a dog runs in the grass,u\n'),
    "a table without suffix": ("corpus", b'url,caption\nu,"a cat, on a mat"\nu,a dog runs in the grass\n'),
    "TSV of Excel": ("c.txt", "n\tcaption\r\n1\ta cat, on a mat\r\n2\ta dog runs in the grass\r\n".encode("utf-16")),
    "several captions": ("c.csv", b'file_name,caption_0,caption_1\n1.jpg,"a cat, on a mat",a dog runs in the grass\n'),
    "a name with caption": ("c.csv", b'id,caption_id,llava_caption\n1,2,"a cat, on a mat"\n1,3,a dog runs in the grass\n'),
    "parquet of any suffix": ("c.csv", parquet(caption=TWO)),
    "CSV named parquet": ("c.parquet", b'url,caption\nu,"a cat, on a mat"\nu,a dog runs in the grass\n'),
    **{f"parquet {name}": ("c.parquet", parquet(url=["u", "v"], **{name: TWO})) for name in ("captions", "TEXT", "txt", "alt_text", "sentence", "description", "prompt", "title", "llava_caption", "Caption", "blip2_caption")},
    "lists in parquet": ("c.parquet", parquet(image=["1"], caption=[TWO])),
    "objects in parquet": ("c.parquet", parquet(image=["1"], sentences=[[{"raw": text, "sentid": 1} for text in TWO]])),
    "captions in columns of parquet": ("c.parquet", parquet(image=["1"], caption_0=TWO[:1], caption_1=TWO[1:])),
    "the only column of parquet": ("c.parquet", parquet(words=TWO)),
}  # fmt: skip
OBJECTS = [{"id": number, "caption": text, "url": "u"} for number, text in enumerate(TWO)]
JSONS = {
    "COCO": ("c.json", dumped({"info": {"description": "COCO"}, "images": [{"id": 1}], "annotations": OBJECTS})),
    "nocaps": ("c.json", dumped({"licenses": [], "annotations": OBJECTS}, indent=1)),
    "RedCaps": ("c.json", dumped({"info": {}, "annotations": [{"image_id": "ab", "raw_caption": "X", "caption": text} for text in TWO]})),
    "Karpathy": ("dataset_coco.json", dumped({"images": [{"filepath": "val", "sentids": [1, 2], "filename": "1.jpg", "sentences": [{"tokens": ["a"], "raw": text, "imgid": 0, "sentid": 1} for text in TWO], "split": "val"}], "dataset": "coco"})),
    "TextCaps": ("c.json", dumped({"dataset_name": "textcaps", "data": [{"image_id": "a", "caption_id": 1, "caption_str": text, "reference_strs": TWO} for text in TWO]})),
    "Visual Genome": ("region_descriptions.json", dumped([{"id": 1, "regions": [{"region_id": 4, "phrase": text, "x": 1} for text in TWO]}])),
    "BLIP": ("flickr30k_train.json", dumped([{"image": "1.jpg", "caption": text, "image_id": 0} for text in TWO])),
    "BLIP, lists": ("coco_val.json", dumped([{"image": "1.jpg", "caption": TWO}])),
    "SBU": ("sbu-captions-all.json", dumped({"image_urls": ["u", "v"], "user_ids": ["1", "2"], "captions": TWO})),
    "columns of pandas": ("c.json", dumped({"url": {"0": "u", "1": "v"}, "caption": {"0": TWO[0], "1": TWO[1]}})),
    "captions by images": ("c.json", dumped({"1.jpg": TWO[:1], "2.jpg": TWO[1:]})),
    "one caption by image": ("c.json", dumped({"1.jpg": TWO[0], "2.jpg": TWO[1]})),
    "a list of texts": ("c.json", dumped(TWO)),
    "JSON lines named .json": ("c.json", lines(*OBJECTS)),
    "a list named .jsonl": ("c.jsonl", dumped(OBJECTS)),
    "a long list named .jsonl": ("c.jsonl", dumped(OBJECTS, indent=2)),
    "a list in lines": ("c.jsonl", b"[" + b",\n".join(map(dumped, OBJECTS)) + b"]"),
    "objects after each other": ("c.json", b"\n".join(dumped(one, indent=2) for one in OBJECTS)),
    "lines of texts": ("c.jsonl", lines(*TWO)),
    "Localized Narratives": ("c.jsonl", lines(*({"dataset_id": "x", "image_id": "1", "caption": text, "timed_caption": [{"utterance": "a"}]} for text in TWO))),
    "lines with lists": ("c.ndjson", lines({"image": "1", "captions": TWO})),
    "JSON lines named .txt": ("c.txt", lines(*OBJECTS)),
    "JSON lines with a mark": ("c.jsonl", b"\xef\xbb\xbf" + lines(*OBJECTS)),
    "JSON in UTF-16": ("c.json", dumped({"annotations": OBJECTS}).decode().encode("utf-16")),
    "splits": ("c.json", dumped({"version": 1, "train": OBJECTS[:1], "val": OBJECTS[1:]})),
    "MSR-VTT": ("c.json", dumped({"info": {}, "videos": [{"id": 1}], "sentences": [{"caption": text, "sen_id": 1} for text in TWO]})),
    "rows of a server": ("c.json", dumped({"features": [], "rows": [{"row_idx": 0, "row": one} for one in OBJECTS]})),
}  # fmt: skip
TEXT = "\n".join(TWO).encode()


def zipped(**files: bytes) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


ENCODED = {
    "gzip": ("c.txt.gz", gzip.compress(TEXT)),
    "gzip without suffix": ("c.txt", gzip.compress(TEXT)),
    "bzip2": ("c.txt.bz2", bz2.compress(TEXT)),
    "xz": ("c.txt.xz", lzma.compress(TEXT)),
    "zstandard": ("c.txt.zst", pa.compress(TEXT, codec="zstd", asbytes=True)),
    "zip": ("c.txt.zip", zipped(**{"c.txt": TEXT, "__MACOSX/._c.txt": b"x"})),
    "JSON in gzip": ("c.json.gz", gzip.compress(dumped({"annotations": OBJECTS}))),
    "JSON lines in gzip": ("c.jsonl.gz", gzip.compress(lines(*OBJECTS))),
    "CSV in gzip": ("c.csv.gz", gzip.compress(b'url,caption\nu,"a cat, on a mat"\nu,a dog runs in the grass\n')),
    "UTF-16 in gzip": ("c.txt.gz", gzip.compress(TEXT.decode().encode("utf-16"))),
    "UTF-16": ("c.txt", TEXT.decode().encode("utf-16")),
    "UTF-16, other order": ("c.txt", b"\xfe\xff" + TEXT.decode().encode("utf-16-be")),
    "UTF-16 without a mark": ("c.txt", TEXT.decode().encode("utf-16-le")),
    "UTF-16 without a mark, other order": ("c.txt", TEXT.decode().encode("utf-16-be")),
    "UTF-32": ("c.txt", TEXT.decode().encode("utf-32")),
    "entities of HTML": ("c.txt", b"a cat&#44; on&nbsp;a&#x20;mat\na dog&amp;#32;runs&#10;in the grass\n"),
}  # fmt: skip
ALL = {**FLICKR, **TABLES, **JSONS, **ENCODED}


@pytest.mark.parametrize("case", ALL)
def test_released_files_give_their_captions(tmp_path, case):
    name, content = ALL[case]
    (tmp_path / name).write_bytes(content)
    repeats = 10 if case == "names and a header in German" else 1
    assert texts_of(tmp_path / name) == TWO * repeats


def write_released(folder, lines=FIVE, shards=(3, 2)):
    """The corpus as the code of FALCON's authors leaves it, in a folder of LAION."""
    for name in ("metadata", "text_emb_filtered"):
        (folder / name).mkdir(parents=True)
    (folder / "metadata" / "captions.txt").write_text("".join(f"{line}\n" for line in lines))
    rows, first = rows_for(FIVE), 0
    for number, size in zip((2, 10), shards, strict=True):
        np.save(folder / "text_emb_filtered" / f"text_emb_{number}.npy", rows[first : first + size])
        first += size


def test_the_corpus_of_the_authors_brings_its_embeddings(tmp_path):
    write_released(tmp_path)
    write_shard(tmp_path, 0, ["raw"], rows_for("a"), divided=True)
    source = open_captions(data(tmp_path))
    given = open_given(data(tmp_path), source, lambda: 4)
    table = pa.concat_tables(selected(source, select(source, given), with_source=True))
    assert table["text"].to_pylist() == FIVE and table["embedding"].to_pylist() == [0, 1, 2, 3, 4]
    assert np.allclose(
        given.unit(np.arange(5))[:][:, 1] / given.unit(np.arange(5))[:][:, 0], [1, 2, 3, 4, 5], rtol=1e-2
    )
    with pytest.raises(UserError, match="embeddings of width 4, but image_text has 512"):
        open_given(data(tmp_path), source, lambda: 512)
    assert texts_of(tmp_path / "metadata" / "captions.txt") == FIVE


def test_a_corpus_of_the_authors_whose_rows_shifted_is_one_clear_line(tmp_path):
    write_released(tmp_path / "a", [*FIVE[:2], "a line\nend", *FIVE[3:]])
    with pytest.raises(
        UserError, match=r"captions\.txt has 6 lines, but [^\n]*text_emb_filtered has 5 embeddings [^\n]*point data"
    ):
        open_captions(data(tmp_path / "a"))
    for name in ("text_emb_2.npy", "text_emb_10.npy"):
        (tmp_path / "a" / "text_emb_filtered" / name).unlink()
    with pytest.raises(UserError, match=r"needs metadata/captions\.txt and text_emb_filtered/text_emb_\*\.npy"):
        open_captions(data(tmp_path / "a"))


def test_metadata_of_shards_without_embeddings_of_text_is_a_table(tmp_path):
    write_shard(tmp_path, 0, TWO, rows_for(TWO), divided=True)
    (tmp_path / "text_emb").rename(tmp_path / "img_emb")
    (tmp_path / "img_emb" / "text_emb_0.npy").rename(tmp_path / "img_emb" / "img_emb_0.npy")
    assert texts_of(tmp_path) == TWO and open_given(data(tmp_path), open_captions(data(tmp_path)), lambda: 4) is None


def test_folders_of_the_embeddings_may_begin_with_the_name_of_the_corpus(tmp_path):
    write_shard(tmp_path, "0000", TWO, rows_for(TWO), divided=True)
    (tmp_path / "metadata").rename(tmp_path / "laion2B-en-metadata")
    assert texts_of(tmp_path) == TWO and len(open_captions(data(tmp_path)).embeddings) == 1


def write_tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


SAMPLES = {
    "texts": {
        "a.jpg": b"\xff\xd8",
        "a.json": b'{"caption": "x"}',
        "a.txt": TWO[0].encode(),
        "b.jpg": b"",
        "b.txt": b"a dog runs\nin the grass",
    },
    "objects": {"a.jpg": b"\xff\xd8", "a.json": dumped(OBJECTS[0]), "b.json": dumped(OBJECTS[1])},
    "lists": {"a.json": dumped({"captions": TWO, "key": "a"})},
}


@pytest.mark.parametrize("case", SAMPLES)
@pytest.mark.parametrize("name", ["00000.tar", "shard"])
def test_the_texts_of_shards_are_captions(tmp_path, case, name):
    write_tar(tmp_path / name, SAMPLES[case])
    assert texts_of(tmp_path / name) == TWO


def test_a_download_of_img2dataset_is_read_from_its_tables_unless_shards_are_asked_for(tmp_path):
    for number in ("00000", "00001"):
        write_tar(tmp_path / f"{number}.tar", SAMPLES["texts"])
    assert texts_of(tmp_path) == TWO * 2
    write_parquet(tmp_path / "00000.parquet", ["of a table"])
    (tmp_path / "00000_stats.json").write_text('{"count": 2, "status_dict": {"success": 2}}')
    (tmp_path / "README.txt").write_text("how this was made\n")
    assert texts_of(tmp_path) == ["of a table"]
    assert texts_of(tmp_path, caption_format="shards") == TWO * 2


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.json": b"{"}, "a member is not valid JSON"),
        ({"a.json": b"[1]"}, "a member is not a JSON object"),
        ({"a.json": b'{"x": 1, "y": 2}'}, "no column of captions; set data.caption_column to one of: x, y"),
        ({"a.jpg": b""}, "is empty"),
        (None, "not a readable tar file"),
    ],
    ids=str,
)
def test_shards_without_captions_are_one_clear_line(tmp_path, members, message):
    write_tar(tmp_path / "a.tar", members or {"a.txt": b"a" * 2000, "b.txt": b"b"})
    if members is None:
        content = (tmp_path / "a.tar").read_bytes()
        (tmp_path / "a.tar").write_bytes(b"\xff" * 300 + content[300:])
    with pytest.raises(UserError, match=rf"^data\.captions: [^\n]*{message}[^\n]*$"):
        select(open_captions(data(tmp_path / "a.tar")))


def test_a_compressed_shard_is_one_clear_line(tmp_path):
    write_tar(tmp_path / "a.tar.gz", SAMPLES["texts"], "w:gz")
    with pytest.raises(UserError, match=r"a\.tar\.gz is a compressed tar file; decompress it"):
        texts_of(tmp_path / "a.tar.gz")


def test_the_text_files_of_a_folder_are_read_by_their_contents(tmp_path):
    (tmp_path / "a.txt").write_bytes(FLICKR["Flickr8k.token.txt"][1])
    (tmp_path / "b.csv").write_bytes(TABLES["open_clip"][1])
    assert texts_of(tmp_path) == TWO * 2
    (tmp_path / "c.txt").write_text("a plain caption\n")
    with pytest.raises(UserError, match=r"several formats \(lines, table\)"):
        texts_of(tmp_path)
    assert texts_of(tmp_path, caption_format="lines")[-1] == "a plain caption"


PLAIN = {
    "commas": b"a cat, on a mat\na dog, in the grass\n",
    "a header that is a caption": b"text, letters and a sign\na dog\n",
    "a tab in some": b"a cat\ton a mat\na dog\n",
    "a name of an image in some": b"photo.jpg\na dog in the grass\na cat\n",
    "numbers": b"2 cats\n10 dogs\n1984 was a year\n",
    "quotation marks": b'"a cat\n"a dog"\nthe sign "stop"\n',
    "braces": b"{a cat}\n[a dog]\n",
    "bars in some": b"a cat | stock photo\na dog\n",
}


@pytest.mark.parametrize("case", PLAIN)
def test_captions_of_a_text_file_stay_whole_lines(tmp_path, case):
    (tmp_path / "c.txt").write_bytes(PLAIN[case])
    assert is_plain(data(tmp_path / "c.txt"))
    assert texts_of(tmp_path / "c.txt") == [" ".join(line.split()) for line in PLAIN[case].decode().splitlines()]
