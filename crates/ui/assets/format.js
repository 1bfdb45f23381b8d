// Numbers and times for people.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];

export function bytes(number) {
  if (number === undefined || number === null || number < 0) return "–";
  let at = 0;
  while (number >= 1000 && at < UNITS.length - 1) { number /= 1000; at += 1; }
  return `${at === 0 || number >= 100 ? Math.round(number) : number.toFixed(1)} ${UNITS[at]}`;
}

export const rate = (number) => (number === undefined || number === null ? "–" : `${bytes(number)}/s`);
export const percent = (share) => (share === undefined || share === null ? "–" : `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`);
export const short = (id) => (id ?? "").replace(/^sha256:/, "").slice(0, 12);
export const named = (container) => (container.Names?.[0] ?? container.Id).replace(/^\//, "");

export function ago(seconds) {
  const past = Math.max(0, Date.now() / 1000 - seconds);
  for (const [length, name] of [[31536000, "year"], [2592000, "month"], [86400, "day"], [3600, "hour"], [60, "minute"]]) {
    if (past >= length) {
      const count = Math.floor(past / length);
      return `${count} ${name}${count > 1 ? "s" : ""} ago`;
    }
  }
  return "just now";
}

export const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
export const moment = (seconds) => new Date(seconds * 1000).toLocaleString();

// Ports as docker shows them, each once.
export function ports(list) {
  const texts = (list ?? []).map((port) => port.PublicPort
    ? `${port.IP && port.IP !== "0.0.0.0" && port.IP !== "::" ? `${port.IP}:` : ""}${port.PublicPort}→${port.PrivatePort}/${port.Type}`
    : `${port.PrivatePort}/${port.Type}`);
  return [...new Set(texts)].join(", ");
}
