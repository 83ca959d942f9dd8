// The graph in layers from left to right; long graphs as a row of blocks, of which one is open.

const NODE = { wide: 128, high: 34, right: 44, down: 14 };

function graphView(host, graph) {
  const many = graph.blocks.length > 1, top = Math.max(...graph.cost, 1e-30);
  const strip = many ? html("div", { class: "blocks", role: "group", "aria-label": "blocks" }, host) : null;
  const place = html("div", {}, host), state = { block: -1 };
  const buttons = [];
  const open = block => {
    if (block === state.block) return;
    state.block = block;
    place.replaceChildren();
    graphBlock(place, graph, block, top);
    buttons.forEach((node, i) => node.setAttribute("aria-pressed", i === block));
    mark(place);
  };
  if (many) {
    const sums = graph.blocks.map((_, block) => graph.at.reduce((sum, at, i) => sum + (at[0] === block ? graph.cost[i] : 0), 0));
    const most = Math.max(...sums, 1e-30), total = sums.reduce((a, b) => a + b, 0) || 1;
    graph.blocks.forEach((name, block) => {
      const node = button(strip, name, `open ${name}`, () => open(block));
      node.style.borderLeftColor = ramp(sums[block] / most);
      tipped(node, `${name}\n${graph.at.filter(at => at[0] === block).length} operators, ${worded(sums[block], graph.unit)} (${(sums[block] / total * 100).toFixed(1)} %)`);
      buttons.push(node);
    });
  }
  chosen.watchers.push(item => {
    buttons.forEach((node, i) => node.classList.toggle("holds", item >= 0 && graph.at[item][0] === i));
    if (item >= 0) open(graph.at[item][0]);
  });
  open(0);
}

function graphBlock(host, graph, block, top) {
  const members = graph.at.map((at, i) => [at, i]).filter(([at]) => at[0] === block);
  const depth = [];
  for (const [[, layer, slot]] of members) depth[layer] = Math.max(depth[layer] || 1, slot + 1);
  // a long thin graph is broken into lines, like text; a bushy one stays in one piece
  const thin = Math.max(...depth) <= 4 || depth.length > 24;
  const perLine = thin ? Math.min(depth.length, Math.max(7, Math.ceil(Math.sqrt(depth.length * 2)))) : depth.length;
  const lines = [];
  depth.forEach((count, layer) => { const n = Math.floor(layer / perLine); lines[n] = Math.max(lines[n] || 1, count); });
  const tops = lines.map((_, n) => 12 + lines.slice(0, n).reduce((sum, count) => sum + count * (NODE.high + NODE.down) + 20, 0));
  const wide = perLine * (NODE.wide + NODE.right) + 24, high = tops[lines.length - 1] + lines[lines.length - 1] * (NODE.high + NODE.down) + 8;
  const xy = new Map(members.map(([[, layer, slot], i]) => {
    const line = Math.floor(layer / perLine), slack = (lines[line] - depth[layer]) * (NODE.high + NODE.down) / 2;
    return [i, [24 + (layer % perLine) * (NODE.wide + NODE.right), tops[line] + slack + slot * (NODE.high + NODE.down), line]];
  }));
  const drawing = picture(host, "graph of operators", wide, high, { most: 620, scale: 1.05 });
  for (const [source, target, distance, bytes] of graph.arrows) graphArrow(drawing.layer, xy, tops, source, target, distance, bytes);
  for (const [, i] of members) graphNode(drawing.layer, graph, i, xy.get(i), top);
  if (graph.unit) {
    const scale = html("span", { class: "legend" }, drawing.tools);
    html("span", {}, scale, "0");
    html("span", { class: "ramp", style: `background:${rampCss()}` }, scale);
    html("span", {}, scale, worded(top, graph.unit));
  }
}

function graphArrow(layer, xy, tops, source, target, distance, bytes) {
  const a = xy.get(source), b = xy.get(target);
  if (!a || !b) return;
  const [x1, y1, x2, y2] = [a[0] + NODE.wide, a[1] + NODE.high / 2, b[0] - 3, b[1] + NODE.high / 2];
  const bend = Math.min(Math.max(18, Math.abs(x2 - x1) / 2.5), 90), gutter = tops[b[2]] - 12;
  const curve = x2 > x1 || a[2] === b[2] ? `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}` : `M${x1} ${y1}h14V${gutter}H${x2 - 14}V${y2}H${x2}`;
  const path = draw("path", { class: "wire", d: curve, "stroke-width": 1.3, "marker-end": "url(#arrow)", "data-ends": `${source} ${target}` }, layer);
  if (distance) path.setAttribute("stroke-dasharray", "4 3");
  tipped(path, `${DATA.items[source].n} to ${DATA.items[target].n}${distance ? `, ${distance} iteration${distance > 1 ? "s" : ""} later` : ""}${bytes ? `\n${quantity(bytes, "B")}` : ""}`);
}

function graphNode(layer, graph, number, [x, y], top) {
  const item = DATA.items[number], share = graph.cost[number] / top;
  const group = pickable(draw("g", {}, layer), number, `${item.n}, ${item.t}`);
  tipped(group, [item.n, item.t, graph.unit ? worded(graph.cost[number], graph.unit) : ""].filter(Boolean).join("\n"));
  draw("rect", { x, y, width: NODE.wide, height: NODE.high, rx: 4, fill: graph.unit ? ramp(share) : PALETTE[4], stroke: "#555", "stroke-width": 0.6 }, group);
  const ink = graph.unit && share > 0.7 ? "onfill" : "ondark", cut = words => words.length > 20 ? `\u2026${words.slice(-19)}` : words;
  draw("text", { class: ink, x: x + 7, y: y + 14, "font-size": 11.5, "font-weight": 600 }, group, item.t.slice(0, 16));
  draw("text", { class: ink, x: x + 7, y: y + 27, "font-size": 10 }, group, cut(item.n));
}
