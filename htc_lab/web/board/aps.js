// AP during training; where nothing was measured then, AP after it.

import { s, setAttribute, setText } from '../common/elements.js';
import { plural } from '../common/format.js';
import { axesOf, lineOf, mostSteps, nameEnds, nothingYet } from './axes.js';
import { evaluatedEvery, meanOf, points } from './figures.js';
import { rungOf, rungsOf, runColour, runDashes, runInk } from './looks.js';

const TALL_APS = 210;

export function showAps(board) {
  const { ui, report, shown } = board;
  const drawn = report.runs
    .map((run, i) => ({ i, found: run.evaluations.filter(each => each[shown.ap] !== null) }))
    .filter(({ found }) => found.length);
  const only = drawn.length > 0 && drawn.every(({ found }) => found.every(each => each.final));
  const title = only ? 'AP after the training' : 'AP during training';
  setText(ui.apPanel.firstChild.firstChild, title);
  setAttribute(ui.apPanel, 'aria-label', title);
  const bars = new Set(drawn.map(({ i }) => rungOf(report.runs[i]))).size;
  const tall = only ? 12 + bars * (bars > 5 ? 26 : 36) : TALL_APS;
  ui.aps.style.height = `${tall}px`;
  if (only) showFinalAps(board, drawn, tall); else showApsOverSteps(board, drawn, tall);
}
const nameOf = ({ shown }) => (shown.ap === 'mask' ? 'Mask' : 'Box');

function showApsOverSteps(board, drawn, tall) {
  const { ui, report, shown } = board, nodes = [], told = [], ends = [];
  const best = Math.max(1, ...drawn.flatMap(({ found }) => found.map(each => each[shown.ap])));
  const place = axesOf(ui.aps, nodes, mostSteps(board), best * 1.08, tall);
  for (const { i, found } of drawn) {
    const way = found.filter(each => !each.final), colour = runColour(board, i);
    const d = lineOf(way.map(each => each.step), way.map(each => each[shown.ap]), place);
    nodes.push(s('path', { d, fill: 'none', stroke: colour, 'stroke-width': 2, 'stroke-dasharray': runDashes(board, i) }));
    for (const each of found) {
      const [x, y] = [place.x(each.step), place.y(each[shown.ap])];
      nodes.push(each.final
        ? s('path', { d: `M${x} ${y - 6}l6 6-6 6-6-6z`, fill: colour, stroke: 'var(--bg)', 'stroke-width': 1.5 })
        : s('circle', { cx: x, cy: y, r: 3.4, fill: 'var(--bg)', stroke: colour, 'stroke-width': 2 }));
    }
    const last = found.at(-1);
    ends.push({ x: place.x(last.step), y: place.y(last[shown.ap]), i, text: points(last[shown.ap]) });
    const steps = found.map(each => `${points(each[shown.ap])} at step ${each.step}`);
    told.push(`${report.runs[i].name} ${steps.join(', ')}`);
  }
  nameEnds(board, nodes, ends, tall);
  if (!drawn.length) nodes.push(nothingYet(tall, 'not measured yet'));
  setText(ui.apNote, noteOf(report, drawn));
  setAttribute(ui.aps, 'aria-label', `${nameOf(board)} AP over the steps: ${told.join('; ') || 'not measured yet'}`);
  ui.aps.replaceChildren(...nodes);
}
function noteOf(report, drawn) {
  if (!drawn.length) {
    const every = evaluatedEvery(report.places);
    return every ? `To be measured ${every}.` : 'A training is measured as it runs if it is started with --eval-every N.';
  }
  const all = drawn.flatMap(({ found }) => found), way = all.find(each => !each.final), end = all.find(each => each.final);
  return [way ? `○ on ${plural(way.images, 'val picture')}, few enough for chance to move AP` : '',
    end ? `◆ after the training, on ${plural(end.images, 'test picture')}` : ''].filter(Boolean).join(' · ');
}

// A bar for each rung, the mean over its seeds, and a mark for each of several seeds.
function showFinalAps(board, drawn, tall) {
  const { ui, report, shown } = board, w = ui.aps.clientWidth || 400, nodes = [], told = [];
  const bars = rungsOf(board).map(rung => {
    const found = drawn.filter(({ i }) => rungOf(report.runs[i]) === rung);
    return { rung, i: found[0]?.i, values: found.map(({ found: all }) => all.at(-1)[shown.ap]) };
  }).filter(({ values }) => values.length);
  const top = Math.max(1, ...bars.flatMap(({ values }) => values));
  const left = Math.min(0.45 * w, 14 + 7 * Math.max(...bars.map(({ rung }) => rung.length)));
  const row = Math.min(36, (tall - 12) / bars.length), x = value => left + (w - left - 44) * value / top;
  bars.forEach(({ rung, i, values }, k) => {
    const y = 6 + row * (k + 0.5), value = meanOf(values), beside = Math.max(x(value), ...values.map(x)) + 8;
    nodes.push(s('text', { x: left - 10, y: y + 4, 'text-anchor': 'end', fill: 'var(--ink)' }, rung),
      s('rect', { x: left, y: y - row * 0.3, width: x(value) - left, height: row * 0.6, fill: runColour(board, i) }),
      s('text', { x: beside, y: y + 4, fill: runInk(board, i), class: 'end' }, points(value)));
    for (const one of values.length > 1 ? values : []) {
      nodes.push(s('circle', { cx: x(one), cy: y, r: 3.4, fill: 'var(--bg)', stroke: 'var(--ink)', 'stroke-width': 1.5 }));
    }
    told.push(`${rung} ${values.map(points).join(', ')}`);
  });
  const seeds = bars.some(({ values }) => values.length > 1) ? '; mean of the seeds, ○ each seed' : '';
  const pictures = plural(drawn[0].found.at(-1).images, 'test picture');
  const curves = evaluatedEvery(report.places) ? '' : ' Curves over the steps need --eval-every N.';
  setText(ui.apNote, `After the training, on ${pictures}${seeds}.${curves}`);
  setAttribute(ui.aps, 'viewBox', `0 0 ${w} ${tall}`);
  setAttribute(ui.aps, 'aria-label', `${nameOf(board)} AP after the training: ${told.join('; ')}`);
  ui.aps.replaceChildren(...nodes);
}
