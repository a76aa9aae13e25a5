"use strict";
// Shows /openapi.json as a page.
function element(name, text) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  return made;
}

function table(head, rows) {
  const made = element("table"), top = element("tr");
  top.append(...head.map((text) => { const cell = element("th", text); cell.scope = "col"; return cell; }));
  made.append(top, ...rows.map((row) => {
    const line = element("tr");
    line.append(...row.map((text) => element("td", text)));
    return line;
  }));
  return made;
}

function operation(path, method, found) {
  const made = element("section");
  made.append(element("h2", `${method.toUpperCase()} ${path}`), element("p", found.description || found.summary));
  const parameters = (found.parameters || []).filter((parameter) => !parameter.$ref);
  if (parameters.length) {
    made.append(table(["Parameter", "In", "Meaning"], parameters.map((p) => [p.name, p.in, p.description || ""])));
  }
  made.append(table(["Status", "Meaning"], Object.entries(found.responses).map(([status, r]) => [status, r.description])));
  return made;
}

fetch("/openapi.json").then((response) => response.json()).then((api) => {
  const example = document.getElementById("example");
  example.textContent = example.textContent.replace("http://localhost:8000", location.origin);
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, found] of Object.entries(methods)) {
      if (method !== "parameters") document.getElementById("operations").append(operation(path, method, found));
    }
  }
});
