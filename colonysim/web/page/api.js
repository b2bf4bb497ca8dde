// Requests to the control API, and the stream of changes.

const token = new URLSearchParams(location.search).get("token");

/** An error that the server has told: its text is for the reader. */
export class ApiError extends Error {}

/** Send a request to /colonysim/NAME and return the answer. Throws ApiError with the server's text. */
export async function ask(method, name, { query = {}, body, signal } = {}) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const fields = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== undefined));
  let reply;
  try {
    reply = await fetch(`/colonysim/${name}${fields.size ? `?${fields}` : ""}`, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("The server does not answer.");
  }
  const answer = await reply.json();
  if (!reply.ok) throw Object.assign(new ApiError(answer.error), { status: reply.status });
  return answer;
}

export const get = (name, query, signal) => ask("GET", name, { query, signal });

/** The address of a route that a browser opens by itself, such as the report. */
export const address = (name) => `/colonysim/${name}${token ? `?token=${encodeURIComponent(token)}` : ""}`;

/** Make a call of the protocol as a caller whose key nobody needs here. Throws ApiError if it is refused or lost. */
export async function call(caller, payload) {
  const { number, status, body } = await ask("POST", "calls", { body: { caller, payload } });
  if (status === null) throw new ApiError(`A fault holds back the answer to call ${number}.`);
  if (status === 0) throw new ApiError(`A fault has lost call ${number} or its answer.`);
  if (status >= 400) throw new ApiError(`Refused (${status}): ${body?.message ?? "no reason given"}`);
  return body;
}

/** Listen to the stream of changes while the page is visible; it connects again by itself. */
export function listen(onOverview, onConnected) {
  let source = null;
  let timer = 0;
  const open = () => {
    clearTimeout(timer);
    if (source !== null || document.hidden) return;
    source = new EventSource(address("events"));
    source.addEventListener("overview", (event) => onOverview(JSON.parse(event.data)));
    source.onopen = () => onConnected(true);
    source.onerror = () => {
      onConnected(false);
      if (source?.readyState === EventSource.CLOSED) {
        close(); // a server that has no stream, such as any WSGI server, is asked instead
        get("overview").then(onOverview, () => {});
        timer = setTimeout(open, 2000);
      }
    };
  };
  const close = () => {
    source?.close();
    source = null;
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  open();
}
