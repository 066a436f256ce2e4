// The layers under the marks, photo and semantic maps: painted only where size, theme, map or sides changed.

import { setHidden } from '../common/elements.js';
import { two } from '../common/format.js';
import { remember } from './kept.js';
import { hasLayer, modelOf, setBitsOf } from './lookups.js';

const MAP_COLOURS = ['#bd8fb0', '#d8c25a', '#8fb7d6', '#c88a5a', '#a9a6d8', '#d79aa6',
  '#9fc4dd', '#4f7fa6', '#7f9f5f', '#77777f', '#d3bd8d', '#a8755c'];
// Of all its cells, a class that has less is not named.
const LEAST_SHARE = 0.012;

export function paintUnder(view) {
  const { ui, state, pack } = view, { width, height } = ui.marks;
  const maps = setBitsOf(view).map(bits => modelOf(view, bits).name);
  const key = [width, hasLayer(view, 'semantic'), ...maps, state.A === null ? '' : two(state.split)].join('|');
  const photoKey = [width, ...toneOf(view)].join('|');
  if (key === view.under && photoKey === view.photographed) return;
  view.under = key;
  for (const canvas of [ui.photo, ui.map]) {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  }
  if (photoKey !== view.photographed) paintPhoto(view, ui.photo.getContext('2d'), width / pack.width);
  view.photographed = photoKey;
  // An empty canvas costs a frame as much as a full one.
  setHidden(ui.map, !hasLayer(view, 'semantic'));
  if (ui.map.hidden) return;
  const context = ui.map.getContext('2d');
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  paintMaps(view, context, width / pack.width);
}

// How grey and how dim the photo is under what lies on it. Painted once: a filter would cost every frame anew.
const toneOf = view => (hasLayer(view, 'difference') && view.state.stage ? [0.85, 0.28]
  : hasLayer(view, 'semantic') ? [0.4, 0] : [0, 0]);
export function paintPhoto(view, context, scale) {
  const { photo, width, height } = view.pack, [grey, dim] = toneOf(view);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.imageSmoothingQuality = 'high';
  context.drawImage(photo, 0, 0, width, height);
  context.save();
  for (const [blend, colour, share] of [['saturation', '#808080', grey], ['source-over', '#000000', dim]]) {
    context.globalCompositeOperation = blend;
    context.globalAlpha = share;
    context.fillStyle = colour;
    context.fillRect(0, 0, width, height);
  }
  context.restore();
}

export function paintMaps(view, context, scale) {
  const { state, pack } = view, { width, height } = pack;
  context.setTransform(scale, 0, 0, scale, 0, 0);
  const split = state.split * width;
  const sides = state.A === null ? [[state.B, 0, width]] : [[state.A, 0, split], [state.B, split, width]];
  for (const [bits, from, to] of sides) {
    const map = mapOf(view, modelOf(view, bits));
    if (!map) continue;
    context.save();
    context.beginPath();
    context.rect(from, 0, to - from, height);
    context.clip();
    context.drawImage(map.picture, 0, 0, width, height);
    context.restore();
  }
}
export function paintMapNames(view, context, model, from, to, unit) {
  const map = mapOf(view, model), { width, height } = view.pack;
  if (!map) return;
  context.save();
  context.textAlign = 'center';
  context.strokeStyle = 'rgba(0,0,0,.75)';
  context.fillStyle = '#fff';
  context.lineWidth = 3 * unit;
  for (const { name, x, y } of map.labels) {
    if (x * width < from || x * width > to) continue;
    context.strokeText(name, x * width, y * height);
    context.fillText(name, x * width, y * height);
  }
  context.restore();
}

// A model's semantic map as a picture, and where each large class can be named.
function mapOf({ paths, pack }, model) {
  if (!model.semantic) return null;
  return remember(paths, `map.${model.name}`, () => {
    const { shape: [rows, columns], values } = model.semantic;
    const picture = document.createElement('canvas');
    picture.width = columns;
    picture.height = rows;
    const context = picture.getContext('2d'), image = context.createImageData(columns, rows);
    const sums = new Map();
    values.forEach((value, i) => {
      const colour = MAP_COLOURS[value % MAP_COLOURS.length], x = i % columns, y = Math.floor(i / columns);
      const edge = (x + 1 < columns && values[i + 1] !== value) || (y + 1 < rows && values[i + columns] !== value);
      const inside = [1, 3, 5].map(k => parseInt(colour.slice(k, k + 2), 16)).concat(185);
      image.data.set(edge ? [255, 255, 255, 150] : inside, 4 * i);
      const sum = sums.get(value) ?? { n: 0, x: 0, y: 0 };
      sums.set(value, { n: sum.n + 1, x: sum.x + x, y: sum.y + y });
    });
    context.putImageData(image, 0, 0);
    const labels = [];
    for (const [value, sum] of sums) {
      const name = pack.semantic_classes[value];
      if (!name || sum.n < LEAST_SHARE * values.length) continue;
      // The class's own pixel nearest its middle: the middle itself may lie outside.
      let best = Infinity, spot = 0;
      values.forEach((other, i) => {
        const d = (i % columns - sum.x / sum.n) ** 2 + (Math.floor(i / columns) - sum.y / sum.n) ** 2;
        if (other === value && d < best) { best = d; spot = i; }
      });
      labels.push({ name, x: (spot % columns + 0.5) / columns, y: (Math.floor(spot / columns) + 0.5) / rows });
    }
    return { picture, labels };
  });
}
