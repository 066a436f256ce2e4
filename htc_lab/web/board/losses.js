// Losses over the steps.

import { s, setAttribute, setText } from '../common/elements.js';
import { two } from '../common/format.js';
import { axesOf, lineOf, mostSteps, nameEnds, nothingYet } from './axes.js';
import { LOSSES } from './layout.js';
import { runColour, runDashes } from './looks.js';

const TALL_LOSSES = 210;
// A line of fewer steps is drawn as it is.
const LEAST_SMOOTHED = 12;

// Each value with a share of those before it: what the eye would draw through a jagged line.
function smoothed(values) {
  const weight = Math.min(0.9, Math.max(0, 1 - LEAST_SMOOTHED / values.length));
  let kept = values[0];
  return values.map(value => (kept = weight * kept + (1 - weight) * value));
}

export function showLosses(board) {
  const { ui, report, shown } = board, nodes = [], which = 1 + Math.max(0, report.curves.indexOf(shown.loss));
  const drawn = report.runs.map((run, i) => ({ i, xs: run.curves[0] ?? [], ys: run.curves[which] ?? [] }))
    .filter(each => each.xs.length && each.ys.some(y => y > 0));
  // The first steps stand so high that the rest would lie flat below them.
  const calm = drawn.map(({ ys }) => Math.max(...smoothed(ys).slice(Math.floor(ys.length / 12))));
  const place = axesOf(ui.losses, nodes, mostSteps(board), Math.max(0.01, ...calm) * 1.15, TALL_LOSSES);
  const told = [], ends = [];
  for (const { i, xs, ys } of drawn) {
    const capped = ys.map(y => Math.min(y, Math.max(...calm) * 1.3)), smooth = smoothed(capped);
    const look = { fill: 'none', stroke: runColour(board, i) };
    if (ys.length > LEAST_SMOOTHED) {
      nodes.push(s('path', { d: lineOf(xs, capped, place), ...look, 'stroke-width': 1, opacity: 0.28 }));
    }
    nodes.push(s('path',
      { d: lineOf(xs, smooth, place), ...look, 'stroke-width': 2, 'stroke-dasharray': runDashes(board, i) }));
    ends.push({ x: place.x(xs.at(-1)), y: place.y(smooth.at(-1)), i, text: two(smooth.at(-1)) });
    told.push(`${report.runs[i].name} ${two(smooth.at(-1))} at step ${xs.at(-1)}`);
  }
  nameEnds(board, nodes, ends, TALL_LOSSES);
  const note = 'Thick: smoothed over the steps; thin: each step. The list above has the last step’s.';
  setText(ui.lossNote, drawn.length ? note : '');
  if (!drawn.length) nodes.push(nothingYet(TALL_LOSSES, 'no steps yet'));
  const words = told.join('; ') || 'no steps yet';
  setAttribute(ui.losses, 'aria-label', `Loss (${LOSSES[shown.loss]}) over the steps: ${words}`);
  ui.losses.replaceChildren(...nodes);
}
