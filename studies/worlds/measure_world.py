"""Study stage: explain the encoders of one world, and count how often each method and variation is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_json, read_table, write_table, write_text
from falcon_dvc.concepts.scoring.corpus import Corpus, read_corpus
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.baselines import caption_means
from falcon_dvc.evaluation.ground_truth import (
    heldout_attributes,
    names_of_attributes,
    selectivity_of,
    truth_of,
    with_rank_of_truth,
)
from falcon_dvc.evaluation.methods import (
    PUBLISHED,
    TUNED,
    CaptionedCrops,
    Dissection,
    Words,
    all_methods,
    best_constant,
    constant,
    dissect,
    read_captioned_crops,
    words_of,
)
from falcon_dvc.params.schema import Params
from worlds import downstream, run_stages
from worlds.random_encoder import add_random_encoder
from worlds.worlds import params_of, read_world, scratch

MEASURES = ("pearson", "auprc", "auc", "mad")
CAPTIONS = (300, 1500)  # of the corpus's 6000
RELEASED_CONCEPTS = {"normaliser": "shard", "contrast": "released"}
VARIATIONS: dict[str, dict] = {
    "whole_images": {"mine_crops": {"crop": False}},
    "low_match_released": {"find_groups": {"low_match": "released"}, "concepts": {"contrast": "released"}},
    # The released scoring on the images of our rule, because no image of a small dense space exceeds 5 sigma.
    "released_scoring": {"find_groups": {"low_images": 10, "low_match": "released"}, "concepts": RELEASED_CONCEPTS},
    "released": {"compat": "released"},
}
Result = tuple[str, str, Words]  # variation, method, words


def run(name: str) -> None:
    """Write ``tables/NAME_methods.csv`` (hits by encoder, variation and method), ``NAME_explainability.csv`` and ``NAME_uses.csv``."""
    world, other_encoders, is_used = read_world(name), list(readers()), name in downstream.worlds()
    params = run_stages.without_training(params_of(world))
    with scratch() as home:
        run_stages.borrow_models(home, name, params)
        with_control = add_random_encoder(params, world.seed)
        run_stages.prepare(with_control)
        explainability, counts = [], []
        for encoder in with_control.encoders:
            run_stages.explain(with_control, encoder)
            explainability.append(_explainability(with_control, encoder))
            counts += _counts(with_control, encoder, _default(params, encoder))
        used = downstream.figures(params, world) if is_used else downstream.NONE
        if world.variations:
            counts += _with_fewer_captions(params)
            counts += _with_other_image_text(params, home, other_encoders)
            counts += [row for encoder in params.encoders for row in _counts(params, encoder, _varied(params, encoder))]
        keys = {"world": name, "role": world.role}
        write_table(home / "tables" / f"{name}_methods.csv", pd.DataFrame(counts).assign(**keys))
        write_table(home / "tables" / f"{name}_explainability.csv", pd.concat(explainability).assign(**keys))
        write_table(home / "tables" / f"{name}_uses.csv", used.assign(**keys))


def _explainability(params: Params, encoder: str) -> pd.DataFrame:
    """Return the numbers of interpretable groups by size and rule, with the width of the space."""
    run_stages.measure(params, encoder)
    table = read_table(paths.EXPLAINABILITY / f"{encoder}.parquet")
    shuffled = read_json(paths.metrics(f"explainability_{encoder}"))["shuffled_activations"]
    counts = table.groupby("size").agg(
        explained=("group", "size"),
        interpretable=("interpretable", "sum"),
        released_rule=("released_interpretable", "sum"),
    )
    width = read_array(paths.activations(encoder) / "features.npy").shape[1]
    return counts.reset_index().assign(
        encoder=encoder, features=width, shuffled=shuffled["features"], shuffled_interpretable=shuffled["interpretable"]
    )


def _default(params: Params, encoder: str) -> list[Result]:
    """Return every method on the crops of the default settings."""
    return [("default", method, words) for method, words in _all_methods(params, encoder).items()]


def _varied(params: Params, encoder: str) -> list[Result]:
    """Return the words of FALCON under other settings, from the groups on."""
    return [
        (variation, "falcon", _explained_by(run_stages.varied(params, overlay), encoder))
        for variation, overlay in VARIATIONS.items()
    ]


def _explained_by(params: Params, encoder: str) -> Words:
    """Return the words of the single features under other params; empty if no feature has enough images."""
    if not run_stages.explain_again(run_stages.varied(params, {"find_groups": {"max_groups": 0}}), encoder):
        return {}
    return listed_words(read_table(paths.concepts(encoder) / "concepts.parquet"))


def _all_methods(params: Params, encoder: str) -> dict[str, Words]:
    """Return the words of all methods on the default run's crops, also of soft-WPMI with embedded texts of the words."""
    from falcon_dvc.compute.device import best_device
    from falcon_dvc.models.image_text.load import load_image_text

    corpus, settings = read_corpus(), params.concepts
    crops = read_captioned_crops(encoder, corpus, settings)
    words = words_of(corpus)
    texts = [f"a photo of a {word}" for word in corpus.vocabulary[words]]
    directions = load_image_text(params.image_text, best_device(params.device)).embed_texts(texts)
    dissected = {
        "soft_wpmi_photo": dissect(crops, corpus, words, directions, settings.top, PUBLISHED),
        "soft_wpmi_photo_tuned": dissect(crops, corpus, words, directions, settings.top, TUNED),
        "soft_wpmi_told_attributes": _attribute_words_only(crops, corpus, settings.top),
    }
    own = listed_words(read_table(paths.concepts(encoder) / "concepts.parquet"))
    return {"falcon": own, **all_methods(crops, corpus, settings), **dissected}


def _attribute_words_only(crops: CaptionedCrops, corpus: Corpus, top: int) -> Words:
    """Return the words of soft-WPMI with a vocabulary of only the words that name an attribute, an advantage."""
    names = names_of_attributes(read_table(paths.SCENES / "lexicon.parquet"))
    words = words_of(corpus)
    known = words[np.isin(corpus.vocabulary[words].astype(str), sorted(set().union(*names.values())))]
    directions = caption_means(corpus.embeddings, corpus.mentions.incidence, known)
    return dissect(crops, corpus, known, directions, top, Dissection(10.0, 0.5))


def _with_fewer_captions(params: Params) -> list[dict]:
    """Count hits with the same crops and only the first captions of the corpus."""
    captions = Path(params.data.captions)
    lines = captions.read_text(encoding="utf-8").splitlines(keepends=True)
    rows: list[dict] = []
    for count in CAPTIONS:
        write_text(captions, "".join(lines[:count]))
        run_stages.read_captions(params)
        for encoder in params.encoders:
            run_stages.score_concepts.run(params, encoder)
            words = listed_words(read_table(paths.concepts(encoder) / "concepts.parquet"))
            rows += _counts(params, encoder, [(f"captions_{count}", "falcon", words)])
    write_text(captions, "".join(lines))
    run_stages.read_captions(params)
    return rows


def _with_other_image_text(params: Params, home: Path, names: list[str]) -> list[dict]:
    """Count hits with the same crops, where other image-text encoders embed crops and captions."""
    rows: list[dict] = []
    for name in names:
        checkpoint = Path("models") / f"reader_{name}.safetensors"
        checkpoint.symlink_to((home / checkpoint).resolve())
        other = run_stages.varied(params, {"image_text": {"checkpoint": str(checkpoint)}})
        run_stages.read_captions(other)
        for encoder in params.encoders:
            rows += _counts(params, encoder, [(f"reader_{name}", "falcon", _explained_by(other, encoder))])
    run_stages.read_captions(params)
    return rows


def _counts(params: Params, encoder: str, results: list[Result]) -> list[dict]:
    """Count the hits of each variation and method over all features with a clear ground truth, in total and by kind."""
    rows, attributes = heldout_attributes(params.data.images)
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    activations = read_array(paths.groups(encoder) / "activations.npy")[rows]
    truth = truth_of(activations, attributes, params.evaluate_concepts.clear)
    truth = truth[truth["clear"]].reset_index(drop=True)
    if truth.empty:
        return []
    if any(method == "falcon_off" for _, method, _ in results):
        label = constant(truth["group"], best_constant(truth, names, params.concepts.top))
        results = [*results, ("default", "best_constant", label)]
    return [
        row
        for variation, method, words in results
        for row in _hits(
            selectivity_of(with_rank_of_truth(truth, words, names), activations, attributes, names),
            encoder,
            variation,
            method,
        )
    ]


def _hits(table: pd.DataFrame, encoder: str, variation: str, method: str) -> list[dict]:
    by_kind = [("all", table), *table.groupby("kind")]
    return [
        {
            "encoder": encoder,
            "variation": variation,
            "method": method,
            "kind": kind,
            "features": len(rows),
            "first_right": int(rows["hit_first"].sum()),
            "five_right": int(rows["hit_five"].sum()),
            "truth_listed": int(np.isfinite(rows["rank_of_truth"]).sum()),
            **{measure: float(rows[measure].mean()) for measure in MEASURES},
        }
        for kind, rows in by_kind
    ]
