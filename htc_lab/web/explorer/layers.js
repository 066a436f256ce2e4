// All masks of a side as one picture, kept: a toggle back, and each frame of a glide, only lays it down again.

import { clamp } from '../common/format.js';
import { hatches } from './hatch.js';
import { itemsOf } from './items.js';
import { pathOf } from './kept.js';
import { answerOf, currentBits, hasLayer, isDashed, runOf } from './lookups.js';
import { flipped } from './words.js';

// Kept pictures of masks: those of a click's neighbours at least, and more where they are small.
const LEAST_LAYERS = 10;
const MOST_LAYERS = 24;
const LAYER_BYTES = 96 * 1024 ** 2;
const SLICE_MS = 3;

export function paintMasks(view, context, run, items, unit) {
  // A saved picture has a scale of its own.
  if (context.canvas !== view.ui.marks) {
    for (const item of items) paintMask(view, context, item, unit);
    return;
  }
  const layer = layerOf(view, run, items, unit);
  context.save();
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.drawImage(layer, 0, 0);
  context.restore();
}

function paintMask(view, context, item, unit) {
  const { run, row, colour, chosen } = item;
  const thick = (chosen ? 2.6 : 1.6) * unit, path = pathOf(view, run, view.state.stage, row);
  const strength = hasLayer(view, 'difference') ? 0 : hasLayer(view, 'semantic') ? 0.14 : chosen ? 0.49 : 0.36;
  context.setLineDash(isDashed(view, item.thing) ? [6 * unit, 3 * unit] : []);
  if (strength) {
    context.globalAlpha = strength;
    context.fillStyle = colour;
    context.fill(path, 'evenodd');
    context.globalAlpha = 1;
    if (item.error) {
      context.fillStyle = hatches(view, context, unit).wrong;
      context.fill(path, 'evenodd');
    }
  }
  context.strokeStyle = 'rgba(0,0,0,.55)';
  context.lineWidth = thick + 1.6 * unit;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = thick;
  context.stroke(path);
  context.setLineDash([]);
}

function layerKey(view, run) {
  const { ui, state, hovered } = view;
  return [ui.marks.width, run.number, state.stage, state.thr, state.obj, hovered,
    hasLayer(view, 'difference'), hasLayer(view, 'semantic')].join('|');
}
function layerOf(view, run, items, unit) {
  const { layers } = view, key = layerKey(view, run);
  if (layers.has(key)) {
    // The last used is the last in the map, so the first is the one to give up.
    const layer = layers.get(key);
    layers.delete(key);
    layers.set(key, layer);
  } else {
    const drawing = drawLayer(view, key, items, unit);
    while (!drawing.next().done);
  }
  return layers.get(key);
}
// A mask a step; the layer is there after the last.
function* drawLayer(view, key, items, unit) {
  const { layers, ui, pack } = view;
  const canvas = new OffscreenCanvas(ui.marks.width, ui.marks.height), context = canvas.getContext('2d');
  context.scale(canvas.width / pack.width, canvas.width / pack.width);
  context.lineJoin = 'round';
  for (const item of items) {
    paintMask(view, context, item, unit);
    yield;
  }
  const most = clamp(Math.floor(LAYER_BYTES / (4 * canvas.width * canvas.height)), LEAST_LAYERS, MOST_LAYERS);
  if (layers.size >= most) forgetLayer(view, layers.keys().next().value);
  layers.set(key, canvas.transferToImageBitmap());
}
function forgetLayer({ layers }, key) {
  layers.get(key).close();
  layers.delete(key);
}
export function forgetLayers(view) {
  for (const key of [...view.layers.keys()]) forgetLayer(view, key);
}

export function coolDown(view) {
  (window.cancelIdleCallback ?? clearTimeout)(view.idle);
}
// What one more click on a switch or a preset would show is drawn while nothing else is to be done, in slices so
// short that a click does not wait for one.
export function warmUp(view) {
  coolDown(view);
  const { pack, layers } = view;
  const near = new Set([...pack.ideas.map((_, i) => flipped(currentBits(view), i)), ...pack.rungs.map(rung => rung.bits)]);
  const wanted = [...near].filter(bits => answerOf(view, bits) !== null);
  let drawing = null, key = '';
  const step = () => {
    const run = runOf(view, wanted[0]);
    // What is set may have changed since the slice before.
    if (drawing === null || key !== layerKey(view, run)) {
      key = layerKey(view, run);
      drawing = layers.has(key) ? null : drawLayer(view, key, itemsOf(view, '', run), pack.width / view.cssWidth);
    }
    if (drawing === null || drawing.next().done) {
      drawing = null;
      wanted.shift();
    }
  };
  const slice = () => {
    if (!view.state.stage || !hasLayer(view, 'masks')) return;
    const end = performance.now() + SLICE_MS;
    while (wanted.length && performance.now() < end) step();
    if (wanted.length) later();
  };
  const later = () => {
    view.idle = window.requestIdleCallback ? requestIdleCallback(slice, { timeout: 2000 }) : setTimeout(slice, 60);
  };
  later();
}
