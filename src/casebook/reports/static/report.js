import { percent } from "./numbers.js";

(() => {
  const data = JSON.parse(document.getElementById("report-data").textContent);
  const panel = document.getElementById("panel");
  const openers = [...document.querySelectorAll("[data-cell]")];
  const matrix = document.querySelector(".matrix");
  let opened = null;

  const element = (tag, className, ...children) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    node.append(...children);
    return node;
  };
  const isolated = (text, className) => element("bdi", className, text);

  function tile([name, source, small, confidence, ofTruth], cell) {
    let picture;
    if (source) {
      picture = element("img", small ? "small" : "");
      picture.src = source;
      picture.alt = name;
    } else {
      picture = element("div", "missing", "no picture");
    }
    const right = cell.truth === cell.taken;
    const caption = element("figcaption", "", isolated(cell.taken, right ? "as-right" : "as-wrong"), " " + percent(confidence));
    if (!right) caption.append(element("br"), isolated(cell.truth), " " + percent(ofTruth));
    const file = isolated(name.split("/").pop(), "file");
    file.title = name;
    caption.append(file);
    return element("li", "", element("figure", "", picture, caption));
  }

  function close(returnFocus) {
    if (!opened) return;
    const key = opened.dataset.cell;
    for (const other of openers) if (other.dataset.cell === key) other.setAttribute("aria-expanded", "false");
    if (returnFocus) opened.focus();
    opened = null;
    panel.replaceChildren(element("p", "said hint", data.hint));
  }

  function open(button) {
    const again = opened && opened.dataset.cell === button.dataset.cell;
    close(false);
    if (again) return;
    opened = button;
    const cell = data.cells[button.dataset.cell];
    for (const other of openers) if (other.dataset.cell === button.dataset.cell) other.setAttribute("aria-expanded", "true");
    const many = cell.total === 1 ? "1 picture of " : cell.total.toLocaleString("en") + " pictures of ";
    const heading = element("h3", "", many, isolated(cell.truth));
    if (cell.truth === cell.taken) heading.append(", recognised");
    else heading.append(" taken for ", isolated(cell.taken));
    const closer = element("button", "close", "Close");
    closer.type = "button";
    closer.addEventListener("click", () => close(true));
    const tiny = cell.shown.some((item) => item[2]);
    const list = element("ul", tiny ? "pictures tiny" : "pictures", ...cell.shown.map((item) => tile(item, cell)));
    panel.replaceChildren(element("header", "", heading, closer), element("p", "said", cell.said), list);
    if (list.scrollHeight > list.clientHeight + 4) list.tabIndex = 0; // so that the keyboard can scroll it
    const top = panel.getBoundingClientRect().top;
    if (top < 0 || top > window.innerHeight * 0.7) panel.scrollIntoView({ block: "nearest" });
  }

  if (panel) panel.replaceChildren(element("p", "said hint", data.hint));
  for (const button of openers) {
    button.setAttribute("aria-expanded", "false");
    button.setAttribute("aria-controls", "panel");
    button.addEventListener("click", () => open(button));
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && opened) close(true);
  });

  // One stop for the Tab key in the matrix; the arrow keys move inside it.
  if (matrix) {
    const rows = [...matrix.tBodies[0].rows].map((row) => [...row.cells].filter((cell) => cell.tagName === "TD" && !cell.classList.contains("total")));
    const cells = [...matrix.querySelectorAll("button.cell")];
    const enter = matrix.querySelector("button.cell.wrong") || cells[0];
    for (const cell of cells) cell.tabIndex = cell === enter ? 0 : -1;
    matrix.addEventListener("focusin", (event) => {
      for (const cell of cells) cell.tabIndex = cell === event.target ? 0 : -1;
    });
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    matrix.addEventListener("keydown", (event) => {
      const step = steps[event.key];
      const cell = event.target.closest("td");
      if (!step || !cell) return;
      event.preventDefault();
      let row = rows.findIndex((line) => line.includes(cell));
      let column = rows[row].indexOf(cell);
      for (;;) {
        row += step[0];
        column += step[1];
        const next = rows[row] && rows[row][column];
        if (!next) return;
        const button = next.querySelector("button");
        if (button) return button.focus();
      }
    });
  }
})();
