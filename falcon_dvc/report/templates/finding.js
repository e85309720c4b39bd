"use strict";
// Searching the concepts and groups of `window.falcon`: no document is touched here, so that it can be tested and timed alone.
const finding = (() => {
  const ID = 0, MEMBERS = 1, CORRELATION = 2, EXPLAINED = 3, CONCEPTS = 4, SCORES = 5, VERDICT = 6, TRUTH = 7, UNCLEAR = 8;

  const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const words = (query) => plain(query).split(/\s+/).filter(Boolean);

  // Built once: plain texts, and in how many groups each concept is clear.
  const prepare = (data) => {
    const texts = data.concepts.map(plain), also = data.also.map(plain);
    const carried = new Uint32Array(texts.length);
    const groups = [];
    for (const [encoder, { groups: rows }] of data.encoders.entries()) {
      for (const [place, row] of rows.entries()) {
        for (const [at, concept] of row[CONCEPTS].entries()) if (!row[UNCLEAR].includes(at)) carried[concept] += 1;
        groups.push({ encoder, place, row, id: plain(row[ID]), truth: plain(row[TRUTH]) });
      }
    }
    return { data, texts, also, carried, groups };
  };

  // 3: the whole concept; 2: the beginning of one of its words, or a synonym; 1: anywhere; 0: not at all.
  const match = (text, word) => {
    const at = text.indexOf(word);
    if (at < 0) return 0;
    if (text === word) return 3;
    return at === 0 || text[at - 1] === " " || text.includes(` ${word}`) ? 2 : 1;
  };
  const synonym = (also, word) => (` ${also} `.includes(` ${word} `) ? 2 : also.includes(word) ? 1 : 0);
  const matched = ({ texts, also }, all) => {
    const found = new Uint8Array(texts.length);
    for (let place = 0; place < texts.length; place += 1) {
      let worst = 3;
      for (const word of all) {
        const own = match(texts[place], word);
        worst = Math.min(worst, own || (also[place] ? synonym(also[place], word) : 0));
        if (!worst) break;
      }
      found[place] = texts[place] === all.join(" ") ? 3 : Math.min(worst, 2);
    }
    return found;
  };

  const concepts = (index, query, most) => {
    const all = words(query);
    if (!all.length) return [];
    const found = matched(index, all);
    const places = [];
    for (let place = 0; place < found.length; place += 1) if (found[place]) places.push(place);
    places.sort((a, b) => found[b] - found[a] || index.carried[b] - index.carried[a] || a - b);
    return places.slice(0, most).map((place) => ({ place, text: index.data.concepts[place], key: index.data.keys[place], carried: index.carried[place] }));
  };

  // Each word of the query has to be the id of a group or of a member, part of its truth, or part of one of its concepts.
  // Clear concepts count more than unclear ones.
  const tests = (index, query) => words(query).map((word) => {
    const found = matched(index, [word]);
    const feature = /^f(\d+)$/.exec(word);
    return (group) => {
      if (group.id === word || (feature && group.row[MEMBERS].split(" ").includes(feature[1]))) return 1000;
      if (group.truth && group.truth.includes(word)) return 2;
      const { row } = group;
      let best = -1;
      for (let place = 0; place < row[CONCEPTS].length; place += 1) if (found[row[CONCEPTS][place]]) best = Math.max(best, row[SCORES][place] / 1000 + (row[UNCLEAR].includes(place) ? 0 : 1));
      if (best >= 0) return best;
      return group.id.startsWith(word) ? 0 : -1;
    };
  });

  const keys = {
    id: () => 0,
    concept: (group, data) => (group.row[CONCEPTS].length ? data.concepts[group.row[CONCEPTS][0]] : "\uffff"),
    score: (group) => -(group.row[SCORES][0] ?? -1),
    correlation: (group) => -(group.row[CORRELATION] ?? -1e9),
  };
  const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);

  // Groups that pass every filter, in order. `relevance` puts the groups that name it most strongly first.
  const groups = (index, { query = "", encoder = null, show = "", explained = "", verdict = "", least = 0, sort = "id" }) => {
    const all = tests(index, query);
    const found = [];
    for (const group of index.groups) {
      const { row } = group;
      if (encoder !== null && index.data.encoders[group.encoder].name !== encoder) continue;
      if (show && (show === "group") !== row[MEMBERS].includes(" ")) continue;
      if (explained && String(row[EXPLAINED]) !== explained) continue;
      if (verdict && row[VERDICT] !== verdict) continue;
      if (least > 0 && !(row[SCORES][0] >= least * 1000)) continue;
      let relevance = 0, passes = true;
      for (const test of all) {
        const value = test(group);
        if (value < 0) { passes = false; break; }
        relevance += value;
      }
      if (passes) found.push([sort === "relevance" ? -relevance : keys[sort](group, index.data), group]);
    }
    found.sort((a, b) => compare(a[0], b[0]) || a[1].encoder - b[1].encoder || a[1].place - b[1].place);
    return found.map((entry) => entry[1]);
  };

  return { prepare, concepts, groups, ID, MEMBERS, CORRELATION, EXPLAINED, CONCEPTS, SCORES, VERDICT, TRUTH, UNCLEAR };
})();
