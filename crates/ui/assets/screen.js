// A terminal's screen: what comes from a program goes in, rows of cells come out. As much of ECMA-48 and of what xterm
// added as shells, editors and full-screen programs use. It knows nothing of the page.

const PLAIN = { fg: null, bg: null, bold: false, faint: false, italic: false, under: false, struck: false, inverse: false };

// Columns that a character takes: two for those of East Asia and pictures, none for what is put on others.
export function width(code) {
  if (code < 0x300) return 1;
  if (code <= 0x36f || (code >= 0x200b && code <= 0x200f) || (code >= 0xfe00 && code <= 0xfe0f) || (code >= 0x20d0 && code <= 0x20ff)) return 0;
  return (code >= 0x1100 && code <= 0x115f) || (code >= 0x2e80 && code <= 0xa4cf && code !== 0x303f) || (code >= 0xac00 && code <= 0xd7a3) || (code >= 0xf900 && code <= 0xfaff)
    || (code >= 0xfe30 && code <= 0xfe6f) || (code >= 0xff00 && code <= 0xff60) || (code >= 0xffe0 && code <= 0xffe6) || (code >= 0x1f300 && code <= 0x1faff) || (code >= 0x20000 && code <= 0x3fffd) ? 2 : 1;
}

export class Screen {
  // `reply` gets what the program is answered.
  constructor(columns, rows, reply = () => {}) {
    Object.assign(this, { columns, rows, reply, history: [], most: 2000, dirty: true, title: "" });
    this.decoder = new TextDecoder();
    this.reset();
  }

  reset() {
    this.style = PLAIN;
    this.x = this.y = 0;
    this.top = 0;
    this.bottom = this.rows - 1;
    this.grid = this.blankRows(this.rows);
    this.other = null;
    this.saved = { x: 0, y: 0, style: PLAIN };
    Object.assign(this, { wrap: true, pending: false, insert: false, origin: false, appKeys: false, paste: false, visible: true, lines: false, state: "text", sequence: "", last: " " });
    this.dirty = true;
  }

  blank() { return { text: " ", style: this.style.bg === null ? PLAIN : { ...PLAIN, bg: this.style.bg } }; }
  blankRow() { return Array.from({ length: this.columns }, () => this.blank()); }
  blankRows(count) { return Array.from({ length: count }, () => this.blankRow()); }

  resize(columns, rows) {
    if (columns === this.columns && rows === this.rows) return;
    const fit = (grid, keep) => {
      while (grid.length > rows) {
        const blank = grid.at(-1).every((cell) => cell.text === " ");
        if (blank && (keep !== grid || this.y < grid.length - 1)) grid.pop();
        else { const gone = grid.shift(); if (keep === grid) { this.y = Math.max(0, this.y - 1); if (!this.other) this.push(gone); } }
      }
      this.columns = columns;
      for (const row of grid) { while (row.length < columns) row.push({ text: " ", style: PLAIN }); row.length = columns; }
      while (grid.length < rows) grid.push(this.blankRow());
    };
    fit(this.grid, this.grid);
    if (this.other) fit(this.other.grid, null);
    Object.assign(this, { columns, rows, top: 0, bottom: rows - 1, pending: false, dirty: true });
    this.x = Math.min(this.x, columns - 1);
    this.y = Math.min(this.y, rows - 1);
  }

  push(row) {
    this.history.push(row);
    if (this.history.length > this.most) this.history.splice(0, this.history.length - this.most);
  }

  write(bytes) {
    for (const char of this.decoder.decode(bytes, { stream: true })) this.feed(char);
    this.dirty = true;
  }

  feed(char) {
    const code = char.codePointAt(0);
    if (this.state === "string") { // OSC, DCS and the like: to BEL or ST, of bounded length.
      if (code === 7 || code === 0x9c) this.state = this.string();
      else if (code === 0x1b) this.state = "string-escape";
      else if (this.sequence.length < 4096) this.sequence += char;
      return;
    }
    if (this.state === "string-escape") { this.string(); this.state = "text"; if (char !== "\\") { this.state = "escape"; this.feed(char); } return; }
    if (code < 0x20 || code === 0x7f) { this.control(code); return; }
    if (this.state === "escape") this.escape(char);
    else if (this.state === "charset") { if (this.sequence === "(") this.lines = char === "0"; this.state = "text"; }
    else if (this.state === "hash") this.state = "text";
    else if (this.state === "csi") {
      if (code >= 0x40 && code <= 0x7e) { this.state = "text"; this.csi(char); }
      else if (this.sequence.length < 128) this.sequence += char;
    } else this.put(char, code);
  }

  string() {
    const found = this.sequence.match(/^]?[02];(.*)$/s);
    if (found) this.title = found[1].slice(0, 200);
    return "text";
  }

  control(code) {
    if (code === 0x1b) { this.state = "escape"; return; }
    if (code === 0x18 || code === 0x1a) { this.state = "text"; return; }
    if (code === 8) { this.x = Math.max(0, this.x - 1); this.pending = false; }
    else if (code === 9) { this.x = Math.min(this.columns - 1, (this.x >> 3) + 1 << 3); this.pending = false; }
    else if (code >= 10 && code <= 12) this.feedLine();
    else if (code === 13) { this.x = 0; this.pending = false; }
    else if (code === 14) this.lines = true;
    else if (code === 15) this.lines = false;
  }

  escape(char) {
    this.state = "text";
    if (char === "[") { this.state = "csi"; this.sequence = ""; }
    else if ("]P^_X".includes(char)) { this.state = "string"; this.sequence = char === "]" ? "]" : "-"; }
    else if ("()*+".includes(char)) { this.state = "charset"; this.sequence = char; }
    else if (char === "#" || char === "%" || char === " ") this.state = "hash";
    else if (char === "7") this.save();
    else if (char === "8") this.restore();
    else if (char === "D") this.feedLine();
    else if (char === "E") { this.x = 0; this.feedLine(); }
    else if (char === "M") { if (this.y === this.top) this.scroll(-1); else this.y = Math.max(0, this.y - 1); this.pending = false; }
    else if (char === "c") this.reset();
  }

  put(char, code) {
    if (this.lines) char = "◆▒␉␌␍␊°±␤␋┘┐┌└┼⎺⎻─⎼⎽├┤┴┬│≤≥π≠£·"[code - 0x60] ?? char;
    const wide = width(code);
    const row = () => this.grid[this.y];
    if (wide === 0) {
      const cell = row()[Math.max(0, this.pending ? this.x : this.x - 1)];
      if (cell.text.length < 16) cell.text += char;
      return;
    }
    if (this.pending && this.wrap || this.x + wide > this.columns) { this.x = 0; this.feedLine(); }
    this.pending = false;
    if (this.insert) { row().splice(this.x, 0, ...Array.from({ length: wide }, () => this.blank())); row().length = this.columns; }
    row()[this.x] = { text: char, style: this.style };
    if (wide === 2 && this.x + 1 < this.columns) row()[this.x + 1] = { text: "", style: this.style };
    this.last = char;
    if (this.x + wide >= this.columns) { this.x = this.columns - 1; this.pending = true; } else this.x += wide;
  }

  feedLine() {
    this.pending = false;
    if (this.y === this.bottom) this.scroll(1);
    else if (this.y < this.rows - 1) this.y += 1;
  }

  // Up by `count` rows, or down by as many.
  scroll(count, top = this.top) {
    for (let left = Math.min(Math.abs(count), this.bottom - top + 1); left > 0; left -= 1) {
      if (count > 0) {
        const [gone] = this.grid.splice(top, 1);
        if (top === 0 && !this.other) this.push(gone);
        this.grid.splice(this.bottom, 0, this.blankRow());
      } else {
        this.grid.splice(this.bottom, 1);
        this.grid.splice(top, 0, this.blankRow());
      }
    }
  }

  save() { this.saved = { x: this.x, y: this.y, style: this.style, lines: this.lines }; }
  restore() { Object.assign(this, this.saved); this.x = Math.min(this.x, this.columns - 1); this.y = Math.min(this.y, this.rows - 1); this.pending = false; }

  move(x, y) {
    const [low, high] = this.origin ? [this.top, this.bottom] : [0, this.rows - 1];
    this.x = Math.max(0, Math.min(this.columns - 1, x));
    this.y = Math.max(low, Math.min(high, y));
    this.pending = false;
  }

  erase(row, from, to) { for (let at = Math.max(0, from); at < Math.min(to, this.columns); at += 1) this.grid[row][at] = this.blank(); }

  csi(final) {
    const mark = this.sequence.match(/^[<=>?]/)?.[0] ?? "";
    const inner = this.sequence.match(/[ !"$'*]$/)?.[0] ?? "";
    const numbers = this.sequence.slice(mark.length).split(/[;:]/).map((text) => Math.min(parseInt(text, 10) || 0, 9999));
    const n = Math.max(1, numbers[0]);
    if (inner === "!" && final === "p") { this.reset(); return; }
    if (inner) return;
    if (mark === "?") { if (final === "h" || final === "l") for (const number of numbers) this.mode(number, final === "h"); return; }
    if (mark === ">") { if (final === "c") this.reply("\x1b[>0;0;0c"); return; }
    if (mark) return;
    const { x, y } = this;
    switch (final) {
      case "A": this.move(x, Math.max(y >= this.top ? this.top : 0, y - n)); break;
      case "B": case "e": this.move(x, Math.min(y <= this.bottom ? this.bottom : this.rows - 1, y + n)); break;
      case "C": case "a": this.move(x + n, y); break;
      case "D": this.move(x - n, y); break;
      case "E": this.move(0, y + n); break;
      case "F": this.move(0, y - n); break;
      case "G": case "`": this.move(n - 1, y); break;
      case "H": case "f": this.move(Math.max(1, numbers[1] ?? 1) - 1, n - 1 + (this.origin ? this.top : 0)); break;
      case "d": this.move(x, n - 1 + (this.origin ? this.top : 0)); break;
      case "J": this.eraseScreen(numbers[0]); break;
      case "K": this.erase(y, numbers[0] === 0 ? x : 0, numbers[0] === 1 ? x + 1 : this.columns); this.pending = false; break;
      case "X": this.erase(y, x, x + n); break;
      case "P": this.grid[y].splice(x, n); while (this.grid[y].length < this.columns) this.grid[y].push(this.blank()); break;
      case "@": this.grid[y].splice(x, 0, ...Array.from({ length: Math.min(n, this.columns) }, () => this.blank())); this.grid[y].length = this.columns; break;
      case "L": if (y >= this.top && y <= this.bottom) this.scroll(-n, y); break;
      case "M": if (y >= this.top && y <= this.bottom) this.deleteLines(n); break;
      case "S": this.scroll(n); break;
      case "T": this.scroll(-n); break;
      case "b": for (let left = Math.min(n, this.columns * this.rows); left > 0; left -= 1) this.put(this.last, this.last.codePointAt(0)); break;
      case "r": {
        const [top, bottom] = [n - 1, Math.min(this.rows, numbers[1] || this.rows) - 1];
        if (top < bottom) { Object.assign(this, { top, bottom }); this.move(0, this.origin ? top : 0); }
        break;
      }
      case "m": this.look(numbers); break;
      case "h": case "l": if (numbers.includes(4)) this.insert = final === "h"; break;
      case "n": if (numbers[0] === 6) this.reply(`\x1b[${y + 1};${x + 1}R`); else if (numbers[0] === 5) this.reply("\x1b[0n"); break;
      case "c": this.reply("\x1b[?1;2c"); break;
      case "s": this.save(); break;
      case "u": this.restore(); break;
      default:
    }
  }

  deleteLines(count) {
    const gone = Math.min(count, this.bottom - this.y + 1);
    this.grid.splice(this.y, gone);
    this.grid.splice(this.bottom - gone + 1, 0, ...this.blankRows(gone));
  }

  eraseScreen(which) {
    if (which === 3) { this.history = []; return; }
    if (which === 0) this.erase(this.y, this.x, this.columns);
    if (which === 1) this.erase(this.y, 0, this.x + 1);
    const [from, to] = which === 0 ? [this.y + 1, this.rows] : which === 1 ? [0, this.y] : [0, this.rows];
    for (let row = from; row < to; row += 1) this.grid[row] = this.blankRow();
    this.pending = false;
  }

  mode(number, on) {
    if (number === 1) this.appKeys = on;
    else if (number === 6) { this.origin = on; this.move(0, on ? this.top : 0); }
    else if (number === 7) this.wrap = on;
    else if (number === 25) this.visible = on;
    else if (number === 2004) this.paste = on;
    else if (number === 1048) { if (on) this.save(); else this.restore(); }
    else if ([47, 1047, 1049].includes(number) && on !== Boolean(this.other)) {
      if (on) {
        if (number === 1049) this.save();
        this.other = { grid: this.grid };
        this.grid = this.blankRows(this.rows);
      } else {
        this.grid = this.other.grid;
        this.other = null;
        if (number === 1049) this.restore();
      }
      Object.assign(this, { top: 0, bottom: this.rows - 1 });
    }
  }

  look(numbers) {
    let style = { ...this.style };
    for (let at = 0; at < numbers.length; at += 1) {
      const number = numbers[at];
      const on = { 1: "bold", 2: "faint", 3: "italic", 4: "under", 7: "inverse", 9: "struck" }[number];
      const off = { 22: "bold", 23: "italic", 24: "under", 27: "inverse", 29: "struck" }[number];
      if (number === 0) style = { ...PLAIN };
      else if (on) style[on] = true;
      else if (off) { style[off] = false; if (number === 22) style.faint = false; }
      else if (number >= 30 && number <= 37) style.fg = number - 30;
      else if (number >= 40 && number <= 47) style.bg = number - 40;
      else if (number >= 90 && number <= 97) style.fg = number - 82;
      else if (number >= 100 && number <= 107) style.bg = number - 92;
      else if (number === 39) style.fg = null;
      else if (number === 49) style.bg = null;
      else if (number === 38 || number === 48) {
        const name = number === 38 ? "fg" : "bg";
        if (numbers[at + 1] === 5) { style[name] = (numbers[at + 2] ?? 0) & 255; at += 2; }
        else if (numbers[at + 1] === 2) { style[name] = `rgb(${numbers.slice(at + 2, at + 5).map((part) => part & 255).join(",")})`; at += 4; }
      }
    }
    this.style = style;
  }

  // The rows as texts, for tests and for who does not see them.
  text() { return this.grid.map((row) => row.map((cell) => cell.text).join("").trimEnd()); }
}
