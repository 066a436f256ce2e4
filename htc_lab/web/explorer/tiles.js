// Two rows of tiles, a tile a stage: the RoI, and from stage 1 on the soft mask.

import { setAttribute, setText } from '../common/elements.js';
import { pathOf } from './kept.js';
import { boxAt, colourOf } from './lookups.js';
import { rowBox, rowMask } from './pack.js';

const TILE_GAP = 8;
// Of the picture, a tile shows this much more than the box's longer side, but never less than so many px.
const MARGIN = 1.2;
const LEAST_REACH = 4;

// `row` is the detection's, or -1; `place` that of a lost object, or -1.
export function showTiles(view, run, row, thing, place) {
  const { ui, widths, ratio, pack } = view;
  const found = row >= 0 || place >= 0, lane = widths.panel / (pack.last + 1);
  const width = Math.round(widths.panel * ratio), height = Math.round((2 * widths.tile + TILE_GAP) * ratio);
  if (ui.drawn.width !== width || ui.drawn.height !== height) Object.assign(ui.drawn, { width, height });
  const context = ui.drawn.getContext('2d');
  const at = (stage, top) => [(lane * (stage + 0.5) - widths.tile / 2) * ratio, top * ratio].map(Math.round);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, width, height);
  ui.crops.forEach((tile, stage) => {
    setAttribute(tile, 'aria-label', found ? `RoI at ${ui.names[stage]}` : `No RoI at ${ui.names[stage]}`);
    setAttribute(tile, 'data-empty', !found);
    if (found) paintCrop(view, context, at(stage, 0), run, row, stage, thing, place);
  });
  setText(ui.softTitle, `${run.side} × ${run.side} soft mask`);
  ui.softs.forEach((tile, i) => {
    const name = ui.names[i + 1];
    setAttribute(tile, 'aria-label', row < 0 ? `No mask at ${name}` : `${run.side} by ${run.side} soft mask, ${name}`);
    setAttribute(tile, 'data-empty', row < 0);
    if (row >= 0) paintSoft(view, context, at(i + 1, widths.tile + TILE_GAP), run, row, i + 1);
  });
}

// What a stage looks at: the box its RoI features were taken from.
function roiOf(view, run, row, stage, place) {
  if (row < 0) return rowBox(run.lost.boxes[Math.min(stage, view.pack.last - 1)], place);
  return stage ? rowBox(run.maskBoxes[stage - 1], row) : boxAt(view, run, row, 0);
}

// The picture around that box, and the mask that the stage made of it.
function paintCrop(view, context, [left, top], run, row, stage, thing, place) {
  const { ratio } = view, { photo, width, height } = view.pack;
  const size = Math.round(view.widths.tile * ratio);
  const [x1, y1, x2, y2] = roiOf(view, run, row, stage, place);
  const reach = Math.max(x2 - x1, y2 - y1, LEAST_REACH) * MARGIN, scale = size / reach, unit = ratio / scale;
  context.save();
  context.beginPath();
  context.rect(left, top, size, size);
  context.clip();
  context.fillStyle = '#3a3f44';
  context.fillRect(left, top, size, size);
  const [x, y] = [(x1 + x2) / 2 - reach / 2, (y1 + y2) / 2 - reach / 2];
  context.setTransform(scale, 0, 0, scale, left - x * scale, top - y * scale);
  context.imageSmoothingQuality = 'high';
  context.drawImage(photo, 0, 0, width, height);
  context.fillStyle = 'rgba(0,0,0,.45)';
  context.beginPath();
  context.rect(-width, -height, 3 * width, 3 * height);
  context.rect(x1, y1, x2 - x1, y2 - y1);
  context.fill('evenodd');
  if (stage && row >= 0) {
    const path = pathOf(view, run, stage, row), colour = colourOf(view, thing);
    context.globalAlpha = 0.3;
    context.fillStyle = colour;
    context.fill(path, 'evenodd');
    context.globalAlpha = 1;
    context.strokeStyle = 'rgba(0,0,0,.55)';
    context.lineWidth = 2.6 * unit;
    context.stroke(path);
    context.strokeStyle = colour;
    context.lineWidth = 1.5 * unit;
    context.stroke(path);
  }
  context.strokeStyle = '#fff';
  context.lineWidth = 1.2 * unit;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.restore();
}

function paintSoft({ ratio, widths, dark }, context, [left, top], run, row, stage) {
  const image = new ImageData(run.side, run.side), cells = new OffscreenCanvas(run.side, run.side);
  const size = Math.round(widths.tile * ratio);
  rowMask(run, stage, row).forEach((q, i) => {
    const grey = dark ? 15 + q * 240 / 255 : 255 - q * 245 / 255;
    image.data.set([grey, grey, grey, 255], 4 * i);
  });
  cells.getContext('2d').putImageData(image, 0, 0);
  context.imageSmoothingEnabled = false;
  context.drawImage(cells, left, top, size, size);
  context.imageSmoothingEnabled = true;
}
