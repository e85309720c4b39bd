"""Recompute a row of each table from the artifacts, with NumPy alone: `python docs/recompute.py` in the project's root."""

import numpy as np
import pandas as pd

read, load = pd.read_parquet, lambda path: np.load(f"data/{path}.npy").astype(np.float64)
r = lambda a, b: np.corrcoef(a, b)[0, 1] if a.std() * b.std() else 0.0  # noqa: E731
said = lambda word, ids: np.isin(ids, mentions["caption"][mentions["concept"] == word])  # noqa: E731
largest = lambda word: (weights * said(word, ids)).max(axis=1)  # noqa: E731
measured, images, mentions = (read(f"data/{part}.parquet") for part in ("explained", "images", "mentions"))
row = measured[measured["word"] != ""].iloc[0]  # the first explanation
name, group, word = row[["encoder", "group", "word"]]
truth, methods, groups = (pd.read_csv(f"reports/tables/{name}_{part}.csv") for part in ("truth", "methods", "groups"))
probe, test = (np.flatnonzero(images["split"] == split) for split in ("probe", "test"))
scenes = images.merge(read("data/scenes/attributes.parquet"), on="image").iloc[test]
things = read("data/scenes/objects.parquet")
holds = lambda v: scenes.eq(v).any(axis=1) | scenes["image"].isin(things["image"][things.eq(v).any(axis=1)])  # noqa: E731
ids, weights = (load(f"image_captions/{part}") for part in ("captions", "weights"))
active = load(f"groups/{name}/activations")
true, other = truth.iloc[0], methods.query("method == 'caption_correlation'").iloc[0]
f, t, o = (active[:, int(of[1:])] for of in (group, true["group"], other["group"]))
crops, concepts = (read(f"data/{part}/{name}/{part}.parquet") for part in ("crops", "concepts"))
high = load(f"crops/{name}/embeddings")[(crops["group"] == group) & (crops["role"] == "high")]
cosine = high @ load("captions/embeddings").T
near = np.argsort(-cosine, axis=1, kind="stable")[:, :5]  # the captions of each crop
share = np.exp(100 * np.take_along_axis(cosine, near, axis=1))
has = said(word, read("data/captions/captions.parquet")["caption"].to_numpy()[near])
score = concepts.query("group == @group and concept == @word")["score"].iloc[0]
print("score (Eq. 1)", score, (share / share.sum(axis=1, keepdims=True) * has).max(axis=1).mean())
print("truth", true["correlation"], r(t[test], holds(true["value"])))
print("faithfulness", row["pearson"], r(f[test], largest(word)[test]))
control = pd.read_json("reports/metrics/explained.json").T["is_a_control"].astype(bool).drop(name)
null = measured[measured["encoder"].map(control).eq(True) & (measured["kind"] == "feature")]["excess"]
print("p-value", row["p_value"], (1 + (null >= row["excess"]).sum()) / (1 + len(null)))
words = read("data/image_captions/words.parquet")["word"]
print(
    "first word by r(capt)", other["first_concept"], words[np.argmax([r(o[probe], largest(w)[probe]) for w in words])]
)
pair = groups[groups["selectivity"].notna()].iloc[0]
m, named = np.array(str(pair["members"]).split(), int), pair["named_after"].split(" & ")
joint = (active[test][:, m] / load(f"groups/{name}/thresholds")[m]).min(axis=1)
print("selectivity", pair["selectivity"], r(joint, np.all([holds(v) for v in named], axis=0)))
