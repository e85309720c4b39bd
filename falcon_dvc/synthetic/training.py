"""Losses, augmentations and the training loop of the models of the synthetic data set."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from falcon_dvc.allocator import keep_freed_memory

THREADS = 2  # fixed, because the number of threads changes the order of sums, and so the result


def make_deterministic(seed: int) -> torch.Generator:
    """Fix threads, algorithms and seeds; return the generator of all random numbers of training."""
    keep_freed_memory()
    torch.set_num_threads(THREADS)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Int[Tensor, " size"]]:
    """Yield the indices of one epoch in random order, in full batches, because BatchNorm and contrastive losses need them."""
    order = torch.randperm(count, generator=generator)
    size = min(size, count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]


def fit(
    parameters: list[dict],
    epochs: int,
    rate: float,
    weight_decay: float,
    epoch_batches: Callable[[], Iterator[Int[Tensor, " size"]]],
    steps_per_epoch: int,
    loss_of: Callable[[Int[Tensor, " size"]], Float[Tensor, ""]],
    name: str,
) -> list[float]:
    """Minimise a loss by AdamW with a one-cycle learning rate.

    Parameters
    ----------
    parameters
        Parameter groups.
    epochs, rate, weight_decay
        Passes over the data, peak learning rate, decoupled weight decay.
    epoch_batches
        Returns the batches of indices of one epoch.
    steps_per_epoch
        Batches in an epoch.
    loss_of
        From a batch of indices to its loss.
    name
        Name to print with each epoch.

    Returns
    -------
    list of float
        Mean loss of each epoch.
    """
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, rate, total_steps=epochs * steps_per_epoch + 1, pct_start=0.15
    )
    history = []
    for epoch in range(epochs):
        losses = [_step(optimiser, schedule, loss_of(batch)) for batch in epoch_batches()]
        history.append(sum(losses) / len(losses))
        print(f"{name}: epoch {epoch + 1}/{epochs}, loss {history[-1]:.4f}", flush=True)
    return history


def _step(
    optimiser: torch.optim.Optimizer, schedule: torch.optim.lr_scheduler.LRScheduler, loss: Float[Tensor, ""]
) -> float:
    """Take one step down the gradient."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    schedule.step()
    return float(loss.detach())


def windows(
    images: Float[Tensor, "batch 3 rows columns"],
    centres: Float[Tensor, "batch 2"],
    sides: Float[Tensor, " batch"],
    flip: Tensor | None = None,
) -> Float[Tensor, "batch 3 rows columns"]:
    """Cut square windows and stretch them to the size of the picture, bilinearly.

    Parameters
    ----------
    images
        Square pictures.
    centres, sides
        Windows as x, y and side, as shares of the picture's side. A window that exceeds the picture is moved inside.
    flip
        The windows to mirror, bool (batch,); none by default.
    """
    half = sides.clamp(max=1) / 2
    centres = torch.minimum(torch.maximum(centres, half[:, None]), 1 - half[:, None])
    mirror = torch.ones_like(half) if flip is None else 1 - 2 * flip.to(half.dtype)
    zero = torch.zeros_like(half)
    x, y = (2 * centres - 1).unbind(1)
    theta = torch.stack([torch.stack([2 * half * mirror, zero, x], 1), torch.stack([zero, 2 * half, y], 1)], 1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    cut = functional.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return cut.contiguous(memory_format=torch.channels_last)


def uniform(low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw uniform numbers in [low, high)."""
    return torch.rand(shape, generator=generator) * (high - low) + low


def random_windows(
    images: Float[Tensor, "batch 3 rows columns"], smallest: float, generator: torch.Generator
) -> Float[Tensor, "batch 3 rows columns"]:
    """Cut random windows, half of them mirrored; `smallest` is the least share of the picture's side."""
    count = len(images)
    sides = uniform(smallest, 1.0, (count,), generator)
    flip = torch.rand(count, generator=generator) < 0.5
    return windows(images, torch.rand(count, 2, generator=generator), sides, flip)


def jitter_colour(
    images: Float[Tensor, "batch 3 rows columns"], strength: float, generator: torch.Generator
) -> Float[Tensor, "batch 3 rows columns"]:
    """Change brightness, contrast and, by half as much, the balance of channels of each picture. Hues change little."""
    count = len(images)
    gain = (
        1
        + uniform(-strength, strength, (count, 1, 1, 1), generator)
        + uniform(-strength / 2, strength / 2, (count, 3, 1, 1), generator)
    )
    shift = uniform(-strength / 2, strength / 2, (count, 1, 1, 1), generator)
    return (images * gain + shift).clamp(0, 1)


def blur_some(
    images: Float[Tensor, "batch 3 rows columns"], share: float, generator: torch.Generator
) -> Float[Tensor, "batch 3 rows columns"]:
    """Blur a share of the pictures by a 3x3 mean, so that models do not rely on pixel noise."""
    chosen = torch.rand(len(images), generator=generator) < share
    blurred = functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return torch.where(chosen[:, None, None, None], blurred, images)


def grey_some(
    images: Float[Tensor, "batch 3 rows columns"], share: float, generator: torch.Generator
) -> Float[Tensor, "batch 3 rows columns"]:
    """Convert a share of the pictures to grey, so that views cannot be matched by colour alone."""
    chosen = torch.rand(len(images), generator=generator) < share
    return torch.where(chosen[:, None, None, None], images.mean(dim=1, keepdim=True), images)


def classification_loss(
    logits: dict[str, Float[Tensor, "batch classes"]],
    labels: dict[str, Int[Tensor, " batch"] | Float[Tensor, "batch classes"]],
    weights: dict[str, float],
) -> Float[Tensor, ""]:
    """Return the weighted sum of the cross-entropies of all heads; a label is a class, or the share of each class."""
    return torch.stack(
        [weights[kind] * functional.cross_entropy(scores, labels[kind]) for kind, scores in logits.items()]
    ).sum()


def nt_xent(
    first: Float[Tensor, "batch width"], second: Float[Tensor, "batch width"], temperature: float
) -> Float[Tensor, ""]:
    """Return the normalised, temperature-scaled cross-entropy of SimCLR (Chen et al. 2020, Eq. 1).

    Parameters
    ----------
    first, second
        Projections of two views of the same pictures.
    temperature
        Positive.
    """
    views = functional.normalize(torch.cat([first, second]), dim=1)
    similarity = views @ views.T / temperature
    similarity = similarity.masked_fill(torch.eye(len(views), dtype=torch.bool), -torch.inf)
    partners = torch.arange(len(views)).roll(len(first))
    return functional.cross_entropy(similarity, partners)


def projection_head(features: int, width: int) -> nn.Module:
    """Build SimCLR's projection head with one hidden layer."""
    return nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, width))


def ridge_classifier(
    features: Float[np.ndarray, "images features"],
    labels: Int[np.ndarray, " images"],
    classes: int,
    penalty: float = 1e-3,
) -> Callable[[Float[np.ndarray, "images features"]], Int[np.ndarray, " images"]]:
    """Fit a linear probe in closed form: ridge regression on one-hot labels. The class is the largest output.

    Parameters
    ----------
    features, labels, classes
        Training data.
    penalty
        Ridge penalty as a share of the number of images, on standardised features.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-8
    design = (features - mean) / deviation
    targets = np.eye(classes)[labels]
    gram = design.T @ design + penalty * len(design) * np.eye(design.shape[1])
    weights = np.linalg.solve(gram, design.T @ (targets - targets.mean(axis=0)))
    offset = targets.mean(axis=0)
    return lambda other: ((other - mean) / deviation @ weights + offset).argmax(axis=1)


def attribute_correlations(
    features: Float[np.ndarray, "images features"], indicators: Float[np.ndarray, "images attributes"]
) -> Float[np.ndarray, "features attributes"]:
    """Return the Pearson correlation of every feature with every binary attribute; 0 if one of them is constant."""
    standardised = [
        np.divide(a - a.mean(axis=0), a.std(axis=0), out=np.zeros(a.shape), where=a.std(axis=0) > 1e-12)
        for a in (features, indicators)
    ]
    return standardised[0].T @ standardised[1] / len(features)
