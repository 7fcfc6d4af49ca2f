// Finds names in NAMES while somebody types: those that are what was typed first, then those that begin with it or with a
// part of it, then those that only mention it. It works from files as well: nothing is fetched.
"use strict";

const field = document.getElementById("search");
const list = document.getElementById("found");
const up = document.body.dataset.up;
let chosen = -1;

const rank = ([name, what, , words], typed) => {
  const low = name.toLowerCase();
  const [owner, member] = low.split(".");
  if (low === typed) return 0;
  if (member === typed) return 1;
  if (!member && low.startsWith(typed)) return 2;
  // What can be done comes before what it is made of.
  if (!member && low.includes(typed)) return /^(query|mutation|subscription|task)/.test(what) ? 3 : 4;
  if (member?.includes(typed)) return member.startsWith(typed) ? 5 : 6;
  if (owner.includes(typed)) return 7;
  return words.toLowerCase().includes(typed) ? 8 : -1;
};

const choose = (place) => {
  const options = [...list.children];
  chosen = options.length ? (place + options.length) % options.length : -1;
  options.forEach((option, index) => option.setAttribute("aria-selected", String(index === chosen)));
  field.setAttribute("aria-activedescendant", chosen < 0 ? "" : options[chosen].id);
  options[chosen]?.scrollIntoView({ block: "nearest" });
};

const show = () => {
  const typed = field.value.trim().toLowerCase();
  const found = typed.length < 2 ? [] : NAMES.map((one) => [rank(one, typed), one]).filter(([place]) => place >= 0);
  found.sort(([a, one], [b, other]) => a - b || one[0].length - other[0].length);
  list.replaceChildren(
    ...found.slice(0, 30).map(([, [name, what, where, words]], index) => {
      const option = document.createElement("li");
      option.id = `found-${index}`;
      option.setAttribute("role", "option");
      const link = document.createElement("a");
      link.href = up + where;
      link.tabIndex = -1;
      for (const [kind, text] of [["code", name], ["small", what], ["span", words]]) {
        link.append(Object.assign(document.createElement(kind), { textContent: text }), " ");
      }
      option.append(link);
      return option;
    }),
  );
  if (typed.length >= 2 && !found.length) {
    list.append(Object.assign(document.createElement("li"), { textContent: "Nothing is called so.", className: "none" }));
  }
  list.hidden = typed.length < 2;
  field.setAttribute("aria-expanded", String(!list.hidden));
  chosen = -1;
  field.removeAttribute("aria-activedescendant");
};

const go = () => {
  const link = list.children[Math.max(chosen, 0)]?.querySelector("a");
  if (link) location.href = link.href;
};

field.addEventListener("input", show);
field.addEventListener("keydown", (event) => {
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    event.preventDefault();
    choose(chosen + (event.key === "ArrowDown" ? 1 : chosen < 0 ? 0 : -1));
  } else if (event.key === "Escape") {
    field.value = "";
    show();
  }
});
field.form.addEventListener("submit", (event) => {
  event.preventDefault();
  go();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/^(INPUT|TEXTAREA)$/.test(document.activeElement.tagName)) {
    event.preventDefault();
    field.focus();
  }
});
document.addEventListener("click", (event) => {
  if (!event.target.closest(".search")) list.hidden = true;
});
