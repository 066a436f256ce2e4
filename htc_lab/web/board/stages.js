// The last evaluation of each run, stage beside stage; of several seeds their mean.

import { s, setAttribute, setText } from '../common/elements.js';
import { nothingYet } from './axes.js';
import { meanOf, points } from './figures.js';
import { rungsOf, runColour, seedsOf } from './looks.js';

const TALL_STAGES = 170;

// For each rung: a run of it, at which steps its seeds were measured, and mask AP by stage.
function measuredOf(board) {
  return rungsOf(board).map(rung => {
    const seeds = seedsOf(board, rung);
    const found = seeds.map(run => run.evaluations.findLast(each => each.stages.length > 0)).filter(Boolean);
    const stages = (found[0]?.stages ?? []).map((_, stage) => {
      const aps = found.map(each => each.stages[stage]).filter(ap => ap !== null && ap !== undefined);
      return aps.length ? meanOf(aps) : null;
    });
    return { rung, i: board.report.runs.indexOf(seeds[0]), steps: found.map(each => each.step), stages };
  }).filter(({ steps }) => steps.length);
}

export function showStages(board) {
  const { ui } = board, nodes = [], told = [], w = ui.stages.clientWidth || 400, drawn = measuredOf(board);
  const columns = Math.max(0, ...drawn.map(({ stages }) => stages.length));
  if (!columns) nodes.push(nothingYet(TALL_STAGES, 'not measured yet'));
  const top = Math.max(1, ...drawn.flatMap(({ stages }) => stages)) * 1.12;
  const y = value => TALL_STAGES - 24 - (TALL_STAGES - 42) * value / top;
  const lane = (w - 8) / Math.max(columns, 1), thick = Math.min(40, (lane - 18) / Math.max(drawn.length, 1) - 3);
  if (columns) nodes.push(s('path', { d: `M4 ${TALL_STAGES - 23.5}H${w - 4}`, stroke: 'var(--rule)' }));
  for (let stage = 0; stage < columns; stage++) {
    const middle = 4 + lane * (stage + 0.5), name = stage === columns - 1 ? 'Mean' : `Stage ${stage + 1}`;
    nodes.push(s('text', { x: middle, y: TALL_STAGES - 6, 'text-anchor': 'middle', fill: 'var(--ink)' }, name));
    drawn.forEach(({ rung, i, stages }, place) => {
      const value = stages[stage];
      if (value === null || value === undefined) return;
      const x = middle + (place - drawn.length / 2) * (thick + 3) + 1.5;
      nodes.push(s('rect', {
        x, y: y(value), width: thick, height: TALL_STAGES - 24 - y(value), fill: runColour(board, i),
        opacity: stage === columns - 1 ? 1 : 0.62,
      }));
      if (thick > 25) {
        const above = { x: x + thick / 2, y: y(value) - 4, 'text-anchor': 'middle', fill: 'var(--ink)' };
        nodes.push(s('text', above, value.toFixed(1)));
      }
      told.push(`${rung}, ${name}: ${points(value)}`);
    });
  }
  setText(ui.stageNote, drawn.length ? noteOfStages(drawn) : '');
  setAttribute(ui.stages, 'viewBox', `0 0 ${w} ${TALL_STAGES}`);
  setAttribute(ui.stages, 'aria-label', `Mask AP by stage: ${told.join('; ') || 'not measured yet'}`);
  ui.stages.replaceChildren(...nodes);
}
function noteOfStages(drawn) {
  const after = [...new Set(drawn.flatMap(({ steps }) => steps))].map(step => `step ${step}`).join(', ');
  const several = drawn.some(({ steps }) => steps.length > 1) ? '; of several seeds, their mean' : '';
  return `Masks of each stage alone on the final boxes, and their mean; ${after}${several}.`;
}
