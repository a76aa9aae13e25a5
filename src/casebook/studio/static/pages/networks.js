// Networks: all cards, each with its drawing and its published figures.
import { html, useEffect, useState, useLoaded, navigate, withQuery, Title, Action, Loading, Problem } from "../lib/ui.js";
import { get } from "../lib/api.js";
import { fileAddress, useJob, JobStatus, Sheet } from "../lib/jobs.js";
import { count } from "./train.js";

export function Page({ route, store }) {
  return route.name ? html`<${One} name=${route.name} route=${route} store=${store} />` : html`<${All} route=${route} />`;
}

function All({ route }) {
  const { value, error } = useLoaded(() => get("/api/networks"), []);
  const wanted = (route.query.find ?? "").toLowerCase();
  const shown = (value?.networks ?? []).filter((one) => `${one.name} ${one.family} ${one.title} ${one.year}`.toLowerCase().includes(wanted));
  return html`<${Title} lead="Each is built as its paper says; where it differs, its card says so.">Networks<//>
    ${error && html`<${Problem} error=${error} />`}
    <p><label for="find">Find</label> <input id="find" type="search" value=${route.query.find ?? ""} onInput=${(event) => navigate(withQuery({ find: event.target.value }), { replace: true })} /></p>
    ${!value && !error && html`<${Loading} />`}
    ${value && html`<p class="said" role="status">${shown.length} of ${value.networks.length} networks</p>
    <div class="scroll" tabindex="0" role="region" aria-label="Networks"><table class="list">
      <thead><tr><th scope="col">Network</th><th scope="col" class="number">Weights</th><th scope="col" class="number">Multiply-adds</th><th scope="col" class="number">Year</th><th scope="col">Paper</th></tr></thead>
      <tbody>${shown.map((one) => html`<tr key=${one.name}><td><a href=${`/networks/${one.name}`}>${one.name}</a></td><td class="number">${count(one.parameters)}</td><td class="number">${count(one.multiply_adds)}</td><td class="number">${one.year}</td><td>${one.title}</td></tr>`)}</tbody>
    </table></div>`}`;
}

function One({ name, route, store }) {
  const { value: card, error } = useLoaded(() => get(`/api/networks/${encodeURIComponent(name)}`), [name]);
  const drawn = useJob(store, null, "draw", route);
  if (error) return html`<${Title}>${name}<//><${Problem} error=${error} /><p><a href="/networks">All networks</a></p>`;
  if (!card) return html`<${Title}>${name}<//><${Loading} />`;
  const file = drawn.result?.files[0];
  return html`<${Title} lead=${`${card.title}. ${card.authors}, ${card.venue} ${card.year}.`}>${card.name}<//>
    <dl class="headline"><div><dt>Weights</dt><dd class="value">${card.parameters.toLocaleString("en")}</dd></div>
      <div><dt>Multiply-adds for one picture</dt><dd class="value">${card.multiply_adds.toLocaleString("en")}</dd></div>
      <div><dt>Input</dt><dd class="value">${card.input_size} × ${card.input_size} × ${card.in_channels}</dd></div></dl>
    <p><a href=${card.link} target="_blank" rel="noopener noreferrer">The paper</a></p>
    <section aria-labelledby="drawing"><h2 id="drawing">Drawing</h2>
      <div class="buttons">${[["strip", "Strip"], ["block", "Blocks"], ["layers", "Layers"]].map(([level, text]) => html`<${Action} key=${level} run=${() => drawn.start({ network: name, level })}>${text}<//>`)}</div>
      <${JobStatus} ...${drawn} store=${store} what="Drawing" />
      ${file?.endsWith(".svg") && html`<figure class="strip"><div class="scroll" tabindex="0" role="region" aria-label=${`Strip of ${name}`}><img src=${fileAddress(drawn.job.id, file)} alt=${`${name} as a strip of its layers`} /></div></figure>`}
      ${file?.endsWith(".html") && html`<${Sheet} src=${fileAddress(drawn.job.id, file)} title=${`Drawing of ${name}`} />`}
    </section>
    ${card.published.length > 0 && html`<section aria-labelledby="published"><h2 id="published">Published</h2>
      <div class="scroll" tabindex="0" role="region" aria-label="Published figures"><table class="list"><thead><tr><th scope="col">What</th><th scope="col" class="number">Value</th><th scope="col">Of</th><th scope="col">Source</th></tr></thead>
      <tbody>${card.published.map((one, place) => html`<tr key=${place}><td>${one.what}</td><td class="number">${one.value} ${one.unit}</td><td>${one.refers_to}</td><td>${one.source}</td></tr>`)}</tbody></table></div></section>`}
    ${card.departures.length > 0 && html`<section aria-labelledby="departures"><h2 id="departures">Departures from the paper</h2>
      <ul>${card.departures.map((one, place) => html`<li key=${place}>${one.what}: here ${one.here}; in the paper ${one.paper}. ${one.why}</li>`)}</ul></section>`}
    ${card.weights.length > 0 && html`<section aria-labelledby="weights"><h2 id="weights">Weights</h2>
      <ul>${card.weights.map((one) => html`<li key=${one.name}>${one.name}, ${one.licence}</li>`)}</ul></section>`}`;
}
