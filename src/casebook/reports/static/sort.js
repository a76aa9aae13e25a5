import { inOrder } from "./order.js";

(() => {
  for (const button of document.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      const header = button.closest("th");
      const body = header.closest("table").tBodies[0];
      const column = header.cellIndex;
      const before = header.getAttribute("aria-sort");
      const direction = before ? (before === "ascending" ? "descending" : "ascending") : header.dataset.first || "ascending";
      for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const value = (row) => {
        const text = row.cells[column].dataset.value;
        return header.dataset.kind === "number" && text !== "" ? Number(text) : text;
      };
      body.append(...[...body.rows].sort((a, b) => inOrder(value(a), value(b), sign)));
    });
  }
})();
