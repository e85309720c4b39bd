"use strict";
// The list of an encoder's groups: filtered, sorted, and drawn as far as somebody looks.
(async () => {
  const PAGE = 100;
  const VERDICTS = { first: ["right", "right"], five: ["partly", "in the first five"], missed: ["wrong", "wrong"], unclear: ["unclear", "no clear truth"] };
  const rows = document.getElementById("rows"), more = document.getElementById("more"), count = document.getElementById("count");
  const inputs = [...document.querySelectorAll(".tools input, .tools select")];
  const { encoder, known } = rows.dataset;
  const index = await site.index();
  const total = finding.groups(index, { encoder }).length;
  const number = (value) => (value === null || value === undefined ? "–" : value.toFixed(value >= 10 ? 1 : 2));
  let found = [], drawn = 0;

  const gauge = (value) => {
    const bar = site.made("i");
    bar.style.width = `${100 * value}%`;
    return site.made("span", { className: "gauge" }, bar);
  };
  const row = (group) => {
    const some = group.row, { made } = site;
    const concepts = some[finding.CONCEPTS].slice(0, 3).map((place) => index.data.concepts[place]);
    const says = site.headline(concepts[0], some[finding.EXPLAINED]);
    const further = made("small", {}, ...concepts.slice(1).flatMap((text, at) => [" ", made("bdi", some[finding.UNCLEAR].includes(at + 1) ? { className: "doubted", textContent: `${text}?` } : { textContent: text })]));
    const [kind, told] = VERDICTS[some[finding.VERDICT]] || ["", ""];
    const facts = [
      made("span", { className: "number", title: "score of the first concept" }, gauge((some[finding.SCORES][0] || 0) / 1000), number(concepts.length ? some[finding.SCORES][0] / 1000 : null)),
      made("span", { className: `verdict ${some[finding.EXPLAINED] ? "yes" : "no"}`, title: "correlation of the first word with the feature on held-out images" }, some[finding.EXPLAINED] ? "explained" : "unclear", made("small", { textContent: some[finding.CORRELATION] === null ? "" : ` r ${number(some[finding.CORRELATION])}` })),
    ];
    if (known === "1") facts.push(made("span", { className: told ? `verdict ${kind}` : "", textContent: told, title: some[finding.TRUTH] }));
    const link = made("a", { href: `${some[finding.ID]}.html`, "data-step": "" }, site.cover(encoder, group.place, some[finding.EXPLAINED]), made("small", { className: "id", textContent: some[finding.ID] }), made("span", { className: "says" }, says, further), ...facts);
    return made("li", {}, link);
  };
  const draw = () => {
    rows.append(...found.slice(drawn, drawn + PAGE).map(row));
    drawn = Math.min(drawn + PAGE, found.length);
    more.hidden = drawn >= found.length;
  };
  const chosen = (name) => document.getElementById(name)?.value ?? "";
  const refresh = () => {
    found = finding.groups(index, { encoder, query: chosen("find"), show: chosen("show"), explained: chosen("explained"), verdict: chosen("verdict"), least: Number(chosen("least")) || 0, sort: chosen("sort") });
    rows.replaceChildren();
    drawn = 0;
    count.textContent = `${found.length} of ${total}`;
    draw();
  };
  for (const input of inputs) input.addEventListener("input", refresh);
  document.querySelector(".tools").addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", draw);
  new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting) && !more.hidden) draw(); }, { rootMargin: "600px" }).observe(more);
  document.querySelector(".tools").hidden = false;
  refresh();
})();
