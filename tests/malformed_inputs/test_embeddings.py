"""Bad embeddings beside captions, through the stage that reads them: a result without the bad rows, or one line that names the file."""

import io
import json
import struct
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.numpy import save

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json
from falcon_dvc.concepts.retrieval.index import read_captions
from stages import build_caption_index
from tests.support.outcomes import Read, Refused, Row, assert_refused, each
from tests.support.pickles import Explodes
from tests.support.stage_params import params_of
from tests.support.word_corpus import DIM, Words

TEXTS = ["a cat", "a dog", "a boat", "a car"]
GOOD = np.arange(1, 1 + len(TEXTS) * DIM, dtype=np.float32).reshape(len(TEXTS), DIM)


def npy(array: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, **options)
    return file.getvalue()


def header(text: str, body: bytes = GOOD.tobytes(), version: tuple[int, int] = (1, 0)) -> bytes:
    """An npy file with a header of one's own."""
    size = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + size + text.encode("latin-1") + body


def said(descr: str = "'<f4'", order: object = False, shape: object = (4, DIM), more: str = "") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}{more}}}\n"


def changed(row: int, value: float) -> np.ndarray:
    """Good embeddings but for one row."""
    array = GOOD.copy()
    array[row] = value
    return array


def safetensors(head: object, body: bytes = GOOD.tobytes()) -> bytes:
    """A safetensors file with a header of one's own."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + body


def tensor(shape: object = (4, DIM), offsets: object = (0, GOOD.nbytes), kind: str = "F32") -> dict:
    return {"e": {"dtype": kind, "shape": shape, "data_offsets": offsets}}


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, e=GOOD)
    return file.getvalue()


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("e.npy", bytes(10_000_000))
    return file.getvalue()


NO_FILE = Refused(r"e\.npy: not a readable file of embeddings \(.*\); save a two-dimensional float16 or float32 array")
NO_TENSORS = Refused(r"e\.safetensors: not a readable file of embeddings \(.*\); save a two-dimensional")
KIND = Refused(r"e\.npy: embeddings of shape .* and type .*; save a two-dimensional float16 or float32 array")
ALL = Read([0, 1, 2, 3])
NPY = [
    Row("zero bytes", npy(GOOD)[:0], NO_FILE),
    Row("only the mark", npy(GOOD)[:6], NO_FILE),
    Row("a header cut off", npy(GOOD)[:40], NO_FILE),
    Row("half of the rows", npy(GOOD)[:-GOOD.nbytes // 2], NO_FILE),
    Row("a byte less", npy(GOOD)[:-1], NO_FILE),
    Row("bytes behind the rows", npy(GOOD) + b"more", ALL),
    Row("text", b"1 2 3\n", NO_FILE),
    Row("an archive (.npz)", npz(), NO_FILE),
    Row("a packed archive", zipped(), NO_FILE),
    Row("a pickle with code", npy(np.array([[Explodes()]], dtype=object), allow_pickle=True), NO_FILE),
    Row("more rows than bytes", header(said(shape=(10**9, DIM))), NO_FILE),
    Row("more rows than numbers hold", header(said(shape=(2**62, 2**62))), NO_FILE),
    Row("fewer rows than none", header(said(shape=(-4, DIM))), NO_FILE),
    Row("a shape of text", header(said(shape="'4'")), NO_FILE),
    Row("a shape of truth values", header(said(shape=(True, DIM))), Refused("e.npy")),
    Row("an unknown order", header(said(order="'C'")), NO_FILE),
    Row("a key too many", header(said(more=", 'x': 1")), NO_FILE),
    Row("code in the header", header(said(descr="__import__('os').system('touch exploded')")), NO_FILE),
    Row("a header that is nested deep", header("{'descr': " + "(" * 5000 + ")" * 5000 + "}\n"), NO_FILE),
    Row("a header of a megabyte", header(said().rstrip() + " " * 1_000_000 + "\n", version=(2, 0)), NO_FILE),
    Row("an unknown type", header(said(descr="'<q9'")), NO_FILE),
    Row("a type of no bytes", header(said(descr="'|V0'")), Refused("e.npy")),
    Row("an unknown version", header(said(), version=(9, 0)), NO_FILE),
    Row("version 3", npy(GOOD, version=(3, 0)), ALL),
    Row("columns before rows", npy(np.asfortranarray(GOOD)), ALL),
    Row("big-endian", npy(GOOD.astype(">f4")), ALL),
    Row("half precision", npy(GOOD.astype(np.float16)), ALL),
    Row("double precision", npy(GOOD.astype(np.float64)), KIND),
    Row("whole numbers", npy(GOOD.astype(np.int64)), KIND),
    Row("complex numbers", npy(GOOD.astype(np.complex64)), KIND),
    Row("truth values", npy(GOOD > 3), KIND),
    Row("texts", npy(GOOD.astype(str)), KIND),
    Row("structures", npy(np.zeros((4, DIM), dtype=[("a", "f4"), ("b", "f4")])), KIND),
    Row("dates", npy(GOOD.astype("datetime64[s]")), KIND),
    Row("one dimension", npy(GOOD.ravel()), KIND),
    Row("three dimensions", npy(GOOD[None]), KIND),
    Row("no dimension", npy(np.float32(3)), KIND),
    Row("no width", npy(GOOD[:, :0]), KIND),
    Row("no rows", npy(GOOD[:0]), Refused(r"data\.caption_embeddings: .*e\.npy has 0 embeddings for 4 captions")),
    Row("another width", npy(GOOD[:, :-1]), Refused(rf"e\.npy: embeddings of width {DIM - 1}, but image_text has {DIM}; name the model")),
    Row("fewer rows than captions", npy(GOOD[:3]), Refused("e.npy has 3 embeddings for 4 captions; give one row for each caption in the same order, or list ids in the file")),
    Row("more rows than captions", npy(np.vstack([GOOD, GOOD])), Refused("e.npy has 8 embeddings for 4 captions")),
    Row("NaN in a row", npy(changed(1, np.nan)), Read([0, 2, 3])),
    Row("infinity in a row", npy(changed(1, np.inf)), Read([0, 2, 3])),
    Row("a row of zeros", npy(changed(1, 0)), Read([0, 2, 3])),
    Row("a row of the smallest numbers", npy(changed(1, 1e-45)), ALL),
    Row("a row of the largest numbers", npy(changed(1, 3e38)), ALL),
    Row("NaN everywhere", npy(np.full_like(GOOD, np.nan)), Refused("c.csv has 4 captions and no usable embedding for any of them")),
]  # fmt: skip
SAFETENSORS = [
    Row("zero bytes of safetensors", b"", NO_TENSORS),
    Row("a safetensors header cut off", safetensors(tensor())[:30], NO_TENSORS),
    Row("a safetensors header of 2^63 bytes", struct.pack("<Q", 2**63) + b"{}", NO_TENSORS),
    Row("a safetensors header that is no JSON", safetensors(b"{'e': 1}"), NO_TENSORS),
    Row("a safetensors header that is a list", safetensors([]), NO_TENSORS),
    Row("a safetensors header that is nested deep", safetensors(b"[" * 100_000), NO_TENSORS),
    Row("a safetensors header in UTF-16", safetensors(json.dumps(tensor()).encode("utf-16")), NO_TENSORS),
    Row("no tensor", safetensors({}, b""), Refused(r"no tensor is called embeddings, and 0 have two dimensions")),
    Row("rows outside the file", safetensors(tensor((8, DIM), (0, 2 * GOOD.nbytes))), NO_TENSORS),
    Row("a shape that does not fit its bytes", safetensors(tensor((5, DIM))), NO_TENSORS),
    Row("places that run backwards", safetensors(tensor(offsets=(GOOD.nbytes, 0))), NO_TENSORS),
    Row("places below zero", safetensors(tensor(offsets=(-8, GOOD.nbytes))), NO_TENSORS),
    Row("tensors that overlap", safetensors({**tensor(), "f": tensor()["e"]}), NO_TENSORS),
    Row("a hole between tensors", safetensors(tensor(offsets=(8, GOOD.nbytes + 8)), bytes(8) + GOOD.tobytes()), NO_TENSORS),
    Row("a shape whose product overflows", safetensors(tensor((2**33, 2**33))), NO_TENSORS),
    Row("an unknown type of tensor", safetensors(tensor(kind="F33")), NO_TENSORS),
    Row("tensors in double precision", save({"e": GOOD.astype(np.float64)}), Refused("e has the type F64")),
    Row("two tensors of two dimensions", save({"a": GOOD, "b": GOOD}), Refused("no tensor is called embeddings, and 2 have two dimensions")),
    Row("fewer ids than rows", save({"e": GOOD, "ids": np.arange(3)}), Refused(r"e\.safetensors: 4 embeddings, but ids of shape \(3,\)")),
    Row("ids of floats", save({"e": GOOD, "ids": np.arange(4.0)}), Refused("ids of shape .* and type float64; give one whole number a row")),
    Row("an id twice", save({"e": GOOD, "ids": np.array([0, 1, 1, 2])}), Refused("an id comes twice; give every caption one embedding")),
    Row("ids of no caption", save({"e": GOOD, "ids": np.array([0, 1, 2, 9])}), Refused("1 of 4 ids in .* name no caption, or several; list the id")),
    Row("ids below zero", save({"e": GOOD, "ids": np.array([0, 1, 2, -1])}), Refused("1 of 4 ids in .* name no caption")),
    Row("ids beyond 63 bits", save({"e": GOOD, "ids": np.array([0, 1, 2, 2**64 - 1], dtype=np.uint64)}), Refused("1 of 4 ids in .* name no caption")),
    Row("ids in another order", save({"e": GOOD, "ids": np.array([3, 2, 1, 0])}), ALL),
    Row("npy named .safetensors", npy(GOOD), NO_TENSORS),
]  # fmt: skip


@each(
    [
        *(Row(row.name, ("e.npy", row.make), row.expected) for row in NPY),
        *(Row(row.name, ("e.safetensors", row.make), row.expected) for row in SAFETENSORS),
    ]
)
def test_embeddings_of_captions(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name, content = row.make
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "c.csv").write_text("\n".join(["caption,n", *(f"{text},1" for text in TEXTS)]))
    (tmp_path / "corpus" / name).write_bytes(content)
    params = params_of({"data": {"captions": "corpus", "caption_embeddings": name}})
    if isinstance(row.expected, Refused):
        assert_refused(row.expected.words, lambda: build_caption_index.build(params, Words))
        assert not paths.CAPTIONS.exists()
    else:
        build_caption_index.build(params, Words)
        captions, embeddings, _ = read_captions()
        assert captions["caption"].tolist() == row.expected.value
        assert np.allclose(np.linalg.norm(embeddings[:], axis=1), 1)
        assert read_json(paths.metrics("captions"))["without_embedding"] == 4 - len(row.expected.value)
    assert not (tmp_path / "exploded").exists()


def metadata(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"caption": texts}), sink)
    return sink.getvalue().to_pybytes()


SHARDS = [
    Row("a shard of fewer captions", {"metadata_0.parquet": metadata(TEXTS[:3]), "text_emb_0.npy": npy(GOOD)}, Refused("metadata_0.parquet has 3 captions, but .*text_emb_0.npy has 4 embeddings; fetch the shard again")),
    Row("a shard of fewer embeddings", {"metadata_0.parquet": metadata(TEXTS), "text_emb_0.npy": npy(GOOD[:3])}, Refused("has 4 captions, but .* has 3 embeddings")),
    Row("a shard without captions", {"text_emb_0.npy": npy(GOOD)}, Refused("text_emb_0.npy has no partner with the number 0; give metadata_")),
    Row("a shard without embeddings", {"metadata_0.parquet": metadata(TEXTS), "text_emb_0.npy": npy(GOOD), "metadata_1.parquet": metadata(TEXTS)}, Refused("metadata_1.parquet has no partner with the number 1")),
    Row("shards of other numbers", {"metadata_0.parquet": metadata(TEXTS), "text_emb_1.npy": npy(GOOD)}, Refused("has no partner with the number 0")),
    Row("a shard without number", {"metadata_x.parquet": metadata(TEXTS), "text_emb_x.npy": npy(GOOD)}, Refused("metadata_x.parquet has no number")),
    Row("two shards of one number", {"metadata_0.parquet": metadata(TEXTS), "metadata_00.parquet": metadata(TEXTS), "text_emb_0.npy": npy(GOOD)}, Refused("have the same number")),
    Row("a shard whose captions are cut", {"metadata_0.parquet": metadata(TEXTS)[:-20], "text_emb_0.npy": npy(GOOD)}, Refused("metadata_0.parquet is not a readable table")),
    Row("a shard whose embeddings are cut", {"metadata_0.parquet": metadata(TEXTS), "text_emb_0.npy": npy(GOOD)[:-20]}, Refused("text_emb_0.npy: not a readable file of embeddings")),
    Row("a shard of nothing", {"metadata_0.parquet": metadata([]), "text_emb_0.npy": npy(GOOD[:0])}, Refused("metadata_0.parquet is empty")),
    Row("shards of two widths", {"metadata_0.parquet": metadata(TEXTS), "text_emb_0.npy": npy(GOOD), "metadata_1.parquet": metadata(TEXTS), "text_emb_1.npy": npy(GOOD[:, :3])}, Refused("text_emb_1.npy: embeddings of width 3, but image_text has")),
]  # fmt: skip


@each(SHARDS)
def test_shards_of_laion(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    for name, content in row.make.items():
        (tmp_path / "corpus" / name).write_bytes(content)
    assert_refused(
        row.expected.words, lambda: build_caption_index.build(params_of({"data": {"captions": "corpus"}}), Words)
    )
    assert not paths.CAPTIONS.exists()
