"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (id) => document.getElementById(id);
  const form = one("sheet"), sheet = form.dataset.sheet, place = `rating-sheet-${sheet}`;
  const questions = all("[data-question]"), names = questions.map((question) => question.dataset.question);
  const steps = all("[data-go]"), rater = one("rater");
  let current = 0;

  const group = (name) => all("input[type=radio]", form).filter((input) => input.name === name);
  const groups = new Map(names.flatMap((name) => [name, `${name}-sure`]).map((name) => [name, group(name)]));
  const value = (name) => (groups.get(name).find((input) => input.checked) || { value: null }).value;
  const pick = (name, wanted) => {
    const input = groups.get(name).find((each) => each.value === String(wanted));
    if (input) input.checked = true;
    return input;
  };
  const answers = () => names.filter((name) => value(name) !== null).map((name) => {
    const sure = value(`${name}-sure`);
    return { question: name, choice: value(name), confidence: sure === null ? null : Number(sure) };
  });

  // Some browsers refuse storage to a page opened from disk: then only the download keeps the answers.
  const store = (text) => {
    try {
      localStorage.setItem(place, text);
      return true;
    } catch {
      return false;
    }
  };
  const stored = () => {
    try {
      return JSON.parse(localStorage.getItem(place)) || {};
    } catch {
      return {};
    }
  };
  const file = () => ({ sheet, rater: rater.value.trim(), answers: answers() });
  const restore = () => {
    const earlier = stored();
    if (typeof earlier.rater === "string") rater.value = earlier.rater;
    for (const answer of Array.isArray(earlier.answers) ? earlier.answers : []) {
      if (!answer || !names.includes(answer.question)) continue;
      pick(answer.question, answer.choice);
      pick(`${answer.question}-sure`, answer.confidence);
    }
  };

  const report = () => {
    const done = answers().length;
    one("progress").value = done;
    one("count").textContent = `${done} of ${names.length} answered`;
    steps.forEach((step, at) => {
      const answered = value(names[at]) !== null;
      step.classList.toggle("answered", answered);
      step.setAttribute("aria-label", `Question ${at + 1}, ${answered ? "answered" : "not answered"}`);
    });
  };
  const changed = () => {
    report();
    one("said").textContent = "";
    if (!store(JSON.stringify(file()))) {
      one("kept").textContent = "This browser keeps nothing for pages opened from disk: download your answers before you close the page.";
    }
  };

  const open = (at, focus = true) => {
    current = Math.min(Math.max(at, 0), questions.length - 1);
    questions.forEach((question, index) => { question.hidden = index !== current; });
    steps.forEach((step, index) => {
      if (index === current) step.setAttribute("aria-current", "step");
      else step.removeAttribute("aria-current");
    });
    one("back").disabled = current === 0;
    one("next").disabled = current === questions.length - 1;
    if (!focus) return;
    const legend = questions[current].querySelector("legend");
    legend.focus({ preventScroll: true });
    if (form.getBoundingClientRect().top < 0) form.scrollIntoView();
  };

  const download = () => {
    if (!rater.reportValidity()) return;
    const given = file();
    if (!given.answers.length) {
      one("said").textContent = "There is no answer yet.";
      return;
    }
    const link = document.createElement("a");
    const name = given.rater.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "") || "rater";
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(given, null, 2)}\n`], { type: "application/json" }));
    link.download = `answers-${sheet.slice(0, 8)}-${name}.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    const left = names.length - given.answers.length;
    one("said").textContent = `Saved as ${link.download}${left ? `, with ${left} of ${names.length} questions left open` : ""}. Please send this file back. Thank you!`;
  };

  const choose = (name, wanted) => {
    if (pick(name, wanted)) changed();
  };
  const keys = {
    j: () => open(current + 1),
    k: () => open(current - 1),
    n: () => choose(names[current], "none"),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text]")) return;
    const key = event.key.toLowerCase();
    if (keys[key]) keys[key]();
    else if (/^[a-i]$/.test(key)) choose(names[current], key.toUpperCase());
    else if (/^[1-5]$/.test(key)) choose(`${names[current]}-sure`, key);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", changed);
  rater.addEventListener("input", changed);
  one("back").addEventListener("click", () => open(current - 1));
  one("next").addEventListener("click", () => open(current + 1));
  one("download").addEventListener("click", download);
  steps.forEach((step, at) => step.addEventListener("click", () => open(at)));

  document.querySelector(".steps").hidden = false;
  restore();
  changed();
  open(Math.max(names.findIndex((name) => value(name) === null), 0), false);
})();
