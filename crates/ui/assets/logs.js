// A container's log: as it comes, searched.

import { part, stream } from "./api.js";
import { h, put, write } from "./dom.js";

const MOST = 10000;

const LONGEST = 65536;

// Takes apart Docker's frames; a container with a terminal has none.
function frames(tty, line) {
  const decoders = [new TextDecoder(), new TextDecoder(), new TextDecoder(), new TextDecoder()];
  const rests = ["", "", "", ""];
  let held = new Uint8Array(0);
  const text = (kind, bytes) => {
    const all = (rests[kind] + decoders[kind].decode(bytes, { stream: true })).split("\n");
    rests[kind] = all.pop();
    // What has no end for so long is shown in pieces.
    if (rests[kind].length > LONGEST) { all.push(rests[kind]); rests[kind] = ""; }
    for (const one of all) line(kind, one.replace(/\r$/, ""));
  };
  const end = () => rests.forEach((rest, kind) => { if (rest) { rests[kind] = ""; line(kind, rest); } });
  const take = (bytes) => {
    if (tty) { text(1, bytes); return; }
    const joined = new Uint8Array(held.length + bytes.length);
    joined.set(held);
    joined.set(bytes, held.length);
    let at = 0;
    while (joined.length - at >= 8) {
      const length = new DataView(joined.buffer, at + 4, 4).getUint32(0);
      if (joined.length - at - 8 < length) break;
      text(joined[at] & 3, joined.subarray(at + 8, at + 8 + length));
      at += 8 + length;
    }
    held = joined.slice(at);
  };
  return [take, end];
}

// What terminals would take for colours and moves.
const plain = (text) => text.replace(/\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])/g, "").replace(/[\x00-\x08\x0b-\x1f]/g, "");

export async function logs(main, found, signal) {
  let lines = [], search = "", follow = true, hits = [], here = -1, tail = 1000, reading = null, dropped = 0;
  const box = h("div", { class: "log wrap", role: "log", "aria-label": "Log", "aria-live": "off", tabindex: "0" });
  const field = h("input", { type: "search", placeholder: "Search", "aria-label": "Search the log", oninput: () => find(field.value),
    onkeydown: (event) => { if (event.key === "Enter") { event.preventDefault(); jump(event.shiftKey ? -1 : 1); } } });
  const count = h("span", { class: "dim", role: "status" });
  const toggle = (text, on, change) => {
    const button = h("button", { type: "button", "aria-pressed": String(on), onclick: () => {
      const now = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", now);
      change(now);
    } }, text);
    return button;
  };
  const following = toggle("Follow", true, (on) => { follow = on; if (on) box.scrollTop = box.scrollHeight; });
  let stamps = false, only = false;
  put(main, h("div", { class: "bar" }, field,
    h("button", { type: "button", "aria-label": "Previous hit", onclick: () => jump(-1) }, "↑"), h("button", { type: "button", "aria-label": "Next hit", onclick: () => jump(1) }, "↓"), count,
    h("span", { class: "space" }),
    toggle("Only hits", false, (on) => { only = on; lines.forEach(mark); }), following,
    toggle("Times", false, (on) => { stamps = on; open(); }), toggle("Wrap", true, (on) => box.classList.toggle("wrap", on)),
    h("label", {}, "Lines ", h("select", { onchange: (event) => { tail = event.target.value; open(); } }, ["1000", "10000"].map((number) => h("option", { value: number }, number)))),
    h("button", { type: "button", onclick: save }, "Save")), box);

  // Each hit becomes a <mark>; the text stays text.
  const mark = (line) => {
    const low = line.text.toLowerCase();
    const parts = [];
    let at = 0;
    for (let next = search ? low.indexOf(search) : -1; next >= 0; next = low.indexOf(search, at)) {
      parts.push(line.text.slice(at, next), h("mark", {}, line.text.slice(next, next + search.length)));
      at = next + search.length;
    }
    line.hit = parts.length > 0;
    if (line.hit || line.marked) put(line.element, parts, line.text.slice(at));
    line.marked = line.hit;
    line.element.classList.toggle("hidden", only && search !== "" && !line.hit);
  };
  const told = () => write(count, search ? `${hits.length ? `${here >= 0 ? `${here + 1} of ` : ""}${hits.length} hit${hits.length > 1 ? "s" : ""}` : "no hits"}` : `${lines.length} lines${dropped ? `, ${dropped} earlier ones let go` : ""}`);
  const find = (text) => {
    search = text.toLowerCase();
    lines.forEach((line) => { line.element.classList.remove("here"); mark(line); });
    hits = lines.filter((line) => line.hit);
    here = -1;
    if (search && hits.length) jump(-1); else told();
  };
  const jump = (step) => {
    if (!hits.length) return;
    hits[here]?.element.classList.remove("here");
    here = here < 0 ? (step > 0 ? 0 : hits.length - 1) : (here + step + hits.length) % hits.length;
    hits[here].element.classList.add("here");
    hits[here].element.scrollIntoView({ block: "center" });
    if (follow && here !== hits.length - 1) following.click();
    told();
  };
  function save() {
    const file = new Blob([lines.map((line) => `${line.text}\n`).join("")], { type: "text/plain" });
    const link = h("a", { href: URL.createObjectURL(file), download: `${found.Name.slice(1)}.log` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // Lines are put in once a frame, however fast they come.
  let waiting = [];
  const flush = () => {
    if (!waiting.length) return;
    const some = waiting.slice(-MOST);
    dropped += waiting.length - some.length;
    waiting = [];
    const elements = document.createDocumentFragment();
    for (const [kind, raw] of some) {
      const line = { text: plain(raw), element: h("div", { class: kind === 2 && "err" }), hit: false, marked: false };
      line.element.textContent = line.text;
      mark(line);
      if (line.hit) hits.push(line);
      lines.push(line);
      elements.append(line.element);
    }
    box.append(elements);
    const over = lines.length - MOST;
    if (over > 0) {
      dropped += over;
      const gone = new Set(lines.splice(0, over));
      gone.forEach((line) => line.element.remove());
      const current = hits[here];
      hits = hits.filter((line) => !gone.has(line));
      here = hits.indexOf(current);
    }
    if (follow) box.scrollTop = box.scrollHeight;
    told();
  };
  box.addEventListener("wheel", (event) => { if (event.deltaY < 0 && follow) following.click(); }, { passive: true });

  async function open() {
    reading?.abort();
    const own = reading = new AbortController();
    signal.addEventListener("abort", () => own.abort());
    [lines, hits, waiting, here, dropped] = [[], [], [], -1, 0];
    put(box);
    let asked = false;
    const [take, end] = frames(found.Config.Tty, (kind, text) => {
      waiting.push([kind, text]);
      if (!asked) {
        asked = true;
        setTimeout(() => { asked = false; if (!own.signal.aborted) flush(); }, 50);
      }
    });
    const path = `/containers/${part(found.Id)}/logs?stdout=1&stderr=1&follow=1&tail=${tail}${stamps ? "&timestamps=1" : ""}`;
    try {
      await stream(path, own.signal, take);
      // Its last line may have no end.
      end();
      flush();
    } catch (error) {
      if (!own.signal.aborted) put(count, error.message);
    }
  }
  told();
  await open();
}
