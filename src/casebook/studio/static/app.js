// The shell: one store, one event stream, navigation, and the page that the address names.
import { html, render, useEffect, useRef, useState, useStore, navigate, Loading, Problem } from "./lib/ui.js";
import { get } from "./lib/api.js";
import { follow } from "./lib/events.js";

const PROJECT_PAGES = [
  ["gather", "Gather"], ["check", "Check"], ["label", "Label"], ["train", "Train"], ["evaluate", "Evaluate"],
  ["compare", "Compare"], ["explain", "Explain"], ["try", "Try and export"],
];

// state: {home, jobs: Map of id -> job, progress: Map of id -> last StepEnded or Advanced, connection}
function makeStore() {
  const listeners = new Set();
  const followers = new Set();
  let changed = 0; // the number of the last event that changed a job
  const store = {
    state: { home: null, jobs: new Map(), progress: new Map(), connection: "live" },
    subscribe(listener) { listeners.add(listener); return () => listeners.delete(listener); },
    set(changes) { store.state = { ...store.state, ...changes }; listeners.forEach((listener) => listener()); },
    // Calls `take(record)` with each {number, job, event} to come, of one job or of all; gives a function that ends it.
    onEvent(job, take) {
      const follower = (record) => { if (job === null || record.job === job) take(record); };
      followers.add(follower);
      return () => followers.delete(follower);
    },
    // Reads projects, runs and jobs again; gives the number of the last event that they include. An answer that an
    // event has overtaken would put a job back to what it was, so it is asked for again.
    async reload({ fromStart = false } = {}) {
      if (fromStart) changed = 0;
      let home = await get("/api/home");
      while (home.number < changed) home = await get("/api/home");
      store.set({ home, jobs: new Map(home.jobs.map((job) => [job.id, job])) });
      return home.number;
    },
    async take(record) {
      const { event } = record;
      if (event.event === "JobState" || event.event === "RunOpened") changed = Math.max(changed, record.number);
      if (event.event === "JobState") {
        const known = store.state.jobs.get(record.job);
        const now = { ...known, state: event.state, message: event.message, changed: event.changed ?? Date.now() / 1000 };
        now.can_resume = ["stopped", "failed"].includes(event.state);
        if (known) store.set({ jobs: new Map(store.state.jobs).set(record.job, now) });
        if (!known || event.state === "done") store.reload().catch(() => {});
      } else if (event.event === "RunOpened") {
        const known = store.state.jobs.get(record.job);
        if (known) store.set({ jobs: new Map(store.state.jobs).set(record.job, { ...known, run: event.path }) });
        store.reload().catch(() => {});
      } else if (event.event === "StepEnded" || event.event === "Advanced") {
        store.set({ progress: new Map(store.state.progress).set(record.job, event) });
      }
      followers.forEach((follower) => follower(record));
    },
    // The job list with one job as the server just gave it, unless an event has already said more.
    keep(job) {
      const known = store.state.jobs.get(job.id);
      if (!known || known.changed <= job.changed) store.set({ jobs: new Map(store.state.jobs).set(job.id, job) });
    },
  };
  return store;
}

// The route of an address: {page, project, name, query}; page is the module in pages/.
function routeOf(url) {
  const parts = url.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  const query = Object.fromEntries(url.searchParams);
  if (!parts.length) return { page: "home", project: null, name: null, query };
  if (parts[0] === "p" && parts[2] === "run") return { page: "run", project: parts[1], name: parts[3], query };
  if (parts[0] === "p") return { page: parts[2], project: parts[1], name: null, query };
  return { page: parts[0], project: null, name: parts[1] ?? null, query };
}

const KNOWN = new Set(["home", "run", "networks", "lessons", ...PROJECT_PAGES.map(([page]) => page)]);

function useRoute() {
  const [href, set] = useState(location.href);
  useEffect(() => {
    const moved = () => set(location.href);
    const clicked = (event) => {
      const link = event.target.closest?.("a[href]");
      if (!link || link.target || link.hasAttribute("download") || link.origin !== location.origin) return;
      if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      if (/^\/(api|static)\//.test(link.pathname) || (link.hash && link.pathname === location.pathname)) return;
      event.preventDefault();
      navigate(link.href);
    };
    addEventListener("popstate", moved);
    addEventListener("casebook:navigate", moved);
    document.addEventListener("click", clicked);
    return () => {
      removeEventListener("popstate", moved);
      removeEventListener("casebook:navigate", moved);
      document.removeEventListener("click", clicked);
    };
  }, []);
  return routeOf(new URL(href));
}

// The focus goes to the new page's heading, as soon as there is one, and back to it where drawing the page again took it
// away. Once the user has pressed a key or a button, it is never taken from where the user is; a change of the query
// alone moves nothing.
function useFocus(place) {
  const first = useRef(true);
  useEffect(() => {
    const focuses = !first.current;
    let settled = null;
    let touched = false;
    const settle = () => {
      const heading = document.getElementById("title");
      const isFree = (!settled && !touched) || document.activeElement === document.body;
      if (!heading || (heading === settled && !isFree)) return;
      document.title = `${heading.textContent} · Casebook studio`;
      if (focuses && !settled) scrollTo(0, 0);
      if (focuses && isFree) heading.focus({ preventScroll: true });
      settled = heading;
      first.current = false;
    };
    settle();
    const observer = new MutationObserver(settle);
    const stop = () => { touched = true; if (settled) observer.disconnect(); };
    addEventListener("keydown", stop);
    addEventListener("pointerdown", stop);
    observer.observe(document.body, { childList: true, subtree: true });
    return () => {
      observer.disconnect();
      removeEventListener("keydown", stop);
      removeEventListener("pointerdown", stop);
    };
  }, [place]);
}

function Navigation({ route, home }) {
  const project = home.projects.find((one) => one.id === route.project);
  const at = (href, text, current) => html`<li><a href=${href} aria-current=${current ? "page" : undefined}>${text}</a></li>`;
  return html`<header class="top">
    <nav aria-label="Studio"><ul>
      ${at("/", "Home", route.page === "home")}
      ${at("/networks", "Networks", route.page === "networks")}
      ${at("/lessons", "Lessons", route.page === "lessons")}
    </ul></nav>
    ${project && html`<nav aria-label=${`Project ${project.name}`} class="project">
      <span class="project-name">${project.name}</span>
      <ul>${PROJECT_PAGES.map(([page, text]) => at(`/p/${project.id}/${page}`, text, route.page === page))}</ul>
    </nav>`}
  </header>`;
}

// What a screen reader says when a job changes its state, wherever the user is.
function Announcer({ store }) {
  const [text, set] = useState("");
  useEffect(() => store.onEvent(null, ({ job, event }) => {
    if (event.event !== "JobState") return;
    const known = store.state.jobs.get(job);
    set(`${known?.title ?? "job"}: ${event.state}${event.message ? `, ${event.message}` : ""}`);
  }), []);
  return html`<div class="unseen" aria-live="polite" role="status">${text}</div>`;
}

function App({ store }) {
  const route = useRoute();
  const home = useStore(store, (state) => state.home);
  const connection = useStore(store, (state) => state.connection);
  const [modules, setModules] = useState({});
  const [failure, setFailure] = useState(null);
  const Page = modules[route.page];
  useEffect(() => {
    if (Page || !KNOWN.has(route.page)) return;
    import(`./pages/${route.page}.js`).then(
      (module) => setModules((known) => ({ ...known, [route.page]: module.Page })),
      setFailure,
    );
  }, [route.page]);
  useFocus(location.pathname);
  if (failure) return html`<main><h1>This page cannot be shown</h1><${Problem} error=${failure} /></main>`;
  if (!home) return html`<main><${Loading} /></main>`;
  const project = home.projects.find((one) => one.id === route.project) ?? null;
  let content;
  if (!KNOWN.has(route.page) || (route.project && !project)) {
    content = html`<h1 tabindex="-1" id="title">There is no such page</h1>
      <p>The address names ${route.project && !project ? "a project" : "a page"} that is not here. <a href="/">Go to the home page.</a></p>`;
  } else {
    content = Page ? html`<${Page} key=${location.pathname} route=${route} project=${project} store=${store} />` : html`<${Loading} />`;
  }
  return html`
    <a class="skip" href="#title">Skip to the page</a>
    <${Navigation} route=${route} home=${home} />
    ${connection === "lost" && html`<p class="lost" role="status">The studio does not answer; this page goes on by itself when it is back.
      If you stopped it, run <code>casebook studio</code> again.</p>`}
    <main>${content}</main>
    <${Announcer} store=${store} />`;
}

async function start() {
  const root = document.getElementById("app");
  const store = makeStore();
  try {
    const number = await store.reload();
    root.replaceChildren();
    render(html`<${App} store=${store} />`, root);
    follow({
      number,
      event: (record) => store.take(record),
      reset: () => store.reload({ fromStart: true }),
      connection: (connection) => { if (store.state.connection !== connection) store.set({ connection }); },
    });
  } catch (error) {
    root.replaceChildren();
    render(html`<main><h1>The studio does not answer</h1><${Problem} error=${error} />
      <p>Run <code>casebook studio</code> in a terminal, then open the address that it prints.</p></main>`, root);
  }
}

start();
