// Networks: all cards, each with its drawing and its published figures.
import { html, useEffect, useState, useLoaded, navigate, withQuery, Title, Action, Loading, Problem, percent } from "../lib/ui.js";
import { get } from "../lib/api.js";
import { fileAddress, useJob, JobStatus, Sheet } from "../lib/jobs.js";
import { inOrder } from "../order.js";
import { count } from "./train.js";

const WHAT = { parameters: "weights", multiply_adds: "multiply-adds", top1_error: "top-1 error", top5_error: "top-5 error", test_error: "test error" };
// The columns of the ledger: key of the API, heading, how a value is shown.
const COLUMNS = [
  ["name", "Network"], ["parameters", "Weights", count], ["multiply_adds", "Multiply-adds", count],
  ["input_size", "Input (px)", String], ["top1", "Best weights, ImageNet top-1", percent], ["year", "Year", String],
];

export function Page({ route, store }) {
  return route.name ? html`<${One} name=${route.name} route=${route} store=${store} />` : html`<${All} route=${route} />`;
}

function All({ route }) {
  const { value, error } = useLoaded(() => get("/api/networks"), []);
  const wanted = (route.query.find ?? "").toLowerCase();
  const shown = (value?.networks ?? []).filter((one) => `${one.name} ${one.family} ${one.title} ${one.year}`.toLowerCase().includes(wanted));
  const [key, down] = (route.query.sort ?? "").split("-");
  if (COLUMNS.some(([name]) => name === key)) {
    const sign = down ? -1 : 1;
    shown.sort((a, b) => inOrder(a[key], b[key], sign));
  }
  const order = (name) => (name !== key ? undefined : down ? "descending" : "ascending");
  const sort = (name) => navigate(withQuery({ sort: name !== key ? name : down ? null : `${name}-down` }), { replace: true });
  return html`<${Title} lead="Each is built as its paper says; where it differs, its card says so.">Networks<//>
    ${error && html`<${Problem} error=${error} />`}
    <p><label for="find">Find</label> <input id="find" type="search" value=${route.query.find ?? ""} onInput=${(event) => navigate(withQuery({ find: event.target.value }), { replace: true })} /></p>
    ${!value && !error && html`<${Loading} />`}
    ${value && html`<p class="said" role="status">${shown.length} of ${value.networks.length} networks</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Networks"><table class="list">
      <thead><tr>${COLUMNS.map(([name, text, show]) => html`<th key=${name} scope="col" class=${show ? "number" : ""} aria-sort=${order(name)}><button type="button" class="plain sort" onClick=${() => sort(name)}>${text}</button></th>`)}<th scope="col">Paper</th></tr></thead>
      <tbody>${shown.map((one) => html`<tr key=${one.name}><td><a href=${`/networks/${one.name}`}>${one.name}</a></td>${COLUMNS.slice(1).map(([name, , show]) => html`<td key=${name} class="number">${show(one[name])}</td>`)}<td class="paper">${one.title}</td></tr>`)}</tbody>
    </table></div>
    <p class="said">Multiply-adds are those of one picture of the input size. The figures of weights are published ones, for one centre crop; the paper's own are on each card. In a terminal: <code>casebook compare</code></p>`}`;
}

function One({ name, route, store }) {
  const { value: card, error } = useLoaded(() => get(`/api/networks/${encodeURIComponent(name)}`), [name]);
  const drawn = useJob(store, null, "draw", route);
  if (error) return html`<${Title}>${name}<//><${Problem} error=${error} /><p><a href="/networks">All networks</a></p>`;
  if (!card) return html`<${Title}>${name}<//><${Loading} />`;
  const file = drawn.result?.files[0];
  return html`<${Title} lead=${`${card.title}. ${card.authors}, ${card.venue}${card.venue.includes(card.year) ? "" : ` (${card.year})`}.`}>${card.name}<//>
    <dl class="headline"><div><dt>Weights</dt><dd class="value">${card.parameters.toLocaleString("en")}</dd></div>
      <div><dt>Multiply-adds for one picture</dt><dd class="value">${card.multiply_adds.toLocaleString("en")}</dd></div>
      <div><dt>Input</dt><dd class="value">${card.input_size} × ${card.input_size} × ${card.in_channels}</dd></div></dl>
    <p><a href="/networks">All networks</a> · <a href=${card.link} target="_blank" rel="noopener noreferrer">The paper</a></p>
    <p class="said">In a terminal: <code>casebook summary ${card.name}</code>, <code>casebook draw ${card.name} --html</code></p>
    <section aria-labelledby="drawing"><h2 id="drawing">Drawing</h2>
      <div class="buttons">${[["strip", "Strip"], ["block", "Blocks"], ["layers", "Layers"]].map(([level, text]) => html`<${Action} key=${level} run=${() => drawn.start({ network: name, level })}>${text}<//>`)}</div>
      <${JobStatus} ...${drawn} store=${store} what="Drawing" />
      ${file?.endsWith(".svg") && html`<figure class="strip"><div class="scroll" tabindex="0" role="region" aria-label=${`Strip of ${name}`}><img src=${fileAddress(drawn.job.id, file)} alt=${`${name} as a strip of its layers`} /></div></figure>`}
      ${file?.endsWith(".html") && html`<${Sheet} src=${fileAddress(drawn.job.id, file)} title=${`Drawing of ${name}`} />`}
    </section>
    ${card.published.length > 0 && html`<section aria-labelledby="published"><h2 id="published">Published</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Published figures"><table class="list"><thead><tr><th scope="col">What</th><th scope="col" class="number">Value</th><th scope="col">Of</th><th scope="col">Source</th></tr></thead>
      <tbody>${card.published.map((one, place) => html`<tr key=${place}><td>${WHAT[one.what] ?? one.what.replaceAll("_", " ")}</td><td class="number">${one.unit === "%" ? `${one.value} %` : one.value.toLocaleString("en")}</td><td>${one.refers_to}</td><td>${one.source}</td></tr>`)}</tbody></table></div></section>`}
    ${card.departures.length > 0 && html`<section aria-labelledby="departures"><h2 id="departures">Departures from the paper</h2>
      <ul>${card.departures.map((one, place) => html`<li key=${place}>${one.what}: here ${one.here}; in the paper ${one.paper}. Why: ${one.why}.</li>`)}</ul></section>`}
    ${card.weights.length > 0 && html`<section aria-labelledby="weights"><h2 id="weights">Weights</h2>
      <ul>${card.weights.map((one) => html`<li key=${one.name}>${one.name}, ${one.licence}${one.top1 ? `, ${(100 * one.top1).toFixed(1)} % top-1${one.packaged ? " on the test pictures of its data" : " on ImageNet"}` : ""}${one.packaged ? "; it comes with Casebook" : ""}${one.proved ? "" : "; not proved: no checksum is published"}</li>`)}</ul></section>`}`;
}
