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
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.querySelectorAll("th[data-first]")) {
    head.querySelector("button").addEventListener("click", () => sortTable(table, head));
  }
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
  label.append(gallery.dataset.label + " ", list);
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

function follow(link, event) {
  const id = (link.getAttribute("href") || link.getAttribute("xlink:href") || "").slice(1);
  if (!choosers.some((choose) => choose(id))) return;
  event.preventDefault();
  document.getElementById(id).closest(".gallery").scrollIntoView({ behavior: "smooth", block: "start" });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link) follow(link, event);
});
choosers.some((choose) => choose(location.hash.slice(1)));
