// Volumes, and what everything takes on the disk.

import { get, part, remove } from "./api.js";
import { happenings } from "./app.js";
import { confirm, h, put, s, table, tell } from "./dom.js";
import { bytes, named } from "./format.js";

export async function volumes(main, _, signal) {
  let all = [], users = new Map();
  const list = table("Volumes", [
    { name: "Name", sort: (one) => one.Name, cell: (one) => one.Name },
    { name: "Driver", sort: (one) => one.Driver, cell: (one) => one.Driver },
    { name: "Used by", cell: (one) => (users.get(one.Name) ?? []).flatMap((name, at) => [at ? ", " : "", h("a", { href: `#/containers/${part(name)}` }, name)]) },
    { name: "Where", cell: (one) => h("span", { class: "mono" }, one.Mountpoint) },
    { name: "Created", cell: (one) => (one.CreatedAt ? new Date(one.CreatedAt).toLocaleString() : "–") },
    { name: "Actions", class: "acts", cell: (one, place) => {
      if (place.dataset.shown) return null;
      place.dataset.shown = "1";
      return h("button", { type: "button", class: "danger", "aria-label": `remove ${one.Name}`, onclick: () => away(one.Name) }, "remove");
    } },
  ]);
  const search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter", oninput: () => draw() });
  put(main, h("h1", {}, "Volumes"), h("div", { class: "bar" }, search), list.element);
  const away = async (name) => {
    if (!await confirm(`Remove ${name}?`, "What is in it is lost.", "Remove")) return;
    await remove(`/volumes/${part(name)}`).then(() => tell(`${name} is removed`), (error) => tell(error.message, true));
    await refresh();
  };
  const draw = () => list.show(all.filter((one) => one.Name.toLowerCase().includes(search.value.toLowerCase())), (one) => one.Name);
  const refresh = async () => {
    const [found, containers] = await Promise.all([get("/volumes", signal), get("/containers/json?all=1", signal)]);
    all = found.Volumes ?? [];
    users = new Map();
    for (const container of containers) {
      for (const mount of container.Mounts ?? []) {
        if (mount.Type === "volume") users.set(mount.Name, [...(users.get(mount.Name) ?? []), named(container)]);
      }
    }
    draw();
  };
  happenings.addEventListener("hull-event", (event) => {
    if (event.detail.Type === "volume" && /create|destroy/.test(event.detail.Action)) refresh().catch(() => {});
  }, { signal });
  await refresh();
}

export async function disk(main, _, signal) {
  put(main, h("h1", {}, "Disk"), h("p", { class: "none" }, "Measuring …"));
  const [found, now] = await Promise.all([get("/system/df", signal), get("/hull/usage", signal)]);
  const sum = (list, of) => (list ?? []).reduce((total, one) => total + Math.max(0, of(one) ?? 0), 0);
  const kinds = [
    ["Images", found.LayersSize ?? 0, `${(found.Images ?? []).length}`],
    ["Containers", sum(found.Containers, (one) => one.SizeRw), `${(found.Containers ?? []).length}`],
    ["Volumes", sum(found.Volumes, (one) => one.UsageData?.Size), `${(found.Volumes ?? []).length}`],
    ["Build cache", sum(found.BuildCache, (one) => (one.Shared ? 0 : one.Size)), `${(found.BuildCache ?? []).length}`],
  ];
  const all = kinds.reduce((total, [, size]) => total + size, 0);
  const other = Math.max(0, (now.host.disk ?? 0) - all);
  const whole = Math.max(1, now.space);
  let at = 0;
  const bar = [...kinds, ["Anything else", other]].map(([name, size], index) => {
    const width = 600 * size / whole;
    at += width;
    return s("rect", { class: ["f0", "f1", "f2", "sub", "meter-back"][index], x: at - width, width, height: 22 }, s("title", {}, `${name}: ${bytes(size)}`));
  });
  const biggest = [
    ...(found.Images ?? []).map((one) => ["Image", one.RepoTags?.[0] ?? one.Id.slice(7, 19), one.Size]),
    ...(found.Containers ?? []).map((one) => ["Container", named(one), one.SizeRw]),
    ...(found.Volumes ?? []).map((one) => ["Volume", one.Name, one.UsageData?.Size]),
    ...(found.BuildCache ?? []).map((one) => ["Build cache", one.Description || one.ID, one.Size]),
  ].filter(([, , size]) => size > 0).sort((a, b) => b[2] - a[2]).slice(0, 30);
  put(main, h("h1", {}, "Disk"),
    h("figure", {}, h("figcaption", {}, "The file system of the data root", h("span", {}, `${bytes(now.host.disk)} of ${bytes(now.space)} in use`)),
      s("svg", { viewBox: "0 0 600 22", role: "img", "aria-label": kinds.map(([name, size]) => `${name} ${bytes(size)}`).join(", ") }, s("rect", { class: "box", width: 600, height: 22 }), bar)),
    h("div", { class: "cards" }, kinds.map(([name, size, count]) => h("div", { class: "card" }, h("span", {}, name), h("b", {}, bytes(size)), h("span", {}, count)))),
    h("h2", {}, "The biggest"),
    h("div", { class: "wide" }, h("table", { "aria-label": "The biggest" }, h("thead", {}, h("tr", {}, ["Name", "Kind", "Size"].map((text) => h("th", { scope: "col", class: text === "Size" && "number" }, text)))),
      h("tbody", {}, biggest.map(([kind, name, size]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, kind), h("td", { class: "number" }, bytes(size))))))));
}
