// Loop bodies: a grid stepped through its modulo slots, or an array of rows with values falling through registers.
// `items` says whether its operations are the page's items (a loop kernel) or details of one stage (a model).

function drawBody(host, body, items) {
  if (body.kind === "slots") slotView(host, body, items);
  else rowView(host, body, items);
}

const own = (node, items, number, label) => items ? pickable(node, number, label) : node;
const textOn = colour => (["#e69f00", "#f0e442", "#56b4e9"].includes(colour) ? "ondark" : "onfill");

// -- grid ---------------------------------------------------------------------------------------------------------------

const GRID = { cell: 64, gap: 26, pad: 26 };

function slotView(host, body, items) {
  const step = GRID.cell + GRID.gap, wide = body.columns * step + 2 * GRID.pad, high = body.rows * step + 2 * GRID.pad;
  const drawing = picture(host, "processing elements", wide, high, { most: 520, scale: 1.1 });
  const turns = Math.ceil(body.length / body.ii) + 2, first = Math.min(...body.items.map(item => item.t));
  const last = Math.max(...body.items.map(item => item.t)) - first;
  const state = { mode: "steady", at: 0, timer: 0 };
  const count = () => state.mode === "steady" ? body.ii : last + 1 + (turns - 1) * body.ii;
  const modes = html("span", {}, drawing.tools);
  const steady = button(modes, "Steady state", "the slots that repeat", () => turn("steady"));
  const start = button(modes, "From the start", "prologue, kernel, epilogue", () => turn("start"));
  const play = button(drawing.tools, "\u25b6 Play", "play", () => running(!state.timer));
  const slider = html("input", { type: "range", min: 0, value: 0, class: "slot", "aria-label": "slot or cycle" }, drawing.tools);
  const words = html("span", { class: "legend now", "aria-live": "polite" }, drawing.tools);
  legend(drawing.tools, PALETTE[0], "operation");
  legend(drawing.tools, PALETTE[1], "MOVE: carries a value on");
  const chart = html("div", {}, host);
  const render = () => {
    const phase = slotFrame(drawing.layer, body, state, items, { first, last, turns, step });
    slider.max = count() - 1;
    slider.value = state.at;
    words.textContent = state.mode === "steady" ? `slot ${state.at} of ${body.ii}` : `cycle ${state.at}: ${phase}`;
    steady.setAttribute("aria-pressed", state.mode === "steady");
    start.setAttribute("aria-pressed", state.mode === "start");
    slotChart(chart, body, state, items, { first, last, turns });
    mark(host);
  };
  const turn = mode => { state.mode = mode; state.at = 0; render(); };
  const running = on => {
    clearInterval(state.timer);
    state.timer = on ? setInterval(() => { state.at = (state.at + 1) % count(); render(); }, 900) : 0;
    play.textContent = on ? "\u23f8 Pause" : "\u25b6 Play";
    play.setAttribute("aria-label", on ? "pause" : "play");
  };
  slider.addEventListener("input", () => { state.at = +slider.value; render(); });
  render();
}

function busyNow(body, state, { first, turns }) {
  // [item, iteration] of everything that runs at the moment shown; iteration -1 in the steady state
  const found = [];
  body.items.forEach((item, number) => {
    if (state.mode === "steady") { if (item.t % body.ii === state.at) found.push([number, -1]); return; }
    for (let i = 0; i < turns; i++) if (item.t - first + i * body.ii === state.at) found.push([number, i]);
  });
  return found;
}

function waiting(body, state, { first, turns }) {
  // values that wait at each element: produced before now, still to be read
  const held = new Map();
  body.items.forEach((item, number) => {
    for (let t = item.t + 1; t <= item.until; t++) {
      const now = state.mode === "steady" ? t % body.ii === state.at : Array.from({ length: turns }, (_, i) => t - first + i * body.ii).includes(state.at);
      if (now) held.set(item.pe, [...(held.get(item.pe) || []), body.items[number].n]);
    }
  });
  return held;
}

function slotFrame(layer, body, state, items, time) {
  layer.replaceChildren();
  const at = pe => [GRID.pad + (pe % body.columns) * time.step, GRID.pad + Math.floor(pe / body.columns) * time.step];
  const held = waiting(body, state, time), dead = new Set(body.dead.map(([r, c]) => r * body.columns + c));
  for (let pe = 0; pe < body.rows * body.columns; pe++) {
    const [x, y] = at(pe);
    const cell = draw("rect", { class: dead.has(pe) ? "dead" : "cell", x, y, width: GRID.cell, height: GRID.cell, rx: 5 }, layer);
    tipped(cell, `PE ${pe}, row ${Math.floor(pe / body.columns)}, column ${pe % body.columns}${dead.has(pe) ? ": dead" : ": idle now"}`);
  }
  const now = busyNow(body, state, time);
  for (const [number, turn] of now) {
    const item = body.items[number], [x, y] = at(item.pe), colour = PALETTE[item.move ? 1 : 0];
    const group = tipped(own(draw("g", {}, layer), items, number, `${item.n} ${item.op}`), `${item.n}: ${item.op}\nPE ${item.pe}, cycle ${item.t}${turn >= 0 ? `, iteration ${turn}` : ""}`);
    draw("rect", { x, y, width: GRID.cell, height: GRID.cell, rx: 5, fill: colour }, group);
    draw("text", { class: textOn(colour), x: x + GRID.cell / 2, y: y + 27, "text-anchor": "middle", "font-size": 19, "font-weight": 600 }, group, item.n);
    draw("text", { class: textOn(colour), x: x + GRID.cell / 2, y: y + 45, "text-anchor": "middle", "font-size": 11.5 }, group, item.op.slice(0, 9));
    if (turn >= 0) draw("text", { class: textOn(colour), x: x + GRID.cell - 5, y: y + 12, "text-anchor": "end", "font-size": 9.5 }, group, `it ${turn}`);
  }
  slotValues(layer, body, now, at, time.step, items);
  for (const [pe, names] of held) {
    const [x, y] = at(pe);
    names.forEach((name, i) => tipped(draw("circle", { cx: x + 9 + i * 9, cy: y + GRID.cell - 8, r: 3.6, fill: PALETTE[2], stroke: "#fff", "stroke-width": 0.8 }, layer), `register of PE ${pe}: value of ${name} waits`));
  }
  if (state.mode === "steady") return "";
  return state.at < (time.turns - 1) * body.ii ? (state.at < time.last ? "prologue, the pipeline fills" : "kernel, the steady state") : "epilogue, the pipeline drains";
}

function slotValues(layer, body, now, at, step, items) {
  // an arrow from where each value comes to who reads it now, and a dot that runs along it
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const busy = new Set(now.map(([number]) => number));
  for (const [source, reader, distance] of body.reads) {
    const [from, to] = [body.items[source], body.items[reader]];
    if (!busy.has(reader) || from.pe === to.pe) continue;
    let [x1, y1] = at(from.pe).map(v => v + GRID.cell / 2), [x2, y2] = at(to.pe).map(v => v + GRID.cell / 2);
    const dx = x2 - x1, dy = y2 - y1, long = Math.hypot(dx, dy);
    const wraps = body.topology === "torus" && (Math.abs(dx) > step * 1.5 || Math.abs(dy) > step * 1.5);
    const [ux, uy] = wraps ? [-Math.sign(dx) * (Math.abs(dx) > 1), -Math.sign(dy) * (Math.abs(dy) > 1)] : [dx / long, dy / long];
    const edge = GRID.cell / 2;
    if (wraps) [x1, y1] = [x2 - ux * (edge + GRID.gap), y2 - uy * (edge + GRID.gap)];
    else [x1, y1] = [x1 + ux * edge, y1 + uy * edge];
    [x2, y2] = [x2 - ux * (edge + 2), y2 - uy * (edge + 2)];
    const words = `${from.n} to ${to.n}${distance ? `, ${distance} iteration${distance > 1 ? "s" : ""} later` : ""}${wraps ? `, around the edge from PE ${from.pe}` : ""}`;
    tipped(draw("line", { class: "wire", style: "opacity:.85", x1, y1, x2, y2, "stroke-width": 2.4, "marker-end": "url(#arrow)", ...(items ? { "data-ends": `${source} ${reader}` } : {}) }, layer), words);
    if (still) continue;
    const dot = draw("circle", { r: 4, fill: PALETTE[5] }, layer);
    draw("animateMotion", { dur: "0.8s", repeatCount: "indefinite", path: `M${x1} ${y1}L${x2} ${y2}` }, dot);
  }
}

function slotChart(host, body, state, items, { first, last, turns }) {
  // elements against cycles: the first iterations, the repeating window between dashed lines
  host.replaceChildren();
  const used = [...new Set(body.items.map(item => item.pe))].sort((a, b) => a - b);
  const cycles = last + 1 + (turns - 1) * body.ii, w = 26, h = 17, left = 46, high = used.length * h + 8;
  const root = draw("svg", { viewBox: `0 0 ${left + cycles * w + 6} ${high}`, style: `max-width:${left + cycles * w + 6}px` }, html("div", { class: "figure" }, host));
  used.forEach((pe, row) => draw("text", { x: left - 6, y: row * h + 14, "text-anchor": "end", "font-size": 10, class: "note" }, root, `PE ${pe}`));
  for (let turn = 0; turn < turns; turn++) body.items.forEach((item, number) => {
    const t = item.t - first + turn * body.ii, x = left + t * w, y = used.indexOf(item.pe) * h + 3, colour = PALETTE[[0, 4, 2, 3][turn % 4]];
    const group = tipped(draw("g", items ? { "data-op": number } : {}, root), `${item.n} ${item.op}, iteration ${turn}, cycle ${t}`);
    draw("rect", { x, y, width: w - 1.5, height: h - 2, rx: 2, fill: item.move ? PALETTE[1] : colour }, group);
    draw("text", { x: x + w / 2 - 1, y: y + 11, "text-anchor": "middle", "font-size": 9, class: item.move ? "ondark" : textOn(colour) }, group, item.n);
  });
  const window0 = Math.floor(last / body.ii) * body.ii;
  for (const t of [window0, window0 + body.ii]) draw("line", { class: "wire", style: "opacity:.8", x1: left + t * w - 0.7, x2: left + t * w - 0.7, y1: 0, y2: high, "stroke-dasharray": "4 3", "stroke-width": 1.2 }, root);
  const now = state.mode === "start" ? state.at : window0 + ((state.at - first - window0) % body.ii + body.ii) % body.ii;
  draw("rect", { x: left + now * w - 0.7, y: 0, width: w, height: high, fill: "none", stroke: PALETTE[5], "stroke-width": 1.6, "pointer-events": "none" }, root);
  html("p", { class: "soft" }, host, `Cycles run from left to right. A new iteration starts every ${body.ii} and has its own colour; between the dashed lines the pattern repeats.`);
}

// -- rows ---------------------------------------------------------------------------------------------------------------

const ROW = { left: 36, unit: 196, high: 46, lmm: 84 };
const SLOTS = { exe: [0, 0, "arithmetic"], cex: [1, 3, "condition"], mop1: [2, 2, "load"], mop0: [3, 5, "load or store"] };

function rowView(host, body, items) {
  const wide = ROW.left + body.columns * ROW.unit + ROW.lmm, high = body.rows * ROW.high + 24;
  const drawing = picture(host, "rows of the array", wide, high, { most: items ? 760 : 420, scale: 1 });
  const { layer, tools } = drawing;
  for (const [, colour, words] of Object.values(SLOTS)) legend(tools, PALETTE[colour], words);
  legend(tools, "var(--soft)", "constant from the host");
  draw("text", { x: ROW.left + body.columns * ROW.unit + 4, y: 12, "font-size": 10, class: "note" }, layer, "local memory");
  for (let row = 0; row < body.rows; row++) rowFrame(layer, body, row);
  const routes = draw("g", {}, layer);
  body.items.forEach((item, number) => rowOp(layer, item, number, items));
  for (const value of body.values) rowValue(routes, body, value, items);
}

function rowFrame(layer, body, row) {
  const y = 20 + row * ROW.high;
  draw("text", { x: ROW.left - 8, y: y + 18, "text-anchor": "end", "font-size": 12, class: "note" }, layer, String(row));
  for (let col = 0; col < body.columns; col++) {
    tipped(draw("rect", { class: "cell", x: ROW.left + col * ROW.unit, y, width: ROW.unit - 10, height: ROW.high - 16, rx: 3 }, layer), `row ${row}, unit ${col}`);
  }
  const held = new Set(body.items.filter(item => item.row === row && item.region !== null).map(item => item.region));
  const x = ROW.left + body.columns * ROW.unit + 4, wide = ROW.lmm - 14;
  if (!held.size) return;
  draw("rect", { class: "cell", x, y: y + 4, width: wide, height: 14 }, layer);
  let start = x;
  for (const region of held) {
    const [, words, share, tensor] = body.regions.find(entry => entry[0] === region) || [region, null, null, null];
    const part = (share === null ? 0.04 : Math.min(share, 1)) * wide;
    const known = share === null ? "size not known before run time" : `${(share * 100).toFixed(1)} % of a row's local memory`;
    tipped(draw("rect", { x: start, y: y + 4, width: Math.max(part, 2), height: 14, fill: PALETTE[region % 8], opacity: share === null ? 0.5 : 1 }, layer), `row ${row}: region ${region}${tensor ? ` (${tensor})` : ""}\n${words === null ? "" : `${words} words, `}${known}`);
    start += Math.max(part, 2) + 1;
  }
}

function rowOp(layer, item, number, items) {
  const [slot, colour] = SLOTS[item.slot] || SLOTS.exe, wide = (ROW.unit - 10) / 4;
  const x = ROW.left + item.col * ROW.unit + slot * wide, y = 20 + item.row * ROW.high;
  const group = tipped(own(draw("g", {}, layer), items, number, `${item.n} ${item.op}`), `${item.n}: ${item.op}\nrow ${item.row}, unit ${item.col}, ${item.slot}${item.region === null ? "" : `\nmemory region ${item.region}`}`);
  draw("rect", { x: x + 1.5, y: y + 1.5, width: wide - 3, height: ROW.high - 19, rx: 3, fill: PALETTE[colour] }, group);
  draw("text", { class: "onfill", x: x + wide / 2, y: y + 13, "text-anchor": "middle", "font-size": 11, "font-weight": 600 }, group, item.n);
  draw("text", { class: "onfill", x: x + wide / 2, y: y + 24, "text-anchor": "middle", "font-size": 8 }, group, item.op.slice(0, 9));
}

function rowValue(parent, body, value, items) {
  // the registers that hold one value, joined from row to row
  const place = ([row, col, index]) => [ROW.left + col * ROW.unit + 16 + index * (ROW.unit - 42) / 3, 20 + row * ROW.high + ROW.high - 9];
  const rows = new Map();
  for (const at of value.at) if (at[0] < body.rows) rows.set(at[0], [...(rows.get(at[0]) || []), at]);
  const readers = body.reads.filter(([source]) => source === value.from).map(([, reader]) => reader);
  const ends = value.from >= 0 && items ? { "data-ends": [value.from, ...readers].join(" ") } : {}, constant = value.from < 0;
  const words = constant ? `host constant ${value.v.slice(1)}` : `value of ${value.v}`;
  for (const [row, places] of rows) for (const at of places) {
    const [x, y] = place(at), above = (rows.get(row - 1) || [])[0];
    if (above) {
      const [x0, y0] = place(above);
      tipped(draw("path", { class: "wire", d: `M${x0} ${y0}C${x0} ${y0 + 22} ${x} ${y - 22} ${x} ${y}`, "stroke-width": constant ? 0.8 : 1.6, ...ends }, parent), words);
    }
    tipped(draw("circle", { cx: x, cy: y, r: constant ? 2.4 : 3.4, fill: constant ? "var(--soft)" : "var(--ink)", class: "register", ...ends }, parent), `${words}\nregister ${at[2]} of row ${at[0]}, unit ${at[1]}`);
  }
  const item = value.from >= 0 ? body.items[value.from] : null, below = item && rows.get(item.row);
  if (below) {
    const slot = (SLOTS[item.slot] || SLOTS.exe)[0], wide = (ROW.unit - 10) / 4;
    const x0 = ROW.left + item.col * ROW.unit + (slot + 0.5) * wide, y0 = 20 + item.row * ROW.high + ROW.high - 18, [x, y] = place(below[0]);
    draw("path", { class: "wire", d: `M${x0} ${y0}L${x} ${y}`, "stroke-width": 1.6, ...ends }, parent);
  }
}
