"""Steps 2 to 12 on a synthetic joint space: planted units, pairs and spurious contexts, and null controls.

An image or a caption is the unit vector of what it holds: one direction for each object, colour and background. Nothing is
learned, so whatever the method fails to say is its own fault.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from falcon_dvc.concepts.retrieval.nearest import nearest_captions
from falcon_dvc.concepts.scoring.contrasts import CONTRASTS
from falcon_dvc.concepts.scoring.explanation import (
    Captioned,
    Explanation,
    Ranked,
    Settings,
    captioned,
    explain,
    explain_crops,
    ranked_by,
    summed_at,
    weighted,
)
from falcon_dvc.concepts.scoring.scores import Mentions
from falcon_dvc.evaluation.coherence import coherence
from falcon_dvc.groups.activations import fires_by_rank, lowly_activating, row_normalised
from falcon_dvc.groups.cofiring import as_groups, cofiring_sets
from falcon_dvc.groups.groups import Groups, single_features, together

OBJECTS = ("boat", "dog", "tree", "truck")
COLOURS = ("blue", "green", "red")
BACKGROUNDS = ("grass", "sand", "water")
WORDS = (*OBJECTS, *COLOURS, *BACKGROUNDS)
KINDS = ((0, 4), (4, 7), (7, 10))  # columns of the objects, the colours and the backgrounds
SETTINGS = Settings(
    captions_per_image=5,
    temperature=50.0,
    normaliser="retrieved",
    contrast="off",
    low_cut=0.3,
    relative_cut=0.5,
    gamma=1.25,
    further_cut=0.5,
    top=4,
)


def holds(word: str, images: np.ndarray) -> np.ndarray:
    return images[:, WORDS.index(word)]


def some_images(seed: int = 0, count: int = 600) -> np.ndarray:
    """Images x words: one object, colour and background each."""
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [np.eye(last - first, dtype=bool)[rng.integers(0, last - first, count)] for first, last in KINDS], axis=1
    )


def embedded(held: np.ndarray, noise: float = 0.05, seed: int = 0) -> np.ndarray:
    """Unit vectors of attribute combinations."""
    values = held + noise * np.random.default_rng(seed).normal(size=held.shape)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


# The corpus: "boat", "red boat", "boat water", "red boat water", with one phrase, "red boat", for each colour and object.
COMBINATIONS = [(o, c, b) for o, c, b in product(OBJECTS, (None, *COLOURS), (None, *BACKGROUNDS))]
PHRASES = [f"{c} {o}" for o, c in product(OBJECTS, COLOURS)]
VOCABULARY = [*WORDS, *PHRASES]


def _incidence() -> np.ndarray:
    rows = np.zeros((len(COMBINATIONS), len(VOCABULARY)))
    for row, (thing, colour, background) in enumerate(COMBINATIONS):
        named = [thing, colour, background, f"{colour} {thing}"]
        rows[row, [VOCABULARY.index(name) for name in named if name in VOCABULARY]] = 1
    return rows


MENTIONS = Mentions(
    np.arange(len(COMBINATIONS)), sparse.csr_array(_incidence()), np.arange(len(VOCABULARY)) >= len(WORDS)
)
TEXTS = embedded(_incidence()[:, : len(WORDS)], noise=0)


def corpus(parts: int = 3) -> Callable[[], list]:
    return lambda: [(rows, TEXTS[rows]) for rows in np.array_split(np.arange(len(TEXTS)), parts)]


def crops_of(rows: np.ndarray, embeddings: np.ndarray, constants: Settings) -> tuple[Captioned, np.ndarray]:
    """Captions of the images at `rows` (groups x count, -1 for none), and each one's group."""
    group, place = np.nonzero(rows >= 0)
    return captioned(embeddings[rows[group, place]], corpus(), constants), group


def explained(
    features: np.ndarray, embeddings: np.ndarray, groups: Groups, constants: Settings = SETTINGS
) -> Explanation:
    """The whole method, with the images themselves for crops."""
    images = np.where(groups.images, np.arange(len(features)), -1)
    low, _ = lowly_activating(row_normalised(features), groups.members, groups.images, 10, 0.3)
    random = captioned(embeddings[::4], corpus(), constants)
    high_crops, low_crops = crops_of(images, embeddings, constants), crops_of(low, embeddings, constants)
    return explain(high_crops, low_crops, random, MENTIONS, len(groups), constants)


def singles(features: np.ndarray) -> Groups:
    return single_features(fires_by_rank(row_normalised(features), 30), 11)


def listed(found: Explanation, group: int, phrase: bool = False) -> list[str]:
    """Kept words (or phrases) of a group, by rank."""
    kept = (found.scores.group == group) & found.kept & (MENTIONS.phrase[found.scores.concept] == phrase)
    order = np.argsort(found.rank[kept])
    assert found.rank[kept][order].tolist() == list(range(kept.sum()))
    return [VOCABULARY[concept] for concept in found.scores.concept[kept][order]]


def score_of(found: Explanation, group: int, word: str) -> float:
    entry = (found.scores.group == group) & (found.scores.concept == VOCABULARY.index(word))
    return float(found.scores.score[entry].sum())


def noisy(units: list[np.ndarray], seed: int = 0) -> np.ndarray:
    """Features from Boolean units, with noise and a constant level that keeps the rows comparable."""
    values = np.column_stack([*units, np.full(len(units[0]), 2.0)]).astype(float)
    return values + 0.05 * np.random.default_rng(seed).random(values.shape)


def only(unit: np.ndarray, constants: Settings = SETTINGS, seed: int = 0) -> tuple[Explanation, np.ndarray]:
    """A single unit among the others that see one word each; its group is number 0."""
    images = some_images(seed)
    features = noisy([unit, *images.T])
    return explained(features, embedded(images), singles(features), constants), images


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("normaliser", ["retrieved", "corpus"])
def test_a_planted_unit_is_named(word, normaliser):
    found, _ = only(holds(word, some_images()), replace(SETTINGS, normaliser=normaliser))
    assert listed(found, 0)[0] == word


def test_a_unit_for_a_conjunction_is_named_by_both_words_and_the_phrase():
    images = some_images()
    found, _ = only(holds("boat", images) & holds("red", images))
    assert set(listed(found, 0)[:2]) == {"boat", "red"}
    assert listed(found, 0, phrase=True)[0] == "red boat"


def test_a_unit_for_a_disjunction_is_named_by_both_words():
    images = some_images()
    found, _ = only(holds("boat", images) | holds("dog", images))
    assert set(listed(found, 0)[:2]) == {"boat", "dog"}
    assert score_of(found, 0, "tree") + score_of(found, 0, "truck") < 0.05


def test_a_unit_for_one_thing_without_another_is_named_by_the_thing():
    images = some_images()
    found, _ = only(holds("boat", images) & ~holds("red", images))
    assert listed(found, 0)[0] == "boat"
    assert score_of(found, 0, "red") < 0.05 < min(score_of(found, 0, "blue"), score_of(found, 0, "green"))
    assert score_of(found, 0, "red boat") < 0.05


def test_only_the_group_explains_a_planted_pair():
    """Two features that see two objects each and have the boat in common (claim C2)."""
    images = some_images()
    either, other = holds("boat", images) | holds("dog", images), holds("boat", images) | holds("tree", images)
    features = noisy([either, other, ~either & ~other])
    fires = row_normalised(features) >= row_normalised(features).mean()
    fires[:, 3] = False
    groups = together(single_features(fires, 11), as_groups(cofiring_sets(fires, 11, 3, 1.0, 100).sets, fires))
    pair = int(np.flatnonzero(groups.members.sum(axis=1) == 2)[0])
    found = explained(features, embedded(images), groups)
    assert np.flatnonzero(groups.members[pair]).tolist() == [0, 1]
    assert listed(found, pair)[0] == "boat"
    assert score_of(found, pair, "boat") > 0.9
    assert max(score_of(found, single, word) for single in (0, 1) for word in OBJECTS) < 0.7
    high = np.nonzero(groups.images)
    alike = coherence(embedded(images)[high[1]], high[0], len(groups))
    assert alike[pair] > 0.1 + alike[:2].max()


def spurious(kind: str) -> Explanation:
    """A unit that sees boats, and a probe split in which boats are nearly always on water, as few other things are."""
    images, rng = some_images(count=1200), np.random.default_rng(1)
    boats = np.flatnonzero(holds("boat", images) & (rng.random(1200) < 0.97))
    images[np.ix_(boats, range(7, 10))] = np.eye(3, dtype=bool)[2]
    unit = holds("boat", images)
    features = noisy([unit, *images[:, 4:].T])
    return explained(features, embedded(images), singles(features), replace(SETTINGS, contrast=kind))


def test_a_planted_spurious_context_is_named_without_contrast():
    found = spurious("off")
    assert set(listed(found, 0)[:2]) == {"boat", "water"}


@pytest.mark.parametrize("kind", ["paper", "released", "graded"])
def test_a_contrast_with_lowly_activating_images_removes_a_spurious_context_and_keeps_the_concept(kind):
    found = spurious(kind)
    assert listed(found, 0)[0] == "boat"
    assert "water" not in listed(found, 0)


def test_the_prior_puts_a_spurious_context_behind_the_concept():
    found = spurious("prior")
    value = {
        VOCABULARY[c]: v
        for g, c, v in zip(found.scores.group, found.scores.concept, found.value, strict=True)
        if g == 0
    }
    assert listed(found, 0)[0] == "boat"
    assert value["boat"] > value["water"] + 0.1


def test_what_the_contrast_removed_is_ranked_apart():
    found = spurious("released")
    removed = (found.scores.group == 0) & ~found.kept & ~MENTIONS.phrase[found.scores.concept]
    assert VOCABULARY[found.scores.concept[removed][found.rank[removed] == 0][0]] == "water"


@pytest.mark.parametrize("contrast", ["off", "prior"])
def test_shuffled_activations_score_at_chance_and_the_planted_ones_do_not(contrast):
    images, rng = some_images(), np.random.default_rng(0)
    truth = np.tile(np.arange(10), 6)
    features = noisy(list(images[:, truth].T))
    constants = replace(SETTINGS, contrast=contrast)
    hits = {}
    for name, values in (("planted", features), ("shuffled", rng.permuted(features, axis=0))):
        found = explained(values, embedded(images), singles(values), constants)
        hits[name] = np.mean([listed(found, group)[:1] == [WORDS[word]] for group, word in enumerate(truth)])
    assert hits["planted"] > 0.95
    assert hits["shuffled"] < 0.25


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.integers(1, 80))
def test_neither_the_order_of_crops_and_groups_nor_the_shards_matter(seed, parts):
    rng = np.random.default_rng(seed)
    images, order, names = some_images(seed, 60), rng.permutation(60), rng.permutation(3)
    embeddings, group = embedded(images), rng.integers(0, 3, 60)
    by_prior = replace(SETTINGS, contrast="prior", normaliser="corpus")

    def run(rows: np.ndarray, rename: np.ndarray, cut: int) -> dict:
        crops = captioned(embeddings[rows], corpus(cut), by_prior), rename[group[rows]]
        found = explain(crops, crops, crops[0], MENTIONS, 3, by_prior)
        back = np.argsort(rename)[found.scores.group]
        names = zip(back.tolist(), found.scores.concept.tolist(), strict=True)
        values = zip(found.kept, found.rank, map(pytest.approx, found.value), strict=True)
        return dict(zip(names, values, strict=True))

    assert run(np.arange(60), np.arange(3), 1) == run(order, names, parts)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_crops_in_any_order_are_divided_by_role(seed):
    rng, constants = np.random.default_rng(seed), replace(SETTINGS, contrast="both")
    crops, group = captioned(embedded(some_images(seed, 60)), corpus(), constants), rng.integers(0, 3, 60)
    role = rng.permutation(np.repeat(["high", "low", "random"], 20))
    of_role = {name: Captioned(crops.captions[role == name], crops.weights[role == name]) for name in set(role)}
    high, low = ((of_role[name], group[role == name]) for name in ("high", "low"))
    expected = explain(high, low, of_role["random"], MENTIONS, 3, constants)
    found = explain_crops(crops, group, role, MENTIONS, 3, constants)
    assert all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in ("value", "kept", "rank"))
    assert np.array_equal(found.scores.low, expected.scores.low)


@pytest.mark.parametrize("contrast", sorted(CONTRASTS))
def test_words_without_a_mention_stay_if_no_lowly_activating_crop_mentions_them(contrast):
    """A boat on the highly activating crops, a dog on the lowly activating ones, and nowhere a tree."""
    images = np.zeros((4, len(WORDS)), dtype=bool)
    images[:2, WORDS.index("boat")], images[2:, WORDS.index("dog")] = True, True
    crops = captioned(embedded(images), corpus(), replace(SETTINGS, captions_per_image=1))
    role = np.array(["high", "high", "low", "low"])
    more = np.zeros(3, int), np.array([WORDS.index(word) for word in ("boat", "dog", "tree")])
    constants = replace(SETTINGS, contrast=contrast)
    found = explain_crops(crops, np.zeros(4, int), role, MENTIONS, 1, constants, more)
    kept = {
        WORDS[concept]: bool(some)
        for concept, some in zip(found.scores.concept, found.kept, strict=True)
        if concept < len(WORDS)
    }
    assert kept["boat"] and not kept["dog"] and kept["tree"]


def test_the_normaliser_says_over_what_the_weights_sum_to_one():
    embeddings = embedded(some_images(count=50))
    total = {
        name: captioned(embeddings, corpus(), replace(SETTINGS, normaliser=name, temperature=5.0)).weights.sum(axis=1)
        for name in ("retrieved", "corpus")
    }
    assert np.allclose(total["retrieved"], 1)
    assert (total["corpus"] < 0.999).all()


@given(st.integers(0, 2**32 - 1))
def test_ranks_follow_the_value_within_each_group_and_kind(seed):
    found, _ = only(holds("boat", some_images()))
    value = np.random.default_rng(seed).normal(size=len(found.value))
    phrase = MENTIONS.phrase[found.scores.concept]
    again = ranked_by(Ranked(value, None), found.scores, found.kept, MENTIONS)
    for kind, kept in product((False, True), repeat=2):
        for group in np.unique(found.scores.group):
            rows = np.flatnonzero((phrase == kind) & (found.kept == kept) & (found.scores.group == group))
            assert again.rank[rows[np.argsort(-value[rows])]].tolist() == list(range(len(rows)))


@given(st.sampled_from(["retrieved", "corpus"]), st.floats(0.5, 50), st.integers(1, 4))
def test_captions_that_were_retrieved_elsewhere_are_weighted_alike(name, temperature, parts):
    constants = replace(SETTINGS, normaliser=name, temperature=temperature)
    embeddings = embedded(some_images(count=20))
    assert summed_at(constants) == (temperature if name == "corpus" else None)
    retrieved = nearest_captions(embeddings, corpus(parts)(), constants.captions_per_image, summed_at(constants))
    found, whole = weighted(retrieved, constants), captioned(embeddings, corpus(parts), constants)
    assert np.array_equal(found.captions, whole.captions) and np.array_equal(found.weights, whole.weights)


def test_the_released_normaliser_depends_on_the_shards():
    constants, embeddings = replace(SETTINGS, normaliser="shard"), embedded(some_images(count=50))
    whole, parted = (captioned(embeddings, corpus(parts), constants) for parts in (1, 16))
    ours = captioned(embeddings, corpus(5), SETTINGS)
    assert np.array_equal(np.sort(whole.captions), np.sort(ours.captions))
    assert not np.array_equal(np.sort(whole.captions), np.sort(parted.captions))


@pytest.mark.parametrize("contrast", ["off", "paper", "released", "graded", "prior"])
@pytest.mark.filterwarnings("error")
def test_without_low_images_random_crops_or_a_group_nothing_breaks(contrast):
    constants = replace(SETTINGS, contrast=contrast)
    nothing = captioned(np.zeros((0, 10)), corpus(), constants)
    one = captioned(embedded(some_images(count=1)), corpus(), constants)
    alone = explain((one, np.array([1])), (nothing, np.zeros(0, int)), nothing, MENTIONS, 3, constants)
    assert set(alone.scores.group) == {1}
    assert alone.kept.all()
    assert (alone.scores.low == 0).all() and (alone.scores.prior == 0).all()
    assert (
        len(explain((nothing, np.zeros(0, int)), (nothing, np.zeros(0, int)), nothing, MENTIONS, 0, constants).value)
        == 0
    )


@pytest.mark.filterwarnings("error")
def test_an_empty_corpus_gives_no_concept():
    empty = Mentions(np.zeros(0, int), sparse.csr_array((0, 2)), np.zeros(2, bool))
    crops = captioned(embedded(some_images(count=4)), lambda: [], SETTINGS), np.zeros(4, int)
    assert len(explain(crops, crops, crops[0], empty, 1, SETTINGS).scores) == 0


@settings(max_examples=10)
@given(st.integers(0, 999), st.sampled_from(["retrieved", "corpus", "shard"]), st.integers(1, 40), st.integers(1, 60))
def test_a_crop_is_captioned_by_itself_with_a_share_of_its_probability(seed, normaliser, parts, k):
    constants = replace(SETTINGS, normaliser=normaliser, captions_per_image=k, temperature=5.0)
    embeddings = embedded(some_images(seed, 12))
    found = captioned(embeddings, corpus(parts), constants)
    alone = captioned(embeddings[3:4], corpus(parts), constants)
    assert np.array_equal(found.captions[3:4], alone.captions) and np.allclose(found.weights[3:4], alone.weights)
    assert found.captions.shape == found.weights.shape == (12, k)
    assert ((found.weights >= 0) & (found.weights <= 1)).all()
    assert (np.diff(found.weights, axis=1) <= 1e-12).all()
    if normaliser != "shard":
        assert (found.weights.sum(axis=1) <= 1 + 1e-9).all()
        whole = normaliser == "retrieved" or k >= len(TEXTS)
        assert np.allclose(found.weights.sum(axis=1), 1) == whole


@settings(max_examples=10)
@given(st.integers(0, 999), st.sampled_from(["off", "paper", "released", "relative", "graded", "prior", "both"]))
def test_crops_given_twice_are_explained_alike(seed, contrast):
    constants = replace(SETTINGS, contrast=contrast)
    rng, group = np.random.default_rng(seed), np.repeat(np.arange(3), 4)
    crops = captioned(embedded(some_images(seed, 12)), corpus(), constants)
    low = captioned(embedded(some_images(seed + 1, 12)), corpus(), constants)

    def run(times: int) -> Explanation:
        high_crops, low_crops = (
            Captioned(np.tile(some.captions, (times, 1)), np.tile(some.weights, (times, 1))) for some in (crops, low)
        )
        numbers = np.tile(group, times)
        return explain((high_crops, numbers), (low_crops, numbers), low_crops, MENTIONS, 3, constants)

    once, twice = run(1), run(2)
    assert np.allclose(once.value, twice.value)
    assert np.array_equal(once.kept, twice.kept) and np.array_equal(once.rank, twice.rank)
    entry = rng.integers(0, len(once.value))
    phrase = MENTIONS.phrase[once.scores.concept]
    rivals = (once.scores.group == once.scores.group[entry]) & (phrase == phrase[entry])
    rivals &= once.kept == once.kept[entry]
    assert sorted(once.rank[rivals]) == list(range(rivals.sum()))


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 1.0))
def test_the_combined_contrast_never_drops_the_first_word_of_a_group(seed, cut):
    constants = replace(SETTINGS, contrast="combined", further_cut=cut)
    found, _ = only(holds("boat", some_images(seed)), constants, seed)
    phrase = MENTIONS.phrase[found.scores.concept]
    for group, kind in product(np.unique(found.scores.group), (False, True)):
        rows = np.flatnonzero((found.scores.group == group) & (phrase == kind))
        if len(rows):
            best = rows[np.lexsort((found.scores.concept[rows], -np.round(found.value[rows], 12)))[0]]
            assert found.kept[best] and found.rank[best] == 0
            later = np.setdiff1d(rows, best)
            low, score = found.scores.low[later], found.scores.score[later]
            assert (found.kept[later] == (low < cut * score)).all()


def test_concepts_are_ranked_by_the_values_that_a_ranking_returns():
    images = some_images()
    features, embeddings = noisy(list(images.T)), embedded(images)
    groups = singles(features)
    high = crops_of(np.where(groups.images, np.arange(len(features)), -1), embeddings, SETTINGS)
    nothing, random = (Captioned(high[0].captions[:0], high[0].weights[:0]), high[1][:0]), high[0]
    given = lambda scores, value: Ranked(-scores.concept.astype(float) + 0 * value, scores.concept > 2)  # noqa: E731
    found = explain(high, nothing, random, MENTIONS, len(groups), SETTINGS, ranking=given)
    assert (found.value == -found.scores.concept).all() and (found.weak == (found.scores.concept > 2)).all()
    words = [VOCABULARY.index(word) for word in listed(found, 0)]
    assert words == sorted(words)
