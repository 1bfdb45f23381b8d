// Images, and what they are made of.

import { get, part, remove } from "./api.js";
import { happenings } from "./app.js";
import { confirm, h, put, s, table, tell } from "./dom.js";
import { ago, bytes, short } from "./format.js";

const tags = (image) => (image.RepoTags ?? []).filter((tag) => tag !== "<none>:<none>");
const title = (image) => tags(image)[0] ?? short(image.Id);

async function away(image, name) {
  if (!await confirm(`Remove ${name}?`, "An image that a container uses stays.", "Remove")) return false;
  try {
    await remove(`/images/${part(name)}`);
    tell(`${name} is removed`);
    return true;
  } catch (error) {
    tell(error.message, true);
    return false;
  }
}

export async function images(main, _, signal) {
  let all = [];
  const list = table("Images", [
    { name: "Name", sort: title, cell: (one) => h("a", { href: `#/images/${part(short(one.Id))}` }, title(one)) },
    { name: "Other names", cell: (one) => tags(one).slice(1).join(", ") },
    { name: "Id", cell: (one) => h("span", { class: "mono" }, short(one.Id)) },
    { name: "Size", number: true, sort: (one) => one.Size, cell: (one) => bytes(one.Size) },
    { name: "Created", number: true, sort: (one) => one.Created, cell: (one) => ago(one.Created) },
    { name: "Actions", class: "acts", cell: (one, place) => {
      if (place.dataset.shown === title(one)) return null;
      place.dataset.shown = title(one);
      return h("button", { type: "button", class: "danger", "aria-label": `remove ${title(one)}`, onclick: () => away(one, title(one)) }, "remove");
    } },
  ]);
  const search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter", oninput: () => draw() });
  const sum = h("span", { class: "dim", role: "status" });
  put(main, h("h1", {}, "Images"), h("div", { class: "bar" }, search, h("span", { class: "space" }), sum), list.element);
  const draw = () => {
    const shown = all.filter((one) => `${tags(one).join(" ")} ${one.Id}`.toLowerCase().includes(search.value.toLowerCase()));
    list.show(shown, (one) => one.Id);
    put(sum, `${shown.length} images`);
  };
  const refresh = async () => { all = await get("/images/json", signal); draw(); };
  happenings.addEventListener("hull-event", (event) => { if (event.detail.Type === "image") refresh().catch(() => {}); }, { signal });
  await refresh();
}

export async function image(main, [name], signal) {
  const path = `/images/${part(name)}`;
  const [found, history] = await Promise.all([get(`${path}/json`, signal), get(`${path}/history`, signal)]);
  const shown = title(found);
  const most = Math.max(1, ...history.map((layer) => layer.Size));
  const command = (layer) => (layer.CreatedBy || layer.Comment || "").replace(/^\/bin\/sh -c #\(nop\) +/, "").replace(/^\/bin\/sh -c /, "RUN ");
  const rows = [["Id", found.Id], ["Names", tags(found).join(", ") || "none"], ["Size", bytes(found.Size)], ["Platform", `${found.Os}/${found.Architecture}${found.Variant ? `/${found.Variant}` : ""}`],
    ["Entrypoint", (found.Config?.Entrypoint ?? []).join(" ") || "none"], ["Command", (found.Config?.Cmd ?? []).join(" ") || "none"], ["User", found.Config?.User || "root"],
    ["Digests", (found.RepoDigests ?? []).join(", ") || "none"]];
  put(main, h("p", {}, h("a", { href: "#/images" }, "Images"), " /"), h("h1", {}, shown),
    h("div", { class: "bar" }, h("span", { class: "space" }), h("button", { type: "button", class: "danger", onclick: async () => { if (await away(found, shown)) location.hash = "#/images"; } }, "remove")),
    h("dl", {}, rows.map(([key, text]) => [h("dt", {}, key), h("dd", {}, text)])),
    h("h2", {}, "Layers, newest first"),
    h("div", { class: "wide" }, h("table", { "aria-label": "Layers" },
      h("thead", {}, h("tr", {}, ["Made by", "When", "Size", "Share"].map((text) => h("th", { scope: "col", class: text === "Size" && "number" }, text)))),
      h("tbody", {}, history.map((layer) => h("tr", {}, h("td", { class: "mono" }, command(layer)), h("td", { class: "dim" }, layer.Created > 0 ? ago(layer.Created) : "–"),
        h("td", { class: "number" }, bytes(layer.Size)),
        h("td", {}, s("svg", { width: 120, height: 10, "aria-hidden": "true" }, s("rect", { class: "meter-back", width: 120, height: 10, rx: 3 }), s("rect", { class: "meter", width: Math.round(120 * layer.Size / most), height: 10, rx: 3 })))))))));
}
