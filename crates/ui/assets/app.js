// The frame of the page: where one is, what happens, keys.

import { get, lines, setToken, takeToken } from "./api.js";
import { h, put, show, write } from "./dom.js";
import { overview } from "./overview.js";
import { containers } from "./containers.js";
import { container } from "./container.js";
import { image, images } from "./images.js";
import { networks } from "./networks.js";
import { disk, volumes } from "./stores.js";

const SECTIONS = [["", "Overview", overview], ["containers", "Containers", containers], ["images", "Images", images],
  ["volumes", "Volumes", volumes], ["networks", "Networks", networks], ["disk", "Disk", disk]];
const INSIDE = { containers: container, images: image };

const main = document.getElementById("main");
const nav = document.getElementById("nav");
let leaving = new AbortController();

// What is told to views when something has happened: they listen for "hull-event" on this.
export const happenings = new EventTarget();

const links = SECTIONS.map(([path, name], at) => h("a", { href: `#/${path}`, "aria-keyshortcuts": String(at + 1) }, name));
put(nav, links.map((link) => h("li", {}, link)));
document.getElementById("skip").addEventListener("click", () => main.focus());
document.getElementById("keys").addEventListener("click", help);

function go(focus) {
  leaving.abort();
  leaving = new AbortController();
  const parts = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const at = Math.max(0, SECTIONS.findIndex(([path]) => path === parts[0]));
  links.forEach((link, index) => (index === at ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")));
  const [path, name, whole] = SECTIONS[at];
  const inner = parts[1] && INSIDE[path];
  document.title = `${parts[1] ? `${parts[1].slice(0, 20)} – ` : ""}${name} – Hull`;
  const place = h("div", {});
  put(main, place);
  const failed = (error) => { if (!leaving.signal.aborted) put(place, h("h1", {}, name), h("p", { class: "none" }, error.message)); };
  const signal = leaving.signal;
  Promise.resolve().then(() => (inner ? inner(place, parts.slice(1), signal) : whole(place, [], signal))).catch((error) => { if (!signal.aborted) failed(error); });
  if (focus) main.focus();
}

function help() {
  const keys = [["1 … 6", "Overview … Disk"], ["/", "search or filter"], ["Esc", "leave the search"], ["?", "these keys"], ["Ctrl+Shift+Esc", "leave a terminal"]];
  show("Keys", h("dl", {}, keys.map(([key, what]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, what)])));
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (event.key === "Escape" && event.target.matches("input[type=search]")) { event.target.blur(); main.focus(); }
  if (typing || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "/") {
    const search = main.querySelector("input[type=search]");
    if (search) { event.preventDefault(); search.focus(); search.select(); }
  } else if (event.key === "?") help();
  else if (links[Number(event.key) - 1]) links[Number(event.key) - 1].click();
});

function locked() {
  leaving.abort();
  leaving = new AbortController();
  const field = h("input", { type: "text", id: "token", autocomplete: "off", spellcheck: "false" });
  const open = (event) => { event.preventDefault(); setToken(field.value); start(); };
  put(main, h("h1", {}, "Locked"),
    h("p", {}, "This page opens with the address that the daemon has written into its log:"),
    h("pre", {}, "journalctl -u hull | grep token="),
    h("form", { class: "bar", onsubmit: open }, h("label", { for: "token" }, "Address or token"), field, h("button", { class: "main" }, "Open")));
  field.focus();
}

const link = document.getElementById("link");
function connected(yes) {
  link.classList.toggle("on", yes);
  link.setAttribute("aria-label", yes ? "connected" : "not connected");
}

// One stream of events for the whole page; it is opened again when it breaks, and the view drawn anew then.
let following = false;
async function follow() {
  if (following) return;
  following = true;
  for (let broken = false; ;) {
    try {
      const version = await get("/version");
      const platform = version.Platform?.Name ?? "";
      write(document.getElementById("version"), `API ${version.ApiVersion} · ${platform}`);
      connected(true);
      if (broken) go(false);
      broken = false;
      await lines("/events", undefined, (event) => happenings.dispatchEvent(new CustomEvent("hull-event", { detail: event })));
    } catch (error) {
      if (error.status === 401) { following = false; connected(false); return; }
    }
    connected(false);
    broken = true;
    await new Promise((done) => setTimeout(done, 2000));
  }
}

function start() {
  get("/info").then((info) => write(document.getElementById("host"), info.Name)).catch(() => {});
  go(false);
  follow();
}

addEventListener("hull-locked", locked);
addEventListener("hashchange", () => {
  if (location.hash.startsWith("#token=")) { takeToken(); start(); } else go(true);
});
takeToken();
start();
