// Filters, order and pages of the gallery. Without JavaScript the first page stands as it is.
"use strict";
(() => {
  const part = (id) => document.getElementById(id);
  const [form, holder, pager, page] = ["filters", "cards", "pager", "page"].map(part);
  const [low, high, order, words] = ["low", "high", "order", "words"].map(part);
  const data = JSON.parse(part("pairs").textContent);
  const pattern = holder.firstElementChild.cloneNode(true);
  let found = data.pairs;

  const orders = {
    best: (a, b) => b.score - a.score,
    worst: (a, b) => a.score - b.score,
    near: (a, b) => a.distance - b.distance,
    far: (a, b) => b.distance - a.distance,
  };

  const chosen = (name) =>
    new Set(Array.from(form.querySelectorAll(`input[name=${name}]:checked`), (box) => box.value));

  function fact([what, howMuch]) {
    const line = document.createElement("div");
    line.append(document.createElement("dt"), document.createElement("dd"));
    line.firstChild.textContent = what;
    line.lastChild.textContent = howMuch;
    return line;
  }

  // A card like those of parts.html, made only when its page is looked at.
  function card(pair) {
    const made = pattern.cloneNode(true);
    const write = (where, text) => (made.querySelector(where).textContent = text);
    const [own, near] = made.querySelectorAll("img");
    Object.assign(made.dataset, {
      strategy: pair.strategy,
      novelty: pair.novelty,
      score: pair.score.toFixed(4),
      distance: pair.distance.toFixed(5),
    });
    own.src = pair.image;
    own.alt = `Synthetic image: ${pair.caption}`;
    near.src = data.nearest[pair.nearest_id];
    near.alt = `Nearest training image, ${pair.nearest_id}`;
    made.querySelector(".near figcaption").title = pair.nearest_id;
    write(".caption", pair.caption);
    write(".nearest b", pair.nearest_caption);
    write(".score", pair.score.toFixed(2));
    write(".strategy", pair.strategy.replaceAll("_", " "));
    write(".novelty", pair.novelty);
    made.querySelector(".novelty").classList.toggle("new", pair.novelty === "new");
    write("summary", pair.title);
    made.querySelector("dl").replaceChildren(...pair.facts.map(fact));
    return made;
  }

  function turn(to) {
    const pages = Math.max(1, Math.ceil(found.length / data.page));
    const now = Math.min(pages, Math.max(1, Math.round(to) || 1));
    holder.replaceChildren(...found.slice((now - 1) * data.page, now * data.page).map(card));
    page.value = now;
    page.max = pages;
    part("pages").value = pages;
    part("back").disabled = now === 1;
    part("next").disabled = now === pages;
  }

  function choose() {
    const [strategies, kinds] = [chosen("strategy"), chosen("novelty")];
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    found = data.pairs.filter(
      (pair) =>
        strategies.has(pair.strategy) &&
        kinds.has(pair.novelty) &&
        pair.score >= Number(low.value) &&
        pair.score <= Number(high.value) &&
        wanted.every((word) => pair.caption.toLowerCase().includes(word)),
    );
    found.sort(orders[order.value]);
    part("low-said").value = Number(low.value).toFixed(2);
    part("high-said").value = Number(high.value).toFixed(2);
    part("count").textContent = `${found.length} of ${data.pairs.length} pairs match`;
    turn(1);
  }

  function go(to) {
    turn(to);
    form.scrollIntoView({ block: "start" });
  }

  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  part("back").addEventListener("click", () => go(Number(page.value) - 1));
  part("next").addEventListener("click", () => go(Number(page.value) + 1));
  page.addEventListener("change", () => go(Number(page.value)));
  form.hidden = pager.hidden = false;
  choose();

  // A link to the parameters opens them.
  const open = () => {
    const target = part(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) target.open = true;
  };
  addEventListener("hashchange", open);
  open();
})();
