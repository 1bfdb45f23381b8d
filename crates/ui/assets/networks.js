// Networks, drawn: the host on the left, networks in the middle, containers on the right.

import { get, part, remove } from "./api.js";
import { happenings } from "./app.js";
import { confirm, h, put, s, table, tell } from "./dom.js";
import { named, ports } from "./format.js";

const ROW = 58, WIDTH = 940, HOST = 10, NET = 250, BOX = 640;

// Who is where: networks with somebody on them, containers with the networks they are on.
function places(networks, containers) {
  const nets = networks.filter((one) => containers.some((other) => other.NetworkSettings?.Networks?.[one.Name]) || !["host", "none"].includes(one.Name));
  const known = new Map(nets.map((one, at) => [one.Name, at]));
  const first = (one) => Math.min(...Object.keys(one.NetworkSettings?.Networks ?? {}).map((name) => known.get(name) ?? 99));
  const there = containers.filter((one) => one.State === "running" || one.State === "paused")
    .sort((a, b) => first(a) - first(b) || named(a).localeCompare(named(b)));
  return { nets, there, known };
}

function cut(text, length) { return text.length > length ? `${text.slice(0, length - 1)}…` : text; }

function picture(networks, containers) {
  const { nets, there, known } = places(networks, containers);
  const rows = Math.max(nets.length, there.length, 1);
  const height = rows * ROW + 20;
  const y = (at, of) => 10 + ROW / 2 + at * ROW + (rows - of) * ROW / 2;
  const parts = [], boxes = [];
  const curve = (x1, y1, x2, y2, kind, title) => s("path", { class: kind, d: `M${x1} ${y1}C${(x1 + x2) / 2} ${y1} ${(x1 + x2) / 2} ${y2} ${x2} ${y2}` }, s("title", {}, title));
  const box = (x, at, width, kind, label, sub, colour) => s("g", {}, s("rect", { class: kind, x, y: at - 21, width, height: 42, rx: 8 }),
    colour && s("rect", { class: colour, x, y: at - 21, width: 5, height: 42, rx: 2 }),
    s("text", { class: "label", x: x + 14, y: at - 3 }, cut(label, Math.floor(width / 8.3))), s("text", { class: "sub", x: x + 14, y: at + 13 }, cut(sub, Math.floor(width / 6.4))), s("title", {}, `${label}: ${sub}`));
  const middle = height / 2;
  nets.forEach((net, at) => {
    const reaches = !net.Internal && net.Driver !== "null";
    if (reaches) parts.push(curve(HOST + 130, middle, NET, y(at, nets.length), `wire s${at % 3}`, `${net.Name} reaches the outside`));
    const subnets = (net.IPAM?.Config ?? []).map((one) => one.Subnet).filter(Boolean).join(", ");
    boxes.push(box(NET, y(at, nets.length), 220, net.Internal ? "box off" : "box", net.Name, `${net.Driver}${net.Internal ? ", internal" : ""}${subnets ? ` · ${subnets}` : ""}`, `f${at % 3}`));
  });
  there.forEach((one, at) => {
    const mine = Object.entries(one.NetworkSettings?.Networks ?? {});
    for (const [name, settings] of mine) {
      const net = known.get(name);
      if (net === undefined) continue;
      const [from, to] = [y(net, nets.length), y(at, there.length)];
      parts.push(curve(NET + 220, from, BOX, to, `wire s${net % 3}`, `${named(one)} is on ${name}${settings.IPAddress ? ` as ${settings.IPAddress}` : ""}`));
      if (settings.IPAddress) boxes.push(s("text", { class: "sub", x: BOX - 8, y: to + 4 - 12 * (mine.length > 1 ? mine.findIndex(([other]) => other === name) : 0) - 8, "text-anchor": "end" }, settings.IPAddress));
    }
    const published = ports((one.Ports ?? []).filter((port) => port.PublicPort));
    boxes.push(s("a", { href: `#/containers/${part(named(one))}`, "aria-label": `container ${named(one)}` }, box(BOX, y(at, there.length), 290, one.State === "paused" ? "box off" : "box", named(one), published || "no published ports")));
  });
  boxes.push(box(HOST, middle, 130, "box", "Host", "and the outside"));
  const words = there.map((one) => `${named(one)} on ${Object.keys(one.NetworkSettings?.Networks ?? {}).join(" and ") || "no network"}`).join("; ");
  return s("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "group", "aria-label": `Picture of the networks. ${words || "No container runs."}` }, parts, boxes);
}

export async function networks(main, _, signal) {
  let all = [], containers = [];
  const drawing = h("figure", { class: "picture" });
  const list = table("Networks", [
    { name: "Name", sort: (one) => one.Name, cell: (one) => one.Name },
    { name: "Driver", sort: (one) => one.Driver, cell: (one) => one.Driver },
    { name: "Subnets", cell: (one) => (one.IPAM?.Config ?? []).map((config) => config.Subnet).join(", ") },
    { name: "Internal", cell: (one) => (one.Internal ? "yes" : "no") },
    { name: "Containers", number: true, cell: (one) => String(containers.filter((other) => other.NetworkSettings?.Networks?.[one.Name]).length) },
    { name: "Actions", class: "acts", cell: (one, place) => {
      if (place.dataset.shown || ["bridge", "host", "none"].includes(one.Name)) return null;
      place.dataset.shown = "1";
      return h("button", { type: "button", class: "danger", "aria-label": `remove ${one.Name}`, onclick: () => away(one) }, "remove");
    } },
  ]);
  put(main, h("h1", {}, "Networks"), drawing, h("h2", {}, "All networks"), list.element);
  const away = async (one) => {
    if (!await confirm(`Remove ${one.Name}?`, "A network that a container uses stays.", "Remove")) return;
    await remove(`/networks/${part(one.Id)}`).then(() => tell(`${one.Name} is removed`), (error) => tell(error.message, true));
    await refresh();
  };
  const refresh = async () => {
    [all, containers] = await Promise.all([get("/networks", signal), get("/containers/json?all=1", signal)]);
    put(drawing, picture(all, containers));
    list.show(all, (one) => one.Id);
  };
  happenings.addEventListener("hull-event", (event) => {
    if (event.detail.Type === "network" || /^(start|die|pause|unpause|destroy|rename)$/.test(event.detail.Action)) refresh().catch(() => {});
  }, { signal });
  await refresh();
}
