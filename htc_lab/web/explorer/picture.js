// Everything over the photo: proposals, masks, boxes, the difference, the truth, names.

import { paintDifference } from './difference.js';
import { itemsOf } from './items.js';
import { truthPath } from './kept.js';
import { paintLabels } from './labels.js';
import { paintMasks } from './layers.js';
import { hasLayer, isDashed, runOf } from './lookups.js';
import { paintMapNames } from './photo.js';

export function paint(view) {
  const { marks } = view.ui, context = marks.getContext('2d'), scale = marks.width / view.pack.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, marks.width, marks.height);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  paintMarks(view, context, view.pack.width / view.cssWidth);
}

// In the picture's own px; `unit` is one CSS px in those.
export function paintMarks(view, context, unit) {
  const { state, pack } = view, { width, height } = pack;
  const split = state.split * width;
  const sides = state.A === null ? [['B', state.B, 0, width]] : [['B', state.B, split, width], ['A', state.A, 0, split]];
  context.lineJoin = 'round';
  context.font = `600 ${(view.wide ? 15 : 12.5) * unit}px ${view.ui.font}`;
  context.textBaseline = 'middle';
  const shown = sides.map(([name, bits, from, to]) => {
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, height);
    context.clip();
    const run = runOf(view, bits);
    if (state.stage === 0 && hasLayer(view, 'boxes')) paintProposals(context, pack.models[run.model].proposals, unit);
    if (hasLayer(view, 'difference') && state.stage && name === 'B') paintDifference(view, context, run, unit);
    const items = itemsOf(view, name, run);
    if (state.stage && hasLayer(view, 'masks')) paintMasks(view, context, run, items, unit);
    if (hasLayer(view, 'boxes')) for (const item of items) paintBox(view, context, item, unit);
    context.restore();
    return { items, model: pack.models[run.model], from, to };
  });
  if (hasLayer(view, 'truth') && pack.truth) paintTruth(view, context, unit);
  if (hasLayer(view, 'semantic')) for (const { model, from, to } of shown) paintMapNames(view, context, model, from, to, unit);
  if (hasLayer(view, 'labels')) for (const { items, from, to } of shown) paintLabels(view, context, items, from, to, unit);
  if (state.A !== null) {
    context.fillStyle = '#fff';
    context.fillRect(split - unit, 0, 2 * unit, height);
  }
}

function paintProposals(context, boxes, unit) {
  context.strokeStyle = 'rgba(255,255,255,.42)';
  context.lineWidth = unit;
  context.beginPath();
  for (let i = 0; i < boxes.length; i += 4) {
    context.rect(boxes[i], boxes[i + 1], boxes[i + 2] - boxes[i], boxes[i + 3] - boxes[i + 1]);
  }
  context.stroke();
}

function paintBox(view, context, { box: [x1, y1, x2, y2], thing, colour, chosen }, unit) {
  context.setLineDash(isDashed(view, thing) ? [6 * unit, 3 * unit] : []);
  for (const [style, width] of [['rgba(0,0,0,.5)', chosen ? 3.6 : 2.6], [colour, chosen ? 2 : 1.2]]) {
    context.strokeStyle = style;
    context.lineWidth = width * unit;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  context.setLineDash([]);
}

function paintTruth(view, context, unit) {
  for (let k = 0; k < view.pack.things.true; k++) {
    const path = truthPath(view, k);
    context.strokeStyle = 'rgba(0,0,0,.75)';
    context.lineWidth = 3 * unit;
    context.stroke(path);
    context.setLineDash([5 * unit, 3 * unit]);
    context.strokeStyle = '#fff';
    context.lineWidth = 1.5 * unit;
    context.stroke(path);
    context.setLineDash([]);
  }
}
