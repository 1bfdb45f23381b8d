// Elements out of names and texts. What comes from the daemon only ever becomes text or an attribute's value.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "disabled" || name === "checked") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// An element of the page: h("p", { class: "dim" }, "text", other).
export const h = (name, attributes, ...children) => fill(document.createElement(name), attributes, children);

// An element of a picture.
export const s = (name, attributes, ...children) => fill(document.createElementNS(SVG, name), attributes, children);

// Puts other children into an element.
export function put(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

// Writes a text only where it is another one: what reads the screen aloud is not disturbed.
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Calls `work` now and after each pause, as long as the view is there and somebody sees it.
export function every(milliseconds, signal, work) {
  let timer;
  const turn = async () => {
    if (!document.hidden) {
      try { await work(); } catch (error) { if (!signal.aborted) console.warn(error); }
    }
    if (!signal.aborted) timer = setTimeout(turn, milliseconds);
  };
  signal.addEventListener("abort", () => clearTimeout(timer));
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !signal.aborted) { clearTimeout(timer); turn(); }
  }, { signal });
  return turn();
}

// A short message in the corner.
export function tell(text, bad = false) {
  const place = document.getElementById("told");
  const line = h("p", { class: bad && "bad" }, text);
  place.append(line);
  setTimeout(() => line.remove(), bad ? 10000 : 4000);
}

// Asks a question; true when it was answered with `yes`.
export function confirm(title, text, yes) {
  const dialog = document.getElementById("ask");
  return new Promise((answer) => {
    const done = (value) => { dialog.close(); answer(value); };
    put(dialog,
      h("h2", { id: "ask-title" }, title), h("p", {}, text),
      h("div", { class: "bar" }, h("span", { class: "space" }),
        h("button", { type: "button", onclick: () => done(false) }, "Cancel"),
        h("button", { type: "button", class: "danger", onclick: () => done(true) }, yes)));
    dialog.oncancel = () => answer(false);
    dialog.showModal();
  });
}

// Shows something in the dialog.
export function show(title, ...children) {
  const dialog = document.getElementById("ask");
  put(dialog, h("h2", { id: "ask-title" }, title), ...children,
    h("div", { class: "bar" }, h("span", { class: "space" }), h("button", { type: "button", onclick: () => dialog.close() }, "Close")));
  dialog.showModal();
}

// A table whose rows are kept while what they show changes. Columns: { name, number, sort(item), cell(item, td) }.
export function table(caption, columns, choice) {
  const rows = new Map();
  const heads = columns.map((column, at) => h("th", { scope: "col", class: column.class ?? (column.number && "number") },
    column.sort ? h("button", { type: "button", onclick: () => order(at) }, column.name) : column.name));
  const body = h("tbody");
  const none = h("p", { class: "none", hidden: true }, "Nothing here.");
  const element = h("div", { class: "wide" }, h("table", { "aria-label": caption }, h("thead", {}, h("tr", {}, heads)), body), none);
  let items = [], key = (item) => item.id, sorted = choice ?? { at: 0, down: false };
  const order = (at) => {
    sorted = { at, down: sorted.at === at ? !sorted.down : Boolean(columns[at].number) };
    draw();
  };
  const draw = () => {
    heads.forEach((head, at) => {
      if (at === sorted.at) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    const by = columns[sorted.at].sort;
    const sign = sorted.down ? -1 : 1;
    const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : (a ?? -1) - (b ?? -1));
    const listed = by ? [...items].sort((a, b) => sign * compare(by(a), by(b))) : items;
    const seen = new Set();
    listed.forEach((item, at) => {
      const id = key(item);
      seen.add(id);
      let row = rows.get(id);
      if (!row) {
        row = h("tr", {}, columns.map((column, first) => first === 0 ? h("th", { scope: "row" }) : h("td", { class: column.class ?? (column.number && "number") })));
        rows.set(id, row);
      }
      columns.forEach((column, cell) => {
        const place = row.children[cell];
        const made = column.cell(item, place);
        if (typeof made === "string") write(place, made);
        else if (made && !(made instanceof Node && place.childNodes.length === 1 && place.firstChild.isEqualNode(made))) put(place, made);
      });
      if (body.children[at] !== row) body.insertBefore(row, body.children[at] ?? null);
    });
    for (const [id, row] of rows) if (!seen.has(id)) { row.remove(); rows.delete(id); }
    none.hidden = listed.length > 0;
  };
  return { element, show(given, by) { items = given; key = by ?? key; draw(); } };
}
