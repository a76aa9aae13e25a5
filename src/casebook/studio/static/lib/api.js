// Calls of the studio's own API. Every failure is an ApiError with a sentence for people.
const meta = () => document.querySelector('meta[name="casebook-token"]');

export class ApiError extends Error {
  constructor(message, status, code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

async function answer(request) {
  let response;
  try {
    response = await request();
  } catch {
    throw new ApiError("The studio does not answer. Is it still running in its terminal?", 0, "gone");
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  let error = {};
  try { error = (await response.json()).error ?? {}; } catch { /* not ours */ }
  throw new ApiError(error.message ?? `The studio answered ${response.status}.`, response.status, error.code);
}

export function get(path, { signal } = {}) {
  return answer(() => fetch(path, { signal, credentials: "same-origin" }));
}

// A page that is older than its session gets a new token once and tries again.
async function change(path, headers, body) {
  const send = () => answer(() => fetch(path, {
    method: "POST", credentials: "same-origin", body,
    headers: { ...headers, "X-Casebook-Token": meta().content },
  }));
  try {
    return await send();
  } catch (error) {
    if (error.code !== "wrong_token") throw error;
    meta().content = (await get("/api/session")).token;
    return send();
  }
}

export const post = (path, document = {}) => change(path, { "Content-Type": "application/json" }, JSON.stringify(document));

// `headers` such as {"X-Casebook-Name": encodeURIComponent(name)}; `content` is a Blob or bytes.
export const upload = (path, content, headers = {}) =>
  change(path, { ...headers, "Content-Type": "application/octet-stream" }, content);

// Starts a job: task and settings as in src/casebook/studio/tasks.
export const startJob = (task, settings = {}, project = null) => post("/api/jobs", { task, settings, project });
