"use strict";

/* Tables: a click on a head sorts by it, a second one turns the order. Empty values stay at the end. */
function valueOf(row, column) {
  const cell = row.cells[column];
  return cell.dataset.value !== undefined ? cell.dataset.value : cell.textContent.trim();
}

function compareValues(a, b, numeric) {
  if (a === "" || b === "") return 0;
  return numeric ? Number(a) - Number(b) : a.localeCompare(b, undefined, { numeric: true });
}

function sortTable(table, head) {
  const heads = [...table.tHead.rows[0].cells];
  const column = heads.indexOf(head);
  const first = head.dataset.first === "down" ? "descending" : "ascending";
  const other = first === "ascending" ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  for (const each of heads) each.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const body = table.tBodies[0];
  const sign = order === "ascending" ? 1 : -1;
  const numeric = head.classList.contains("number");
  const empty = (row) => valueOf(row, column) === "";
  const rows = [...body.rows].sort((a, b) =>
    empty(a) - empty(b) || sign * compareValues(valueOf(a, column), valueOf(b, column), numeric));
  body.append(...rows);
  foldRows(table);
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.querySelectorAll("th[data-first]")) {
    head.querySelector("button").addEventListener("click", () => sortTable(table, head));
  }
}

/* A long table shows its first rows, until one asks for all or follows a link to one that is hidden. */
function foldRows(table) {
  const shown = Number(table.dataset.folded || Infinity);
  [...table.tBodies[0].rows].forEach((row, place) => { row.hidden = place >= shown; });
}

function unfold(table) {
  delete table.dataset.folded;
  foldRows(table);
  table.parentElement.nextElementSibling.remove();
}

for (const table of document.querySelectorAll("table[data-folded]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "unfold";
  button.textContent = "Show all " + table.tBodies[0].rows.length;
  button.addEventListener("click", () => unfold(table));
  table.parentElement.after(button);
  foldRows(table);
}

/* Two pictures with a line between them: the range input moves the line. */
for (const stage of document.querySelectorAll(".compare .stage")) {
  const range = stage.querySelector("input");
  const place = () => stage.style.setProperty("--cut", range.value + "%");
  range.addEventListener("input", place);
  place();
}

/* A gallery shows one of its figures, which a list, two buttons or a link to it choose. */
function makeGallery(gallery) {
  const figures = [...gallery.querySelectorAll("figure.compare")];
  const bar = document.createElement("div");
  bar.className = "chooser";
  const label = document.createElement("label");
  const list = document.createElement("select");
  const name = document.createElement("span");
  name.textContent = gallery.dataset.label;
  list.setAttribute("aria-label", gallery.dataset.label);
  label.append(name, list);
  for (const figure of figures) list.add(new Option(figure.dataset.title, figure.id));
  const show = (index) => {
    figures.forEach((figure, place) => { figure.hidden = place !== index; });
    list.selectedIndex = index;
  };
  const step = (by, text, name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = text;
    button.setAttribute("aria-label", name);
    button.addEventListener("click", () => show((list.selectedIndex + by + figures.length) % figures.length));
    return button;
  };
  list.addEventListener("change", () => show(list.selectedIndex));
  bar.append(step(-1, "‹", "previous"), label, step(1, "›", "next"));
  gallery.prepend(bar);
  show(0);
  return (id) => {
    const index = figures.findIndex((figure) => figure.id === id);
    if (index >= 0) show(index);
    return index >= 0;
  };
}

const choosers = [...document.querySelectorAll(".gallery")].map(makeGallery);

/* A link leads to a figure of a gallery, which is shown then, or to a row of a table. */
function follow(id) {
  const target = id && document.getElementById(id);
  if (!target) return false;
  if (choosers.some((choose) => choose(id))) {
    target.closest("section").scrollIntoView({ behavior: "smooth", block: "start" });
    return true;
  }
  const table = target.closest("table[data-folded]");
  if (table && target.hidden) unfold(table);
  return false;
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link && follow((link.getAttribute("href") || "").slice(1))) event.preventDefault();
});
choosers.some((choose) => choose(location.hash.slice(1)));
