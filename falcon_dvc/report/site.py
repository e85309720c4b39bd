"""Write the site page by page, one encoder after the other, with a bounded number of pictures in memory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from falcon_dvc import paths
from falcon_dvc.artifacts.formats import read_array, read_table, write_bytes, write_text
from falcon_dvc.concepts.words.listing import kept_concepts
from falcon_dvc.errors import UserError
from falcon_dvc.html.histograms import Histogram, histogram, neighbours
from falcon_dvc.html.markup import bars
from falcon_dvc.html.pictures import Tile, contact_sheet, cut_outs, draw_crops, jpeg, sheet, webp
from falcon_dvc.images.open import open_images
from falcon_dvc.progress import track
from falcon_dvc.report import overview
from falcon_dvc.report.ablation import read_effects
from falcon_dvc.report.additions import read_additions
from falcon_dvc.report.cards import Card, Tables, collect_cards, concept_key, crops_by_group
from falcon_dvc.report.crops import COLUMNS, crop_sheets, read_crops, sheet_crops, shown_crops
from falcon_dvc.report.explained import (
    COVERS,
    SHEET,
    ExplainedEncoder,
    Link,
    carriers,
    probe_rows,
    read_explained,
    tables_of_truths,
)
from falcon_dvc.report.facets import read_agreement, read_follows
from falcon_dvc.report.failures import EXAMPLES, Failures, collect_failures, some_clear
from falcon_dvc.report.pages import TEMPLATES, render, style
from falcon_dvc.report.plots import Drawn, draw_plots
from falcon_dvc.report.quantiles import EXAMPLES as BELOW_MAXIMUM
from falcon_dvc.report.quantiles import example_pictures, read_below_maximum
from falcon_dvc.report.search_index import index, script
from falcon_dvc.report.synonyms import read_synonyms
from falcon_dvc.report.together import read_together
from falcon_dvc.report.transfers import IMAGES, TransferPage, collect_transfer
from falcon_dvc.threads import in_blocks

if TYPE_CHECKING:
    from falcon_dvc.params.schema import Params

COVER = 64  # side of a group's picture in lists, in pixels
NEIGHBOURS = 6  # of each group in each encoder
GROUPS = 8  # groups of a feature on its page
WITHOUT_SCRIPT = 100  # links in the list of an encoder before its script runs
FACES = 12  # groups of each encoder on the overview
CARRIERS = 25  # groups of each encoder on the page of a concept
CONCEPTS = 300  # concepts in the list of concepts
SCRIPTS = ("finding.js", "site.js", "listing.js")
NAME = re.compile(r"[a-z0-9][a-z0-9_]*")


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `folder` when it is complete, so that no page of an earlier run remains."""
    new = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(new, ignore_errors=True)  # of a killed process
    try:
        yield new
        if folder.exists():
            shutil.rmtree(folder)
        new.rename(folder)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


@dataclass(frozen=True)
class Site:
    """The data of more than one page.

    Attributes
    ----------
    folder : folder of the pages.
    """

    params: Params
    folder: Path

    @cached_property
    def images(self) -> pd.DataFrame:
        return read_table(paths.IMAGES)

    @cached_property
    def source(self) -> Any:
        return open_images(self.params.data, self.images)

    @cached_property
    def explained(self) -> list[ExplainedEncoder]:
        truths = tables_of_truths(self.params)
        explained = read_explained(self.params.without_controls, truths, self.params.report.weak)
        names = [name for one in explained for name in (one.name, *one.groups["group"])]
        for name in names:
            if not NAME.fullmatch(name):
                raise UserError(f"{paths.groups(name)}: '{name!a}' cannot be the name of a page; run `dvc repro`")
        return explained

    @cached_property
    def carriers(self) -> pd.DataFrame:
        return carriers(self.explained)

    @cached_property
    def carried(self) -> dict[str, int]:
        """Number of groups that carry each concept clearly."""
        clear = self.carriers[~self.carriers["unclear"]].drop_duplicates(["encoder", "group", "concept"])
        counts = clear["concept"].value_counts(sort=False)
        return {str(concept): int(count) for concept, count in counts.items()}

    @cached_property
    def synonyms(self) -> dict[str, list[str]]:
        """Other words for each concept."""
        return read_synonyms()

    @cached_property
    def failures(self) -> dict[str, Failures]:
        return collect_failures(self.params, self.images, self.source)

    @cached_property
    def transfers(self) -> list[TransferPage]:
        """The transfers from encoders with pages: those of a control have numbers only."""
        links, pages = {one.name: one.link_of for one in self.explained}, []
        own = {pair: names for pair, names in self.params.transfers.items() if names.explained in links}
        for pair, names in own.items():
            measured = overview.transfer_measurements({pair: names})
            pages.append(
                collect_transfer(pair, names, links[names.explained], measured, self.images, self.source, self.size)
            )
        return pages

    @cached_property
    def menu(self) -> dict[str, Any]:
        return {
            "encoders": list(self.params.without_controls),
            "failures": list(self.failures),
            "transfers": [(page.pair, f"{page.explained} → {page.unseen}") for page in self.transfers],
            "truths": bool(tables_of_truths(self.params)),
            "by_correlation": self.params.concepts.ranking == "correlation",
            "explained": "features and groups" if any(one.groups_of for one in self.explained) else "features",
        }

    @property
    def size(self) -> int:
        return self.params.report.thumbnail

    @property
    def columns(self) -> int:
        """Largest number of crops of a group."""
        return self.params.report.high + self.params.report.low

    def page(self, path: str, template: str, here: str, **content: Any) -> None:
        """Write one page of the site; `path` is relative to its folder."""
        up = "../" * path.count("/")
        content |= {"site": up or "./", "home": f"{up}../index.html", "menu": self.menu, "here": here}
        write_text(self.folder / path, render(template, **content))

    def picture(self, path: str, tiles: Sequence[Tile], columns: int) -> None:
        """Write tiles as one picture; `path` is relative to the folder of the site."""
        write_bytes(self.folder / path, webp(sheet(tiles, columns)))

    def pictures(self, tiles_of: Mapping[str, Sequence[Tile]], columns: int) -> None:
        """Write several pictures in threads, by their paths."""
        of_path = list(tiles_of.items())

        def write(rows: slice) -> None:
            for path, tiles in of_path[rows]:
                self.picture(path, tiles, columns)

        in_blocks(write, len(of_path), 1)


def write_site(params: Params, folder: Path) -> str:
    """Write all pages except the overview into a folder, and return the text of the overview.

    Raises
    ------
    UserError
        If an artefact is missing or an image has changed.
    """
    site = Site(params, folder)
    drawn = draw_plots(params, folder / "plots")
    _write_assets(site)
    truths = {}
    for explained in site.explained:
        truths[explained.name] = _write_encoder(site, explained, drawn)
    write_text(folder / "search.js", script("falcon", index(site.explained, site.carriers, truths, site.synonyms)))
    _write_concepts(site)
    _write_failures(site, drawn)
    _write_transfers(site, drawn)
    _write_numbers(site, drawn)
    return _overview(site, drawn)


def _write_assets(site: Site) -> None:
    widest = max(site.columns, COVERS, COLUMNS, EXAMPLES, BELOW_MAXIMUM, 2 * IMAGES)
    write_text(site.folder / "site.css", style(widest))
    for name in SCRIPTS:
        write_text(site.folder / name, (TEMPLATES / name).read_text(encoding="utf-8"))


def _write_encoder(site: Site, explained: ExplainedEncoder, drawn: Mapping[str, list[Drawn]]) -> dict[str, Any]:
    """Write all pages and pictures of one encoder, and return the truths of its features."""
    name = explained.name
    crops = read_crops(name, site.images)
    shown, on_sheets = shown_crops(name, crops, site.params.report), sheet_crops(crops, site.params.report)
    _write_pictures(site, explained, shown)
    _write_crop_sheets(site, explained, on_sheets)
    alike = _alike(site, explained)
    places = {link.group: place for place, link in enumerate(explained.links)}
    truths, sheets, added = {}, crop_sheets(on_sheets), read_additions(explained)
    followed = read_follows(name, shown, on_sheets, site.columns)
    of_pairs, conjunctions = read_together(name, explained.groups)
    effects = read_effects(name) if name in site.params.ablate_features.encoders else {}
    below = read_below_maximum(name)
    _write_examples(site, explained)
    captions = _captions_of(explained.tables)
    cards = collect_cards(name, explained.tables, captions, crops_by_group(shown), _histograms(site, explained))
    for card in track(cards, f"Pages of {name}", total=len(places)):
        truths[card.group] = card.truth
        extras: dict[str, Any] = {"sheet": sheets.get(card.group), "added": added.get(card.group)}
        extras |= {
            "followed": followed.get(card.group),
            "effect": effects.get(card.group),
            "below": below.get(card.group),
            "together": of_pairs.get(card.group),
        }
        _write_feature(site, explained, card, alike, places[card.group], **extras)
    known = any(truths.values())
    content = {"encoder": explained, "known": known, "first": WITHOUT_SCRIPT, "drawn": drawn.get(name, [])}
    content |= {"lacking": overview.lacking_of_encoder(name), "conjunctions": conjunctions}
    content["agreeing"] = read_agreement(name) if site.params.worlds else None
    site.page(f"{name}/index.html", "encoder", name, **content)
    return {group: truth for group, truth in truths.items() if truth}


def _captions_of(tables: Tables) -> pd.DataFrame:
    """Read the captions that are evidence of a concept: the corpus may have millions."""
    captions = read_table(paths.CAPTIONS / "captions.parquet")
    return captions[captions["caption"].isin(tables.evidence["caption"].unique())]


def _histograms(site: Site, explained: ExplainedEncoder) -> dict[str, Histogram]:
    """Compute the histogram of each group on the explained images."""
    normalised = explained.activations(probe_rows(site.images))
    thresholds = read_array(paths.groups(explained.name) / "thresholds.npy", mmap=False)
    return {
        row.group: histogram(normalised, thresholds, row.member) for row in explained.groups.itertuples(index=False)
    }


def _alike(site: Site, explained: ExplainedEncoder) -> list[tuple[ExplainedEncoder, np.ndarray, np.ndarray]]:
    """Find the neighbours of all groups of an encoder: in itself, then in every other encoder."""
    encoders = [explained, *(other for other in site.explained if other is not explained)]
    own = explained.space(site.images)
    return [
        (other, *neighbours(own, other.space(site.images, not_chosen=True), NEIGHBOURS, same=other is explained))
        for other in encoders
    ]


def _write_pictures(site: Site, explained: ExplainedEncoder, shown: pd.DataFrame) -> None:
    """Write a picture for each group, and a picture of the covers of every `SHEET` groups."""
    heat = read_array(paths.crops(explained.name) / "heatmaps.npy")
    rows = shown.groupby("group", sort=False).indices
    starts = range(0, len(explained.links), SHEET)
    for start in track(starts, f"Pictures of {explained.name}", total=len(starts)):
        links = explained.links[start : start + SHEET]
        crops_of = [shown.iloc[rows.get(link.group, [])] for link in links]
        drawn = iter(draw_crops(site.source, pd.concat(crops_of), heat, site.size))
        sheets = [_sheet(site, crops, drawn) for crops in crops_of]
        site.pictures(
            {f"{link.encoder}/{link.group}.webp": tiles for link, tiles in zip(links, sheets, strict=True)},
            site.columns,
        )
        site.picture(f"{explained.name}/covers-{start // SHEET}.webp", [_cover(tiles[0]) for tiles in sheets], COVERS)


def _sheet(site: Site, crops: pd.DataFrame, drawn: Iterator[tuple[Tile, Tile]]) -> list[Tile]:
    """Arrange the pictures of one group.

    Crops are above their whole images; highly activating crops are on the left.
    """
    empty: Tile = np.zeros((site.size, site.size, 4), dtype=np.uint8)
    tiles = [empty] * (2 * site.columns)
    column = {"high": 0, "low": site.params.report.high}
    for role in crops["role"]:
        tiles[column[role]], tiles[site.columns + column[role]] = next(drawn)
        column[role] += 1
    return tiles


def _write_crop_sheets(site: Site, explained: ExplainedEncoder, on_sheets: pd.DataFrame) -> None:
    """Write a sheet of small pictures of all crops of each group that has more than its page shows."""
    rows = on_sheets.groupby("group", sort=False).indices
    groups = [link.group for link in explained.links if link.group in rows]
    starts, size = range(0, len(groups), SHEET), max(site.size // 2, 1)
    for start in track(starts, f"Crops of {explained.name}", total=len(starts)):
        together = groups[start : start + SHEET]
        drawn = iter(cut_outs(site.source, on_sheets.iloc[np.concatenate([rows[group] for group in together])], size))
        for group in together:
            picture = contact_sheet(list(islice(drawn, len(rows[group]))), COLUMNS)
            write_bytes(site.folder / explained.name / f"{group}-crops.jpg", jpeg(picture))


def _write_examples(site: Site, explained: ExplainedEncoder) -> None:
    """Write a picture of images below the maximum of each feature, a row for each part."""
    groups = [link.group for link in explained.links]
    starts = range(0, len(groups), SHEET)
    for start in track(starts, f"Images below the maximum of {explained.name}", total=len(starts)):
        together = groups[start : start + SHEET]
        drawn = example_pictures(explained.name, together, site.images, site.source, site.size)
        site.pictures({f"{explained.name}/{group}-below.webp": tiles for group, tiles in drawn}, BELOW_MAXIMUM)


def _cover(picture: Tile) -> Tile:
    """Scale a crop to the size of a cover."""
    from PIL import Image

    size = min(COVER, len(picture))
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BOX))


def _write_feature(
    site: Site,
    explained: ExplainedEncoder,
    card: Card,
    alike: Sequence[tuple[ExplainedEncoder, np.ndarray, np.ndarray]],
    place: int,
    **extras: Any,
) -> None:
    """Write the page of one feature or group.

    Parameters
    ----------
    extras : further content of the page.
    """
    links = explained.links
    reasons = {concept.reason for concept in card.removed}
    content = {
        "card": card,
        "axis": explained.axis,
        "bars": bars(card.histogram),
        "columns": site.columns,
        "high": site.params.report.high,
        "images": int((site.images["split"] == "probe").sum()),
        "before": links[place - 1] if place else None,
        "after": links[place + 1] if place + 1 < len(links) else None,
        "opposite": explained.link_of.get(card.opposite),
        "members": [(member, explained.link_of.get(f"f{member}")) for member in card.members],
        "groups": explained.groups_of.get(card.members[0], [])[:GROUPS] if len(card.members) == 1 else [],
        "one_reason": reasons.pop() if len(reasons) == 1 else None,
        "carried": site.carried,
        "synonyms": site.synonyms,
        "sheet_columns": COLUMNS,
        "neighbours": [(other.name, _nearest(other, index[place], r[place])) for other, index, r in alike],
        "transfers": [
            (page, page.carried[card.group])
            for page in site.transfers
            if page.explained == card.encoder and card.group in page.carried
        ],
    }
    site.page(f"{card.encoder}/{card.group}.html", "feature", card.encoder, **content, **extras)


def _nearest(other: ExplainedEncoder, index: np.ndarray, correlation: np.ndarray) -> list[tuple[Link, float]]:
    """Make links to the neighbours of one group, with the correlations."""
    links = [*other.links, *other.not_chosen]
    return [(links[place], float(r)) for place, r in zip(index, correlation, strict=True) if place >= 0]


def _write_concepts(site: Site) -> None:
    """Write a page for each concept, and a list of the concepts with most groups."""
    carrying = _carrying(site.carriers)
    total = sum(len(one.links) for one in site.explained)
    for concept, rows in track(sorted(carrying.items()), "Pages of concepts", total=len(carrying)):
        of_all = [row for of_encoder in rows.values() for row in of_encoder]
        content = {
            "concept": concept,
            "kind": "word" if any(row.kind == "word" for row in of_all) else "noun phrase",
            "also": site.synonyms.get(concept, []),
            "total": site.carried.get(concept, 0),
            "of_all": total,
            "encoders": [_carriers_of(encoder, rows.get(encoder.name, [])) for encoder in site.explained],
        }
        site.page(f"by-concept/{concept_key(concept)}.html", "concept", "concepts", **content)
    ranked = sorted(site.carried.items(), key=lambda item: (-item[1], item[0]))
    listed = [(concept, concept_key(concept), count) for concept, count in ranked[:CONCEPTS]]
    site.page("by-concept/index.html", "concepts", "concepts", concepts=listed, total=len(ranked), shown=len(listed))


def _carrying(carriers: pd.DataFrame) -> dict[str, dict[str, list[Any]]]:
    """Collect the groups with each concept by encoder: the clear ones first, then by score."""
    ranked = carriers.sort_values(["unclear", "score"], ascending=[True, False], kind="stable")
    carrying: dict[str, dict[str, list[Any]]] = {}
    for row in ranked.drop_duplicates(["encoder", "group", "concept"]).itertuples(index=False):
        carrying.setdefault(str(row.concept), {}).setdefault(row.encoder, []).append(row)
    return carrying


def _carriers_of(explained: ExplainedEncoder, rows: list[Any]) -> dict[str, Any]:
    """Link the first groups of one encoder with a concept, and count the groups that carry it clearly."""
    shown = [(explained.link_of[row.group], row) for row in rows[:CARRIERS]]
    clear = sum(not row.unclear for row in rows)
    return {
        "name": explained.name, "axis": explained.axis, "rows": shown, "total": clear, "more": len(rows) - len(shown),
    }  # fmt: skip


def _write_failures(site: Site, drawn: Mapping[str, list[Drawn]]) -> None:
    """Write a page for each classifier."""
    by_name = {one.name: one for one in site.explained}
    for name, failures in site.failures.items():
        known = by_name[name].link_of if name in by_name else {}
        if failures.tiles:
            site.picture(f"{name}/failures.webp", failures.tiles, EXAMPLES)
        chosen = by_name[name].chosen if name in by_name else ""
        content = {"name": name, "some": failures, "known": known, "columns": EXAMPLES, "chosen": chosen}
        content["some_clear"] = partial(some_clear, known)
        site.page(f"{name}/failures.html", "failures", "failures", drawn=drawn.get(f"failures_{name}", []), **content)


def _write_transfers(site: Site, drawn: Mapping[str, list[Drawn]]) -> None:
    """Write a page for each pair."""
    for page in site.transfers:
        crops = _highly_activating(page.explained, site.params.report.high)
        if page.tiles:
            site.picture(f"transfer-{page.pair}.webp", page.tiles, 2 * IMAGES)
        content = {
            "page": page,
            "own": {group.link.group: min(IMAGES, crops.get(group.link.group, 0)) for group in page.examples},
            "own_columns": site.columns,
            "columns": 2 * IMAGES,
            "drawn": drawn.get(f"transfer_{page.pair}", []),
        }
        site.page(f"transfer-{page.pair}.html", "transfer", "transfer", **content)


def _highly_activating(name: str, most: int) -> dict[str, int]:
    """Count the highly activating crops that the page of each group shows."""
    crops = read_table(paths.crops(name) / "crops.parquet")
    counts = crops[crops["role"] == "high"]["group"].value_counts(sort=False)
    return {str(group): min(int(count), most) for group, count in counts.items()}


def _write_numbers(site: Site, drawn: Mapping[str, list[Drawn]]) -> None:
    """Write the measurements, a page for each kind."""
    blocks = [
        block
        for block in [
            *overview.measurements(site.params),
            overview.transfer_measurements(site.params.transfers),
        ]
        if block.columns or block.missing
    ]
    pages = [(f"measured-{place}" if place else "measured", block.title) for place, block in enumerate(blocks)]
    for (name, _), block in zip(pages, blocks, strict=True):
        site.page(f"{name}.html", "measured", "measured", block=block, all=pages, drawn=[])


def _overview(site: Site, drawn: Mapping[str, list[Drawn]]) -> str:
    """Render the overview, the first page."""
    params = site.params
    return render(
        "overview",
        site="site/",
        home="index.html",
        here="",
        menu=site.menu,
        encoders=site.explained,
        faces={one.name: faces(one) for one in site.explained},
        images={split: int(count) for split, count in site.images["split"].value_counts(sort=False).items()},
        source=params.data.source,
        captions=len(read_table(paths.CAPTIONS / "captions.parquet")),
        image_text=params.image_text.kind,
        contrast=str(params.concepts.contrast),
        failures=site.failures,
        lacking=overview.lacking_of_run(),
        glance=overview.at_a_glance(params),
        methods=overview.compared_methods(params),
        controls=len(params.encoders) > len(params.without_controls),
        drawn=drawn.get("overview", []),
        claims=overview.claims() if params.worlds else [],
    )


def faces(explained: ExplainedEncoder) -> list[Link]:
    """Select explained groups with different first words for the overview, those with the highest scores."""
    first = kept_concepts(explained.tables.concepts, top=1)
    words = first[~first["unclear"]].sort_values(["score", "group"], ascending=[False, True], kind="stable")
    return [explained.link_of[group] for group in words.drop_duplicates("concept")["group"].head(FACES)]
