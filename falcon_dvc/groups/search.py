"""Find the groups that are explained: single features, and sets that fire together beyond chance (step 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from falcon_dvc.groups import groups as grouping
from falcon_dvc.groups.cofiring import CofiringSets, as_groups, cofiring_sets, diverse
from falcon_dvc.groups.groups import Groups
from falcon_dvc.members import as_text

if TYPE_CHECKING:
    from falcon_dvc.params.schema import FindGroups


def explained_groups(
    fires: np.ndarray, settings: FindGroups, chosen: np.ndarray | None = None
) -> tuple[Groups, pd.DataFrame, dict]:
    """Find the single features and larger groups that are explained, with statistics and counts of the search.

    Parameters
    ----------
    fires : which image fires which feature, for all features.
    chosen : features to explain, ascending; None: all. Groups consist of these, and the search tests no others.
    """
    find = _exact if settings.grouping == "exact" else _cofiring
    groups, statistics, search = find(fires, settings, np.arange(fires.shape[1]) if chosen is None else chosen)
    members = [features.tolist() for features in np.split(groups.sets.indices, groups.sets.indptr[1:-1])]
    statistics.insert(0, "group", [grouping.group_name(features) for features in members])
    statistics.insert(1, "members", [as_text(group) for group in members])
    return groups, statistics, {"single": int((statistics["size"] == 1).sum()), **search}


def _exact(fires: np.ndarray, settings: FindGroups, chosen: np.ndarray) -> tuple[Groups, pd.DataFrame, dict]:
    """Group images with the identical set of features (released), chosen or not.

    Sets of chosen features are kept. Of the larger ones, those are the strongest that fire together beyond chance.
    """
    groups = grouping.among(grouping.exact_groups(fires, settings.min_images), chosen)
    statistics = _independence(groups, fires)
    larger, size = (statistics["size"] > 1).to_numpy(), statistics["size"].to_numpy()
    significant = np.zeros(len(groups), dtype=bool)
    significant[larger] = grouping.discoveries(statistics["p_value"].to_numpy()[larger], settings.fdr)
    strength = statistics.pop("strength").to_numpy()
    # No two exact groups share an image, so none is a near-duplicate of another.
    strongest, left = grouping.strongest_in_turn(
        size, strength, significant, lambda row: np.arange(len(size)) == row, settings.max_groups
    )
    search = {
        f"of_{number}": {
            "tested": int((size == number).sum()),
            "significant": int(significant[size == number].sum()),
            "beyond_max_groups": int(left[size == number].sum()),
            "explained": int((size[strongest] == number).sum()),
        }
        for number in np.unique(size[larger])
    }
    kept = np.sort(np.concatenate([np.flatnonzero(~larger), strongest]))
    return groups.take(kept), statistics.assign(significant=significant).iloc[kept].reset_index(drop=True), search


def _cofiring(fires: np.ndarray, settings: FindGroups, chosen: np.ndarray) -> tuple[Groups, pd.DataFrame, dict]:
    """Select each chosen feature with enough images, and diverse closed sets that fire together beyond chance."""
    singles = grouping.single_features(fires, settings.min_images, chosen)
    own = fires if len(chosen) == fires.shape[1] else fires[:, chosen]
    largest = settings.max_size if settings.max_groups else 1  # without groups there is no search
    itemsets = cofiring_sets(
        own, settings.min_images, largest, settings.fdr, settings.max_candidates, settings.max_jaccard
    )
    listed, left = diverse(itemsets, own, settings.max_groups, settings.max_jaccard)
    larger = pd.DataFrame(
        {
            "size": itemsets.size[listed],
            "support": itemsets.support[listed],
            "lift": itemsets.lift[listed],
            "lift_beyond": itemsets.lift_beyond[listed],
            "p_value": itemsets.p_value[listed],
            "significant": True,
        }
    )
    single = _independence(singles, fires).drop(columns="strength").assign(significant=False)
    groups = grouping.together(singles, as_groups(chosen[itemsets.sets[listed]], fires))
    return groups, pd.concat([single, larger], ignore_index=True), _search(itemsets, listed, left)


def _independence(groups: Groups, fires: np.ndarray) -> pd.DataFrame:
    """Compare the support of each group with the support of independent features."""
    lift, p_value, strength = grouping.against_independence(groups, fires)
    return pd.DataFrame(
        {
            "size": groups.size,
            "support": groups.images.sum(axis=1),
            "lift": lift,
            "lift_beyond": lift,
            "p_value": p_value,
            "strength": strength,
        }
    )


def _search(itemsets: CofiringSets, chosen: np.ndarray, left: np.ndarray) -> dict:
    """Count the sets of each size by outcome.

    Each significant set is explained, or dropped for one of the reasons.
    """
    numbers = {}
    for size, search in itemsets.search.items():
        listed, explained = itemsets.size == size, int((itemsets.size[chosen] == size).sum())
        beyond = int(left[listed].sum())
        numbers[f"of_{size}"] = {
            "tested": search.tested,
            "significant": search.significant,
            "beyond_max_candidates": search.cut_off,
            "not_closed": search.not_closed,
            "near_duplicates": int(listed.sum()) - explained - beyond,
            "beyond_max_groups": beyond,
            "explained": explained,
        }
    return numbers
