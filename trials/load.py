"""Measure time and memory of the stages that process features and captions, on a synthetic workspace of any size.

``python -m trials.load --folder FOLDER`` is 50 000 images of 2048 features and a million captions: 6 GB of disk. Each stage
runs in a process of its own; its memory is watched from outside. What a stage may take is `MEMORY`, which docs/memory.md shows.
"""

import json
import math
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import typer

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import (
    allocated,
    finished,
    read_array,
    read_json,
    read_table,
    write_array,
    write_json,
    write_table,
    write_text,
)
from falcon_dvc.concepts.retrieval.nearest import CROPS_AT_ONCE
from falcon_dvc.concepts.scoring.corpus import CAPTIONS_AT_ONCE, read_corpus
from falcon_dvc.concepts.words.parsing import _lexicon
from falcon_dvc.crops.boxes import boxes_by_role, crop_table
from falcon_dvc.crops.heatmaps import CROPS_AT_ONCE as BOXES_AT_ONCE
from falcon_dvc.crops.heatmaps import CropRule, as_bytes, crop_boxes, empty, group_heatmaps
from falcon_dvc.evaluation.ground_truth import attributes_table
from falcon_dvc.groups import image_sets
from falcon_dvc.params.load import merge, read_yaml, validated
from falcon_dvc.params.schema import Params
from falcon_dvc.synthetic.captions import lexicon
from falcon_dvc.synthetic.scenes.scenes import draw_attributes
from falcon_dvc.transfer import fit
from falcon_dvc.transfer.agreement import nearest_feature
from falcon_dvc.transfer.spaces import fit_maps
from stages import (
    analyse_groups,
    build_caption_index,
    evaluate_concepts,
    find_groups,
    measure_explainability,
    measure_quantiles,
    mine_crops,
    parse_captions,
    score_concepts,
    transfer,
)

ROOT = Path(__file__).resolve().parents[1]

EXPLAINED, UNSEEN = "supervised", "simclr"
UNIT = 10_000  # captions or images that are made together
WORDS = 10_000  # of the captions' vocabulary, in addition to the words of the synthetic data set
GRID = 7  # cells a side of a synthetic activation map
MAPPED = 500  # images that have one; the others take theirs from these, in turn
OF_AN_IMAGE, LEAST_MENTIONS = 5, 10  # captions of a whole image; captions of a word that has an embedding
LIMIT_GB = 8.0
TABLE = "<!-- table: trials/load.py --doc -->", "<!-- end -->"
MADE = Path(".made")  # marks a workspace that is complete
EVERY, LOOKS = 0.01, 5000  # seconds between two looks at a process, at least; looks by which a long one is divided
FORK = multiprocessing.get_context(
    "fork"
)  # what is imported is imported once, and every stage starts from the same memory

# Peak of each stage's own memory in bytes: what multiplies each product of sizes. See `sizes` for the letters. Terms follow from the
# arrays of the code, constants from measurements, rounded up; tests/trials/test_load.py holds the stages to them at two sizes.
MEMORY: dict[str, dict[str, float]] = {
    "build_caption_index": {"": 165e6, "C": 200, "B": 1000},
    "parse_captions": {"": 250e6, "C": 1000, "B": 3000},
    "find_groups": {"": 168e6, "N r": 22, "N S": 50, "r r": 16},
    "mine_crops": {"": 165e6, "J": 22000, "K": 2900},
    "score_concepts": {"": 450e6, "T": 18, "C": 1000, "K": 500, "K d": 8},
    "analyse_groups": {"": 255e6, "N S": 60, "H r": 32, "H": 24000, "N": 4000, "C": 1000},
    "measure_explainability": {"": 178e6, "K d": 16, "G": 16000, "M M": 600, "M d": 100},
    "evaluate_concepts": {"": 325e6, "T": 18, "C": 1000, "K": 500, "K d": 8, "H r": 64, "G W": 24},
    "measure_quantiles": {"": 200e6, "C": 1000, "N": 1000, "H": 1000, "H S": 60, "S W": 60},
    "transfer": {"": 165e6, "N r": 60, "N": 5000, "r r": 80},
}


# The params that hold a stage's memory down.
BOUNDED = {
    "build_caption_index": "the corpus",
    "parse_captions": "the corpus",
    "find_groups": "images and features; `find_groups.max_candidates`",
    "mine_crops": "`find_groups.max_images`, `low_images`, `random_images`",
    "score_concepts": "the corpus; `find_groups.max_images`, `concepts.captions_per_image`",
    "analyse_groups": "`data.heldout`, `analyse_groups.bootstrap`",
    "measure_explainability": "`find_groups.max_images`, `measure_explainability.null_sets`",
    "evaluate_concepts": "as `score_concepts`; held-out images",
    "measure_quantiles": "the corpus; held-out images",
    "transfer": "images and features; `transfer.permutations` (16 r·r each)",
}


@dataclass(frozen=True)
class Size:
    """How large the workspace is.

    Attributes
    ----------
    images : that are explained; a fifth as many are held out besides.
    crops : highly activating images of a feature or group, at most (find_groups.max_images).
    """

    images: int
    features: int
    captions: int
    dim: int
    crops: int
    seed: int = 0

    @property
    def heldout(self) -> int:
        return self.images // 5


class Nothing:
    """A placeholder for the image-text encoder: the embeddings come with the corpus."""

    fingerprint, preprocessing = "synthetic", "none"

    def __init__(self, dim: int) -> None:
        self.dim = dim


def main(
    folder: Annotated[Path, typer.Option(help="Where the workspace is made; it is deleted afterwards.")],
    images: Annotated[int, typer.Option(min=500, help="Images that are explained.")] = 50_000,
    features: Annotated[int, typer.Option(min=8)] = 2048,
    captions: Annotated[int, typer.Option(min=500)] = 1_000_000,
    dim: Annotated[int, typer.Option(min=2, help="Width of the embeddings.")] = 256,
    crops: Annotated[int, typer.Option(min=8, help="Crops of a feature or group, at most.")] = 160,
    out: Annotated[Path | None, typer.Option(help="JSON file of the results; other stages' in it are kept.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Stages to run; all of them if not given.")] = None,
    doc: Annotated[Path | None, typer.Option(help="Document whose table is written from --out at the end.")] = None,
    keep: Annotated[bool, typer.Option(help="Leave the workspace: a later run with it goes on there.")] = False,
) -> None:
    """Make a workspace, run the stages on it, and print time and memory of each."""
    if unknown := set(only or ()) - set(STAGES):
        raise typer.BadParameter(f"no such stage: {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    size, file = Size(images, features, captions, dim, crops), out and out.resolve()
    found = measured(folder.resolve(), size, only or list(STAGES), lambda some: file and _add(file, some))
    if not keep:
        shutil.rmtree(folder)
    if doc is not None and file is not None:
        write_document(doc, read_json(file))
    typer.echo(as_markdown(found))


def measured(folder: Path, size: Size, names: list[str], tell: Callable[[dict], object] = lambda _: None) -> dict:
    """Make a workspace in `folder`, unless there is one, and run stages there: time, memory, and what `MEMORY` allows.

    Parameters
    ----------
    tell : is given what has been found after every stage.
    """
    folder.mkdir(parents=True, exist_ok=True)
    back, found = Path.cwd(), {}
    os.chdir(folder)
    try:
        if not MADE.exists():
            _watched(lambda: _make(size))
        for name in names:
            found[name] = _watched(lambda stage=STAGES[name]: stage(_params(size)))
            if name == "find_groups":
                _watched(lambda: _make_crops(size))
                _watched(lambda: _make_image_captions(size))
            typer.echo(f"{name}: {json.dumps(found[name])}", err=True)
            tell(_judged(found, sizes(size)))
        return _judged(found, sizes(size))
    finally:
        os.chdir(back)


def _add(file: Path, found: dict) -> None:
    """Write the results of some stages into a file, beside those of other stages."""
    stages = (read_json(file)["stages"] if file.exists() else {}) | found["stages"]
    write_json(file, _judged({name: stages[name] for name in STAGES if name in stages}, found["sizes"]))


def _judged(found: dict[str, dict], letters: dict[str, int]) -> dict:
    """Beside what was measured, what is allowed, and whether it keeps within the limit."""
    stages = {
        name: one
        | {
            "allowed_mb": round(allowed_bytes(name, letters) / 1e6),
            "within_limit": one["peak_mb"] <= LIMIT_GB * 1000,
        }
        for name, one in found.items()
    }
    return {"sizes": letters, "stages": stages}


# ---- Memory: what is allowed, what is taken


def sizes(size: Size) -> dict[str, int]:
    """Return the letters of `MEMORY`, of the workspace that is the working folder.

    N images explained, H held out, r features, d width of the embeddings, C captions, W their different words, G groups, K crops,
    M of them of one group at most. B captions, S groups, J heatmaps, T pairs of a crop and a caption are handled together: constants
    of the stages once there are as many.
    """
    some = _params(size).find_groups
    groups = _rows(paths.groups(EXPLAINED) / "groups.parquet", size.features + some.max_groups)
    expected = groups * (some.max_images + some.low_images) + size.features * some.random_images
    crops = _rows(paths.crops(EXPLAINED) / "crops.parquet", expected)
    return {
        "N": size.images,
        "H": size.heldout,
        "r": size.features,
        "d": size.dim,
        "C": size.captions,
        "G": groups,
        "K": crops,
        "J": min(crops, BOXES_AT_ONCE),
        "B": min(size.captions, parse_captions.CAPTIONS_AT_ONCE),
        "W": _words(),
        "M": size.crops,
        "S": min(groups, image_sets.GROUPS_AT_ONCE),
        "T": min(size.captions, CAPTIONS_AT_ONCE) * min(crops, CROPS_AT_ONCE),
    }


def _rows(path: Path, expected: int) -> int:
    """Return the number of rows of a table, or the expected number if the table does not exist."""
    return pq.read_metadata(path).num_rows if path.exists() else expected


def _words() -> int:
    """Return the number of different words of the corpus; all words of the vocabulary before it is parsed."""
    if not paths.MENTIONS.exists():
        return WORDS + len(lexicon())
    # In parts: the stages are forked from this process, and what it held would count as theirs.
    with pq.ParquetFile(paths.MENTIONS) as table:
        words = (
            part.filter(pc.equal(part["kind"], "word"))["concept"]
            for part in table.iter_batches(columns=["kind", "concept"])
        )
        return len({word for some in words for word in pc.unique(some).to_pylist()})


def allowed_bytes(name: str, letters: dict[str, int]) -> float:
    """Return the memory of a stage by the formula `MEMORY`."""
    return sum(factor * math.prod(letters[letter] for letter in term.split()) for term, factor in MEMORY[name].items())


def _watched(work: Callable[[], object]) -> dict[str, float]:
    """Do some work in a process of its own: seconds, peak of its own (anonymous) memory, and of all, file pages included, in MB.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    process = FORK.Process(target=work)
    start, own, everything = time.perf_counter(), 0, 0
    process.start()
    while process.exitcode is None:
        status = _status(process.pid)
        own, everything = max(own, status.get("RssAnon", 0)), max(everything, status.get("VmHWM", 0))
        process.join(max(EVERY, (time.perf_counter() - start) / LOOKS))
    if process.exitcode:
        raise RuntimeError(f"a stage ended with {process.exitcode}")
    seconds = time.perf_counter() - start
    return {"seconds": round(seconds, 2), "peak_mb": round(own / 1e3, 1), "with_files_mb": round(everything / 1e3, 1)}


def _status(pid: int | None) -> dict[str, int]:
    """Return the numbers of a process's memory, in KB; none once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split(":", 1) for line in lines if line.startswith(("RssAnon", "VmHWM")))
    return {name: int(value.split()[0]) for name, value in pairs}


# ---- The stages


def _params(size: Size) -> Params:
    """Return the project's params with this corpus, the requested number of crops, and fewer repetitions."""
    content = read_yaml(ROOT / "params.yaml")
    merge(
        content,
        {
            "data": {"captions": "corpus", "caption_format": "laion"},
            "find_groups": {
                "max_images": size.crops,
                "low_images": max(size.crops // 4, 1),
                "random_images": max(size.crops // 8, 2),
            },
            "transfer": {"permutations": 2, "curve": {"images": [1000], "draws": 1}},
        },
    )
    return validated(content)


def _build_caption_index(params: Params) -> None:
    dim = read_array("corpus/text_emb_0.npy").shape[1]
    build_caption_index.build(params, lambda: Nothing(dim))


def _mine_crops(params: Params) -> None:
    """Run the part of the stage that needs neither images nor an encoder: heatmaps and boxes of all crops."""
    images, sets = read_table(paths.IMAGES), read_table(paths.groups(EXPLAINED) / "sets.parquet")
    rows = pd.Index(images["image"]).get_indexer(sets["image"])
    members = mine_crops._members(EXPLAINED, sets)
    heatmaps = group_heatmaps(read_array("maps.npy"), rows % MAPPED, members)
    fields = np.tile(np.array([0, 0, 224, 224], dtype=np.int32), (len(rows), 1))
    shape = images["height"].to_numpy()[rows], images["width"].to_numpy()[rows]
    some = params.mine_crops
    boxes = crop_boxes(heatmaps, fields, shape, CropRule(some.crop, some.threshold, some.margin, some.min_size))
    boxes = boxes_by_role(sets, boxes, shape, some.low_crops)
    write_table("crops.parquet", crop_table(sets, boxes, empty(heatmaps)))
    as_bytes(heatmaps)


def _transfer(params: Params) -> None:
    """Run the maps and their measurements, without explaining the selected images, which needs images and an encoder."""
    settings = params.transfer
    spaces = transfer._read(EXPLAINED, UNSEEN)
    maps = fit_maps(spaces, settings)
    nearest_feature(spaces, maps, np.arange(spaces.unseen.shape[1]))
    fit.curve_by_images(spaces, maps, settings)
    fit.curve_by_rank(spaces, maps, settings)
    fit.fit_metrics(spaces, maps, settings)
    fit.control_metrics(spaces, maps, settings)


STAGES: dict[str, Callable[[Params], None]] = {
    "build_caption_index": _build_caption_index,
    "parse_captions": parse_captions.run,
    "find_groups": lambda params: find_groups.run(params, EXPLAINED),
    "mine_crops": _mine_crops,
    "score_concepts": lambda params: score_concepts.run(params, EXPLAINED),
    "analyse_groups": lambda params: analyse_groups.run(params, EXPLAINED),
    "measure_explainability": lambda params: measure_explainability.run(params, EXPLAINED),
    "evaluate_concepts": lambda params: evaluate_concepts.run(params, EXPLAINED),
    "measure_quantiles": lambda params: measure_quantiles.run(params, EXPLAINED),
    "transfer": _transfer,
}


# ---- The workspace


def _make(size: Size) -> None:
    """Images with attributes, features that see them, captions that name them."""
    attributes = _make_images(size)
    for number, name in enumerate((EXPLAINED, UNSEEN)):
        _make_features(name, attributes, size, number)
    _make_maps(size)
    _make_captions(size)
    MADE.touch()


def _make_images(size: Size) -> np.ndarray:
    """Return the tables of images, attributes and words; which image has which attribute."""
    count = size.images + size.heldout
    attributes = draw_attributes(count, np.random.default_rng([size.seed, 0]))
    split = np.where(np.arange(count) < size.images, "probe", "test")
    image = [f"{part}-{row:06d}" for row, part in enumerate(split)]
    keys = pd.DataFrame({"image": image, "split": split})
    write_table(paths.IMAGES, keys.assign(label=attributes["object"], width=224, height=224))
    write_table(paths.SCENES / "attributes.parquet", pd.concat([keys, attributes], axis=1))
    write_table(paths.SCENES / "lexicon.parquet", lexicon())
    return attributes_table(attributes).to_numpy(dtype=np.float32)


def _make_features(name: str, attributes: np.ndarray, size: Size, number: int) -> None:
    """Features that are never negative; each follows one attribute, in noise."""
    seen = np.arange(size.features) % attributes.shape[1]
    path = paths.activations(name) / "features.npy"
    with _filled_in(path, (len(attributes), size.features)) as features:
        for start in range(0, len(attributes), UNIT):
            rng, part = np.random.default_rng([size.seed, 1 + number, start]), attributes[start : start + UNIT][:, seen]
            noise = rng.standard_normal(part.shape, dtype=np.float32)
            features[start : start + UNIT] = np.maximum(part + 0.5 * noise, 0)


def _make_maps(size: Size) -> None:
    """Write a few activation maps in the format of the encoders."""
    rng = np.random.default_rng([size.seed, 3])
    with _filled_in("maps.npy", (MAPPED, size.features, GRID, GRID), np.float16) as maps:
        for row in range(MAPPED):
            maps[row] = rng.standard_normal(maps.shape[1:], dtype=np.float32)


@contextmanager
def _filled_in(path: str | Path, shape: tuple[int, ...], dtype: type = np.float32) -> Iterator[np.ndarray]:
    """A ``.npy`` file of known shape, to be filled in."""
    with finished(path) as name:
        yield allocated(name, shape, dtype)


def _vocabulary(size: Size) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """Return nouns (those of the synthetic data set first), adjectives, and a direction of each."""
    rng, known = np.random.default_rng([size.seed, 4]), sorted(_lexicon().items())
    by_tag = {
        tag: [word for word, its in known if its == tag and word.isalpha() and len(word) > 3] for tag in ("NN", "JJ")
    }
    nouns = list(lexicon()["word"]) + list(rng.permutation(by_tag["NN"])[: WORDS * 7 // 10])
    adjectives = list(rng.permutation(by_tag["JJ"])[: WORDS * 3 // 10])
    directions = (rng.standard_normal((len(words), size.dim), dtype=np.float32) for words in (nouns, adjectives))
    return nouns, adjectives, *directions


def _make_captions(size: Size) -> None:
    """Write a shard in LAION's format: captions of words with Zipf frequencies, each embedded near its words."""
    Path("corpus").mkdir()
    nouns, adjectives, *directions = _vocabulary(size)
    schema, shape = pa.schema([("caption", pa.string())]), (size.captions, size.dim)
    with (
        Path("corpus/text_emb_0.npy").open("wb") as embeddings,
        pq.ParquetWriter("corpus/metadata_0.parquet", schema) as metadata,
    ):
        header = {"descr": "<f2", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(embeddings, header)
        for first in range(0, size.captions, UNIT):
            count, rng = min(UNIT, size.captions - first), np.random.default_rng([size.seed, 5, first])
            noun, adjective = _zipf(len(nouns), (count, 3), rng), _zipf(len(adjectives), (count, 2), rng)
            vectors = directions[0][noun].sum(axis=1) + directions[1][adjective].sum(axis=1)
            vectors += rng.standard_normal(vectors.shape, dtype=np.float32)
            embeddings.write(_unit(vectors).astype("<f2").tobytes())
            texts = list(_sentences(nouns, adjectives, noun, adjective))
            metadata.write_table(pa.table({"caption": texts}, schema=schema))


def _zipf(words: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return words drawn so that the n-th has a probability in proportion to 1 / n."""
    reach = np.cumsum(1 / np.arange(1, words + 1))
    return np.searchsorted(reach, rng.random(shape) * reach[-1])


def _sentences(nouns: list[str], adjectives: list[str], noun: np.ndarray, adjective: np.ndarray) -> Iterator[str]:
    for (one, two, three), (first, second) in zip(noun.tolist(), adjective.tolist(), strict=True):
        yield f"a {adjectives[first]} {nouns[one]} with a {nouns[two]} on the {adjectives[second]} {nouns[three]}"


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _make_crops(size: Size) -> None:
    """What `mine_crops` leaves: boxes, and embeddings near the word for what the group's first member sees."""
    sets = read_table(paths.groups(EXPLAINED) / "sets.parquet")
    groups = read_table(paths.groups(EXPLAINED) / "groups.parquet").set_index("group")
    rng = np.random.default_rng([size.seed, 6])
    side, corner = rng.integers(60, 160, len(sets)), rng.integers(0, 60, (2, len(sets)))
    boxes = {"left": corner[0], "top": corner[1], "right": corner[0] + side, "bottom": corner[1] + side, "empty": False}
    write_table(paths.crops(EXPLAINED) / "crops.parquet", sets[["group", "role", "rank", "image"]].assign(**boxes))
    feature = groups["members"].str.split().str[0].astype(int)[sets["group"]].to_numpy()
    directions = _vocabulary(size)[2]
    word = np.where(sets["role"] == "high", feature, rng.integers(0, size.features, len(sets))) % len(lexicon())
    path = paths.crops(EXPLAINED) / "embeddings.npy"
    with _filled_in(path, (len(sets), size.dim)) as embeddings:
        for start in range(0, len(sets), UNIT):
            part = directions[word[start : start + UNIT]]
            embeddings[start : start + UNIT] = _unit(part + rng.standard_normal(part.shape, dtype=np.float32))
    write_json(paths.crops(EXPLAINED) / "embeddings.json", {"image_text": Nothing.fingerprint, "preprocessing": "none"})


def _make_image_captions(size: Size) -> None:
    """What `caption_images` leaves: captions of each whole image at random, and embeddings of images and words."""
    corpus, rng, count = read_corpus(), np.random.default_rng([size.seed, 7]), size.images + size.heldout
    folder, words = paths.IMAGE_CAPTIONS, corpus.frequent_words(LEAST_MENTIONS)
    write_array(folder / "captions.npy", rng.choice(corpus.mentions.captions, (count, OF_AN_IMAGE)))
    write_array(folder / "weights.npy", np.sort(rng.dirichlet(np.ones(OF_AN_IMAGE), count))[:, ::-1])
    for path, rows in ((paths.IMAGE_EMBEDDINGS / "embeddings.npy", count), (folder / "words.npy", len(words))):
        write_array(path, _unit(rng.standard_normal((rows, size.dim), dtype=np.float32)))
    write_table(folder / "words.parquet", pd.DataFrame({"concept": words, "word": corpus.vocabulary[words]}))


def formula(name: str) -> str:
    """Return what `MEMORY` says of a stage, to read: bytes."""
    terms = {term.replace(" ", "·"): factor for term, factor in MEMORY[name].items()}
    return " + ".join(f"{factor:g} {term}" if term else f"{factor / 1e6:g} MB" for term, factor in terms.items())


def documented(found: dict) -> str:
    """Return the table of docs/memory.md; a stage that was not run at this size says so."""
    rows = [f"| `{name}` | {formula(name)} | {_shown(found, name)} | {BOUNDED[name]} |" for name in STAGES]
    head = ["| stage | bytes | by the formula | measured peak | time | bounded by |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *rows])


def _shown(found: dict, name: str) -> str:
    """Return what the formula says for these sizes, and what was measured."""
    allowed, one = f"{allowed_bytes(name, found['sizes']) / 1e6:.0f} MB", found["stages"].get(name)
    return f"{allowed} | {one['peak_mb']:.0f} MB | {one['seconds']:.0f} s" if one else f"{allowed} | not measured | "


def write_document(path: Path, found: dict) -> None:
    """Replace the table in docs/memory.md."""
    before, rest = path.read_text(encoding="utf-8").split(TABLE[0])
    _, after = rest.split(TABLE[1])
    write_text(path, f"{before}{TABLE[0]}\n\n{documented(found)}\n\n{TABLE[1]}{after}")


def as_markdown(found: dict) -> str:
    """Return the results as a table."""
    lines = [
        "sizes: " + ", ".join(f"{letter} = {value}" for letter, value in found["sizes"].items()),
        "",
        "| stage | seconds | peak MB | with file pages | allowed MB | within 8 GB |",
        "|---|---|---|---|---|---|",
    ]
    for name, one in found["stages"].items():
        numbers = (one[key] for key in ("seconds", "peak_mb", "with_files_mb", "allowed_mb"))
        cells = [name, *(f"{number:.0f}" for number in numbers), "yes" if one["within_limit"] else "NO"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    typer.run(main)
