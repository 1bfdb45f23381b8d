// The table of containers, and what one does with them.

import { get, part, post, remove } from "./api.js";
import { happenings } from "./app.js";
import { confirm, every, h, put, table, tell } from "./dom.js";
import { ago, bytes, named, percent, ports, rate } from "./format.js";

// Does something to a container, and says how it went.
export async function act(action, id, name) {
  const path = `/containers/${part(id)}`;
  try {
    if (action === "remove") {
      const sure = await confirm(`Remove ${name}?`, "It is killed if it runs. What it wrote outside of volumes is lost; its anonymous volumes go with it.", "Remove");
      if (!sure) return false;
      await remove(`${path}?force=1&v=1`);
      tell(`${name} is removed`);
      return true;
    }
    await post(`${path}/${action}`);
    tell(`${name}: ${action} done`);
  } catch (error) {
    tell(`${name}: ${error.message}`, true);
  }
  return true;
}

// The buttons for a container in that state.
export function buttons(state) {
  if (state === "running") return ["stop", "restart", "pause"];
  if (state === "paused") return ["unpause", "stop"];
  if (state === "restarting") return ["stop"];
  return ["start"];
}

export const stateOf = (container) => {
  const health = container.Status?.match(/\((unhealthy|health: starting)\)/)?.[1];
  return health === "unhealthy" ? "unhealthy" : container.State;
};

export async function containers(main, _, signal) {
  let all = [], usage = {};
  const of = (container, name) => usage[container.Id]?.[name];
  const columns = [
    { name: "Name", sort: named, cell: (one) => h("a", { href: `#/containers/${part(named(one))}` }, named(one)) },
    { name: "State", sort: stateOf, cell: (one) => h("span", { class: `state ${stateOf(one)}`, title: one.Status }, stateOf(one)) },
    { name: "CPU", number: true, sort: (one) => of(one, "cpu") ?? -1, cell: (one) => percent(of(one, "cpu")) },
    { name: "Memory", number: true, sort: (one) => of(one, "memory") ?? -1, cell: (one) => bytes(of(one, "memory")) },
    { name: "Network in/out", number: true, sort: (one) => (of(one, "received") ?? -1) + (of(one, "sent") ?? 0), cell: (one) => `${rate(of(one, "received"))} / ${rate(of(one, "sent"))}` },
    { name: "Image", sort: (one) => one.Image, cell: (one) => one.Image },
    { name: "Ports", cell: (one) => ports(one.Ports) },
    { name: "Created", number: true, class: "number late", sort: (one) => one.Created, cell: (one) => ago(one.Created) },
    { name: "Actions", class: "acts", cell: actions },
  ];
  // Buttons are made anew only when there are other ones: they may have the focus.
  function actions(one, place) {
    const wanted = [...buttons(one.State), "remove"];
    if (place.dataset.shown === `${one.Id} ${wanted}`) return null;
    place.dataset.shown = `${one.Id} ${wanted}`;
    return wanted.map((action) => h("button", {
      type: "button", class: action === "remove" && "danger", "aria-label": `${action} ${named(one)}`,
      onclick: async (event) => { event.target.disabled = true; await act(action, one.Id, named(one)); event.target.disabled = false; refresh(); },
    }, action));
  }
  const list = table("Containers", columns);
  const search = h("input", { type: "search", placeholder: "Filter by name, image, state", "aria-label": "Filter", oninput: () => draw() });
  const running = h("button", { type: "button", "aria-pressed": "false", onclick: () => { running.setAttribute("aria-pressed", running.getAttribute("aria-pressed") === "false"); draw(); } }, "Only running");
  const count = h("span", { class: "dim", role: "status" });
  put(main, h("h1", {}, "Containers"), h("div", { class: "bar" }, search, running, h("span", { class: "space" }), count), list.element);

  const draw = () => {
    const words = search.value.toLowerCase().split(/\s+/);
    const text = (one) => `${named(one)} ${one.Image} ${stateOf(one)} ${one.Id} ${Object.entries(one.Labels ?? {}).map((pair) => pair.join("=")).join(" ")}`.toLowerCase();
    const only = running.getAttribute("aria-pressed") === "true";
    const shown = all.filter((one) => (!only || one.State === "running") && words.every((word) => text(one).includes(word)));
    list.show(shown, (one) => one.Id);
    put(count, shown.length === all.length ? `${all.length} containers` : `${shown.length} of ${all.length} containers`);
  };
  let asking = null;
  const refresh = async () => {
    if (asking) { asking.again = true; return; }
    asking = { again: false };
    try { all = await get("/containers/json?all=1", signal); draw(); } finally {
      const again = asking.again;
      asking = null;
      if (again && !signal.aborted) refresh().catch(() => {});
    }
  };
  happenings.addEventListener("hull-event", (event) => {
    if (event.detail.Type === "container" && !/^exec_|^health/.test(event.detail.Action)) refresh().catch(() => {});
  }, { signal });
  await refresh();
  every(3000, signal, async () => {
    usage = (await get("/hull/usage", signal)).containers;
    draw();
  });
  every(60000, signal, refresh);
}
