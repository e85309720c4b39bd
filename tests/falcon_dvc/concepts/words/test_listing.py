"""Lists of words for people follow the ranks alone."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from falcon_dvc.concepts.words.listing import first_concepts, in_words

ENTRIES = st.lists(
    st.tuples(st.sampled_from(["f1", "f2", "g12"]), st.sampled_from(["word", "phrase"]), st.booleans(), st.integers(1, 5)),
    unique=True,
    max_size=12,
)  # fmt: skip


@given(ENTRIES, st.randoms())
def test_lists_for_people_follow_the_ranks_whatever_the_order_of_the_rows(entries, random):
    mixed = entries.copy()
    random.shuffle(mixed)
    columns = ["group", "kind", "kept", "rank"]
    tables = [pd.DataFrame(some, columns=columns) for some in (entries, mixed)]
    tables = [table.assign(concept="c" + table["rank"].astype(str), score=table["rank"] / 8) for table in tables]
    for kind in ("word", "phrase"):
        listed = [in_words(table, kind).to_dict() for table in tables]
        assert listed[0] == listed[1]
        for group in ("f1", "f2", "g12"):
            ranks = sorted(rank for own, some, kept, rank in entries if (own, some, kept) == (group, kind, True))
            assert listed[0].get(group, "") == "; ".join(f"c{rank}:{rank / 8:.2f}" for rank in ranks)
    first = first_concepts(tables[1]).to_dict()
    assert first == {group: "c1" for group, kind, kept, rank in entries if (kind, kept, rank) == ("word", True, 1)}
