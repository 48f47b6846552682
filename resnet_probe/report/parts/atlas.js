(() => {
  "use strict";
  const table = document.querySelector("table.atlas");
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const collator = new Intl.Collator("en", { numeric: true });

  const key = (row, column) => row.cells[column].dataset.sort;

  const compare = (one, other, column) => {
    const [a, b] = [key(one, column), key(other, column)];
    const numbers = [Number(a), Number(b)];
    return numbers.some(Number.isNaN) ? collator.compare(a, b) : numbers[0] - numbers[1];
  };

  const sort = (heading, column) => {
    const turn = heading.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", turn > 0 ? "ascending" : "descending");
    const rows = [...body.rows];
    const known = rows.filter((row) => key(row, column) !== "");
    known.sort((one, other) => turn * compare(one, other, column));
    body.append(...known, ...rows.filter((row) => key(row, column) === ""));
  };

  headings.forEach((heading, column) => {
    if (heading.classList.contains("drawn")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => sort(heading, column));
  });
})();
