// Run: a training while it goes on, and after.
import { html, useStore, Title, Loading } from "../lib/ui.js";

export function Page({ route, project, store }) {
  const jobs = useStore(store, (state) => state.jobs);
  return html`<${Title}>${route.name}<//><${Loading} />`;
}
