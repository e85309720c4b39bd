"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const find = document.getElementById("find"), show = document.getElementById("show"), sort = document.getElementById("sort");
  const count = document.getElementById("count"), tabs = all("[data-tab]");
  const encoders = all("[data-encoder]").map((section) => ({ section, name: section.dataset.encoder, cards: all(".card", section) }));
  const verdicts = ["first", "five", "missed", "unclear", ""];
  const largest = (key) => (card) => -(Number.parseFloat(card.dataset[key]) || 0);
  const keys = { id: () => 0, score: largest("score"), z: largest("z"), verdict: (card) => verdicts.indexOf(card.dataset.verdict) };
  let current = encoders[0], shown = [];

  const matches = (card, words) => (!show.value || card.dataset.kind === show.value) && words.every((word) => card.dataset.find.includes(word));

  const arrange = () => {
    const key = keys[sort.value];
    const order = current.cards.map((card, place) => [key(card), place, card]).sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    current.section.querySelector(".cards").append(...order.map((entry) => entry[2]));
  };
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of current.cards) card.hidden = !matches(card, words);
    shown = all(".card:not([hidden])", current.section);
    current.section.querySelector(".nothing").hidden = shown.length > 0;
    count.textContent = `${shown.length} of ${current.cards.length}`;
  };
  const open = (encoder) => {
    current = encoder;
    for (const each of encoders) each.section.hidden = each !== encoder;
    for (const tab of tabs) {
      if (tab.dataset.tab === encoder.name) tab.setAttribute("aria-current", "true");
      else tab.removeAttribute("aria-current");
    }
    arrange();
    filter();
  };
  const goTo = (card) => {
    card.scrollIntoView({ block: "start" });
    card.focus({ preventScroll: true });
  };
  const follow = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const section = target && target.closest("[data-encoder]");
    if (!section) return;
    const encoder = encoders.find((each) => each.section === section);
    if (encoder !== current) open(encoder);
    if (!target.classList.contains("card")) return target.scrollIntoView();
    if (target.hidden) {
      find.value = show.value = "";
      filter();
    }
    goTo(target);
  };
  const step = (by) => {
    const top = document.querySelector(".bar").getBoundingClientRect().bottom + 24;
    const focused = document.activeElement.closest(".card");
    const at = focused ? shown.indexOf(focused) + by : shown.findIndex((card) => card.getBoundingClientRect().bottom > top);
    if (shown[at]) goTo(shown[at]);
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select, textarea");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing) return;
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
    if (event.key === "/") {
      event.preventDefault();
      find.focus();
      find.select();
    }
  });
  find.form.addEventListener("submit", (event) => event.preventDefault());
  find.addEventListener("input", filter);
  show.addEventListener("change", filter);
  sort.addEventListener("change", () => { arrange(); filter(); });
  window.addEventListener("hashchange", follow);
  find.form.hidden = false;
  open(current);
  follow();
})();
