// Filters and order of the gallery. Without JavaScript all cards stand in the page, best first.
"use strict";
(() => {
  const form = document.getElementById("filters");
  const holder = document.getElementById("cards");
  const more = document.getElementById("more");
  const count = document.getElementById("count");
  const low = document.getElementById("low");
  const high = document.getElementById("high");
  const order = document.getElementById("order");
  const cards = Array.from(holder.children);
  const PAGE = 24;
  let most = PAGE;

  const score = (card) => Number(card.dataset.score);
  const distance = (card) => Number(card.dataset.distance);
  const orders = {
    best: (a, b) => score(b) - score(a),
    worst: (a, b) => score(a) - score(b),
    near: (a, b) => distance(a) - distance(b),
    far: (a, b) => distance(b) - distance(a),
  };

  const chosen = (name) =>
    new Set(Array.from(form.querySelectorAll(`input[name=${name}]:checked`), (box) => box.value));

  function show() {
    const strategies = chosen("strategy");
    const kinds = chosen("novelty");
    const found = cards.filter(
      (card) =>
        strategies.has(card.dataset.strategy) &&
        kinds.has(card.dataset.novelty) &&
        score(card) >= Number(low.value) &&
        score(card) <= Number(high.value),
    );
    found.sort(orders[order.value]);
    const shown = found.slice(0, most);
    for (const card of cards) card.hidden = true;
    for (const card of shown) {
      card.hidden = false;
      holder.append(card);
    }
    document.getElementById("low-said").value = Number(low.value).toFixed(2);
    document.getElementById("high-said").value = Number(high.value).toFixed(2);
    count.textContent = `${found.length} of ${cards.length} pairs match; ${shown.length} shown`;
    more.hidden = shown.length === found.length;
  }

  form.addEventListener("input", () => {
    most = PAGE;
    show();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => {
    most += PAGE;
    show();
  });
  form.hidden = false;
  show();
})();
