(() => {
  "use strict";
  const cards = JSON.parse(document.getElementById("cards").textContent);
  const blocks = Object.keys(cards).map(Number).sort((a, b) => a - b);
  const drawings = [...document.querySelectorAll(".drawing.by-block")];
  if (!blocks.length || !drawings.length) return;
  const ASKED = "Point at a block of the figure, or move the slider: what every study says of it.";

  const show = (value, digits = 2) =>
    value === null || value === undefined ? "–" : value.toFixed(digits).replace("-", "−");

  const estimate = (card, key) => {
    const ends = `${key}_low` in card && card[`${key}_low`] !== null
      ? ` (${show(card[`${key}_low`])} to ${show(card[`${key}_high`])})` : "";
    return show(card[key]) + ends;
  };

  const say = (block) => {
    const card = cards[block];
    const said = [`error without it ${estimate(card, "error")} %`];
    said.push(`${card.delta > 0 ? "+" : ""}${show(card.delta)} points (${card.change})`);
    if ("ratio" in card) said.push(`‖F‖ / ‖shortcut‖ ${estimate(card, "ratio")}`);
    if ("shapley" in card) said.push(`Shapley value ${estimate(card, "shapley")} points`);
    if (card.classes && card.worst_class !== null && card.worst_class in card.classes) {
      said.push(`class ${card.worst_class} is hurt most, ${show(card.classes[card.worst_class], 1)} points`);
    }
    return [`Block ${block}, ${card.name}`, said.join(" · ")];
  };

  const element = (name, parent, text = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    parent.append(made);
    return made;
  };

  const sliders = [];
  const lines = [];

  const choose = (block) => {
    const [name, said] = say(block);
    lines.forEach((line) => {
      line.replaceChildren();
      element("strong", line, name);
      line.append(`: ${said}`);
    });
    sliders.forEach((slider) => {
      slider.value = blocks.indexOf(block);
      slider.setAttribute("aria-valuetext", `${name}: ${said}`);
    });
    document.querySelectorAll("rect.block").forEach((area) => {
      area.classList.toggle("chosen", Number(area.dataset.block) === block);
    });
  };

  const equip = (drawing, place) => {
    const readout = document.createElement("div");
    readout.className = "readout";
    drawing.after(readout);
    const label = element("label", readout, "Block ");
    const slider = element("input", label);
    slider.type = "range";
    slider.id = `block-slider-${place}`;
    [slider.min, slider.max, slider.step, slider.value] = [0, blocks.length - 1, 1, 0];
    slider.setAttribute("aria-valuetext", "none chosen yet");
    slider.addEventListener("input", () => choose(blocks[Number(slider.value)]));
    slider.addEventListener("focus", () => choose(blocks[Number(slider.value)]));
    sliders.push(slider);
    const line = element("p", readout, ASKED);
    lines.push(line);
    for (const kind of ["pointermove", "pointerdown"]) {
      drawing.addEventListener(kind, (event) => {
        const area = event.target.closest && event.target.closest("rect.block");
        if (area && Number(area.dataset.block) in cards) choose(Number(area.dataset.block));
      });
    }
  };

  drawings.forEach(equip);
})();
