// Object by object: pixels that the other side's mask of the same object does not have, and the reverse.

import { setText } from '../common/elements.js';
import { hatches } from './hatch.js';
import { pathOf, pixelsOf } from './kept.js';
import { pairOf, reference, runOf } from './lookups.js';
import { less } from './masks.js';

const GAINED = 'rgba(86,180,233,.9)';

// For each object of either side its masks on both, made by `make(run, stage, row)`; null where it is not shown.
function* pairs(view, run, make) {
  const other = reference(view), before = runOf(view, other.bits);
  for (const thing of new Set([...run.things, ...before.things])) {
    yield pairOf(view, run, view.state.stage, before, other.stage, thing)
      .map(([its, stage, row]) => (row < 0 ? null : make(its, stage, row)));
  }
}

export function paintDifference(view, context, run, unit) {
  const { width, height } = view.pack;
  const lay = (path, without, style) => {
    context.save();
    if (without) {
      const outside = new Path2D();
      outside.rect(-width, -height, 3 * width, 3 * height);
      outside.addPath(without);
      context.clip(outside, 'evenodd');
    }
    context.fillStyle = style;
    context.fill(path, 'evenodd');
    context.restore();
  };
  for (const [mine, theirs] of pairs(view, run, (its, stage, row) => pathOf(view, its, stage, row))) {
    if (mine && mine !== theirs) lay(mine, theirs, GAINED);
    if (theirs && mine !== theirs) lay(theirs, mine, hatches(view, context, unit).lost);
  }
}

export function showCounts(view) {
  const { ui, state } = view;
  if (ui.legend.hidden) return;
  let gained = 0, lost = 0;
  for (const [mine, theirs] of pairs(view, runOf(view, state.B), (its, stage, row) => pixelsOf(view, its, stage, row))) {
    if (mine) gained += less(mine, theirs);
    if (theirs) lost += less(theirs, mine);
  }
  setText(ui.gained, `gained ${gained.toLocaleString('en')} px`);
  setText(ui.lost, `lost ${lost.toLocaleString('en')} px`);
}
