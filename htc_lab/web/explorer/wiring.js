// Wiring: the model itself is the scrubber's scale. An idea that is off takes its wires away.

import { s, setAttribute, setText } from '../common/elements.js';
import { currentBits } from './lookups.js';
import { mayBeSemantic, pathAt, semanticEnd, tapAt, wiresOf } from './wires.js';
import { titleOf } from './words.js';

const QUIET = 0.28;

export function showWiring(view) {
  const { ui, state, pack, wide, hide, hotIdea } = view, bits = currentBits(view), w = view.widths.wiring;
  const key = [w, bits, state.stage, hotIdea, wide, view.lowScreen.matches, hide.join()].join('|');
  if (!w || key === view.wired) return;
  view.wired = key;
  const places = placesOf(view), wires = wiresOf(view, bits);
  const { yB, yR, nh, low } = places, semantic = wires.some(wire => wire.source === 'semantic');
  const top = semantic ? 0 : yB - nh / 2 - 8, height = yR + (low ? 5 : 8) - top;
  // A switch may bring the semantic row: the picture leaves it its place.
  view.spare = mayBeSemantic(view) ? top : 0;
  const marker = `arrow-${view.serial}`;
  setAttribute(ui.wires, 'viewBox', `0 ${top} ${w} ${height}`);
  setAttribute(ui.wires, 'height', height);
  ui.wires.replaceChildren(arrowHead(marker), ...drawWires(view, places, wires, marker), ...drawNodes(view, places, semantic));
  const told = [...new Set(wires.map(wire => wire.words))];
  setAttribute(ui.wires, 'aria-label', `Wiring, ${titleOf(pack, bits)}: ${told.join('; ')}`);
  placeScrubber(ui, places);
}

// Rows from top to bottom: semantic branch, box heads, mask heads, the line that gathers the masks. Columns: the
// proposals, the stages, the mean.
function placesOf({ wide, lowScreen, widths, pack }) {
  const w = widths.wiring, low = lowScreen.matches;
  const pad = Math.min(56, w * 0.09), across = (w - 2 * pad) / pack.last;
  const nw = Math.min(wide ? 72 : 64, across - 26), nh = wide ? 28 : low ? 20 : 24;
  const yS = low ? 10 : 14, yB = yS + (low ? 25 : 32), yM = yB + (wide ? 50 : low ? 32 : 46), yR = yM + nh / 2 + (low ? 8 : 12);
  return { w, low, pad, x: k => pad + k * across, nw, nh, yS, yB, yM, yR };
}

const arrowHead = id => s('defs', {}, s('marker', {
  id, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: 'userSpaceOnUse', orient: 'auto',
}, s('path', { d: 'M0 .6 8 4 0 7.4z', fill: 'var(--ink)' })));

function drawWires(view, places, wires, marker) {
  const { state, hotIdea, pack } = view, { last } = pack, { x, nw, nh, yS, yB, yM, yR } = places;
  const lines = [];
  const draw = (d, stage, { hot = false, arrow = true, over = false } = {}) => {
    if (over) lines.push(s('path', { d, fill: 'none', stroke: 'var(--bg)', 'stroke-width': 6 }));
    lines.push(s('path', {
      d, fill: 'none', stroke: 'var(--ink)', 'stroke-width': hot ? 2.8 : 1.3, opacity: stage <= state.stage ? 1 : QUIET,
      'marker-end': arrow ? `url(#${marker})` : null,
    }));
  };
  const flows = t => wires.some(wire => wire.source === 'mask_before' && wire.target === 'mask' && t >= wire.first_stage);
  const drawIdeas = (which, t) => {
    for (const wire of which) {
      const d = pathAt(wire, places, t, flows(t)), tap = tapAt(wire, places, t);
      if (d === null) continue;
      draw(d, t, { hot: wire.idea === hotIdea });
      if (tap !== null) {
        lines.push(s('circle', { cx: tap, cy: yB, r: 2.6, fill: 'var(--ink)', opacity: t <= state.stage ? 1 : QUIET }));
      }
    }
  };
  const semantic = wires.filter(wire => wire.source === 'semantic');
  if (semantic.length) {
    const end = Math.max(...semantic.map(wire => semanticEnd(wire, places, last - 1)));
    draw(`M${x(0) + 38} ${yS}H${end}`, 1, { arrow: false });
  }
  // What comes down from the semantic branch to a mask head passes under the line of boxes.
  const under = semantic.filter(wire => wire.target === 'mask'), rest = wires.filter(wire => !under.includes(wire));
  for (let t = 1; t < last; t++) {
    drawIdeas(under, t);
    draw(`M${x(t - 1) + nw / 2 + 1} ${yB}H${x(t) - nw / 2 - 1}`, t, { over: true });
    drawIdeas(rest, t);
    draw(`M${x(t)} ${yM + nh / 2}V${yR}`, last, { arrow: false });
  }
  draw(`M${x(1)} ${yR}H${x(last)}V${yM + nh / 2 + 1}`, last);
  draw(`M${x(last - 1) + nw / 2 + 1} ${yB}H${x(last)}V${yM - nh / 2 - 1}`, last, { over: true });
  return lines;
}

function drawNodes({ state, pack }, { x, nw, nh, yS, yB, yM }, semantic) {
  const nodes = [], { last } = pack;
  const draw = (k, y, text) => {
    const now = k === state.stage, done = k <= state.stage;
    nodes.push(
      s('rect', {
        x: x(k) - nw / 2, y: y - nh / 2, width: nw, height: nh, rx: 4, fill: now ? 'var(--ink)' : 'var(--bg)',
        stroke: done ? 'var(--ink)' : 'var(--edge)', 'stroke-width': 1.3,
      }),
      s('text', {
        x: x(k), y: y + 4.3, 'text-anchor': 'middle', fill: now ? 'var(--bg)' : done ? 'var(--ink)' : 'var(--ink2)',
      }, text));
  };
  const [box, mask] = nw > 50 ? ['Box ', 'Mask '] : ['B', 'M'];
  draw(0, yB, 'RPN');
  for (let t = 1; t < last; t++) {
    draw(t, yB, `${box}${t}`);
    draw(t, yM, `${mask}${t}`);
  }
  draw(last, yM, 'Mean');
  if (semantic) nodes.push(s('text', { x: x(0) - nw / 2, y: yS + 4.3, fill: 'var(--ink)' }, 'Semantic'));
  return nodes;
}

function placeScrubber(ui, { w, pad, x }) {
  ui.scrubber.style.left = `${pad - 11}px`;
  ui.scrubber.style.width = `${w - 2 * pad + 22}px`;
  ui.stops.forEach(([tick, stop], stage) => {
    tick.style.left = stop.style.left = `${x(stage)}px`;
    setText(stop, w < 460 ? ui.short[stage] : ui.names[stage]);
  });
}
