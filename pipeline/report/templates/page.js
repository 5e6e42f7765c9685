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

// The settings of the trials of a plot: the pointer or a touch finds the nearest, and the arrow keys
// go from trial to trial. The ranked table has them; it marks the row of a trial that was clicked.
const rows = new Map();
for (const row of document.querySelectorAll("tr[data-trials]")) {
  for (const number of row.dataset.trials.split(" ")) rows.set(Number(number), row);
}

function describe(number) {
  const row = rows.get(number);
  const title = document.createElement("b");
  title.textContent = `Trial ${number}`;
  if (!row) return [title];
  const values = [...row.cells].filter((cell) => cell.textContent.trim() && cell.dataset.name !== "trial");
  return [title, values.map((cell) => `${cell.dataset.name} ${cell.textContent.trim()}`).join(", ")];
}

function follow(figure) {
  const marks = JSON.parse(figure.dataset.marks);
  const numbers = [...new Set(marks.map((mark) => mark[2]))].sort((a, b) => a - b);
  const picture = figure.querySelector(".picture");
  const [spot, tip] = ["spot", "tip"].map((name) => {
    const element = document.createElement("div");
    element.className = name;
    element.hidden = true;
    picture.append(element);
    return element;
  });
  tip.setAttribute("role", "status");
  picture.tabIndex = 0;
  picture.setAttribute("role", "group");
  picture.setAttribute("aria-label", `${figure.querySelector("strong").textContent} Arrow keys go from trial to trial.`);
  let shown = null;

  const show = (mark) => {
    shown = mark;
    spot.hidden = tip.hidden = mark === null;
    if (mark === null) return;
    const [across, down, number] = mark;
    spot.style.left = `${100 * across}%`;
    spot.style.top = `${100 * down}%`;
    tip.replaceChildren(...describe(number));
    tip.style.left = across < 0.5 ? `calc(${100 * across}% + .9rem)` : "auto";
    tip.style.right = across < 0.5 ? "auto" : `calc(${100 * (1 - across)}% + .9rem)`;
    tip.style.top = down < 0.5 ? `${100 * down}%` : "auto";
    tip.style.bottom = down < 0.5 ? "auto" : `${100 * (1 - down)}%`;
  };
  const nearest = (event) => {
    const box = picture.getBoundingClientRect();
    let best = null;
    let least = 24; // CSS pixels
    for (const mark of marks) {
      const away = Math.hypot(box.left + mark[0] * box.width - event.clientX, box.top + mark[1] * box.height - event.clientY);
      if (away < least) [best, least] = [mark, away];
    }
    return best;
  };
  picture.addEventListener("pointermove", (event) => show(nearest(event)));
  picture.addEventListener("pointerleave", () => show(null));
  picture.addEventListener("blur", () => show(null));
  picture.addEventListener("click", (event) => {
    show(nearest(event));
    for (const row of document.querySelectorAll("tr.picked")) row.classList.remove("picked");
    if (shown) rows.get(shown[2])?.classList.add("picked");
  });
  picture.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape") show(null);
    if (!step) return;
    event.preventDefault();
    const place = shown ? numbers.indexOf(shown[2]) + step : step > 0 ? 0 : numbers.length - 1;
    const number = numbers[(place + numbers.length) % numbers.length];
    show(marks.find((mark) => mark[2] === number));
  });
}

for (const figure of document.querySelectorAll("figure[data-marks]")) follow(figure);
