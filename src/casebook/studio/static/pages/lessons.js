// Lessons: their list, and the pages of `casebook lesson`, which a job writes when the first one is wanted.
import { html, useEffect, useLoaded, useRef, useState, useStore, navigate, Title, Action, Empty, Loading, Problem } from "../lib/ui.js";
import { get, startJob } from "../lib/api.js";

const TASK = "lessons";
const ACTIVE = ["waiting", "running", "stopping"];
const COMPANIONS = { questions: "Questions", errata: "Errata" };
const LINK = /^\/api\/lessons\/pages\/([a-z0-9-]+)\.html$/;

export function Page({ route, store }) {
  const { value, error, reload } = useLoaded(() => get("/api/lessons"), []);
  if (error) return html`<${Title}>Lessons<//><${Problem} error=${error} />`;
  if (!value) return html`<${Title}>Lessons<//><${Loading} />`;
  if (!route.name) return html`<${All} lessons=${value.lessons} />`;
  const place = value.lessons.findIndex((one) => one.name === route.name);
  const title = value.lessons[place]?.title ?? COMPANIONS[route.name];
  if (!title) {
    return html`<${Title}>There is no such lesson<//><${Empty}><p>The address names no lesson. <a href="/lessons">All lessons</a> are in the list.</p><//>`;
  }
  return html`<${One} name=${route.name} title=${title} anchor=${route.query.at} before=${value.lessons[place - 1]} after=${place < 0 ? null : value.lessons[place + 1]} is_written=${value.written.includes(route.name)} reload=${reload} store=${store} />`;
}

function All({ lessons }) {
  return html`<${Title} lead="The classic networks, with every number computed and exercises to try. Read them in this order, or any.">Lessons<//>
    <ol class="cards lessons">${lessons.map((one, place) => html`<li key=${one.name}>
      <h2><a href=${`/lessons/${one.name}`}>${place + 1}. ${one.title}</a></h2><p class="said">${one.lead}</p></li>`)}</ol>
    <p class="said">Besides: <a href="/lessons/questions">questions and answers</a>, and <a href="/lessons/errata">what is wrong in the lectures</a>.
      For slides, notebooks or marked exercises: <code>casebook lesson --help</code>.</p>`;
}

// Asks for the page where it is not written. One job writes all of them, this one first.
function One({ name, title, is_written, reload, anchor, before, after, store }) {
  const [asked, ask] = useState(null);
  const [error, setError] = useState(null);
  const job = useStore(store, (state) => [...state.jobs.values()].find((one) => one.task === TASK && (one.id === asked || ACTIVE.includes(one.state)))) ?? null;
  const start = async () => {
    setError(null);
    try {
      const made = await startJob(TASK, { lesson: name });
      ask(made.id);
      store.keep(made);
    } catch (problem) { setError(problem); }
  };
  useEffect(() => { if (!is_written && !job) start(); }, [name, is_written]);
  useEffect(() => (is_written ? undefined : store.onEvent(null, ({ job: id, event }) => {
    if (id === job?.id && (event.event === "Advanced" || event.state === "done")) reload();
  })), [is_written, job?.id]);
  const failed = job && !ACTIVE.includes(job.state) && job.state !== "done";
  return html`<${Title}>${title}<//>
    <nav aria-label="Lessons"><ul>
      <li><a href="/lessons">All lessons</a></li>
      ${before && html`<li><a href=${`/lessons/${before.name}`}>Before: ${before.title}</a></li>`}
      ${after && html`<li><a href=${`/lessons/${after.name}`}>Next: ${after.title}</a></li>`}
    </ul></nav>
    ${error && html`<${Problem} error=${error} />`}
    ${is_written ? html`<${Frame} name=${name} title=${title} anchor=${anchor} />`
    : failed ? html`<${Problem} error=${job} /><div class="buttons"><${Action} main run=${start}>Write it again<//></div>`
    : html`<${Loading} what="Drawing the networks of this lesson; the first time takes some seconds" />`}`;
}

// The page in a frame as high as the page. Its links lead through the studio; it has no scripts of its own.
function Frame({ name, title, anchor }) {
  const frame = useRef();
  useEffect(() => {
    const { current } = frame;
    let observer = null;
    const loaded = () => {
      const inside = current.contentDocument;
      // The studio shows the title and the way back itself, and the margins are its own.
      for (const one of inside.querySelectorAll("body > header > .said, body > header > h1")) one.hidden = true;
      Object.assign(inside.body.style, { padding: "1.5rem 0 0", maxWidth: "none" });
      const fit = () => { current.style.height = `${inside.documentElement.offsetHeight + 24}px`; };
      observer?.disconnect();
      observer = new ResizeObserver(fit);
      observer.observe(inside.documentElement);
      fit();
      inside.addEventListener("click", (event) => follow(event, inside));
      show(inside, anchor);
    };
    const show = (inside, id) => {
      const target = id && inside.getElementById(id);
      if (target) scrollTo(0, current.getBoundingClientRect().top + scrollY + target.getBoundingClientRect().top);
      return target;
    };
    const follow = (event, inside) => {
      const link = event.target.closest?.("a[href]");
      if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
      event.preventDefault();
      const url = new URL(link.href);
      const id = url.hash.slice(1);
      const page = url.origin === location.origin && url.pathname.match(LINK)?.[1];
      if (!page) open(url, "_blank", "noopener,noreferrer");
      else if (page === "index") navigate("/lessons");
      else if (page !== name) navigate(`/lessons/${page}${id ? `?at=${encodeURIComponent(id)}` : ""}`);
      else {
        const target = show(inside, id);
        target?.setAttribute("tabindex", "-1");
        target?.focus({ preventScroll: true });
      }
    };
    current.addEventListener("load", loaded);
    return () => { current.removeEventListener("load", loaded); observer?.disconnect(); };
  }, [name]);
  return html`<iframe ref=${frame} class="lesson" src=${`/api/lessons/pages/${name}.html`} title=${`Lesson: ${title}`}></iframe>`;
}
