// Elements, tips, selection, and drawings that zoom and pan. Names are only ever written as text.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const PALETTE = DATA.palette;

function make(space, name, attributes, parent, text) {
  const node = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  if (parent) parent.append(node);
  return node;
}
const html = (name, attributes, parent, text) => make(null, name, attributes, parent, text);
const draw = (name, attributes, parent, text) => make(SVG, name, attributes, parent, text);

const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "u"], [1e-9, "n"], [1e-12, "p"]];

function quantity(value, unit) {
  const found = PREFIXES.find(([scale]) => Math.abs(value) >= scale);
  return found ? `${+(value / found[0]).toPrecision(4)} ${found[1]}${unit}` : `0 ${unit}`;
}

function worded(value, unit) {
  if (unit === "pJ") return quantity(value * 1e-12, "J");
  if (unit === "share") return `${(value * 100).toFixed(1)} %`;
  return `${value.toLocaleString("en")} ${unit}`.trim();
}

function ramp(share) {
  const s = Math.min(Math.max(share, 0), 1), [a, b, c] = DATA.ramp;
  const [low, high, at] = s < 0.5 ? [a, b, s * 2] : [b, c, s * 2 - 1];
  return `rgb(${low.map((v, i) => Math.round(v + (high[i] - v) * at)).join(",")})`;
}
const rampCss = () => `linear-gradient(90deg, ${[0, 0.25, 0.5, 0.75, 1].map(ramp).join(",")})`;

// -- selection: an item is a number; whatever shows it carries data-op, whatever joins items carries data-ends ---------

const chosen = { item: -1, watchers: [], near: new Set() };

function choose(item) {
  chosen.item = item === chosen.item ? -1 : item;
  chosen.near = new Set();
  for (const [source, target] of DATA.graph.arrows) {
    if (source === chosen.item) chosen.near.add(target);
    if (target === chosen.item) chosen.near.add(source);
  }
  mark(document);
  facts();
  for (const watch of chosen.watchers) watch(chosen.item);
}

function mark(root) {
  document.body.classList.toggle("picked", chosen.item >= 0);
  for (const node of root.querySelectorAll("[data-op]")) {
    const item = +node.dataset.op;
    node.classList.toggle("on", item === chosen.item);
    node.classList.toggle("near", chosen.near.has(item));
  }
  for (const node of root.querySelectorAll("[data-ends]")) {
    node.classList.toggle("on", node.dataset.ends.split(" ").includes(String(chosen.item)));
  }
}

function facts() {
  const side = document.getElementById("facts");
  side.replaceChildren();
  if (chosen.item < 0) {
    html("h3", {}, side, "Nothing selected");
    html("p", { class: "soft" }, side, "Click anything in a drawing or in the table, or move with Tab and Enter. Escape clears.");
    return;
  }
  const item = DATA.items[chosen.item];
  html("h3", {}, side, item.n);
  html("p", { class: "soft" }, side, item.t);
  const list = html("dl", {}, side);
  for (const [label, value] of item.f) {
    html("dt", {}, list, label);
    html("dd", {}, list, value);
  }
}

function pickable(node, item, label) {
  node.setAttribute("data-op", item);
  if (label) {
    node.setAttribute("tabindex", "0");
    node.setAttribute("role", "button");
    node.setAttribute("aria-label", label);
  }
  return node;
}

const tipped = (node, words) => { node.setAttribute("data-tip", words); return node; };

function listen() {
  let pressed = null;
  document.addEventListener("pointerdown", e => { pressed = [e.clientX, e.clientY]; });
  document.addEventListener("click", e => {
    const moved = pressed && Math.hypot(e.clientX - pressed[0], e.clientY - pressed[1]) > 5;
    const node = e.target.closest("[data-op]");
    if (node && !moved) choose(+node.dataset.op);
  });
  document.addEventListener("keydown", e => {
    if (e.key === "Escape" && chosen.item >= 0) choose(chosen.item);
    if ((e.key === "Enter" || e.key === " ") && e.target.hasAttribute && e.target.hasAttribute("data-op")) {
      e.preventDefault();
      choose(+e.target.dataset.op);
    }
  });
  const tip = document.getElementById("tip");
  document.addEventListener("pointermove", e => {
    const node = e.target.closest && e.target.closest("[data-tip]");
    tip.hidden = !node;
    if (!node) return;
    tip.textContent = node.dataset.tip;
    tip.style.left = `${Math.min(e.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(e.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
}

// -- a drawing with tools: zoom by buttons, keys, Ctrl and wheel; pan by dragging or arrow keys ------------------------

function button(parent, label, title, act) {
  const node = html("button", { type: "button", title, "aria-label": title }, parent, label);
  node.addEventListener("click", act);
  return node;
}

function picture(host, label, width, height, options = {}) {
  const tools = html("div", { class: "tools" }, host);
  const figure = html("div", { class: "figure" }, host);
  const root = draw("svg", { role: "group", "aria-label": label, tabindex: "0" }, figure);
  const layer = draw("g", {}, root);
  const view = { box: [0, 0, width, height], full: [0, 0, width, height], home: [0, 0, width, height] };
  const natural = Math.min(options.most || 640, height * (options.scale || 1e9));
  root.style.height = `min(${natural}px, calc(100vw * ${height / width}))`;
  const apply = () => root.setAttribute("viewBox", view.box.map(v => +v.toFixed(3)).join(" "));
  const zoom = (factor, at = [0.5, 0.5]) => {
    const [x, y, w, h] = view.box, size = w * factor;
    if (size < view.full[2] / 400 || size > view.full[2] * 1.6) return;
    view.box = [x + w * at[0] * (1 - factor), y + h * at[1] * (1 - factor), size, h * factor];
    apply();
  };
  const pan = (dx, dy) => { view.box[0] += dx * view.box[2]; view.box[1] += dy * view.box[3]; apply(); };
  const show = box => { view.box = [...box]; apply(); };
  const zoomTools = html("span", {}, tools);
  button(zoomTools, "+", "zoom in", () => zoom(0.7));
  button(zoomTools, "\u2212", "zoom out", () => zoom(1 / 0.7));
  button(zoomTools, "Fit", "fit", () => show(view.home));
  root.addEventListener("wheel", e => {
    if (!e.ctrlKey && !e.metaKey && document.activeElement !== root) return;
    e.preventDefault();
    const frame = root.getBoundingClientRect();
    zoom(e.deltaY > 0 ? 1.15 : 1 / 1.15, [(e.clientX - frame.left) / frame.width, (e.clientY - frame.top) / frame.height]);
  }, { passive: false });
  root.addEventListener("keydown", e => {
    const act = { "+": () => zoom(0.7), "=": () => zoom(0.7), "-": () => zoom(1 / 0.7), 0: () => show(view.home),
      ArrowLeft: () => pan(-0.1, 0), ArrowRight: () => pan(0.1, 0), ArrowUp: () => pan(0, -0.1), ArrowDown: () => pan(0, 0.1) }[e.key];
    if (act) { e.preventDefault(); act(); }
  });
  let last = null;
  root.addEventListener("pointerdown", e => { last = [e.clientX, e.clientY]; });
  addEventListener("pointerup", () => { last = null; });
  root.addEventListener("pointermove", e => {
    if (!last || !e.buttons) return;
    const frame = root.getBoundingClientRect();
    const scale = Math.max(view.box[2] / frame.width, view.box[3] / frame.height);
    view.box[0] -= (e.clientX - last[0]) * scale;
    view.box[1] -= (e.clientY - last[1]) * scale;
    last = [e.clientX, e.clientY];
    apply();
  });
  apply();
  return { root, layer, tools, view, show };
}

function legend(parent, colour, words) {
  const node = html("span", { class: "legend" }, parent);
  html("b", { style: `background:${colour}` }, node);
  html("span", {}, node, words);
}

// -- the table ----------------------------------------------------------------------------------------------------------

function table() {
  const body = document.getElementById("ops").tBodies[0], heads = [...document.querySelectorAll("#ops thead th")];
  const filter = document.getElementById("filter"), count = document.getElementById("shown");
  const rows = [...body.rows];
  const sift = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      left += !row.hidden;
    }
    count.textContent = `${left} of ${rows.length}`;
  };
  filter.addEventListener("input", sift);
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") === "descending";
    for (const other of heads) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = row => { const c = row.cells[column]; return c.dataset.v === undefined ? c.textContent : +c.dataset.v; };
    const order = (a, b) => { const x = value(a), y = value(b); return ((x > y) - (x < y)) * (up ? 1 : -1); };
    rows.sort(order).forEach(row => body.append(row));
  }));
  chosen.watchers.push(item => {
    const row = body.querySelector(`tr[data-op="${item}"]`);
    if (!row) return;
    const frame = row.closest(".scroll");
    frame.scrollTop = row.offsetTop - frame.clientHeight / 2;
  });
  sift();
}
