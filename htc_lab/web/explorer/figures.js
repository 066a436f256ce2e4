// What the panel says of the whole picture: one large figure, and a bar for each stage.

import { change, h, s, setAttribute } from '../common/elements.js';
import { two } from '../common/format.js';
import { apOf, currentBits, matchAt, missed, otherSide, runOf, shownRows } from './lookups.js';

export function showFigure(view) {
  const { ui, state, pack } = view, { stage } = state, bits = currentBits(view);
  const run = runOf(view, bits), other = otherSide(view), rows = shownRows(view, run, stage);
  if (!stage) {
    ui.big.replaceChildren(String(pack.models[run.model].proposals.length / 4));
    ui.figure.replaceChildren('proposals, no class yet,', h('br'), 'no masks before stage 1');
  } else if (!view.ap) {
    const many = `object${rows.length === 1 ? '' : 's'} with a score from ${two(state.thr)};`;
    ui.big.replaceChildren(String(rows.length));
    ui.figure.replaceChildren(many, h('br'), 'no truth for this picture: no AP, no IoU');
  } else {
    const mine = apOf(view, bits, stage), theirs = apOf(view, other.bits, stage), all = pack.things.true;
    const gone = missed(view, run).length, wrong = rows.filter(row => matchAt(run, row, stage) < 0).length;
    const compared = runOf(view, other.bits) === run ? [] : [', ', change(mine - theirs, 1), ` over ${other.name}`];
    ui.big.replaceChildren(mine.toFixed(1));
    ui.figure.replaceChildren('mask AP on this picture', ...compared, h('br'), h('b', {}, String(all - gone)),
      ` of ${all} found, `, h('b', {}, String(wrong)), ' false, ', h('b', {}, String(gone)), ' missed');
  }
}

export function showBars(view) {
  const { ui, state, ap, widths, topAp } = view, { last } = view.pack;
  ui.bars.style.display = ap ? '' : 'none';
  if (!ap) return;
  const w = widths.panel, tall = widths.bars, lane = w / (last + 1);
  const thick = Math.min(34, lane * 0.4), thin = Math.max(7, thick * 0.3);
  const bits = currentBits(view), other = otherSide(view), y = value => tall - 1 - (tall - 22) * value / topAp;
  const nodes = [s('path', { d: `M${lane * 0.95} ${tall - 0.5}H${w}`, stroke: 'var(--rule)' }),
    s('text', { x: 0, y: tall - 40, fill: 'var(--ink2)' }, 'mask AP'),
    s('rect', { x: 0.7, y: tall - 28, width: 9, height: 9, fill: 'var(--ink)' }),
    s('text', { x: 15, y: tall - 19.5, fill: 'var(--ink2)' }, state.A === null ? 'this' : view.side),
    s('rect', { x: 1.2, y: tall - 11.5, width: 8, height: 8, fill: 'none', stroke: 'var(--edge)', 'stroke-width': 1.3 }),
    s('text', { x: 15, y: tall - 4, fill: 'var(--ink2)' }, other.name)];
  const told = [];
  for (let stage = 1; stage <= last; stage++) {
    const x = lane * (stage + 0.5) - (thick + thin + 3) / 2, now = stage === state.stage;
    const mine = apOf(view, bits, stage), theirs = apOf(view, other.bits, stage);
    nodes.push(
      s('rect', { x, y: y(mine), width: thick, height: tall - 1 - y(mine), fill: 'var(--ink)', opacity: now ? 1 : 0.52 }),
      s('rect', {
        x: x + thick + 3, y: y(theirs), width: thin, height: tall - 1 - y(theirs), fill: 'var(--bg)', stroke: 'var(--edge)',
        'stroke-width': 1.3,
      }),
      s('text', {
        x: x + thick / 2, y: y(mine) - 5, 'text-anchor': 'middle', fill: 'var(--ink)', 'font-weight': now ? 650 : 500,
      }, mine.toFixed(0)));
    told.push(`${ui.names[stage]} ${mine.toFixed(1)}, ${other.name} ${theirs.toFixed(1)}`);
  }
  setAttribute(ui.bars, 'viewBox', `0 0 ${w} ${tall}`);
  setAttribute(ui.bars, 'aria-label', `Mask AP on this picture by stage: ${told.join('; ')}`);
  ui.bars.replaceChildren(...nodes);
}
