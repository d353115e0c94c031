"use strict";
// Turns the headings of tables into buttons that sort it: ascending, descending, as printed.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const printed = Array.from(body.rows);
  const headings = table.tHead ? Array.from(table.tHead.rows[0].cells) : [];
  if (printed.length < 2) continue;
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[heading.getAttribute("aria-sort")] || "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      if (next !== "none") heading.setAttribute("aria-sort", next);
      body.append(...sorted(printed, column, next, heading.hasAttribute("data-numeric")));
    });
  });
}

function sorted(rows, column, direction, numeric) {
  if (direction === "none") return rows;
  const sign = direction === "ascending" ? 1 : -1;
  const missing = (row) => row.cells[column].hasAttribute("data-missing");
  const compare = (first, second) => {
    const a = first.cells[column], b = second.cells[column];
    if (numeric) return Number(a.dataset.order) - Number(b.dataset.order);
    return a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
  };
  const known = rows.filter((row) => !missing(row)).sort((a, b) => sign * compare(a, b));
  return known.concat(rows.filter(missing));
}
