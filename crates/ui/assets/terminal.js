// A shell in a container: keys go out, a screen comes in.

import { part, post, socket } from "./api.js";
import { h, put, write } from "./dom.js";
import { Screen } from "./screen.js";

const COLOURS = ["#2b313a", "#f0716b", "#6cc98a", "#dcb45c", "#6fa8f0", "#c88be8", "#5bc4cf", "#d5dae1", "#6d7785", "#ff938d", "#8fe3aa", "#f4d27f", "#93c2ff", "#e0aaf8", "#82dfe8", "#ffffff"];

function colour(given) {
  if (typeof given !== "number") return given;
  if (given < 16) return COLOURS[given];
  if (given >= 232) { const grey = 8 + (given - 232) * 10; return `rgb(${grey},${grey},${grey})`; }
  const steps = [0, 95, 135, 175, 215, 255], at = given - 16;
  return `rgb(${steps[Math.floor(at / 36)]},${steps[Math.floor(at / 6) % 6]},${steps[at % 6]})`;
}

// What a key says to a program; `null` for keys that the browser keeps.
export function key(event, appKeys) {
  const plain = { Enter: "\r", Backspace: "\x7f", Tab: event.shiftKey ? "\x1b[Z" : "\t", Escape: "\x1b" }[event.key];
  if (plain) return (event.altKey ? "\x1b" : "") + plain;
  const code = 1 + (event.shiftKey ? 1 : 0) + (event.altKey ? 2 : 0) + (event.ctrlKey ? 4 : 0);
  const arrow = { ArrowUp: "A", ArrowDown: "B", ArrowRight: "C", ArrowLeft: "D", Home: "H", End: "F", F1: "P", F2: "Q", F3: "R", F4: "S" }[event.key];
  if (arrow) return code > 1 ? `\x1b[1;${code}${arrow}` : `\x1b${appKeys || /^F\d/.test(event.key) ? "O" : "["}${arrow}`;
  const number = { Insert: 2, Delete: 3, PageUp: 5, PageDown: 6, F5: 15, F6: 17, F7: 18, F8: 19, F9: 20, F10: 21, F11: 23, F12: 24 }[event.key];
  if (number) return `\x1b[${number}${code > 1 ? `;${code}` : ""}~`;
  if (event.key.length !== 1 || event.metaKey) return null;
  if (event.ctrlKey && !event.altKey) {
    if (event.shiftKey && /^[cv]$/i.test(event.key)) return null;
    const upper = event.key === " " ? "@" : event.key === "?" ? "\x7f" : event.key.toUpperCase();
    const control = upper.charCodeAt(0);
    return upper === "\x7f" ? upper : control >= 64 && control < 96 ? String.fromCharCode(control - 64) : null;
  }
  return event.altKey && !event.ctrlKey ? `\x1b${event.key}` : null;
}

function drawRow(cells, caret) {
  const parts = [];
  let run = null;
  cells.forEach((cell, at) => {
    const here = at === caret;
    if (run && run.style === cell.style && !here && !run.here) { run.text += cell.text; return; }
    run = { style: cell.style, text: cell.text, here };
    parts.push(run);
  });
  const row = h("div", { class: "row" });
  for (const { style, text, here } of parts) {
    const [fg, bg] = style.inverse ? [style.bg ?? "#10141a", style.fg ?? "#dfe5ec"] : [style.fg, style.bg];
    const span = h("span", { class: [here && "caret", style.bold && "bold", style.faint && "faint", style.italic && "italic", style.under && "under", style.struck && "struck"].filter(Boolean).join(" ") || null }, text);
    if (!here && fg !== null) span.style.color = colour(fg);
    if (!here && bg !== null) span.style.backgroundColor = colour(bg);
    row.append(span);
  }
  return row;
}

export async function terminal(main, found, signal) {
  if (!found.State.Running) { put(main, h("p", { class: "none" }, "It does not run.")); return; }
  const keys = h("textarea", { "aria-label": "Terminal; Control Shift Escape leaves it", autocapitalize: "off", autocomplete: "off", spellcheck: "false" });
  const rows = h("div", { "aria-hidden": "true" });
  const box = h("div", { class: "terminal" }, rows, keys);
  const spoken = h("div", { class: "skip", "aria-live": "polite" });
  const state = h("span", { class: "dim", role: "status" });
  const command = h("input", { type: "text", value: sessionStorage.getItem("hull.shell") ?? "sh", "aria-label": "Command" });
  const user = h("input", { type: "text", placeholder: "user", "aria-label": "User" });
  put(main, h("form", { class: "bar", onsubmit: (event) => { event.preventDefault(); open(); } }, command, user, h("button", { class: "main" }, "Open"), state), box, spoken);

  let web = null, screen = null, exec = null, asked = false, back = 0;
  const size = () => {
    const probe = h("span", { class: "probe" }, "M".repeat(50));
    box.append(probe);
    const wide = probe.getBoundingClientRect().width / 50;
    probe.remove();
    return [Math.max(20, Math.min(400, Math.floor((box.clientWidth - 20) / wide))), Math.max(5, Math.min(200, Math.floor((box.clientHeight - 20) / 17)))];
  };
  const draw = () => {
    asked = false;
    if (!screen) return;
    const whole = [...screen.history.slice(screen.history.length - back), ...screen.grid].slice(0, screen.rows);
    put(rows, whole.map((row, at) => drawRow(row, screen.visible && !back && at === screen.y && web ? screen.x : -1)));
    write(spoken, screen.text().slice(Math.max(0, screen.y - 1), screen.y + 1).join("\n"));
  };
  const soon = () => { if (!asked) { asked = true; requestAnimationFrame(draw); } };
  const encoder = new TextEncoder();
  const send = (text) => { if (web?.readyState === WebSocket.OPEN && text) { back = 0; web.send(encoder.encode(text)); } };

  async function open() {
    web?.close();
    sessionStorage.setItem("hull.shell", command.value);
    const [columns, height] = size();
    write(state, "opening …");
    try {
      const Cmd = command.value.trim().split(/\s+/);
      exec = (await post(`/containers/${part(found.Id)}/exec`, { Cmd, User: user.value.trim(), Tty: true, AttachStdin: true, AttachStdout: true, AttachStderr: true, Env: ["TERM=xterm-256color"], ConsoleSize: [height, columns] })).Id;
    } catch (error) { write(state, error.message); return; }
    if (signal.aborted) return;
    const own = web = socket(`/hull/exec/${exec}/ws`);
    screen = new Screen(columns, height, send);
    back = 0;
    own.onopen = () => { write(state, "open"); keys.focus(); };
    own.onmessage = (event) => {
      screen.write(typeof event.data === "string" ? encoder.encode(`${event.data}\r\n`) : new Uint8Array(event.data));
      if (screen.title) document.title = `${screen.title} – Hull`;
      soon();
    };
    own.onclose = () => { if (web === own) { web = null; write(state, "ended"); soon(); } };
    soon();
  }

  keys.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && event.ctrlKey && event.shiftKey) { command.focus(); event.preventDefault(); return; }
    if (event.isComposing) return;
    const said = key(event, screen?.appKeys);
    if (said === null) return;
    event.preventDefault();
    event.stopPropagation();
    send(said);
  });
  keys.addEventListener("input", (event) => { if (!event.isComposing) { send(keys.value); keys.value = ""; } });
  keys.addEventListener("compositionend", () => { send(keys.value); keys.value = ""; });
  keys.addEventListener("paste", (event) => {
    event.preventDefault();
    const text = event.clipboardData.getData("text").replace(/\r?\n/g, "\r").replaceAll("\x1b", "");
    send(screen?.paste ? `\x1b[200~${text}\x1b[201~` : text);
  });
  box.addEventListener("mouseup", () => { if (getSelection().isCollapsed) keys.focus(); });
  box.addEventListener("wheel", (event) => {
    if (!screen || screen.other) return;
    event.preventDefault();
    back = Math.max(0, Math.min(screen.history.length, back - Math.sign(event.deltaY) * 3));
    soon();
  }, { passive: false });
  let resizing;
  const observer = new ResizeObserver(() => {
    clearTimeout(resizing);
    resizing = setTimeout(async () => {
      const [columns, height] = size();
      if (!screen || !web || (columns === screen.columns && height === screen.rows)) return;
      screen.resize(columns, height);
      soon();
      await post(`/exec/${exec}/resize?h=${height}&w=${columns}`).catch(() => {});
    }, 100);
  });
  observer.observe(box);
  signal.addEventListener("abort", () => { observer.disconnect(); web?.close(); });
  await open();
}
