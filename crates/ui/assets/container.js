// One container: what it uses, its log, a terminal, its processes, all that is known of it.

import { get, part } from "./api.js";
import { happenings } from "./app.js";
import { chart, ranges } from "./chart.js";
import { act, buttons } from "./containers.js";
import { every, h, put } from "./dom.js";
import { bytes, percent, rate, short } from "./format.js";
import { logs } from "./logs.js";
import { terminal } from "./terminal.js";

const TABS = [["", "Use", use], ["logs", "Log", logs], ["terminal", "Terminal", terminal], ["processes", "Processes", processes], ["details", "Details", details]];

export async function container(main, [name, tab = ""], signal) {
  const path = `/containers/${part(name)}`;
  let found = await get(`${path}/json`, signal);
  const title = found.Name.slice(1);
  const bar = h("div", { class: "bar" });
  const place = h("div", {});
  const draw = () => {
    const state = found.State.Health?.Status === "unhealthy" ? "unhealthy" : found.State.Status;
    const code = ["exited", "dead"].includes(state) ? ` (exit code ${found.State.ExitCode}${found.State.OOMKilled ? ", out of memory" : ""})` : "";
    put(bar, h("span", { class: `state ${state}` }, state + code), h("span", { class: "dim" }, `${found.Config.Image} · ${short(found.Id)}`),
      h("span", { class: "space" }),
      [...buttons(found.State.Status), "remove"].map((action) => h("button", {
        type: "button", class: action === "remove" && "danger",
        onclick: async (event) => {
          event.target.disabled = true;
          const done = await act(action, found.Id, title);
          if (action === "remove" && done) location.hash = "#/containers";
          event.target.disabled = false;
        },
      }, action)));
  };
  put(main, h("p", {}, h("a", { href: "#/containers" }, "Containers"), " /"), h("h1", {}, title), bar,
    h("nav", { class: "tabs", "aria-label": "Container" }, TABS.map(([word, text]) =>
      h("a", { href: `#/containers/${part(title)}${word && `/${word}`}`, "aria-current": word === tab && "page" }, text))), place);
  draw();
  happenings.addEventListener("hull-event", async (event) => {
    if (event.detail.Actor?.ID !== found.Id || /^exec_/.test(event.detail.Action) || event.detail.Action === "destroy") return;
    found = await get(`${path}/json`, signal).catch(() => found);
    draw();
  }, { signal });
  const [, , view] = TABS.find(([word]) => word === tab) ?? TABS[0];
  await view(place, found, signal);
}

async function use(main, found, signal) {
  const limit = found.HostConfig.Memory;
  const all = [
    [chart("Processors", ["used"], percent, 0.01), ["cpu"]],
    [chart(limit ? `Memory of ${bytes(limit)}` : "Memory", ["used"], bytes, limit), ["memory"]],
    [chart("Network", ["in", "out"], rate, 1000), ["received", "sent"]],
    [chart("Disks", ["read", "written"], rate, 1000), ["read", "written"]],
  ];
  const draw = async () => {
    const seconds = range.seconds();
    const history = await get(`/hull/history?container=${part(found.Id)}&seconds=${seconds}&points=360`, signal);
    // What has happened since the last row of the history.
    const now = Date.now() / 1000;
    const times = [...history.times, ...live.map(([time]) => time).filter((time) => time > (history.times.at(-1) ?? 0))];
    const late = live.filter(([time]) => time > (history.times.at(-1) ?? 0));
    const begin = times.length && times[0] > now - seconds + 60 ? Math.min(times[0], now - 300) : now - seconds;
    for (const [one, names] of all) one.show(times, names.map((name) => [...history.numbers[name], ...late.map(([, numbers]) => numbers[name])]), begin);
  };
  let live = [];
  const range = ranges(() => draw().catch(() => {}));
  put(main, range.element, h("div", { class: "charts" }, all.map(([one]) => one.element)));
  every(3000, signal, async () => {
    const numbers = (await get("/hull/usage", signal)).containers[found.Id];
    if (numbers) live = [...live.slice(-60), [Date.now() / 1000, numbers]];
    await draw();
  });
}

async function processes(main, found, signal) {
  if (!found.State.Running) { put(main, h("p", { class: "none" }, "It does not run.")); return; }
  const body = h("tbody"), head = h("tr");
  put(main, h("div", { class: "wide" }, h("table", { "aria-label": "Processes" }, h("thead", {}, head), body)));
  await every(3000, signal, async () => {
    const top = await get(`/containers/${part(found.Id)}/top?ps_args=-eo pid,user,pcpu,rss,etime,args`.replaceAll(" ", "%20"), signal);
    put(head, top.Titles.map((title) => h("th", { scope: "col" }, title)));
    put(body, (top.Processes ?? []).map((process) => h("tr", {}, process.map((field) => h("td", { class: "mono" }, field)))));
  });
}

function details(main, found) {
  const mounts = found.Mounts.map((mount) => `${mount.Destination} ← ${mount.Type === "volume" ? mount.Name : mount.Source || mount.Type}${mount.RW ? "" : " (read-only)"}`);
  const networks = Object.entries(found.NetworkSettings.Networks ?? {}).map(([name, network]) => `${name}: ${network.IPAddress || "no address"}`);
  const rows = [
    ["Command", [found.Path, ...(found.Args ?? [])].join(" ")], ["Created", new Date(found.Created).toLocaleString()],
    ["Started", found.State.StartedAt.startsWith("0001") ? "never" : new Date(found.State.StartedAt).toLocaleString()],
    ["Restart policy", found.HostConfig.RestartPolicy?.Name || "no"], ["User", found.Config.User || "root"],
    ["Mounts", mounts.join("\n") || "none"], ["Networks", networks.join("\n") || "none"],
    ["Failure", found.State.Error || "none"],
  ];
  put(main, h("dl", {}, rows.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text.split("\n").map((line) => h("div", {}, line)))])),
    h("h2", {}, "All of it"), h("pre", { tabindex: "0", "aria-label": "All of it, as JSON" }, JSON.stringify(found, null, 2)));
}
