// One event stream for all tabs. The tab that holds a lock opens it and tells the others; when that tab closes, the
// next one takes over. A tab that sees a hole in the numbers asks for what it missed. Without locks and channels each
// tab has a stream of its own.
import { get } from "./api.js";

const NAME = "casebook-studio-events";
const SILENCE_MS = 25000; // the server gives a sign of life every 10 s

export function follow({ number, event, reset, connection }) {
  let last = number;
  let filling = null;
  const channel = "BroadcastChannel" in self ? new BroadcastChannel(NAME) : null;

  function take(record) {
    if (record.number <= last) return;
    if (record.number > last + 1) { fill(); return; }
    last = record.number;
    event(record);
  }

  function fill() {
    filling ??= (async () => {
      try {
        for (;;) {
          const found = await get(`/api/events/missed?after=${last}`);
          if (found.reset) { last = await reset(); break; }
          if (!found.events.length) break;
          for (const record of found.events) {
            if (record.number === last + 1) { last = record.number; event(record); }
          }
        }
      } catch { /* the stream comes back and finds the hole again */ }
      filling = null;
    })();
    return filling;
  }

  function lead() {
    let source = null;
    let timer = null;
    const say = (state) => { connection(state); channel?.postMessage({ connection: state }); };
    const alive = () => {
      clearTimeout(timer);
      timer = setTimeout(() => { say("lost"); open(); }, SILENCE_MS);
    };
    function open() {
      source?.close();
      source = new EventSource(`/api/events?after=${last}`);
      alive();
      source.onopen = () => { alive(); say("live"); };
      source.onmessage = (message) => {
        alive();
        const record = JSON.parse(message.data);
        channel?.postMessage({ record });
        take(record);
      };
      source.addEventListener("beat", () => { alive(); say("live"); });
      source.addEventListener("reset", async () => {
        alive();
        channel?.postMessage({ reset: true });
        last = await reset();
      });
      source.onerror = () => {
        say("lost");
        // A browser gives up after an error status; a server that is away is asked again, too.
        if (source.readyState === EventSource.CLOSED) { clearTimeout(timer); timer = setTimeout(open, 1500); }
      };
    }
    open();
    return () => { clearTimeout(timer); source?.close(); };
  }

  if (channel && navigator.locks) {
    let leading = false;
    channel.onmessage = async ({ data }) => {
      if (data.hello && leading) channel.postMessage({ connection: "live" });
      if (leading) return;
      if (data.record) { connection("live"); take(data.record); }
      if (data.connection) { connection(data.connection); if (data.connection === "live") fill(); }
      if (data.reset) last = await reset();
    };
    channel.postMessage({ hello: true });
    navigator.locks.request(NAME, () => new Promise(() => { leading = true; lead(); }));
  } else {
    lead();
  }
}
