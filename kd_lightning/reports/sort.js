"use strict";
// The head of a column is a button: it sorts the rows up, then down, then back to how they were written.
const words = new Intl.Collator(undefined, { numeric: true });
const next = { none: "ascending", ascending: "descending", descending: "none" };

function compared(column, sign) {
  // What is unknown comes last, whichever way.
  const byValue = (one, other) => sign * (one.dataset.value - other.dataset.value);
  const byWord = (one, other) => sign * words.compare(one.textContent, other.textContent);
  return (first, second) => {
    const [one, other] = [first.cells[column], second.cells[column]];
    const known = [one, other].map((cell) => "value" in cell.dataset);
    if (known[0] && known[1]) return byValue(one, other);
    if (known[0] || known[1]) return known[0] ? -1 : 1;
    return byWord(one, other);
  };
}

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const written = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const order = next[head.getAttribute("aria-sort")];
      heads.forEach((each) => each.setAttribute("aria-sort", each === head ? order : "none"));
      const sign = order === "descending" ? -1 : 1;
      body.append(...(order === "none" ? written : [...written].sort(compared(column, sign))));
    });
  });
}
