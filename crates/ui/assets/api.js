// Questions to the daemon. The token is kept for this page only, and goes into a header: no other page can use it.

const KEY = "hull.token";

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

// Takes the token out of the address that was opened, and out of sight.
export function takeToken() {
  const found = location.hash.match(/^#token=([0-9a-f]+)$/);
  if (found) {
    sessionStorage.setItem(KEY, found[1]);
    history.replaceState(null, "", "#/");
  }
}

export const setToken = (text) => sessionStorage.setItem(KEY, text.trim().replace(/^.*token=/, ""));
const token = () => sessionStorage.getItem(KEY) ?? "";
const headers = () => ({ Authorization: `Bearer ${token()}` });

async function answer(method, path, body, signal) {
  const options = { method, headers: headers(), signal, cache: "no-store" };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const reply = await fetch(`/api${path}`, options);
  if (reply.ok || reply.status === 304) return reply;
  const text = await reply.text();
  let message = text;
  try { message = JSON.parse(text).message ?? text; } catch { /* no JSON: the text itself */ }
  if (reply.status === 401) dispatchEvent(new Event("hull-locked"));
  throw new Refused(reply.status, message);
}

export const part = encodeURIComponent;
export const get = async (path, signal) => (await answer("GET", path, undefined, signal)).json();
export const post = async (path, body) => {
  const reply = await answer("POST", path, body);
  const text = await reply.text();
  return text ? JSON.parse(text) : null;
};
export const remove = (path) => answer("DELETE", path);

// Calls `take` with each piece of a reply as it comes.
export async function stream(path, signal, take) {
  const reply = await answer("GET", path, undefined, signal);
  const reader = reply.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    take(value);
  }
}

// Calls `take` with each document of a reply of lines.
export function lines(path, signal, take) {
  const decoder = new TextDecoder();
  let rest = "";
  return stream(path, signal, (bytes) => {
    rest += decoder.decode(bytes, { stream: true });
    const all = rest.split("\n");
    rest = all.pop();
    for (const line of all) if (line.trim()) take(JSON.parse(line));
  });
}

// A websocket; browsers let no header be set for these, so the token is offered as a protocol.
export function socket(path) {
  const opened = new WebSocket(`ws://${location.host}/api${path}`, ["hull", `hull.token.${token()}`]);
  opened.binaryType = "arraybuffer";
  return opened;
}
