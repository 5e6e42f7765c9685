"use strict";

// A column's header sorts its table, by click or by keyboard; cells without a value stay last.
function sort(table, header) {
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  const numbers = header.classList.contains("n");
  const bodies = [...table.tBodies];
  const visible = bodies[0].rows.length;
  const value = (row) => {
    const text = row.cells[header.cellIndex].textContent.trim();
    return numbers ? Number(text.replace(/[,=]/g, "")) : text; // 1= is a rank that is shared
  };
  const blank = (row) => row.cells[header.cellIndex].textContent.trim() === "";
  const order = (a, b) => (numbers ? a - b : a.localeCompare(b, undefined, { numeric: true }));
  const rows = bodies.flatMap((body) => [...body.rows]);
  rows.sort((a, b) => blank(a) - blank(b) || (ascending ? 1 : -1) * order(value(a), value(b)));
  for (const other of header.parentElement.cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  rows.forEach((row, place) => bodies[place < visible ? 0 : 1].append(row));
}

// The buttons are made here: without scripts there are none that do nothing.
for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(table, header));
    header.append(button);
  }
}
