// The objects that the picture shows, and which of them lies at a point.

import { pathOf } from './kept.js';
import { boxAt, colourOf, errorAt, runOf, shownRows } from './lookups.js';

const area = box => (box[2] - box[0]) * (box[3] - box[1]);

// Those of a side, large ones first so that small ones lie on top. Boxes are where they have glided to.
export function itemsOf(view, name, run) {
  const { state, glide, hovered } = view, { stage } = state;
  return shownRows(view, run, stage).map(row => {
    const thing = run.things[row];
    const target = boxAt(view, run, row, stage);
    return {
      run, row, thing, target, box: glide[name]?.get(thing)?.drawn ?? target, error: errorAt(run, row, stage),
      colour: colourOf(view, thing), chosen: thing === state.obj || thing === hovered,
    };
  }).sort((a, b) => area(b.target) - area(a.target));
}

// The topmost object at a point of the picture: the smallest mask that holds it, else the smallest box; or -1.
export function thingAt(view, [x, y]) {
  const { state, ui, pack } = view;
  const name = state.A !== null && x < state.split * pack.width ? 'A' : 'B';
  const items = itemsOf(view, name, runOf(view, state[name])).reverse();
  const context = ui.marks.getContext('2d');
  context.setTransform(1, 0, 0, 1, 0, 0);
  const holds = ({ run, row }) => context.isPointInPath(pathOf(view, run, state.stage, row), x, y, 'evenodd');
  const inMask = state.stage ? items.find(holds) : undefined;
  const inBox = items.find(({ target: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2);
  return (inMask ?? inBox)?.thing ?? -1;
}
