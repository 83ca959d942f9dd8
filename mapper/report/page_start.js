// Puts the parts together once everything above is defined.

const markers = draw("svg", { width: 0, height: 0, style: "position:absolute", "aria-hidden": "true" }, document.body);
const arrow = draw("marker", { id: "arrow", viewBox: "0 0 6 6", refX: 5, refY: 3, markerWidth: 4.5, markerHeight: 4.5, orient: "auto" }, draw("defs", {}, markers));
draw("path", { d: "M0,0L6,3L0,6z", fill: "context-stroke" }, arrow);

const fabricHost = document.getElementById("fabric-view");
({ floor, time: timeline, slots: drawBody, rows: drawBody })[DATA.fabric.kind](fabricHost, DATA.fabric, true);
graphView(document.getElementById("graph-view"), DATA.graph);
table();
listen();
