// Names and scores on the picture: by their boxes, in the picture, and over one another as little as can be.

import { clamp, two } from '../common/format.js';
import { textOn } from '../common/theme.js';
import { widthOf } from './kept.js';
import { className, hasLayer, missed, reference, rowOf, runOf, scoreAt, thingName } from './lookups.js';
import { rowBox } from './pack.js';
import { ERRORS } from './words.js';

const MOST_LABELS = 12;

function labelOf(view, { run, row, thing, error }) {
  const { state } = view, score = two(scoreAt(run, row, state.stage));
  if (state.stage === 0) return `RoI ${score}`;
  const name = className(view, run.labels[row]);
  if (hasLayer(view, 'difference')) {
    const before = runOf(view, reference(view).bits), old = rowOf(before, thing);
    if (old >= 0 && before.labels[old] !== run.labels[row]) return `${name}, was ${className(view, before.labels[old])}`;
  }
  const wrong = !error ? '' : thing === state.obj ? ` · false: ${ERRORS[error]}` : ' · false';
  return `${name} ${score}${wrong}`;
}

function labelsOf(view, items) {
  const { state, pack } = view;
  const few = items.length <= MOST_LABELS ? items : items.filter(item => item.chosen);
  const labels = few.map(item => ({
    box: item.box, text: labelOf(view, item), colour: item.colour, ink: textOn(item.colour), chosen: item.thing === state.obj,
  }));
  if (hasLayer(view, 'truth') && pack.truth && state.stage && state.A === null) {
    for (const k of missed(view, runOf(view, state.B))) {
      const text = `missed: ${thingName(view, k)}`;
      labels.push({ box: rowBox(pack.truth.boxes, k), text, colour: '#0b0d0f', ink: '#ffffff', chosen: k === state.obj });
    }
  }
  return labels.sort((a, b) => b.chosen - a.chosen);
}

// Those of a side, which lies between `from` and `to` of the picture's width.
export function paintLabels(view, context, items, from, to, unit) {
  const high = view.pack.height, tall = (view.wide ? 22 : 18) * unit, used = [];
  const top = view.state.A === null ? 0 : 38 * unit;
  for (const label of labelsOf(view, items)) {
    const long = widthOf(view, context, label.text) + 11 * unit;
    const left = Math.max(label.box[0], from), right = Math.min(label.box[2], to);
    if (right - left < 10 * unit) continue;
    const within = x => Math.max(from, Math.min(x, to - long));
    const [, y1, , y2] = label.box;
    const spots = [
      [left, y1 - tall], [right - long, y1 - tall], [left, y1], [left, y2], [right - long, y2], [right - long, y2 - tall],
      [left, y1 - 2 * tall], [left, y2 + tall], [left, (y1 + y2) / 2],
    ].map(([x, y]) => [within(x), y]);
    const covers = (x, y) => used.some(u => x < u[0] + u[2] && x + long > u[0] && y < u[1] + tall && y + tall > u[1]);
    const free = spots.find(([x, y]) => y >= top && y + tall <= high && !covers(x, y));
    const [x, y] = free ?? [spots[0][0], clamp(spots[0][1], 0, high - tall)];
    used.push([x, y, long]);
    context.fillStyle = label.colour;
    context.beginPath();
    context.roundRect(x, y, long, tall, 2 * unit);
    context.fill();
    if (label.chosen) {
      context.strokeStyle = '#fff';
      context.lineWidth = 1.5 * unit;
      context.stroke();
    }
    context.fillStyle = label.ink;
    context.fillText(label.text, x + 5.5 * unit, y + tall * 0.53);
  }
}
