// Lines over time, as a picture with words for those who do not see it.

import { h, put, s, write } from "./dom.js";
import { clock, moment } from "./format.js";

const WIDTH = 460, HEIGHT = 150, LEFT = 58, BOTTOM = 18, TOP = 6, RIGHT = 8;

// The next number that people count by: 1, 2 or 5 of something, in steps of `base`.
function round(value, base) {
  if (value <= 0) return 1;
  let unit = 1;
  while (unit * base <= value) unit *= base;
  while (unit > value) unit /= 10;
  for (const step of [1, 2, 2.5, 5, 10, 20, 25, 50, 100, 200, 250, 500, 1000]) {
    if (unit * step >= value) return unit * step;
  }
  return value;
}

// A chart that is drawn anew by show(times, [values, …]). Series: names. `most` is what the axis has to reach at least.
export function chart(title, names, format, most = 0, base = 10) {
  const now = h("span", {});
  const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title });
  const element = h("figure", {}, h("figcaption", {}, title, now), picture);
  let drawn = null;

  const told = (at) => {
    if (!drawn) return;
    put(now, names.map((name, series) => h("span", { class: `t${series}` },
      `${names.length > 1 ? `${name} ` : ""}${value(series, at)}${series < names.length - 1 ? " · " : ""}`)),
    at === drawn.times.length - 1 ? "" : ` at ${clock(drawn.times[at])}`);
  };
  const value = (series, at) => { const found = drawn.all[series][at]; return found === null || found === undefined ? "–" : format(found); };

  const show = (times, all, from) => {
    const end = Math.max(Date.now() / 1000, times[times.length - 1] ?? 0);
    const begin = from ?? times[0] ?? end - 60;
    const peak = Math.max(most, ...all.flat().filter((one) => typeof one === "number"));
    const top = round(peak, base);
    const x = (time) => LEFT + (time - begin) / Math.max(1, end - begin) * (WIDTH - LEFT - RIGHT);
    const y = (number) => HEIGHT - BOTTOM - number / top * (HEIGHT - BOTTOM - TOP);
    drawn = { times, all, x };
    const parts = [];
    for (const share of [0, 0.5, 1]) {
      parts.push(s("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(top * share), y2: y(top * share) }),
        s("text", { class: "axis", x: LEFT - 5, y: y(top * share) + 4, "text-anchor": "end" }, format(top * share)));
    }
    for (const share of [0, 0.5, 1]) {
      const time = begin + (end - begin) * share;
      parts.push(s("text", { class: "axis", x: x(time), y: HEIGHT - 4, "text-anchor": ["start", "middle", "end"][share * 2] }, clock(time)));
    }
    // Half a minute is a row; a hole is where the daemon or the container did not run.
    const gap = Math.max(95, 3.2 * (times.length > 1 ? (times[times.length - 1] - times[0]) / (times.length - 1) : 0));
    all.forEach((values, series) => {
      let run = [];
      const flush = () => {
        if (run.length) {
          if (run.length === 1) run.push([run[0][0] + 1.5, run[0][1]]);
          const path = run.map(([px, py], at) => `${at ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`).join("");
          if (names.length === 1) parts.push(s("path", { class: `area f${series}`, d: `${path}L${run[run.length - 1][0].toFixed(1)} ${y(0)}L${run[0][0].toFixed(1)} ${y(0)}Z` }));
          parts.push(s("path", { class: `line s${series}`, d: path }));
        }
        run = [];
      };
      times.forEach((time, at) => {
        const number = values[at];
        if (typeof number !== "number" || time < begin) { flush(); return; }
        if (at && time - times[at - 1] > gap) flush();
        run.push([x(time), y(number)]);
      });
      flush();
    });
    const cross = s("line", { class: "cross", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
    put(picture, parts, cross);
    drawn.cross = cross;
    told(times.length - 1);
    picture.setAttribute("aria-label", summary(title, names, times, all, format));
  };

  picture.addEventListener("pointermove", (event) => {
    if (!drawn || !drawn.times.length) return;
    const box = picture.getBoundingClientRect();
    const px = (event.clientX - box.left) / box.width * WIDTH;
    let best = 0;
    drawn.times.forEach((time, at) => { if (Math.abs(drawn.x(time) - px) < Math.abs(drawn.x(drawn.times[best]) - px)) best = at; });
    const place = drawn.x(drawn.times[best]);
    for (const [name, given] of [["x1", place], ["x2", place], ["visibility", "visible"]]) drawn.cross.setAttribute(name, given);
    told(best);
  });
  picture.addEventListener("pointerleave", () => {
    if (!drawn) return;
    drawn.cross.setAttribute("visibility", "hidden");
    told(drawn.times.length - 1);
  });
  write(now, "no numbers yet");
  return { element, show };
}

function summary(title, names, times, all, format) {
  if (!times.length) return `${title}: no numbers yet`;
  const texts = names.map((name, series) => {
    const known = all[series].filter((one) => typeof one === "number");
    if (!known.length) return `${name}: no numbers`;
    const mean = known.reduce((sum, one) => sum + one, 0) / known.length;
    return `${name}: now ${format(known[known.length - 1])}, mean ${format(mean)}, highest ${format(Math.max(...known))}`;
  });
  return `${title} since ${moment(times[0])}. ${texts.join(". ")}`;
}

// Buttons that choose how much time is shown.
export function ranges(chosen) {
  let seconds = Number(sessionStorage.getItem("hull.range")) || 3600;
  const buttons = [[900, "15 min"], [3600, "1 hour"], [21600, "6 hours"], [86400, "24 hours"]].map(([length, name]) =>
    h("button", { type: "button", "data-seconds": length, onclick: () => { seconds = length; sessionStorage.setItem("hull.range", length); mark(); chosen(); } }, name));
  const mark = () => buttons.forEach((button) => button.setAttribute("aria-pressed", Number(button.dataset.seconds) === seconds));
  mark();
  return { element: h("div", { class: "bar", role: "group", "aria-label": "Time shown" }, buttons), seconds: () => seconds };
}
