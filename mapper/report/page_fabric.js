// Floorplans and timelines.

function floor(host, plan) {
  const drawing = picture(host, "floorplan", plan.columns, plan.rows, { most: 720 });
  const { layer, tools } = drawing;
  const unit = Math.max(plan.rows, plan.columns);
  draw("rect", { class: "cell", width: plan.columns, height: plan.rows, "stroke-width": unit / 600 }, layer);
  const areas = draw("g", {}, layer), heat = draw("g", { style: "display:none" }, layer), lines = draw("g", {}, layer), labels = draw("g", { "pointer-events": "none" }, layer);
  const boxes = plan.areas.map(area => floorArea(areas, labels, area, plan));
  for (const [row, column] of plan.dead) {
    tipped(draw("rect", { class: "dead", x: column, y: row, width: 1, height: 1, "stroke-width": 0.1 }, layer), `dead core ${row}, ${column}`);
  }
  if (plan.heat) floorHeat(heat, plan.heat);
  for (const route of plan.routes) floorRoute(lines, route, unit);
  for (const [source, target] of plan.wires || []) floorWire(lines, plan, source, target, unit);
  floorTools(tools, plan, boxes, { areas, heat, lines });
  floorHome(drawing, plan);
}

function floorArea(parent, labels, area, plan) {
  const item = DATA.items[area.i];
  const tip = [item.n, `${area.w} x ${area.h} at row ${area.r}, column ${area.c}`,
    ...plan.overlays.map(([label, unit], i) => `${label}: ${worded(area.v[i], unit)}`)].join("\n");
  const group = tipped(pickable(draw("g", {}, parent), area.i, `${item.n}, ${item.t}`), tip);
  const box = draw("rect", { x: area.c, y: area.r, width: area.w, height: area.h, stroke: "#444", "stroke-width": 0.5, "vector-effect": "non-scaling-stroke" }, group);
  const name = floorRole(item.n, item.t), upright = area.h <= area.w * 1.6;
  const long = upright ? area.w : area.h, short = upright ? area.h : area.w;
  const size = Math.min(short * 0.5, long * 1.55 / Math.max(name.length, 3), Math.max(plan.rows, plan.columns) / 28);
  const x = area.c + area.w / 2, y = area.r + area.h / 2;
  const label = draw("g", { class: "ondark", "text-anchor": "middle" }, labels);
  const time = worded(area.v[0], plan.overlays[0][1]), small = Math.min(size * 0.6, long * 1.5 / time.length);
  const two = size + 1.3 * small < short;
  draw("text", { x, y: two ? y : y + size * 0.35, "font-size": +size.toFixed(3) }, label, name);
  if (two) draw("text", { x, y: y + small * 1.3, "font-size": +small.toFixed(3) }, label, time);
  if (!upright) label.setAttribute("transform", `rotate(-90 ${x} ${y})`);
  return { box, label, area };
}

/* What tells an operator from its neighbours: the last part of its path that is not its type (query/MatMul). */
function floorRole(name, type) {
  const parts = name.split("/").filter(Boolean), bare = part => part.toLowerCase().replace(/[_0-9]+$/, "");
  return parts.filter(part => bare(part) !== String(type).toLowerCase()).pop() || parts.pop() || name;
}

function floorHeat(parent, heat) {
  const peak = Math.max(...heat.cells.map(cell => cell[2]), 1);
  for (const [row, column, bytes] of heat.cells) {
    const cell = draw("rect", { x: column * heat.side, y: row * heat.side, width: heat.side, height: heat.side, fill: ramp(bytes / peak) }, parent);
    tipped(cell, `busiest link here: ${quantity(bytes, "B")} per inference`);
  }
}

function floorRoute(parent, route, unit) {
  const wide = Math.max(route.n, unit / 700), half = (route.n - 1) / 2;
  const path = route.l.map(([r1, c1, r2, c2]) => {
    const x = half * route.s[1] + 0.5, y = half * route.s[0] + 0.5;
    return `M${c1 + x} ${r1 + y}L${c2 + x} ${r2 + y}`;
  }).join("");
  const ends = [route.from, ...route.to].filter(i => i >= 0);
  const line = draw("path", { class: "route", d: path, stroke: PALETTE[[0, 2, 3][route.k % 3]], "stroke-width": wide, "data-ends": ends.join(" "),
    "stroke-opacity": route.n > 2 ? 0.45 : 1 }, parent);
  const names = route.to.map(i => DATA.items[i].n).join(", ");
  tipped(line, `${route.t}\n${route.from >= 0 ? DATA.items[route.from].n : "edge"} to ${names || "edge"}\n${quantity(route.b, "B")}, ${route.n} links side by side, colour ${route.k}`);
}

function floorWire(parent, plan, source, target, unit) {
  const [a, b] = [plan.areas[source], plan.areas[target]];
  const middle = p => [p.c + p.w / 2, p.r + p.h / 2];
  const [[x1, y1], [x2, y2]] = [middle(a), middle(b)];
  const line = draw("line", { class: "wire", x1, y1, x2, y2, "stroke-width": unit / 350, "marker-end": "url(#arrow)", "data-ends": `${source} ${target}` }, parent);
  tipped(line, `${DATA.items[source].n} to ${DATA.items[target].n}`);
}

function floorTools(tools, plan, boxes, layers) {
  const label = html("label", {}, tools, "Colour ");
  const select = html("select", { id: "overlay" }, label);
  plan.overlays.forEach(([name], i) => html("option", { value: i }, select, name));
  if (plan.heat && plan.heat.cells.length) html("option", { value: "heat" }, select, "link load");
  const scale = html("span", { class: "legend" }, tools);
  const low = html("span", {}, scale), bar = html("span", { class: "ramp" }, scale), high = html("span", {}, scale);
  bar.style.background = rampCss();
  const paint = () => {
    const hot = select.value === "heat";
    layers.heat.style.display = hot ? "" : "none";
    layers.lines.style.display = hot || !routes.checked ? "none" : "";
    const which = hot ? 0 : +select.value, top = hot ? Math.max(...plan.heat.cells.map(c => c[2])) : Math.max(...plan.areas.map(a => a.v[which]), 1e-30);
    for (const { box, label: text, area } of boxes) {
      const share = area.v[which] / top;
      box.setAttribute("fill", hot ? "var(--cell)" : ramp(share));
      text.setAttribute("class", hot ? "note" : share > 0.7 ? "onfill" : "ondark");
    }
    low.textContent = "0";
    high.textContent = hot ? quantity(top, "B") : worded(top, plan.overlays[which][1]);
  };
  const toggle = html("label", {}, tools), routes = html("input", { type: "checkbox", id: "routes" }, toggle);
  routes.checked = true;
  toggle.append(plan.wires ? " wires" : " routes");
  select.addEventListener("change", paint);
  routes.addEventListener("change", paint);
  paint();
}

function floorHome(drawing, plan) {
  const right = Math.max(...plan.areas.map(a => a.c + a.w), 1), low = Math.max(...plan.areas.map(a => a.r + a.h), 1);
  if (right * low > plan.rows * plan.columns / 3) return;
  const pad = Math.max(right, low) * 0.03;
  drawing.view.home = [-pad, -pad, right + 2 * pad, low + 2 * pad];
  drawing.show(drawing.view.home);
  button(drawing.tools, "Whole fabric", "show the whole fabric", () => drawing.show(drawing.view.full));
}

// -- timeline: one band per resource, lanes inside a band; zoom is along time only --------------------------------------

const BAND = { left: 84, width: 1000, gap: 14, lane: 9, least: 26 };

function timeline(host, plan) {
  const tools = html("div", { class: "tools" }, host), figure = html("div", { class: "figure" }, host);
  const deep = Math.max(BAND.least, plan.lanes * BAND.lane), height = 34 + plan.resources.length * (deep + BAND.gap);
  const root = draw("svg", { role: "group", "aria-label": "timeline", tabindex: "0", viewBox: `0 0 ${BAND.left + BAND.width + 10} ${height}` }, figure);
  const total = plan.total || 1, span = { from: 0, wide: total };
  const show = (from, wide) => {
    span.wide = Math.min(total, Math.max(wide, total / 5000));
    span.from = Math.max(0, Math.min(total - span.wide, from));
    timeBars(root, plan, span, deep, height);
  };
  const zoom = (factor, at = 0.5) => show(span.from + span.wide * at * (1 - factor), span.wide * factor);
  const pan = share => show(span.from + span.wide * share, span.wide);
  button(tools, "+", "zoom in", () => zoom(0.5));
  button(tools, "\u2212", "zoom out", () => zoom(2));
  button(tools, "\u2190", "earlier", () => pan(-0.3));
  button(tools, "\u2192", "later", () => pan(0.3));
  button(tools, "Fit", "fit", () => show(0, total));
  plan.phases.forEach((name, i) => legend(tools, PALETTE[i % PALETTE.length], name));
  root.addEventListener("wheel", e => {
    if (!e.ctrlKey && !e.metaKey && document.activeElement !== root) return;
    e.preventDefault();
    const frame = root.getBoundingClientRect(), at = ((e.clientX - frame.left) / frame.width * (BAND.left + BAND.width + 10) - BAND.left) / BAND.width;
    zoom(e.deltaY > 0 ? 1.2 : 1 / 1.2, Math.min(Math.max(at, 0), 1));
  }, { passive: false });
  root.addEventListener("keydown", e => {
    const act = { ArrowLeft: () => pan(-0.1), ArrowRight: () => pan(0.1), "+": () => zoom(0.5), "-": () => zoom(2) }[e.key];
    if (act) { e.preventDefault(); act(); }
  });
  show(0, total);
  const panel = html("div", {}, host);
  chosen.watchers.push(item => {
    const bar = plan.bars.find(b => b.i === item);
    if (bar && (bar.t + bar.d < span.from || bar.t > span.from + span.wide)) show(bar.t + bar.d / 2 - span.wide / 2, span.wide);
    stagePanel(panel, item);
  });
  stagePanel(panel, -1);
}

function timeBars(root, plan, span, deep, height) {
  root.replaceChildren();
  const scale = BAND.width / span.wide, x = t => BAND.left + (t - span.from) * scale;
  plan.resources.forEach((name, i) => {
    const y = 8 + i * (deep + BAND.gap);
    draw("text", { x: BAND.left - 8, y: y + deep / 2 + 4, "text-anchor": "end", "font-size": 12 }, root, name);
    draw("rect", { class: "band", x: BAND.left, y, width: BAND.width, height: deep }, root);
  });
  const clip = draw("clipPath", { id: "span" }, root);
  draw("rect", { x: BAND.left, y: 0, width: BAND.width, height }, clip);
  const all = draw("g", { "clip-path": "url(#span)" }, root);
  for (const bar of plan.bars) {
    if (bar.t > span.from + span.wide || bar.t + bar.d < span.from) continue;
    const item = DATA.items[bar.i], group = pickable(draw("g", {}, all), bar.i, `${item.n}, ${item.t}`);
    for (const [resource, phase, start, cycles, times] of bar.p) {
      const wide = cycles * scale;
      if (wide < 0.15) continue;
      const lane = deep / plan.lanes, y = 8 + resource * (deep + BAND.gap) + bar.lane * lane;
      const box = draw("rect", { x: x(start), y, width: wide, height: lane * bar.lanes, fill: PALETTE[phase % PALETTE.length], stroke: "var(--ground)", "stroke-width": wide > 3 ? 0.5 : 0 }, group);
      const lanes = bar.lanes > 1 ? `lanes ${bar.lane}-${bar.lane + bar.lanes - 1}` : `lane ${bar.lane}`;
      tipped(box, `${item.n}\n${plan.phases[phase]} on ${plan.resources[resource]}, ${lanes}\n${cycles.toLocaleString("en")} cycles${times > 1 ? ` in ${times.toLocaleString("en")} pieces` : ""} from ${start.toLocaleString("en")}`);
    }
  }
  for (let i = 0; i <= 4; i++) {
    const t = span.from + span.wide * i / 4;
    draw("text", { x: x(t), y: height - 6, "font-size": 11, class: "note", "text-anchor": i === 4 ? "end" : i ? "middle" : "start" }, root, `${Math.round(t).toLocaleString("en")}${i === 4 ? " cycles" : ""}`);
  }
  mark(root);
}

// -- what one stage holds: its rectangle, its memory, its loops, its loop bodies ----------------------------------------

function stagePanel(host, item) {
  host.replaceChildren();
  const busiest = DATA.items.map((entry, i) => [entry.s ? DATA.graph.cost[i] : -1, i]).sort((a, b) => b[0] - a[0])[0];
  const shown = item >= 0 && DATA.items[item].s ? item : busiest && busiest[0] >= 0 ? busiest[1] : -1;
  if (shown < 0) return;
  const stage = DATA.items[shown].s;
  html("h3", {}, host, `${DATA.items[shown].n}${shown === item ? "" : " (costs most; choose another above)"}`);
  const panels = html("div", { class: "panels" }, host);
  stageArray(html("div", {}, panels), stage);
  stageMemory(html("div", {}, panels), stage);
  stageLoops(html("div", {}, panels), stage);
  stage.bodies.forEach((number, i) => {
    const part = html("div", {}, host);
    html("h3", {}, part, i ? "Loop body that finishes the outputs" : "Loop body, once per iteration");
    drawBody(part, DATA.bodies[number], false);
  });
}

function stageArray(host, stage) {
  const [row, column, height, width, lane, lanes] = stage.rect, plan = DATA.fabric, across = plan.rows > 2 * plan.columns;
  html("h3", {}, host, "Elements it holds");
  const most = 360 / (across ? plan.rows : plan.columns), cell = Math.min(most, 26);
  const [wide, high] = across ? [plan.rows, plan.columns] : [plan.columns, plan.rows];
  const root = draw("svg", { viewBox: `0 0 ${wide * cell + 2} ${high * cell + 2}`, style: `max-width:${wide * cell}px` }, html("div", { class: "figure" }, host));
  for (let r = 0; r < plan.rows; r++) for (let c = 0; c < plan.columns; c++) {
    const inside = r >= row && r < row + height && c >= column && c < column + width;
    const [x, y] = across ? [r, c] : [c, r];
    tipped(draw("rect", { x: x * cell + 1, y: y * cell + 1, width: cell - 1, height: cell - 1, class: "cell", ...(inside ? { style: `fill:${PALETTE[0]}` } : {}) }, root), `row ${r}, column ${c}${inside ? "" : ": idle"}`);
  }
  const words = lanes > 1 || lane ? `, the same in lanes ${lane} to ${lane + lanes - 1}` : "";
  html("p", { class: "soft" }, host, `rows ${row} to ${row + height - 1}${across ? " (left to right)" : ""}, columns ${column} to ${column + width - 1}${words}; started ${stage.launches.toLocaleString("en")} times, ${quantity(stage.configuration, "B")} of configuration`);
}

function stageMemory(host, stage) {
  html("h3", {}, host, "What lies in memory");
  for (const [name, capacity] of DATA.memories) {
    const held = stage.buffers.filter(b => b[1] === name);
    if (!held.length) continue;
    const used = held.reduce((sum, b) => sum + b[3] * b[4], 0);
    html("p", {}, host, `${name}: ${quantity(used, "B")} of ${quantity(capacity, "B")} (${(used / capacity * 100).toFixed(1)} %) in each instance`);
    const last = Math.max(...held.map(b => b[2] + b[3] * b[4])), full = used / capacity < 0.08 ? last : capacity;
    const root = draw("svg", { viewBox: "0 0 400 22", preserveAspectRatio: "none", style: "height:22px" }, html("div", { class: "figure" }, host));
    draw("rect", { class: "band", width: 400, height: 22 }, root);
    held.forEach(([tensor, , address, bytes, copies, resident], i) => {
      const box = draw("rect", { x: address / full * 400, y: 1, width: Math.max(bytes * copies / full * 400, 0.8), height: 20, fill: PALETTE[i % PALETTE.length] }, root);
      tipped(box, `${tensor}\n${bytes.toLocaleString("en")} B${copies > 1 ? ` x ${copies} (double-buffered)` : ""} at address ${address}${resident ? "\nstays between inferences" : ""}`);
    });
    if (full < capacity) html("p", { class: "soft" }, host, `drawn: the first ${quantity(last, "B")}`);
    held.forEach(([tensor, , , bytes, copies], i) => { legend(host, PALETTE[i % PALETTE.length], `${tensor} ${quantity(bytes * copies, "B")} `); });
  }
}

function stageLoops(host, stage) {
  html("h3", {}, host, "Loops, outermost first");
  const body = html("tbody", {}, html("table", {}, host));
  for (const [loop, trips, step, axis] of stage.loops) {
    const row = html("tr", {}, body);
    html("td", {}, row, loop);
    html("td", { class: "n" }, row, `${trips.toLocaleString("en")} x ${step.toLocaleString("en")}`);
    html("td", { class: axis ? "" : "soft" }, row, axis ? `side by side along ${axis}` : "one after the other");
  }
}
