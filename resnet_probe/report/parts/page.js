(() => {
  "use strict";
  const cards = JSON.parse(document.getElementById("cards").textContent);
  const panel = document.getElementById("card");
  const blocks = Object.keys(cards).map(Number).sort((a, b) => a - b);
  const drawings = document.querySelectorAll(".drawing.by-block");
  if (!blocks.length || !drawings.length) return;
  let chosen = null;

  const show = (value, digits = 2) =>
    value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");

  const element = (name, text, parent) => {
    const made = document.createElement(name);
    if (text !== null) made.textContent = text;
    parent.append(made);
    return made;
  };

  const line = (table, card, key, label) => {
    if (!(key in card)) return;
    const row = element("tr", null, table);
    element("th", label, row).scope = "row";
    const ends = `${key}_low` in card && card[`${key}_low`] !== null
      ? ` (${show(card[`${key}_low`])} to ${show(card[`${key}_high`])})` : "";
    element("td", show(card[key]) + ends, row);
  };

  const bars = (classes) => {
    const names = Object.keys(classes);
    const most = Math.max(...names.map((name) => Math.abs(classes[name])), 1e-9);
    element("div", "accuracy lost on each class, at most " + show(most, 1) + " points", panel);
    const drawn = element("div", null, panel);
    drawn.className = "bars";
    const below = element("div", null, panel);
    below.className = "names";
    for (const name of names) {
      const bar = element("span", null, drawn);
      bar.style.height = `${(100 * Math.max(classes[name], 0)) / most}%`;
      bar.title = `class ${name}: ${show(classes[name], 1)} points`;
      if (names.length <= 20) element("span", name, below);
    }
  };

  const fill = (block) => {
    const card = cards[block];
    panel.replaceChildren();
    element("h3", `Block ${block} · ${card.name}`, panel);
    const table = element("table", null, panel);
    line(table, card, "error", "error without it, %");
    line(table, card, "delta", "change, points");
    if (card.p !== null) {
      const row = element("tr", null, table);
      element("th", "p, Holm-corrected", row).scope = "row";
      element("td", card.p < 0.001 ? "< 0.001" : card.p.toFixed(3), row);
    }
    line(table, card, "ratio", "‖F‖ / ‖shortcut‖");
    line(table, card, "shapley", "Shapley value, points");
    if (card.classes) bars(card.classes);
  };

  const choose = (block) => {
    if (block === chosen) return;
    chosen = block;
    panel.hidden = block === null;
    if (block !== null) fill(block);
    document.querySelectorAll("rect.block").forEach((area) => {
      area.classList.toggle("chosen", Number(area.dataset.block) === block);
    });
  };

  const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 };
  const walk = (event) => {
    if (event.key === "Escape") return choose(null);
    const ends = { Home: blocks[0], End: blocks[blocks.length - 1] };
    if (!(event.key in step) && !(event.key in ends)) return undefined;
    event.preventDefault();
    if (event.key in ends) return choose(ends[event.key]);
    const at = blocks.indexOf(chosen);
    const next = at < 0 ? 0 : at + step[event.key];
    return choose(blocks[Math.min(Math.max(next, 0), blocks.length - 1)]);
  };

  drawings.forEach((drawing) => {
    drawing.tabIndex = 0;
    drawing.setAttribute("role", "group");
    drawing.setAttribute("aria-label", "Blocks of this figure: arrow keys walk through them");
    drawing.addEventListener("keydown", walk);
    drawing.addEventListener("blur", () => choose(null));
    drawing.addEventListener("pointerleave", () => {
      if (document.activeElement !== drawing) choose(null);
    });
    for (const kind of ["pointermove", "pointerdown"]) {
      drawing.addEventListener(kind, (event) => {
        const area = event.target.closest && event.target.closest("rect.block");
        if (area && Number(area.dataset.block) in cards) choose(Number(area.dataset.block));
      });
    }
  });
})();
