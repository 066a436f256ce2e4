// IoU with the truth over the stages, and without a truth the score; of a lost object, of the RoI that came nearest.

import { s, setAttribute, setHidden, setText } from '../common/elements.js';
import { two } from '../common/format.js';
import { boxIou, colourOf, maskIou, scoreAt } from './lookups.js';

// The empty chart: 0 to 1 upwards, the stages across.
function frameOf({ widths, pack }) {
  const w = widths.panel, tall = widths.chart, lane = w / (pack.last + 1);
  const y = value => tall - 12 - (tall - 26) * value, x = stage => lane * (stage + 0.5), nodes = [];
  for (const level of [0, 0.5, 1]) {
    nodes.push(s('path', { d: `M30 ${y(level)}H${w}`, stroke: 'var(--rule)' }),
      s('text', { x: 0, y: y(level) + 4, fill: 'var(--ink2)' }, level === 0.5 ? '.50' : String(level)));
  }
  return { w, tall, x, y, nodes };
}
function finish({ ui }, { w, tall, nodes }, label) {
  setAttribute(ui.chart, 'viewBox', `0 0 ${w} ${tall}`);
  setAttribute(ui.chart, 'aria-label', label);
  ui.chart.replaceChildren(...nodes);
}
const dot = (x, y, more) => s('circle', { cx: x, cy: y, 'stroke-width': 1.6, ...more });
const point = (view, x, y, stage, thing) => dot(x, y,
  { r: stage === view.state.stage ? 5.5 : 4, fill: colourOf(view, thing), stroke: 'var(--ink)' });

// `row` is the detection's on this side, `old` on the other, called `name`; -1 where it is not there.
export function showChart(view, run, row, before, old, name, thing) {
  const { ui, state } = view, { last } = view.pack, byScore = !view.ap, ofMask = state.life === 'mask';
  setHidden(ui.life, byScore);
  setText(ui.lifeTitle, byScore ? 'Score' : 'IoU with the truth');
  const frame = frameOf(view), { w, x, y, nodes } = frame;
  const what = byScore ? 'Score' : `${ofMask ? 'Mask' : 'Box'} IoU`;
  if (row < 0 || !(byScore || run.truth.reference[row] >= 0)) {
    const none = row < 0 ? 'nothing was found here' : 'no true object to compare with';
    nodes.push(s('text', { x: w / 2 + 14, y: y(0.25), 'text-anchor': 'middle', fill: 'var(--ink2)' }, none));
    finish(view, frame, `${what} by stage: none`);
    return;
  }
  const first = byScore || ofMask ? 1 : 0;
  const stages = [...Array(last + 1 - first).keys()].map(i => i + first);
  const value = (its, i, stage) => (byScore ? scoreAt(its, i, stage)
    : ofMask ? maskIou(its, i, stage) : boxIou(view, its, i, stage));
  const line = (its, i) => stages.map((stage, n) => `${n ? 'L' : 'M'}${x(stage)} ${y(value(its, i, stage))}`).join('');
  const compare = old >= 0 && before !== run && (byScore || before.truth.reference[old] >= 0);
  if (compare) {
    const edge = { fill: 'none', stroke: 'var(--edge)', 'stroke-width': 1.6, 'stroke-dasharray': '4 3' };
    nodes.push(s('path', { d: line(before, old), ...edge }));
    for (const stage of stages) {
      nodes.push(dot(x(stage), y(value(before, old, stage)), { r: 3, fill: 'var(--bg)', stroke: 'var(--edge)' }));
    }
  }
  nodes.push(s('path', { d: line(run, row), fill: 'none', stroke: 'var(--ink)', 'stroke-width': 2 }));
  for (const stage of stages) nodes.push(point(view, x(stage), y(value(run, row, stage)), stage, thing));
  const mine = value(run, row, last), theirs = compare ? value(before, old, last) : mine, high = mine >= theirs;
  const end = { x: w - 3, 'text-anchor': 'end', class: 'end' };
  nodes.push(s('text', { ...end, y: y(mine) + (high ? -10 : 19), fill: 'var(--ink)', 'font-weight': 650 }, two(mine)));
  if (compare && Math.abs(mine - theirs) >= 0.005) {
    nodes.push(s('text', { ...end, y: y(theirs) + (high ? 19 : -10), fill: 'var(--ink2)' }, `${name} ${two(theirs)}`));
  }
  const told = stages.map(stage => `${ui.names[stage]} ${two(value(run, row, stage))}`);
  finish(view, frame, `${what} by stage: ${told.join(', ')}`);
}

export function showLostChart(view, run, place, thing) {
  const { ui } = view, { last } = view.pack, { boxIou: iou, things } = run.lost;
  setHidden(ui.life, true);
  setText(ui.lifeTitle, 'Box IoU with the truth; no mask was made');
  const frame = frameOf(view), { x, y, nodes } = frame;
  const values = Array.from({ length: last }, (_, stage) => iou[stage * things.length + place]);
  const d = values.map((value, stage) => `${stage ? 'L' : 'M'}${x(stage)} ${y(value)}`).join('');
  nodes.push(s('path', { d, fill: 'none', stroke: 'var(--ink)', 'stroke-width': 2, 'stroke-dasharray': '2 3' }));
  values.forEach((value, stage) => nodes.push(point(view, x(stage), y(value), stage, thing)));
  const final = values[last - 1];
  nodes.push(s('text', { x: x(last - 1) + 9, y: y(final) + 4, fill: 'var(--ink)', 'font-weight': 650 }, two(final)));
  const told = values.map((value, stage) => `${ui.names[stage]} ${two(value)}`);
  finish(view, frame, `Box IoU of the nearest RoI by stage: ${told.join(', ')}`);
}
