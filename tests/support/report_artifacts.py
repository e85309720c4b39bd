"""Synthetic artefacts by the contract of docs/artifacts.md: small, deterministic, in the current folder."""

import json
import shutil
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import pandas as pd
from PIL import Image

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_table, write_array, write_json, write_table
from falcon_dvc.groups.image_sets import compared_activations
from tests.support.word_sets import word_set

WORDS = ("boat", "ship", "red", "striped", "water", "grass", "tree", "flower", "umbrella", "night")
PHRASES = ("red boat", "striped cup", "the grass", "a small ship on water")
TRUTHS = (("object", "boat"), ("colour", "red"), ("texture", "striped"), ("background", "water"))
WRITTEN: dict[str, TemporaryDirectory] = {}  # what a process has written, by all that it depends on


def make_params(
    encoders=("first", "second"),
    source="scenes",
    high=8,
    low=5,
    sheet=8,
    thumbnail=64,
    weak=2,
    failing=(),
    controls=(),
    classes=(),
):
    """Parameters as the report reads them; `controls` are further encoders, controls of the others."""
    pairs = {f"{a}_to_{b}": SimpleNamespace(explained=a, unseen=b) for a in encoders for b in encoders if a != b}
    own = {name: SimpleNamespace(kind="scenes", features=None, control_of=()) for name in encoders}
    untrained = {name: SimpleNamespace(kind="scenes", features=None, control_of=encoders) for name in controls}
    return SimpleNamespace(
        data=SimpleNamespace(source=source, images="data/scenes" if source == "scenes" else "pictures"),
        image_text=SimpleNamespace(kind="open_clip"),
        encoders=own | untrained,
        without_controls=own,
        failures=SimpleNamespace(encoders=failing, reference="right"),
        ablate_features=SimpleNamespace(encoders=failing),
        evaluate_classes=SimpleNamespace(encoders=classes),
        evaluate_human_captions=SimpleNamespace(encoders=()),
        fit_probe=SimpleNamespace(encoders=()),
        transfers=pairs,
        concepts=SimpleNamespace(contrast="prior", ranking="score"),
        worlds=("scenes",) if source == "scenes" else (),
        report=SimpleNamespace(high=high, low=low, sheet=sheet, thumbnail=thumbnail, weak=weak),
    )


def write_artefacts(params, **changes):
    """Write everything that the report reads; what was written once is copied. `_write` names the changes."""
    described = repr((params, sorted(changes.items())))
    if described not in WRITTEN:
        folder = TemporaryDirectory()
        with chdir(folder.name):
            _write(params, **changes)
        WRITTEN[described] = folder
    shutil.copytree(WRITTEN[described].name, ".", dirs_exist_ok=True)


def _write(params, *, images=40, singles=6, groups=3, evaluation=True, verdict=True, text="a red boat on water"):
    """Write everything into the current folder.

    Parameters
    ----------
    verdict : whether a control was there that decides what is explained.
    text : becomes a caption, a concept, a label, a truth and a removal's reason.
    """
    rng = np.random.default_rng(0)
    table = _write_images(params, images, text, rng)
    write_table(paths.CAPTIONS / "captions.parquet", _captions(text))
    write_json(paths.metrics("images"), {"images": images, "probe": images // 2, "test": images // 2, "skipped": 0})
    write_json(paths.metrics("captions"), {"captions": 40, "duplicates": 3})
    synonyms = {"concept": ["boat", text], "synonyms": ["vessel; " + text.replace("; ", " "), "; ".join(WORDS)]}
    write_table(paths.table("synonyms"), pd.DataFrame(synonyms))
    for name in params.encoders:
        _write_encoder(name, table, singles, groups, evaluation, text, rng)
        if name in params.evaluate_classes.encoders:
            classes = _evaluation([f"f{feature}" for feature in range(singles)], text, rng)
            write_table(paths.table(f"{name}_classes"), classes.assign(kind="class"))
            write_json(paths.metrics(f"classes_{name}"), _evaluation_metrics())
    write_explained(list(params.encoders), verdict)
    for name in params.failures.encoders:
        write_failures(name, table, text)
    for name in params.ablate_features.encoders:
        _write_ablation(name, singles, text)
    for name, pair in params.transfers.items():
        write_json(paths.metrics(f"transfer_{name}"), _transfer_metrics())
        _write_transfer(name, pair.explained, table, text, rng)


def _write_images(params, count, text, rng):
    """Rendered images, or pictures of other shapes in a folder."""
    split = np.where(np.arange(count) < count // 2, "probe", "test")
    if params.data.source == "scenes":
        names, shape = [f"{split[row]}-{row:05d}" for row in range(count)], (64, 64)
        write_array(paths.SCENES / "images.npy", _blobs(count, *shape, rng))
        write_table(paths.SCENES / "attributes.parquet", pd.DataFrame({"image": names, "split": split}))
    else:
        names, shape = [f"n01/{row:03d}.png" for row in range(count)], (60, 100)
        _save_pictures(_blobs(count, *shape, rng), names)
    table = pd.DataFrame({"image": names, "split": split, "label": text, "width": shape[1], "height": shape[0]})
    write_table(paths.IMAGES, table)
    return table


def _save_pictures(pictures, names):
    Path("pictures/n01").mkdir(parents=True)
    for picture, name in zip(pictures, names, strict=True):
        Image.fromarray(picture).save(f"pictures/{name}")


def _blobs(count, height, width, rng):
    """A coloured disc on a coloured ground."""
    y, x = np.mgrid[:height, :width]
    centre = rng.integers(15, min(height, width) - 15, (count, 2))
    disc = (y - centre[:, 0, None, None]) ** 2 + (x - centre[:, 1, None, None]) ** 2 < 120
    ground, colour = rng.integers(0, 256, (2, count, 1, 1, 3))
    return np.where(disc[..., None], colour, ground).astype(np.uint8)


def _captions(text):
    texts = [f"{WORDS[i % 10]} and {WORDS[(3 * i + 1) % 10]} number {i}" for i in range(40)]
    texts[0] = text
    return pd.DataFrame({"caption": np.arange(0, 80, 2), "text": texts, "copies": 1})


def _write_encoder(name, images, singles, groups, evaluation, text, rng):
    """All artefacts of one encoder."""
    members = [(feature,) for feature in range(singles)]
    members += [(group, group + 1) for group in range(groups)]
    names = [f"f{some[0]}" if len(some) == 1 else f"g{7919 * some[0] + some[1]:08x}" for some in members]
    table = _groups(names, members, rng)
    write_table(paths.groups(name) / "groups.parquet", table)
    write_table(paths.table(f"{name}_groups"), _additions(table[table["size"] > 1], evaluation, text))
    features = rng.random((len(images), singles)) ** 3
    write_array(paths.activations(name) / "features.npy", features.astype(np.float32))
    write_array(paths.groups(name) / "activations.npy", compared_activations(features, "row"))
    write_array(paths.groups(name) / "thresholds.npy", np.linspace(0.2, 0.5, singles))
    sets = _sets(names, images, rng)
    write_table(paths.groups(name) / "sets.parquet", sets)
    write_array(paths.activations(name) / "fields.npy", np.tile(_field(images), (len(images), 1)))
    _write_crops(name, sets, images, rng)
    concepts = _concepts(names, text, rng)
    write_table(paths.concepts(name) / "concepts.parquet", concepts)
    write_table(paths.concepts(name) / "evidence.parquet", _evidence(concepts, images, rng))
    write_table(paths.EXPLAINABILITY / f"{name}.parquet", _explainability(names, members, rng))
    write_table(paths.facets(name), _facets(names[:singles], text))
    write_table(paths.table(f"{name}_word_sets"), _word_sets(names[:singles], text))
    write_table(paths.table(f"{name}_quantiles"), _quantiles(names[:singles], evaluation, text))
    write_table(paths.quantiles(name), _below_maximum(names[:singles], images))
    write_table(paths.table(f"{name}_pairs"), _pairs(table, text))
    shares = {"groups": ["single"], "share": [0.6], "interval_low": [0.5], "interval_high": [0.7]}
    write_table(paths.plot(f"{name}_interpretable"), pd.DataFrame(shares))
    write_json(paths.metrics(f"explainability_{name}"), _explainability_metrics(singles))
    write_json(paths.metrics(f"concepts_{name}"), {"groups": len(names), "first_concept": {"score": 0.7, "prior": 0.1}})
    if evaluation:
        write_table(paths.table(f"{name}_truth"), _evaluation(names[:singles], text, rng))
        write_json(paths.metrics(f"evaluation_{name}"), _evaluation_metrics())


def _groups(names, members, rng):
    size = [len(some) for some in members]
    texts = [" ".join(map(str, some)) for some in members]
    return pd.DataFrame(
        {
            "group": names,
            "members": texts,
            "size": size,
            "support": rng.integers(11, 41, len(names)),
            "lift": 3.21,
            "p_value": 1e-9,
            "significant": True,
        }
    )


def _additions(groups, evaluation, text):
    """What each group adds to its members; the first one was not measured."""
    added = groups.assign(words="", new_words=[text.replace("; ", " "), *[""] * (len(groups) - 1)])
    if not evaluation or groups.empty:
        return added
    gain = np.array([np.nan, *np.linspace(-0.3, 0.3, len(groups) - 1)])
    numbers = {"selectivity": 0.6 + gain, "member_selectivity": 0.6, "gain": gain, "gain_low": gain - 0.1}
    best = [f"f{members.split()[0]}" for members in groups["members"]]
    return added.assign(**numbers, gain_high=gain + 0.1, named_after=text, best_member=best)


def _sets(names, images, rng):
    """Ten highly and six lowly activating images of each group; the last group has no lowly activating ones."""
    rows = []
    for name in names:
        for role, count in (("high", 10), ("low", 6 if name != names[-1] else 0), ("random", 4)):
            chosen = rng.choice(len(images) // 2, count, replace=False)
            rows += [
                (name, role, rank, images["image"][row], 2.0 - rank / 7, np.nan) for rank, row in enumerate(chosen)
            ]
    return pd.DataFrame(rows, columns=["group", "role", "rank", "image", "activation", "similarity"])


def _field(images):
    """The square in the middle of the image."""
    width, height = images["width"][0], images["height"][0]
    left = (width - height) // 2
    return np.array([left, 0, left + height, height], dtype=np.int32)


def _write_crops(name, sets, images, rng):
    left, top = rng.integers(0, 20, (2, len(sets)))
    boxes = {"left": left, "top": top, "right": left + 30, "bottom": top + 30}
    empty = rng.random(len(sets)) < 0.05
    crops = sets[["group", "role", "rank", "image"]].assign(**boxes, empty=empty)
    write_table(paths.crops(name) / "crops.parquet", crops)
    peak = np.exp(-((np.arange(8) - rng.integers(1, 7, (len(sets), 1))) ** 2) / 4)
    heat = (255 * peak[:, :, None] * peak[:, None, ::-1]).astype(np.uint8)
    write_array(paths.crops(name) / "heatmaps.npy", np.where(empty[:, None, None], 0, heat).astype(np.uint8))


def _concepts(names, text, rng):
    rows = [row for name in names for row in _concepts_of(name, text, rng)]
    columns = [
        "group",
        "kind",
        "rank",
        "concept",
        "value",
        "score",
        "low_score",
        "prior",
        "interval_low",
        "interval_high",
        "support",
        "kept",
        "reason",
    ]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(weak=~(table["interval_low"] > table["prior"]))


def _concepts_of(name, text, rng):
    words = [text if place == 1 and name == "f0" else WORDS[i] for place, i in enumerate(rng.permutation(10)[:7])]
    phrases = [PHRASES[i] for i in rng.permutation(4)[:3]]
    score = np.sort(rng.random(10))[::-1]
    for rank, word in enumerate(words[:6], start=1):
        yield _concept_row(name, "word", rank, word, score[rank], True, "")
    for rank, phrase in enumerate(phrases, start=1):
        yield _concept_row(name, "phrase", rank, phrase, score[rank + 6], True, "")
    yield _concept_row(name, "word", 1, words[6], 0.3, False, text if name == "f0" else "not above its prior")


def _concept_row(name, kind, rank, concept, score, kept, reason):
    return (
        name,
        kind,
        rank,
        concept,
        score,
        score,
        score / 4,
        0.1,
        max(score - 0.1, 0),
        min(score + 0.1, 1),
        12,
        kept,
        reason,
    )


def _evidence(concepts, images, rng):
    kept = concepts[concepts["kept"]]
    rows = [
        (row.group, row.concept, images["image"][int(image)], 0, 0, 30, 30, 2 * int(caption), float(weight))
        for row in kept.itertuples()
        for image, caption, weight in zip(
            rng.integers(0, 20, 5), [0, *rng.integers(0, 40, 4)], rng.random(5), strict=True
        )
    ]
    return pd.DataFrame(
        rows, columns=["group", "concept", "image", "left", "top", "right", "bottom", "caption", "weight"]
    )


def _explainability(names, members, rng):
    z = rng.normal(4, 4, len(names))
    return pd.DataFrame(
        {
            "group": names, "size": [len(some) for some in members], "crops": 10, "coherence": rng.random(len(names)),
            "released_coherence": rng.random(len(names)), "released_interpretable": z > 6,
            "z": z, "p_value": 0.01, "interpretable": z > 2,
        }
    )  # fmt: skip


def _facets(features, text):
    """Two facets of the first feature, one of all others."""
    rows = [(feature, 1, 10, 1.0, "boat:0.80", " ".join(map(str, range(10)))) for feature in features[1:]]
    rows += [
        (features[0], 1, 7, 0.7, f"{text.replace('; ', ' ')}:0.50; boat:0.30", "4 0 1 2 3 5 6"),
        (features[0], 2, 3, 0.3, "", "8 7 9"),
    ]
    return pd.DataFrame(rows, columns=["group", "facet", "crops", "share", "words", "ranks"])


def _quantiles(features, evaluation, text):
    """First words that hold to the 30th percentile; what images show is known if there is an evaluation."""
    parts = ("top_decile", "deciles_2_to_5", "deciles_6_to_10", "not_active")
    table = pd.DataFrame([(feature, part) for feature in features for part in parts], columns=["group", "part"])
    score = np.tile([0.9, 0.6, 0.3, 0.05], len(features))
    numbers = {"images": 5, "score": score, "score_low": score - 0.05, "score_high": score + 0.05, "chance": 0.1}
    table = table.assign(
        word=text, words=f"{text.replace('; ', ' ')}; boat", **numbers, lift=10 * score, holds_to=30, frequency=0.5
    )
    shown = {"shown": score, "shown_low": score - 0.05, "shown_high": score + 0.05, "shown_by_chance": 0.2}
    return table.assign(**shown) if evaluation else table


def _below_maximum(features, images):
    """Two images of each of the parts below the top."""
    rows = [
        (feature, part, rank, 0.5 - rank / 10, images["image"].iloc[-1 - rank], 4, 4, 20, 20)
        for feature in features
        for part in ("deciles_2_to_5", "deciles_6_to_10")
        for rank in range(2)
    ]
    sides = ["left", "top", "right", "bottom"]
    return pd.DataFrame(rows, columns=["group", "part", "rank", "activation", "image", *sides])


def _word_sets(features, text):
    """The first feature follows two words, the second none, and all others one; R² of the third was not measured."""
    several = word_set("", [text.replace("; ", " "), "boat"], ["sand"], r2=0.5)
    unmeasured, one = word_set("", ["boat"]), word_set("", ["boat"], r2=0.25)
    rows = [several, word_set("", [], r2=0.0), unmeasured, *[one] * len(features)]
    return pd.concat(rows[: len(features)], ignore_index=True).assign(group=features)


def _pairs(groups, text):
    """The groups of two, and a new conjunction of the first two features."""
    members = [["0", "1"], *groups.loc[groups["size"] == 2, "members"].str.split()]
    first, second = ([f"f{some[place]}" for some in members] for place in (0, 1))
    table = pd.DataFrame(
        {"choice": ["conjunction", *["cofiring"] * (len(members) - 1)], "first": first, "second": second}
    )
    table = table.assign(first_words=f"{text} & red", label=f"red & {text}", two_words=True, beats_best_member=True)
    return table.assign(gain=0.21, gain_low=0.14, gain_high=0.28, control_same_words_gain=0.1)


def write_explained(encoders, verdict=True):
    """What `decide_explained` writes of encoders whose groups and first concepts are written.

    Every third row is not explained. Class sets are, and random sets are not. Without a verdict only correlations are there.
    """
    tables = {name: _decided(_faithfulness(name), verdict) for name in encoders}
    rows = pd.concat([table.assign(encoder=name) for name, table in tables.items()], ignore_index=True)
    write_table(paths.EXPLAINED, rows)
    write_json(paths.metrics("explained"), {name: _explained_metrics(table) for name, table in tables.items()})
    bars = [{"encoder": name, **_share(0.6)} for name in encoders if verdict]
    write_table(paths.plot("explained"), pd.DataFrame(bars, columns=["encoder", *_share(0)]))


def _faithfulness(name):
    groups = read_table(paths.groups(name) / "groups.parquet")[["group", "size"]]
    concepts = read_table(paths.concepts(name) / "concepts.parquet")
    first = concepts[concepts["kept"] & (concepts["kind"] == "word")].drop_duplicates("group").set_index("group")
    rows = groups.assign(
        kind=np.where(groups["size"] == 1, "feature", "group"), word=groups["group"].map(first["concept"])
    )
    made = [
        {"group": "boat", "size": 0, "kind": kind, "word": word}
        for kind, word in (("class set", "boat"), ("random set", "tree"))
    ]
    table = pd.concat([rows, pd.DataFrame(made)], ignore_index=True)
    pearson = np.where(table["kind"] == "random set", 0.01, 0.3 + 0.02 * np.arange(len(table)))
    interval = {"pearson_low": pearson - 0.1, "pearson_high": pearson + 0.1}
    return table.assign(pearson=pearson, **interval, permuted_word=table["word"][::-1].tolist(), permuted_pearson=0.02)


def _decided(table, verdict):
    if not verdict:
        return table.assign(no_verdict="no other encoder is a control of it (encoders.NAME.control_of)")
    explained = (np.arange(len(table)) % 3 != 2) & (table["kind"] != "random set") | (table["kind"] == "class set")
    level = {"level": 0.2, "excess": table["pearson"] - 0.2, "permuted_excess": -0.18}
    p_values = {"p_value": np.where(explained, 0.004, 0.3), "permuted_p_value": 0.5}
    return table.assign(**level, **p_values, explained=explained, permuted_explained=False, no_verdict="")


def _explained_metrics(table):
    kinds = {}
    for kind, rows in table.groupby("kind"):
        measured = {"measured": len(rows), "median_pearson": rows["pearson"].median()}
        shares = (
            {**_share(0.6), "uncorrected": _share(0.7), "permuted_words": _share(0.1)} if "explained" in rows else {}
        )
        kinds[kind.replace(" ", "_")] = measured | shares
    return {"is_a_control": False, **({"controls": 2} if "explained" in table else {}), **kinds}


def _share(value):
    return {"share": value, "interval_low": value - 0.1, "interval_high": value + 0.1}


def _explainability_metrics(singles):
    single = {"explained": singles, "interpretable": _share(0.6), "released_rule": _share(0.2), "median_z": 4.1}
    return {
        "features": 128,
        "of_the_space": {"interpretable": {"share": 0.41, "interval_low": 0.3, "interval_high": 0.5}},
        "single": single,
        "groups_of_2": {"explained": 3, "interpretable": _share(0.7)},
    }


def _evaluation(names, text, rng):
    kinds = [TRUTHS[i % 4] for i in range(len(names))]
    rank = np.array([1, 3, np.inf, 1, 7, np.inf, 2])[np.arange(len(names)) % 7]
    return pd.DataFrame(
        {
            "group": names, "kind": [kind for kind, _ in kinds], "value": [text, *(value for _, value in kinds[1:])],
            "correlation": rng.uniform(0.3, 0.9, len(names)), "clear": np.arange(len(names)) % 5 != 3,
            "first_concept": "boat", "hit_first": rank == 1, "hit_five": rank <= 5, "rank_of_truth": rank,
        }
    )  # fmt: skip


def _evaluation_metrics():
    hits = {"features": 5, "top1": 0.8, "interval_low": 0.6, "interval_high": 0.95, "top5": 1.0}
    paired = {"falcon_less_this": {"difference": 0.3, "interval_low": 0.1, "interval_high": 0.5, "p_value": 0.01}}
    rivals = ("clip_dissect", "nearest_text", "caption_correlation", "contrastive_projection", "shuffled_activations")
    methods = {"falcon": hits, **{method: hits | {"top1": 0.5} | paired for method in rivals}}
    return {"features": 6, "clear_truth": 5, "all": hits, "object": hits, "methods": methods, "every_feature": methods}


def _write_ablation(name, singles, text):
    """The word of the first feature names what falls most, that of the second something else; nothing falls without the third."""
    table = pd.DataFrame(
        {"group": [f"f{feature}" for feature in range(singles)], "output": "logit", "falls_most": "boat"}
    )
    table = table.assign(fall=0.4, fall_low=0.3, fall_high=0.5, random_fall=0.2, named_by_word="", own_fall=np.nan)
    table = table.assign(own_random_change=np.nan)
    table.loc[:1, ["own_fall", "own_random_change"]] = 0.25
    table.loc[:1, "named_by_word"] = ["boat", text]
    table.loc[2, ["falls_most", "fall"]] = ["", 0.0]
    write_table(paths.table(f"{name}_ablation"), table)
    metrics = {"features": singles, "fall": {"mean": 0.4}, "random_fall": {"mean": 0.2}, "word_names_it": _share(0.5)}
    write_json(paths.metrics(f"ablation_{name}"), metrics)


def _transfer_metrics():
    return {
        "ridge": 0.1,
        "r2": {"median": 0.61, "mean": 0.58},
        "null": {"r2": {"median": -0.02}},
        "concept_overlap": {"share": 0.4, "share_low": 0.3, "share_high": 0.5},
    }


def _write_transfer(pair, explained, images, text, rng):
    """Three images found through the map for each group, and how they agree with the explained space's own."""
    groups = read_table(paths.groups(explained) / "groups.parquet")[["group", "members", "size"]]
    agreement = ("image_overlap", "image_overlap_null", "concept_overlap")
    scores = {name: rng.random(len(groups)).round(2) for name in agreement}
    write_table(paths.table(f"transfer_{pair}"), groups.assign(**scores, words=f"boat:0.50; {text}:0.20"))
    rows = [
        (group, rank, images["image"][rank], 2, 3, 20, 30, rank == 0) for group in groups["group"] for rank in range(3)
    ]
    columns = ["group", "rank", "image", "left", "top", "right", "bottom", "own"]
    write_table(paths.transfers(pair), pd.DataFrame(rows, columns=columns))
    curve = {
        "training_images": [50, 100],
        "r2": [0.4, 0.5],
        "interval_low": [0.3, 0.4],
        "interval_high": [0.5, 0.6],
        "null": 0.0,
    }
    write_table(paths.plot(f"transfer_{pair}_images"), pd.DataFrame(curve))


def write_failures(name, images, text, clusters=9, held_out=True, unnamed=0):
    """Clusters of three images each, and one repair, of one encoder."""
    test = list(images["image"][images["split"] == "test"])
    rows = [
        {
            "cluster": f"c{place}", "right": text, "wrong": "truck", "images": 3, "concept": text, "silent": True, "features": "0 99",
            "sentence": f"{text} called truck, 3 images: no '{text}' (features 0, 99)", "blame_share": 0.5,
            "blame_interval_low": 0.4, "blame_interval_high": 0.6, "group": "", "group_concept": "",
            "examples": json.dumps(test[place : place + 3]),
        }
        for place in range(1, clusters + 1)
    ]  # fmt: skip
    columns = ["right", "wrong", "images", "sentence", "features", "blame_share", "examples"]
    write_table(paths.table(f"{name}_failures"), pd.DataFrame(rows, columns=None if rows else columns))
    write_table(paths.table(f"{name}_repairs"), repair_table(text) if held_out else repair_table(text).head(0))
    accuracy = {"accuracy": {"share": 0.9, "interval_low": 0.85, "interval_high": 0.95}} if clusters else {}
    counts = {"images": 20, "held_out": int(held_out), "label_names_no_class": unnamed, "failures": 3 * clusters}
    write_json(paths.metrics(f"failures_{name}"), counts | accuracy)


def repair_table(text, gain=0.4, random=0.0, elsewhere=0.0, reach=0.1):
    """What the stage writes of one confusion: gains on the failed class, by random features, and on all other images."""
    kinds = ("blamed concepts", "first concept", "blamed features", "random features")
    places = ("right class", "wrong class", "all images")
    rows = []
    for kind in kinds:
        for place in places:
            gained = random if kind == "random features" else gain if place == "right class" else elsewhere
            numbers = {
                f"{when}{end}": value + change
                for when, value in (("before", 0.3), ("after", 0.3 + gained), ("gain", gained))
                for end, change in (("", 0), ("_interval_low", -reach), ("_interval_high", reach))
            }
            common = {"right": text, "wrong": "truck", "failures": 12, "switched_off": kind, "words": text}
            off = {"features": "" if kind == "random features" else "0 99", "accuracy_of": place, "images": 10}
            rows.append(common | off | numbers)
    return pd.DataFrame(rows)
