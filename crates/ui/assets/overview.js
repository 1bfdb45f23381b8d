// All of the machine at one look.

import { get, lines } from "./api.js";
import { chart, ranges } from "./chart.js";
import { every, h, put, write } from "./dom.js";
import { ago, bytes, percent, rate, short } from "./format.js";

// The charts of the machine, and how they are filled.
function charts() {
  const all = [
    [chart("Processors", ["used"], percent, 0.1), ["cpu"]],
    [chart("Memory", ["used"], bytes), ["memory"]],
    [chart("Pressure: tasks that waited", ["processors", "memory", "disks"], percent, 0.1), ["cpu-pressure", "memory-pressure", "io-pressure"]],
    [chart("Network", ["in", "out"], rate, 1000), ["received", "sent"]],
    [chart("Disks", ["read", "written"], rate, 1000), ["read", "written"]],
    [chart("Space taken", ["used"], bytes), ["disk"]],
  ];
  return {
    element: h("div", { class: "charts" }, all.map(([one]) => one.element)),
    fill(history, from) {
      for (const [one, names] of all) one.show(history.times, names.map((name) => history.numbers[name]), from);
    },
  };
}

function what(event) {
  const name = event.Actor?.Attributes?.name ?? short(event.Actor?.ID ?? "");
  const code = event.Actor?.Attributes?.exitCode;
  return `${event.Type} ${name}: ${event.Action}${code !== undefined && event.Action === "die" ? ` (exit code ${code})` : ""}`;
}

export async function overview(main, _, signal) {
  const numbers = {};
  const card = (key, name, link) => {
    numbers[key] = h("b", {}, "–");
    const more = numbers[`${key}-more`] = h("span", {});
    return h("div", { class: "card" }, link ? h("a", { href: link }, name) : h("span", {}, name), numbers[key], more);
  };
  const drawn = charts();
  const events = h("ul", {});
  const draw = async () => {
    const seconds = range.seconds();
    const history = await get(`/hull/history?seconds=${seconds}&points=360`, signal);
    const begin = Date.now() / 1000 - seconds;
    drawn.fill(history, history.times.length && history.times[0] > begin + 60 ? Math.min(history.times[0], Date.now() / 1000 - 300) : begin);
  };
  const range = ranges(() => draw().catch(() => {}));
  put(main, h("h1", {}, "Overview"),
    h("div", { class: "cards" }, card("running", "Containers", "#/containers"), card("cpu", "Processors"), card("memory", "Memory"),
      card("disk", "Disk", "#/disk"), card("images", "Images", "#/images")),
    range.element, drawn.element, h("h2", {}, "What has happened"), events);

  const info = await get("/info", signal);
  every(3000, signal, async () => {
    const now = await get("/hull/usage", signal);
    write(numbers.cpu, percent(now.host.cpu === null ? null : now.host.cpu / info.NCPU));
    write(numbers["cpu-more"], `of ${info.NCPU}`);
    write(numbers.memory, bytes(now.host.memory));
    write(numbers["memory-more"], `of ${bytes(info.MemTotal)}`);
    write(numbers.disk, bytes(now.host.disk));
    write(numbers["disk-more"], `of ${bytes(now.space)}`);
  });
  every(10000, signal, async () => {
    const found = await get("/info", signal);
    write(numbers.running, String(found.ContainersRunning));
    write(numbers["running-more"], `running, ${found.ContainersPaused} paused, ${found.ContainersStopped} stopped`);
    write(numbers.images, String(found.Images));
    const seconds = Math.floor(Date.now() / 1000);
    const reply = await fetchEvents(seconds, signal);
    const listed = reply.filter((event) => !event.Action.startsWith("exec_")).slice(-12).reverse();
    put(events, listed.length ? listed.map((event) => h("li", {}, what(event), h("span", { class: "dim" }, ` – ${ago(event.time)}`))) : h("li", { class: "dim" }, "Nothing in the last hour."));
  });
  every(30000, signal, draw);
}

async function fetchEvents(until, signal) {
  const all = [];
  await lines(`/events?since=${until - 3600}&until=${until}`, signal, (event) => all.push(event));
  return all;
}
