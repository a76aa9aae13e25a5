// Compare: runs side by side, and whether a difference can be told from chance on the same pictures.
import { html, useState, Title, Action, Empty, Loading, Problem, percent } from "../lib/ui.js";
import { useRuns, validated } from "../lib/runs.js";
import { useJob, JobStatus } from "../lib/jobs.js";
import { count } from "./train.js";

export function Page({ project, store, route }) {
  const { runs, error } = useRuns(project, store);
  const compared = useJob(store, project, "compare", route);
  const [chosen, choose] = useState(new Set(compared.job?.settings.runs));
  const [part, setPart] = useState(compared.job?.settings.part ?? "val");
  const title = html`<${Title} lead="The same pictures are shown to each. A small difference on few pictures is no difference.">Compare<//>`;
  if (error) return html`${title}<${Problem} error=${error} />`;
  if (!runs) return html`${title}<${Loading} />`;
  const finished = runs.filter((run) => run.complete);
  if (finished.length < 2) {
    return html`${title}<${Empty}><p>${finished.length ? "This project has one finished run; a comparison needs two." : "This project has no finished run yet."}</p>
      <p><a class="button main" href=${`/p/${project.id}/train`}>Train ${finished.length ? "another" : "a classifier"}</a></p><//>`;
  }
  const toggle = (name) => { const next = new Set(chosen); if (!next.delete(name)) next.add(name); choose(next); };
  const closed = finished.filter((run) => chosen.has(run.name) && !run.openings);
  return html`${title}
    <fieldset class="field"><legend>Runs</legend>${finished.map((run) => html`<div key=${run.name}><label><input type="checkbox" checked=${chosen.has(run.name)} onChange=${() => toggle(run.name)} /> ${run.name}</label>
      <span class="said">${run.network}, validation ${validated(run)}, test ${run.openings ? "open" : "closed"}</span></div>`)}</fieldset>
    <fieldset class="field"><legend>Pictures</legend>
      <div><label><input type="radio" name="part" checked=${part === "val"} onChange=${() => setPart("val")} /> validation</label></div>
      <div><label><input type="radio" name="part" checked=${part === "test"} disabled=${closed.length > 0} onChange=${() => setPart("test")} /> the test</label> ${closed.length > 0 && html`<span class="said">closed for ${closed.map((run) => run.name).join(", ")}</span>`}</div>
    </fieldset>
    <div class="buttons"><${Action} main disabled=${chosen.size < 2} run=${() => compared.start({ runs: [...chosen], part: closed.length ? "val" : part })}>Compare ${chosen.size || ""} runs<//></div>
    <${JobStatus} ...${compared} store=${store} what="Asking each network about the same pictures" />
    ${compared.result && html`<${Found} result=${compared.result} />`}`;
}

function Found({ result }) {
  const rows = result.compared;
  const figure = rows[0].map === undefined ? "top1" : "map";
  const amount = (row, name) => (result.costs?.[row.name]?.[name] ? count(result.costs[row.name][name]) : "–");
  return html`<section aria-labelledby="found"><h2 id="found">On the same ${result.part === "test" ? "test" : "validation"} pictures</h2>
    <ul class="verdicts">${verdicts(rows).map((text) => html`<li key=${text}>${text}</li>`)}</ul>
    <div class="scroll" tabindex="0" role="region" aria-label="Runs side by side"><table class="list">
      <thead><tr><th scope="col">Run</th><th scope="col" class="number">${figure === "map" ? "mAP" : "Right"}</th><th scope="col" class="number">95 % interval</th><th scope="col" class="number">Weights</th><th scope="col" class="number">Multiply-adds</th></tr></thead>
      <tbody>${rows.map((row) => html`<tr key=${row.name}><td>${row.name}</td><td class="number">${percent(row[figure])}</td><td class="number">${row[`${figure}_interval`] ? `${percent(row[`${figure}_interval`][0])} to ${percent(row[`${figure}_interval`][1])}` : ""}</td><td class="number">${amount(row, "parameters")}</td><td class="number">${amount(row, "multiply_adds")}</td></tr>`)}</tbody></table></div>
    <p class="said">${rows[0].n} pictures. ${result.notes.join(" ")} Weights and multiply-adds are those of one picture.</p></section>`;
}

// One sentence for each pair that was compared.
function verdicts(rows) {
  const said = [];
  for (const row of rows) {
    for (const other of row.against) {
      if (other.top1_error === undefined) { said.push(...labelVerdicts(row, other)); continue; }
      const points = 100 * other.top1_error.difference;
      const [low, high] = other.top1_error.interval.map((end) => 100 * end);
      const range = `${low.toFixed(1)} to ${high.toFixed(1)} points`;
      if (low <= 0 && high >= 0) said.push(`${row.name} and ${other.name}: no detectable difference (${range} of error).`);
      else said.push(`${row.name} makes ${points < 0 ? "fewer" : "more"} mistakes than ${other.name}: ${Math.abs(points).toFixed(1)} points (${range}).`);
    }
  }
  return said;
}

// Of several labels a picture: the mean average precision, and the pictures with every label right.
function labelVerdicts(row, other) {
  const figures = [["mAP", other.map], ["pictures with every label right", other.subset_accuracy]];
  return figures.filter(([, found]) => found).map(([name, found]) => {
    const [low, high] = found.interval.map((end) => (100 * end).toFixed(1));
    return `${row.name} and ${other.name}, ${name}: ${found.verdict === "no detectable difference" ? found.verdict : `the first is ${found.verdict}`} (${low} to ${high} points).`;
  });
}
