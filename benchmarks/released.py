"""The released algorithms, implemented from their description (docs/method.md), as the reference of benchmarks/speed.py.

Loops stand where the description has them. Where an algorithm is one of a library (matrix products, softmax, tagging), it is torch's or
TextBlob's. Each takes the `share` of the work that it does; its time is divided by it.
"""

from typing import Any

import numpy as np

Inputs = dict[str, Any]


def groups(inputs: Inputs, share: float) -> dict[str, list[int]]:
    """Step 3: every feature of every image against one threshold; images by the names of their features, joined."""
    normalised, threshold = inputs["normalised"], inputs["threshold"]
    fires: dict[int, list[str]] = {}
    for feature in range(round(normalised.shape[1] * share)):
        for image in range(len(normalised)):
            if normalised[image, feature] >= threshold:
                fires.setdefault(image, []).append(str(feature))
    found: dict[str, list[int]] = {}
    for image, features in fires.items():
        found.setdefault("_".join(features), []).append(image)
    return {name: images for name, images in found.items() if len(images) >= inputs["min_images"]}


def heatmaps_and_boxes(inputs: Inputs, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Steps 4 and 5: Grad-CAM of each feature with a pass forward and back, boxes by a flood fill in Python."""
    import torch

    network, pixels = inputs["network"], torch.from_numpy(inputs["pixels"])
    tasks = round(network.width * len(pixels) * share)
    images = min(len(pixels), tasks)
    found = [
        _grad_cam(network, pixels[start : min(start + 32, images)], feature)
        for feature in range(max(1, tasks // images))
        for start in range(0, images, 32)
    ]
    heatmaps = np.concatenate(found)
    return heatmaps, np.array([box(heatmap, inputs["cut"]) for heatmap in heatmaps])


def _grad_cam(network, pixels, feature: int) -> np.ndarray:
    import torch

    maps = network.maps(pixels)
    maps.retain_grad()
    maps.mean(dim=(2, 3))[:, feature].sum().backward()
    weights = maps.grad.mean(dim=(2, 3), keepdim=True)
    summed = torch.relu((weights * maps).sum(dim=1, keepdim=True))
    return torch.nn.functional.interpolate(summed, scale_factor=network.finer, mode="bilinear")[:, 0].detach().numpy()


def box(heatmap: np.ndarray, cut: float) -> tuple[int, int, int, int]:
    """Return the box around the largest connected region, found pixel by pixel."""
    height, width = heatmap.shape
    least = cut * heatmap.max()
    left = {(row, column) for row in range(height) for column in range(width) if heatmap[row, column] >= least > 0}
    largest: list[tuple[int, int]] = []
    while left:
        seed = min(left)
        left.remove(seed)
        region, edge = [seed], [seed]
        while edge:
            row, column = edge.pop()
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in left:
                    left.remove(near)
                    region.append(near)
                    edge.append(near)
        if len(region) > len(largest):
            largest = region
    if not largest:
        return 0, 0, width, height
    rows, columns = zip(*largest, strict=True)
    return min(columns), min(rows), max(columns) + 1, max(rows) + 1


def captions(inputs: Inputs, share: float) -> np.ndarray:
    """Step 8: softmax over each shard of captions, its k best, joined with the others', the k best of these."""
    import torch

    crops, texts = torch.from_numpy(inputs["crops"]), torch.from_numpy(inputs["texts"])
    best, ids = torch.zeros(len(crops), 0), torch.zeros(len(crops), 0, dtype=torch.int64)
    for start in range(0, round(len(texts) * share), inputs["shard"]):
        probability = torch.softmax(100 * crops @ texts[start : start + inputs["shard"]].T, dim=1)
        own, place = torch.topk(probability, inputs["k"], dim=1)
        best, ids = torch.cat([best, own], 1), torch.cat([ids, place + start], 1)
        best, chosen = torch.topk(best, inputs["k"], dim=1)
        ids = torch.gather(ids, 1, chosen)
    return ids.numpy()


def captions_by_group(inputs: Inputs, share: float) -> np.ndarray:
    """Return the same, the crops of one group at a time."""
    size = inputs["group_size"]
    starts = range(0, round(len(inputs["crops"]) * share), size)
    return np.concatenate(
        [captions({**inputs, "crops": inputs["crops"][start : start + size]}, 1.0) for start in starts]
    )


def words(inputs: Inputs, share: float) -> list[set[str]]:
    """Step 9: TextBlob for each caption: tags, noun phrases, lemmas."""
    from textblob import TextBlob, Word
    from textblob.taggers import PatternTagger

    tagger, found = PatternTagger(), []
    for caption in inputs["captions"][: round(len(inputs["captions"]) * share)]:
        tagged = tagger.tag(caption.lower())
        TextBlob(caption, pos_tagger=tagger).parse()
        found.append({str(Word(word).singularize()) for word, tag in tagged if tag[:2] in ("NN", "VB", "JJ")})
    return found


def coherence(inputs: Inputs, share: float) -> np.ndarray:
    """Step 6 and its null: the product of all pairs of a group's crops, and of each of its random sets."""
    embeddings, pool, sets = inputs["embeddings"], inputs["pool"], inputs["sets"]
    generator, ends = np.random.default_rng(0), np.cumsum(inputs["sizes"])
    found = []
    for size, end in list(zip(inputs["sizes"], ends, strict=True))[: round(len(ends) * share)]:
        own = _all_pairs(embeddings[end - size : end])
        null = [_all_pairs(pool[generator.choice(len(pool), size, replace=False)]) for _ in range(sets)]
        found.append((own, float(np.mean(null))))
    return np.array(found)


def _all_pairs(rows: np.ndarray) -> float:
    return float(((rows @ rows.T).sum() - len(rows)) / (len(rows) * (len(rows) - 1)))


def lowly(inputs: Inputs, share: float) -> np.ndarray:
    """Step 7: for each feature all images again, compared without it."""
    normalised, fires, mean = inputs["normalised"], inputs["fires"], inputs["mean"]
    found = []
    for feature in range(round(normalised.shape[1] * share)):
        rest = np.delete(normalised, feature, axis=1)
        rest /= np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), 1e-12)
        centre = np.delete(normalised[fires[:, feature]].mean(axis=0), feature)
        cosine = rest @ (centre / np.linalg.norm(centre))
        cosine[(normalised[:, feature] >= mean) | fires[:, feature]] = -np.inf
        order = np.argsort(-np.round(cosine, 12), kind="stable")[: inputs["count"]]
        found.append(np.where(cosine[order] >= inputs["similarity"], order, -1))
    return np.array(found)


def auc(inputs: Inputs, share: float) -> np.ndarray:
    """AUC of one feature and one attribute at a time, by its ranks."""
    from scipy.stats import rankdata

    activations, labels = inputs["activations"], inputs["labels"]
    found = []
    for pair in range(round(activations.shape[1] * labels.shape[1] * share)):
        feature, attribute = divmod(pair, labels.shape[1])
        having = labels[:, attribute]
        count = int(having.sum())
        above = rankdata(activations[:, feature])[having].sum() - count * (count + 1) / 2
        found.append(above / (count * (len(having) - count)))
    return np.array(found)


def soft_wpmi(inputs: Inputs, share: float) -> np.ndarray:
    """CLIP-Dissect's published formula, feature by feature."""
    import torch

    images, concepts, strongest = (torch.from_numpy(inputs[name]) for name in ("images", "concepts", "strongest"))
    given = torch.softmax(10 * images @ concepts.T, dim=1)
    count = strongest.shape[1]
    weight = (0.998 - torch.arange(count) / count * (0.998 - 0.97))[:, None]
    total = [
        torch.log(1 + weight * (given[strongest[feature]] - 1) + 1e-7).sum(dim=0)
        for feature in range(round(len(strongest) * share))
    ]
    of_features = torch.stack(total)
    return (of_features - (torch.logsumexp(of_features, 0) - np.log(len(of_features)))).numpy()
