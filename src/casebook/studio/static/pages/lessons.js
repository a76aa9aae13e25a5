// Lessons.
import { html, Title, Empty } from "../lib/ui.js";

export function Page({ route, project, store }) {
  return html`<${Title}>Lessons<//><${Empty}><p>This page is not built yet.</p><//>`;
}
