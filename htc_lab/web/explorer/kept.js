// Outlines, pixels and widths of texts, kept once made.

import { clamp } from '../common/format.js';
import { outline, paste } from './masks.js';
import { rowBox, rowMask, truthMask } from './pack.js';

const MOST_KEPT = 3000;

export function remember(store, key, make) {
  if (!store.has(key)) {
    if (store.size > MOST_KEPT) store.clear();
    store.set(key, make());
  }
  return store.get(key);
}
// The outline of a detection's mask, as fine as it is large on the screen.
export function pathOf({ paths, cssWidth, pack }, run, stage, row) {
  return remember(paths, `${run.number}.${stage}.${row}`, () => {
    const box = rowBox(run.maskBoxes[stage - 1], row);
    const cell = Math.max(box[2] - box[0], box[3] - box[1]) * cssWidth / pack.width / run.side;
    return outline(rowMask(run, stage, row), run.side, run.side, box, 255, clamp(Math.round(cell / 3), 1, 4));
  });
}
export function pixelsOf({ pasted, pack }, run, stage, row) {
  return remember(pasted, `${run.number}.${stage}.${row}`,
    () => paste(rowMask(run, stage, row), run.side, rowBox(run.maskBoxes[stage - 1], row), pack.width, pack.height));
}
export function truthPath({ paths, pack }, k) {
  const { width, height } = pack;
  return remember(paths, `truth.${k}`, () => outline(truthMask(pack, k), width, height, [0, 0, width, height], 1, 1));
}
export function widthOf({ texts }, context, text) {
  return remember(texts, `${context.font}|${text}`, () => context.measureText(text).width);
}
