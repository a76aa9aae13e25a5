(() => {
  const facts = JSON.parse(document.getElementById("report-data").textContent);
  const title = document.getElementById("fact-title");
  const lines = document.getElementById("fact-lines");
  const arithmetic = document.getElementById("fact-arithmetic");
  let lit = null;
  const part = (kind, text) => {
    const made = document.createElement(kind);
    made.textContent = text;
    return made;
  };
  const show = (box) => {
    if (box === lit) return;
    if (lit) lit.classList.remove("lit");
    lit = box;
    box.classList.add("lit");
    const fact = facts[box.dataset.box];
    title.textContent = fact.title;
    lines.replaceChildren(...fact.lines.flatMap(([name, value]) => [part("dt", name), part("dd", value)]));
    arithmetic.replaceChildren(...fact.arithmetic.map((line) => part("span", line)));
  };
  for (const box of document.querySelectorAll("[data-box]")) {
    for (const event of ["focus", "mouseenter", "click"]) box.addEventListener(event, () => show(box));
    box.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); show(box); }
    });
  }
})();
