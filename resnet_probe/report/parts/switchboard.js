(() => {
  "use strict";
  const board = document.getElementById("board");
  if (!board) return;
  const { studies, found, matrix } = JSON.parse(document.getElementById("measured").textContent);
  const combinations = Object.keys(found);
  const switches = [...board.querySelectorAll("button.switch")];
  const slider = document.getElementById("combination");
  const said = document.getElementById("switched");
  const confusions = document.getElementById("confusions");
  const off = new Set();

  const number = (value, digits = 2) => value.toFixed(digits).replace("-", "−");
  const points = (value) => (value > 0 ? "+" : "") + number(value);
  const element = (name, parent, text = "", given = {}) => {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(given)) made.setAttribute(key, value);
    parent.append(made);
    return made;
  };
  const key = (blocks) => [...blocks].sort((a, b) => a - b).join(" ");
  const known = (name) => name in found || name === "";
  const row = (name) => name === "" ? studies[0].whole : found[name];

  const named = (name) => {
    if (name === "") return "All blocks on";
    const blocks = name.split(" ");
    return `${blocks.length > 1 ? "Blocks" : "Block"} ${blocks.join(", ")} off`;
  };

  const wrongOf = (entry) => {
    const counts = new Map();
    for (let i = 0; i < entry[8].length; i += 3) {
      counts.set(`${entry[8][i]} ${entry[8][i + 1]}`, entry[8][i + 2]);
    }
    return counts;
  };

  const tell = (name) => {
    const [place, error, low, high, change, least, most, own] = row(name);
    const { whole, images, name: study } = studies[place];
    element("strong", said, named(name));
    let text = `: error ${number(error)} % (${number(low)} to ${number(high)})`;
    if (name !== "") {
      text += `, ${points(change)} points`;
      if (least !== null) text += ` (${points(least)} to ${points(most)})`;
      text += ` from ${number(whole[1])} % with all on`;
    }
    text += `; ${images.toLocaleString("en")} images, of the study ${study}.`;
    if (own !== null) text += ` With batch-norm statistics re-estimated: ${number(own)} %.`;
    said.append(text);
  };

  const table = (name) => {
    const entry = row(name);
    const { classes, whole } = studies[entry[0]];
    if (classes === null) return;
    const [now, before] = [wrongOf(entry), wrongOf(whole)];
    if (classes.length > matrix) return list(now, before);
    const place = element("table", confusions);
    element("caption", place, "Images of each class by answer; below, the change from all on");
    const head = element("tr", element("thead", place));
    element("th", head, "class", { scope: "col" });
    classes.forEach((_, answer) => element("th", head, answer, { scope: "col" }));
    const body = element("tbody", place);
    classes.forEach((images, label) => {
      const line = element("tr", body);
      element("th", line, label, { scope: "row" });
      const right = (wrong) => images - classes.reduce(
        (sum, _, answer) => sum + (wrong.get(`${label} ${answer}`) || 0), 0);
      classes.forEach((_, answer) => {
        const of = (wrong) => answer === label ? right(wrong) : wrong.get(`${label} ${answer}`) || 0;
        const cell = element("td", line, of(now) || "·");
        const more = of(now) - of(before);
        if (answer === label) cell.className = "right";
        else if (more > 0) cell.className = "more";
        if (more) element("small", cell, (more > 0 ? "+" : "−") + Math.abs(more));
      });
    });
  };

  const list = (now, before) => {
    element("p", confusions, `The ${now.size} most frequent confusions, and with all on:`);
    const place = element("ol", confusions);
    now.forEach((images, pair) => {
      const [label, answer] = pair.split(" ");
      element("li", place, `class ${label} taken for ${answer}: ${images} (${before.get(pair) || 0})`);
    });
  };

  const show = () => {
    const name = key(off);
    said.replaceChildren();
    confusions.replaceChildren();
    if (known(name)) {
      tell(name);
      table(name);
      slider.value = combinations.indexOf(name) + 1;
    } else {
      element("strong", said, named(name));
      said.append(": not measured. Measure it: ");
      element("code", said, `${board.dataset.command} --edits 'delete ${name}'`);
    }
    slider.setAttribute("aria-valuetext", named(name));
    switches.forEach((one) => {
      const block = Number(one.dataset.block);
      one.setAttribute("aria-pressed", String(!off.has(block)));
      const next = new Set(off);
      if (!next.delete(block)) next.add(block);
      one.classList.toggle("unknown", !known(key(next)));
    });
  };

  const put = (blocks) => {
    off.clear();
    blocks.forEach((block) => off.add(block));
    show();
  };

  const focusOn = (one) => {
    switches.forEach((other) => { other.tabIndex = other === one ? 0 : -1; });
    one.focus();
  };

  switches.forEach((one, place) => {
    one.tabIndex = place ? -1 : 0;
    one.addEventListener("click", () => {
      const block = Number(one.dataset.block);
      if (!off.delete(block)) off.add(block);
      focusOn(one);
      show();
    });
    one.addEventListener("keydown", (event) => {
      const to = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: switches.length - 1 };
      const next = switches[to[event.key]];
      if (!next) return;
      event.preventDefault();
      focusOn(next);
    });
  });
  slider.max = combinations.length;
  slider.addEventListener("input", () => {
    const name = Number(slider.value) ? combinations[slider.value - 1] : "";
    put(name.split(" ").filter(Boolean).map(Number));
  });
  document.getElementById("all-on").addEventListener("click", () => put([]));
  board.hidden = false;
  show();
})();
