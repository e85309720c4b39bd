"""The index of every kind of corpus: what is written, where captions come from, and that the search is the same however it is divided."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_json, read_table, write_array, write_table
from falcon_dvc.concepts.retrieval import write_index
from falcon_dvc.concepts.retrieval.index import read_captions
from falcon_dvc.concepts.scoring.corpus import crop_embeddings, read_corpus
from falcon_dvc.errors import UserError
from falcon_dvc.params.load import merge, read_yaml, validated
from stages import build_caption_index, parse_captions, score_concepts
from tests.support.caption_files import write_coco, write_csv, write_shard
from tests.support.paths import ROOT
from tests.support.word_corpus import CAPTIONS, DIM, Words, crops, vectors, write_groups


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build_caption_index, "load_image_text", lambda *_: Words())
    monkeypatch.setattr(build_caption_index, "best_device", lambda *_: "cpu")
    return tmp_path


def params_of(captions, index=None, **data):
    content = read_yaml(ROOT / "params.yaml")
    concepts = {"ranking": "score", "contrast": "relative"}
    merge(
        content, {"data": {"captions": str(captions), **data}, "build_caption_index": index or {}, "concepts": concepts}
    )
    return validated(content)


def built(captions, index=None, **data):
    """The corpus, indexed and parsed."""
    params = params_of(captions, index, **data)
    build_caption_index.run(params)
    parse_captions.run(params)
    return read_corpus(), params


def write_laion(folder, parts, texts=CAPTIONS):
    for number, part in enumerate(np.array_split(np.array(texts, dtype=object), parts)):
        write_shard(folder, number, part.tolist(), (3 * vectors(part)).astype(np.float16))
    return folder


def test_a_text_file_has_captions_embeddings_and_what_they_were_made_of(here):
    (here / "c.txt").write_text("\n".join(["a cat", "", "a dog", "a cat"]))
    build_caption_index.run(params_of(here / "c.txt"))
    assert sorted(path.name for path in paths.CAPTIONS.iterdir()) == [
        "captions.parquet",
        "embeddings.npy",
        "index.json",
    ]
    expected = pd.DataFrame({"caption": [0, 2], "text": ["a cat", "a dog"], "copies": [2, 1]})
    write_table("expected.parquet", expected)
    write_array("expected.npy", vectors(expected["text"]))
    assert (paths.CAPTIONS / "captions.parquet").read_bytes() == (here / "expected.parquet").read_bytes()
    assert (paths.CAPTIONS / "embeddings.npy").read_bytes() == (here / "expected.npy").read_bytes()
    index = read_json(paths.CAPTIONS / "index.json")
    assert len(index.pop("corpus")) == 64
    assert index == {
        "image_text": "words:1",
        "captions": 2,
        "dim": DIM,
        "preprocessing": "none",
        "files": [str(here / "c.txt")],
    }
    assert read_json(paths.metrics("captions")) == {
        "captions": 2,
        "duplicates": 1,
        "empty": 1,
        "cut": 0,
        "undecodable": 0,
        "dropped_share": {"captions": 0.25},
        "dropped_more_than_1_percent": 1,
    }


def test_captions_are_accounted_for_to_the_last_row(here):
    (here / "c.txt").write_bytes(
        "\n".join(["a cat", "", "of the", "a cat", "x" * 20_000, "a d\xf6g"]).encode("latin-1")
    )
    indexed = build_caption_index.run(params_of(here / "c.txt"))
    assert indexed.read == {"captions": 6} and indexed.dropped["captions"]["without text"] == 1
    assert list(indexed.noted.values()) == [1, 1, 1, 0], "merged, cut, with bytes that are not UTF-8, with line ends"
    (kept, embedded) = indexed.wrote.values()
    assert kept == embedded == 6 - 1 - 1
    parsed = parse_captions.run(params_of(here / "c.txt"))
    mentions = read_table(paths.MENTIONS)
    without = 4 - mentions["caption"].nunique()
    assert parsed.read == {"captions": kept} and sum(parsed.dropped["captions"].values()) == without >= 1
    assert sum(parsed.wrote.values()) == len(mentions)
    metrics = read_json(paths.metrics("parsed"))
    assert metrics["captions"] == 4 and metrics["mentions"] == sum(parsed.wrote.values())
    assert metrics["dropped_share"] == {"captions": without / 4} and metrics["dropped_more_than_1_percent"] == 1


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_captions_embedded_in_parts_are_the_same(here, monkeypatch, rows):
    write_csv(here / "c.csv", CAPTIONS)
    monkeypatch.setattr(write_index, "ROWS_AT_ONCE", rows)
    monkeypatch.setattr(parse_captions, "CAPTIONS_AT_ONCE", rows)
    corpus, _ = built(here / "c.csv")
    assert np.array_equal(corpus.embeddings, vectors(CAPTIONS))
    assert corpus.captions["caption"].tolist() == list(range(len(CAPTIONS)))
    mentioned = corpus.mentions.incidence[[0]].indices
    assert set(corpus.vocabulary[mentioned]) >= {"boat", "red", "red boat"}


def test_parsing_in_parts_gives_the_same_mentions(here, monkeypatch):
    write_csv(here / "c.csv", CAPTIONS)
    whole, _ = built(here / "c.csv")
    mentions = pd.read_parquet(paths.MENTIONS)
    monkeypatch.setattr(parse_captions, "CAPTIONS_AT_ONCE", 7)
    parted, _ = built(here / "c.csv")
    pd.testing.assert_frame_equal(pd.read_parquet(paths.MENTIONS), mentions)
    assert np.array_equal(whole.vocabulary, parted.vocabulary)
    assert (whole.mentions.incidence != parted.mentions.incidence).nnz == 0


def test_coco_captions_say_where_they_came_from(here):
    write_coco(here / "c.json", ["a cat", "a dog"], [33, 7])
    build_caption_index.run(params_of(here / "c.json"))
    table = pd.read_parquet(paths.CAPTIONS / "captions.parquet")
    assert table[["file", "row", "id"]].to_numpy().tolist() == [[0, 0, 33], [0, 1, 7]]
    index = read_json(paths.CAPTIONS / "index.json")
    assert index["files"] == [str(here / "c.json")] and len(index["corpus"]) == 64 and index["preprocessing"] == "none"


def test_embeddings_of_laion_stay_where_they_are(here):
    corpus, _ = built(write_laion(here / "laion", 3))
    assert sorted(path.name for path in paths.CAPTIONS.iterdir()) == ["captions.parquet", "index.json"]
    assert np.allclose(corpus.embeddings[:], vectors(CAPTIONS), atol=2e-3)
    index = read_json(paths.CAPTIONS / "index.json")
    assert [one["rows"] for one in index["embeddings"]] == [64, 64, 64]
    assert read_json(paths.metrics("captions"))["without_embedding"] == 0


def test_the_search_is_the_same_for_any_number_of_shards(here):
    texts = [*CAPTIONS, *CAPTIONS[::3], "", "a red boat near the pier"]
    found = []
    for parts in (1, 3, 10):
        corpus, params = built(write_laion(here / f"laion{parts}", parts, texts))
        captioned = corpus.captioned(crops(), params.concepts)
        found.append(
            (
                captioned.captions.tolist(),
                captioned.weights.tolist(),
                read_json(paths.CAPTIONS / "index.json")["corpus"],
            )
        )
    assert found[0] == found[1] == found[2]


def test_embeddings_that_changed_since_are_refused(here):
    built(write_laion(here / "laion", 2))
    np.save(here / "laion" / "text_emb_0.npy", np.ones((2, DIM), dtype=np.float16))
    with pytest.raises(UserError, match=r"text_emb_0\.npy: 2 embeddings, 96 when indexed"):
        read_captions()


def test_embeddings_given_beside_a_table_are_used_as_they_are(here):
    (here / "corpus").mkdir()
    write_csv(here / "corpus" / "c.csv", CAPTIONS)
    np.save(here / "corpus" / "e.npy", 2 * vectors(CAPTIONS)[::-1].astype(np.float32))
    corpus, _ = built(here / "corpus", caption_embeddings="e.npy")
    assert np.allclose(corpus.embeddings[:], vectors(CAPTIONS)[::-1], atol=1e-6)


APPROXIMATE = {"index": "ivf", "nlist": 8, "nprobe": 8, "train": 200}


def test_an_approximate_index_is_held_against_the_exact_search_on_crops(here):
    laion = write_laion(here / "laion", 3)
    write_groups(crops())
    corpus, params = built(laion)
    exact = corpus.captioned(crops(), params.concepts)
    score_concepts.run(params, "e")
    assert "recall_at_5" not in read_json(paths.metrics("concepts_e"))
    for index in (APPROXIMATE, {"index": "sq"}):
        corpus, params = built(laion, index)
        assert corpus.captioned(crops(), params.concepts).captions.tolist() == exact.captions.tolist()
        score_concepts.run(params, "e")
        assert read_json(paths.metrics("concepts_e"))["recall_at_5"] == 1
    assert read_json(paths.CAPTIONS / "index.json")["approximate"]["index"] == "sq"


def test_an_index_that_finds_too_little_stops_the_run(here):
    write_groups(crops())
    _, params = built(write_laion(here / "laion", 1), {**APPROXIMATE, "nlist": 64, "nprobe": 1, "train": 200})
    with pytest.raises(UserError, match=r"^build_caption_index\.least_recall: [^\n]*finds 0\.\d+ of [^\n]* 40 crops"):
        score_concepts.run(params, "e")


def test_the_recall_is_measured_on_a_seeded_sample(here):
    corpus, params = built(
        write_laion(here / "laion", 1),
        {**APPROXIMATE, "nlist": 64, "nprobe": 4, "least_recall": 0.0, "recall_crops": 5},
    )
    settings = params.build_caption_index
    of = [corpus.recall_of_index(crops(200), settings.model_copy(update={"seed": seed})) for seed in (0, 0, 1, 2, 3)]
    assert of[0] == of[1] and len(set(of)) > 1


def test_more_lists_than_captions_are_one_clear_line(here):
    with pytest.raises(UserError, match=r"^build_caption_index\.nlist: 1024 lists for 192 captions"):
        build_caption_index.run(params_of(write_laion(here / "laion", 1), {"index": "ivf"}))


def test_an_approximate_index_cannot_normalise_over_the_corpus(here):
    corpus, params = built(write_laion(here / "laion", 1), {"index": "sq"})
    settings = params.concepts.model_copy(update={"normaliser": "corpus"})
    with pytest.raises(UserError, match=r"^concepts\.normaliser: corpus needs"):
        corpus.captioned(crops(), settings)


def test_an_index_of_other_captions_is_refused(here):
    built(write_laion(here / "laion", 1), {"index": "sq"})
    kept = (paths.CAPTIONS / "index.faiss").read_bytes()
    built(write_laion(here / "less", 1, CAPTIONS[:50]), {"index": "sq"})
    (paths.CAPTIONS / "index.faiss").write_bytes(kept)
    with pytest.raises(UserError, match="192 captions, but 50"):
        read_corpus()
    (paths.CAPTIONS / "index.faiss").write_bytes(b"nothing")
    with pytest.raises(UserError, match="not a readable index"):
        read_corpus()


def test_crops_of_another_model_are_refused(here):
    corpus, params = built(write_laion(here / "laion", 1))
    write_groups(crops(), "words:1")
    assert np.array_equal(crop_embeddings("e", corpus), crops())
    for other in ("words:2", None):
        write_groups(crops(), other)
        with pytest.raises(
            UserError, match=r"embeddings\.npy: embedded by [^\n]*, but the captions in [^\n]* by words:1"
        ):
            score_concepts.run(params, "e")
    (paths.crops("e") / "embeddings.json").unlink()
    with pytest.raises(UserError, match=r"embeddings\.json: not readable JSON [^\n]*run `dvc repro`"):
        score_concepts.run(params, "e")


def test_the_index_is_strict_json(here):
    built(write_laion(here / "laion", 2), {"index": "sq"})
    json.loads((paths.CAPTIONS / "index.json").read_text(), parse_constant=pytest.fail)


def test_a_corpus_of_one_caption_is_said_and_so_are_its_few_words(here):
    (here / "one.txt").write_text("a boat\na boat\n")
    params = params_of(here / "one.txt")
    assert build_caption_index.run(params).lacking[0].startswith("the corpus has only 1 different caption, ")
    assert parse_captions.run(params).lacking[0].startswith("the captions have only 1 different word, ")
    assert read_json(paths.metrics("parsed"))["different_words"] == 1


def test_a_corpus_of_junk_words_is_refused_with_the_params_that_call_them_junk(here):
    (here / "junk.txt").write_text("stock photo\nfree wallpaper hd\n")
    build_caption_index.run(params_of(here / "junk.txt"))
    with pytest.raises(UserError, match=r"no caption holds a noun.*\(2 captions were read\).*parse_captions\.discard"):
        parse_captions.run(params_of(here / "junk.txt"))


def test_groups_that_lose_all_words_are_said_with_a_constant_that_leaves_them_some(here):
    (here / "c.txt").write_text("\n".join(CAPTIONS))
    build_caption_index.run(params_of(here / "c.txt"))
    parse_captions.run(params_of(here / "c.txt"))
    write_groups(crops())
    crop = read_table(paths.crops("e") / "crops.parquet")
    roles = ["high", "low"] * (len(crop) // 2)
    write_table(paths.crops("e") / "crops.parquet", crop.assign(role=roles, rank=np.arange(len(crop)) // 2))
    params = params_of(here / "c.txt")
    strict = params.model_copy(update={"concepts": params.concepts.model_copy(update={"relative_cut": 0.01})})
    said = score_concepts.run(strict, "e").lacking
    assert (
        said[0] == "1 of 1 features and groups have no word: 1 whose words the contrast all removes (concepts.contrast)"
    )
    assert said[1].startswith("with concepts.relative_cut ") and said[1].endswith(
        "with concepts.contrast: false, 1 have a word"
    )


def parsed(captions, **settings):
    """The summary of captions that were indexed and parsed with other settings, and the words found."""
    Path("c.txt").write_text("\n".join(captions), encoding="utf-8")
    params = params_of("c.txt")
    build_caption_index.run(params)
    changed = params.model_copy(update={"parse_captions": params.parse_captions.model_copy(update=settings)})
    return parse_captions.run(changed), set(read_table(paths.MENTIONS)["concept"])


CHINESE = ["一只红色的方块在雪地上", "蓝色的方块", "รถสีแดงบนชายหาด", "赤い四角"]


@pytest.mark.parametrize("language", ["en", "zh", "other"])
def test_captions_without_spaces_are_refused_before_anything_is_written(language):
    with pytest.raises(
        UserError, match=r"^c\.txt: 4 of 5 captions have no spaces between words [^\n]*parse_captions\.language"
    ):
        parsed([*CHINESE, "a red boat"], language=language)
    assert not paths.MENTIONS.exists()


def test_few_captions_without_spaces_are_counted_and_give_no_words():
    summary, words = parsed([*CHINESE, *CAPTIONS])
    assert "4 of 196 captions have no spaces between words" in summary.lacking[0]
    assert summary.dropped["captions"] == {"without a noun, verb or adjective that counts": 4}
    assert all(word.isascii() for word in words)
    assert read_json(paths.metrics("parsed"))["undivided"] == 4


FRENCH = [
    "un bateau rouge est sur la plage",
    "l'homme est dans la neige",
    "une voiture près de la maison",
    "deux bateaux rouges",
]


def test_captions_in_another_language_are_said_with_the_param():
    said = parsed(FRENCH)[0].lacking
    assert said == [
        "about 100 % of the captions are in other languages than parse_captions.language names (fr 100 %); "
        "set parse_captions.language: fr (docs/captions.md)"
    ]
    summary, words = parsed(FRENCH, language="fr")
    assert summary.lacking == []
    assert words == {"bateau", "rouge", "plage", "homme", "neige", "voiture", "maison", "bateau rouge"}


def test_shares_of_a_mixed_corpus_are_said():
    said = parsed([*CAPTIONS[:12], *FRENCH])[0].lacking
    assert said == [
        "about 25 % of the captions are in other languages than parse_captions.language names (fr 25 %), "
        "so their grammar words may become concepts; use captions in one language"
    ]


@pytest.mark.parametrize("index", [{}, {"index": "sq"}, {"index": "ivf", "nlist": 1, "nprobe": 1}])
@pytest.mark.parametrize("captions", [1, 3])
def test_fewer_captions_than_a_crop_retrieves_are_said_once_and_give_right_words(here, captions, index):
    (here / "c.txt").write_text("\n".join(CAPTIONS[:captions]))
    _, params = built("c.txt", index)
    write_groups(crops())
    summary = score_concepts.run(params, "e")
    assert [said for said in summary.lacking if "concepts.captions_per_image" in said] == [
        f"the corpus has {captions} caption{'s' * (captions > 1)}, fewer than concepts.captions_per_image 5, "
        "so every crop retrieves all of them and words differ by weight alone; add captions"
    ]
    table = read_table(paths.concepts("e") / "concepts.parquet")
    assert len(table) and table["concept"].str.len().min() >= 3
    assert not table.duplicated(["group", "kind", "concept"]).any()
    assert (table["score"] <= 1 + 1e-9).all() and (captions > 1 or np.allclose(table["score"], 1))


ENTRIES = "cat\nhot dog\nthe\nHD photo\nis\n42\ncats"


def test_the_words_of_a_vocabulary_come_out_as_they_are(here):
    (here / "words.txt").write_text(ENTRIES)
    templates = ["a photo of a {}", "{}"]
    params = params_of(here / "words.txt", caption_format="vocabulary", caption_templates=templates)
    build_caption_index.run(params)
    summary = parse_captions.run(params)
    mentions = read_table(paths.MENTIONS)
    assert mentions["mention"].unique().tolist() == ENTRIES.split("\n") and mentions["concept"].equals(
        mentions["mention"]
    )
    kinds = mentions.drop_duplicates("mention").set_index("mention")["kind"]
    assert kinds[kinds == "phrase"].index.tolist() == ["hot dog", "HD photo"]
    assert mentions["caption"].tolist() == list(range(14)) and sum(summary.dropped["captions"].values()) == 0
    assert read_table(paths.CAPTIONS / "captions.parquet")["text"].tolist()[2:4] == ["a photo of a hot dog", "hot dog"]


def test_the_mean_of_the_captions_is_taken_off(here, monkeypatch):
    (here / "words.txt").write_text("cat\ndog\nred cat\nblue dog")
    for rows in (1, 3, 100):
        monkeypatch.setattr(write_index, "ROWS_AT_ONCE", rows)
        for centre in (False, True):
            params = params_of(
                here / "words.txt", {"centre": centre}, caption_format="vocabulary", caption_templates=["{}"]
            )
            build_caption_index.run(params)
            if not centre:
                plain = np.array(read_captions()[1])
        centred = plain - plain.mean(axis=0)
        found = np.array(read_captions()[1])
        assert np.allclose(found, centred / np.linalg.norm(centred, axis=1, keepdims=True), atol=1e-6)
        assert read_json(paths.CAPTIONS / "index.json")["centred"] is True


def test_embeddings_that_come_with_captions_are_not_centred(here):
    params = params_of(write_laion(here / "laion", 1), {"centre": True}, caption_format="laion")
    with pytest.raises(UserError, match=r"build_caption_index\.centre: .* stay as they are; set it to false"):
        build_caption_index.run(params)


@pytest.mark.parametrize("template", ["a photo", "{} and {}"])
def test_a_template_without_one_place_is_one_line(here, template):
    with pytest.raises(ValueError, match=r"needs exactly one \{\}"):
        params_of(here / "words.txt", caption_format="vocabulary", caption_templates=[template])
