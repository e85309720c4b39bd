"use strict";
const site = (() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const root = document.documentElement.dataset.site;
  const search = document.getElementById("search"), results = document.getElementById("results");
  const keys = document.getElementById("keys");
  const MOST = 8;

  const made = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name in element) element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  };

  // A part of the picture that holds the covers of an encoder's groups.
  const SHEET = 64, COVERS = 8;
  const cover = (encoder, place, clear) => {
    const within = place % SHEET;
    const picture = made("img", { alt: "", loading: "lazy", decoding: "async" });
    picture.className = `w${COVERS} x${within % COVERS} y${Math.floor(within / COVERS)}`;
    picture.src = `${root}${encoder}/covers-${Math.floor(place / SHEET)}.webp`;
    return made("span", { className: clear ? "tile" : "tile doubted" }, picture);
  };
  // The first concept of a group, grey if the group is not explained.
  const headline = (text, clear) => {
    if (text === undefined) return made("span", { className: "none", textContent: "no concept" });
    const says = made("bdi", { textContent: text });
    return clear ? says : made("span", { className: "doubted" }, "unclear: ", says, "?");
  };

  // The data to search: a script, because no page on the disk may read a file; loaded when it is first needed.
  let loading = null;
  const index = () => {
    loading ??= new Promise((resolve, reject) => {
      if (window.falcon) return resolve(finding.prepare(window.falcon));
      const script = made("script", { src: `${root}search.js` });
      script.addEventListener("load", () => resolve(finding.prepare(window.falcon)));
      script.addEventListener("error", reject);
      document.head.append(script);
    });
    return loading;
  };

  const close = () => {
    results.hidden = true;
    results.replaceChildren();
    search.setAttribute("aria-expanded", "false");
    search.removeAttribute("aria-activedescendant");
  };
  const option = (address, ...children) => made("a", { href: address, role: "option", tabIndex: -1, "aria-selected": "false" }, ...children);
  const ofConcept = (some) => option(`${root}by-concept/${some.key}.html`, made("bdi", { textContent: some.text }), made("small", { textContent: ` concept, ${some.carried}` }));
  const ofGroup = (data, group) => {
    const { name } = data.encoders[group.encoder], { row } = group;
    const clear = row[finding.EXPLAINED];
    return option(`${root}${name}/${row[finding.ID]}.html`, cover(name, group.place, clear), made("span", {}, made("b", { textContent: `${row[finding.ID]} ` }), headline(data.concepts[row[finding.CONCEPTS][0]], clear), made("small", { textContent: ` ${name}` })));
  };
  const offer = async () => {
    const query = search.value.trim();
    const found = await index();
    if (query !== search.value.trim()) return;
    if (!query) return close();
    const concepts = finding.concepts(found, query, MOST);
    const groups = finding.groups(found, { query, sort: "relevance" }).slice(0, MOST);
    const options = [...concepts.map(ofConcept), ...groups.map((group) => ofGroup(found.data, group))];
    for (const [place, some] of options.entries()) some.id = `result-${place}`;
    results.replaceChildren(...(options.length ? options : [made("p", { className: "none", textContent: "Nothing matches." })]));
    results.hidden = false;
    search.setAttribute("aria-expanded", "true");
    search.removeAttribute("aria-activedescendant");
  };
  const choose = (by) => {
    const options = all("[role=option]", results);
    if (!options.length) return;
    const at = options.findIndex((some) => some.getAttribute("aria-selected") === "true");
    const next = options[(at + by + options.length + (at < 0 && by < 0 ? 1 : 0)) % options.length];
    for (const some of options) some.setAttribute("aria-selected", String(some === next));
    search.setAttribute("aria-activedescendant", next.id);
    next.scrollIntoView({ block: "nearest" });
  };

  const step = (by) => {
    const link = document.querySelector(by > 0 ? "link[rel=next]" : "link[rel=prev]");
    if (link) { location.href = link.href; return; }
    const steps = all("[data-step]");
    const at = steps.indexOf(document.activeElement);
    const next = steps[at < 0 ? 0 : at + by];
    if (next) { next.focus(); next.scrollIntoView({ block: "nearest" }); }
  };

  // Marking where a concept comes from: its captions, and the crops that these describe.
  const numbers = (text) => new Set((text || "").split(" ").filter(Boolean));
  const captions = all(".captions > li"), picks = all(".pick"), crops = all("[data-crop]");
  const mark = (isOn, pressed) => {
    const marked = pressed ? captions.filter(isOn) : [];
    for (const caption of captions) caption.classList.toggle("on", marked.includes(caption));
    for (const button of [...picks, ...crops]) button.setAttribute("aria-pressed", String(button === pressed));
    const shown = new Set(marked.flatMap((caption) => [...numbers(caption.dataset.crops)]));
    const named = new Set(marked.flatMap((caption) => [...numbers(caption.dataset.concepts)]));
    const isCrop = Boolean(pressed && pressed.dataset.crop !== undefined);
    for (const crop of crops) crop.classList.toggle("on", isCrop ? crop === pressed : shown.has(crop.dataset.crop));
    for (const pick of picks) pick.closest("tr").classList.toggle("on", isCrop && named.has(pick.closest("tr").dataset.concept));
    const pictures = document.querySelector(".pictures");
    if (pictures) pictures.classList.toggle("marking", Boolean(pressed));
    const list = document.querySelector(".captions");
    if (marked.length) list.scrollTop = marked[0].offsetTop - list.offsetTop - 8;
  };
  for (const [place, pick] of picks.entries()) pick.closest("tr").dataset.concept = place;
  const toggle = (button, isOn) => button.addEventListener("click", () => mark(isOn, button.getAttribute("aria-pressed") === "true" ? null : button));
  for (const pick of picks) toggle(pick, (caption) => numbers(caption.dataset.concepts).has(pick.closest("tr").dataset.concept));
  for (const crop of crops) toggle(crop, (caption) => numbers(caption.dataset.crops).has(crop.dataset.crop));

  const pressed = { j: () => step(1), k: () => step(-1), "?": () => keys.showModal(), Escape: () => mark(null, null), "/": () => { search.focus(); search.select(); } };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.target === search) {
      if (event.key === "ArrowDown") { event.preventDefault(); choose(1); }
      if (event.key === "ArrowUp") { event.preventDefault(); choose(-1); }
    }
    if (event.key === "Escape" && typing) { close(); event.target.blur(); return; }
    if (typing || !pressed[event.key]) return;
    event.preventDefault();
    pressed[event.key]();
  });
  search.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = results.querySelector("[aria-selected=true]") || results.querySelector("[role=option]");
    if (chosen) location.href = chosen.href;
  });
  search.addEventListener("input", offer);
  search.addEventListener("focus", index);
  document.addEventListener("click", (event) => { if (!search.form.contains(event.target)) close(); });
  document.querySelector("button.help").addEventListener("click", () => keys.showModal());
  mark(null, null);
  for (const hidden of [search.form, document.querySelector("button.help")]) hidden.hidden = false;
  return { made, cover, headline, index };
})();
