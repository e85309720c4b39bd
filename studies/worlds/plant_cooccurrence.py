"""Study stage (C3): plant spurious co-occurrences in the explained images, and measure which contrast removes their words.

Half of the objects get one ground each, with a given probability. Each feature that responds to such an object (on
balanced held-out images) is a case. Without contrast, the ground's word is often listed. Contrast should remove it and
keep the object's word.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_array, write_table
from falcon_dvc.concepts.scoring.corpus import read_corpus
from falcon_dvc.concepts.words.listing import listed_words
from falcon_dvc.evaluation.ground_truth import heldout_attributes, names_of_attributes, truth_of
from falcon_dvc.evaluation.methods import Words, by_contrast, read_captioned_crops
from falcon_dvc.groups.image_sets import compared_activations
from falcon_dvc.params.schema import Params
from falcon_dvc.synthetic.scenes.scenes import VALUES, plant
from stages import (
    caption_images,
    collect_images,
    embed_images,
    extract_activations,
    find_groups,
    mine_crops,
    render_scenes,
    score_concepts,
)
from worlds import run_stages
from worlds.worlds import params_of, read_world, scratch

STRENGTHS = (0.8, 0.95, 1.0)
LOW_MATCHES = ("distinct", "released")


def run(name: str) -> None:
    """Write ``tables/NAME_plants.csv``, one row for each case, rule for lowly activating images, and contrast."""
    world = read_world(name)
    params = run_stages.without_training(params_of(world))
    with scratch() as home:
        run_stages.borrow_models(home, name, params)
        run_stages.prepare(params)
        supervised = [encoder for encoder, spec in world.encoders.items() if spec.objective == "supervised"]
        parts = [_cases(params, encoder, strength) for strength in STRENGTHS for encoder in supervised]
        write_table(home / "tables" / f"{name}_plants.csv", pd.concat(parts).assign(world=name, role=world.role))


def _cases(params: Params, encoder: str, strength: float) -> pd.DataFrame:
    """Return all cases of one strength, with the result of each contrast."""
    plants = _render_planted(params, strength)
    collect_images.run(params)
    embed_images.run(params)
    caption_images.run(params)
    extract_activations.run(params, encoder)
    cases = _features_of(params, encoder, plants)
    parts = [_judged(params, encoder, cases, plants, low_match) for low_match in LOW_MATCHES] if len(cases) else []
    return pd.concat(parts).assign(strength=strength, encoder=encoder) if parts else pd.DataFrame()


def _render_planted(params: Params, strength: float) -> dict[str, str]:
    """Replace the probe images by images with planted co-occurrences; return the ground of each planted object."""
    section = params.render_scenes
    rng = np.random.default_rng([section.seed, round(100 * strength)])
    objects = rng.permutation(np.array(VALUES["object"]))
    plants = dict(zip(objects.tolist(), rng.permutation(np.array(VALUES["background"])).tolist(), strict=False))
    attributes = render_scenes.draw(section, section.probe, rng)
    for name, ground in plants.items():
        attributes = plant(attributes, name, ground, strength, rng)
    look = render_scenes.look_of(section)
    images, _, objects = render_scenes.rendered(section, attributes, look, rng, alone=plants)
    _replace_probe(images, attributes, objects)
    return plants


def _replace_probe(images: np.ndarray, attributes: pd.DataFrame, objects: pd.DataFrame) -> None:
    """Write other probe images and what they show; the held-out images stay."""
    table = read_table(paths.SCENES / "attributes.parquet")
    probe = np.flatnonzero(table["split"] == "probe")
    pixels = read_array(paths.SCENES / "images.npy", mmap=False)
    pixels[probe] = images
    for kind in VALUES:
        table.loc[probe, kind] = attributes[kind].to_numpy()
    write_array(paths.SCENES / "images.npy", pixels)
    write_table(paths.SCENES / "attributes.parquet", table)
    of_all = paths.SCENES / "objects.parquet"
    if of_all.exists():
        names = table["image"].to_numpy()[probe]
        heldout = read_table(of_all)
        heldout = heldout[~heldout["image"].isin(names)]
        of_probe = objects.assign(image=names[objects["row"]]).drop(columns="row")
        write_table(of_all, pd.concat([of_probe[heldout.columns], heldout], ignore_index=True))


def _features_of(params: Params, encoder: str, plants: dict[str, str]) -> pd.DataFrame:
    """Return the features whose clear ground truth is a planted object."""
    rows, attributes = heldout_attributes(params.data.images)
    features = read_array(paths.activations(encoder) / "features.npy")[rows]
    activations = compared_activations(features, params.find_groups.normalise)
    truth = truth_of(activations, attributes, params.evaluate_concepts.clear)
    return truth[truth["clear"] & (truth["kind"] == "object") & truth["value"].isin(plants)]


def _judged(params: Params, encoder: str, cases: pd.DataFrame, plants: dict[str, str], low_match: str) -> pd.DataFrame:
    """Return which of the two words each contrast lists: of the default and without its contrast, and by Eq. 1 alone."""
    varied = run_stages.varied(params, {"find_groups": {"low_match": low_match, "max_groups": 0}})
    find_groups.run(varied, encoder)
    _keep_only(encoder, cases["group"])
    mine_crops.run(varied, encoder)
    corpus, settings = read_corpus(), varied.concepts
    words = by_contrast(read_captioned_crops(encoder, corpus, settings), corpus, settings)
    words |= {
        name: _own_words(run_stages.varied(varied, overlay), encoder)
        for name, overlay in (("falcon", {}), ("without_contrast", {"concepts": {"contrast": "off"}}))
    }
    names = names_of_attributes(read_table(f"{params.data.images}/lexicon.parquet"))
    return pd.concat(
        [_listed(cases, plants, lists, names).assign(contrast=kind) for kind, lists in words.items()]
    ).assign(low_match=low_match)


def _own_words(params: Params, encoder: str) -> Words:
    """Return the words of the explanations that a run shows."""
    score_concepts.run(params, encoder)
    return listed_words(read_table(paths.concepts(encoder) / "concepts.parquet"))


def _keep_only(encoder: str, groups: pd.Series) -> None:
    """Remove all groups but the cases."""
    for table in ("groups", "sets"):
        path = paths.groups(encoder) / f"{table}.parquet"
        rows = read_table(path)
        write_table(path, rows[rows["group"].isin(groups)].reset_index(drop=True))


def _listed(cases: pd.DataFrame, plants: dict[str, str], words: Words, names: dict) -> pd.DataFrame:
    """Return whether the object's and the planted ground's words are in each case's list, and which comes first."""
    lists = [words.get(group, []) for group in cases["group"]]
    true = [names["object", value] for value in cases["value"]]
    spurious = [names["background", plants[value]] for value in cases["value"]]
    return pd.DataFrame(
        {
            "feature": cases["group"].to_numpy(),
            "object": cases["value"].to_numpy(),
            "ground": [plants[value] for value in cases["value"]],
            "true_listed": [bool(names & set(words)) for names, words in zip(true, lists, strict=True)],
            "spurious_listed": [bool(names & set(words)) for names, words in zip(spurious, lists, strict=True)],
            "true_first": [words[:1] != [] and words[0] in names for names, words in zip(true, lists, strict=True)],
            "spurious_first": [
                words[:1] != [] and words[0] in names for names, words in zip(spurious, lists, strict=True)
            ],
        }
    )
