// The sentence under the picture: what changed against the other side, in words.

import { change, h } from '../common/elements.js';
import { className, isIdeaHidden, maskIou, matchAt, pairOf, reference, runOf, scoreAt } from './lookups.js';
import { counted, titleOf } from './words.js';

// Less than this of IoU, or of a score, is not worth a word.
const LEAST_CHANGE = 0.03;
const MOST_NAMED = 3;

export function showSentence(view) {
  const { state, pack, ui } = view, { stage } = state;
  const run = runOf(view, state.B), other = reference(view), before = runOf(view, other.bits);
  const title = titleOf(pack, state.B);
  if (stage === 0) {
    ui.sentence.replaceChildren('Proposals are boxes with an objectness score: no class, no mask. '
      + 'Each coloured box is the one that will become that object.');
    return;
  }
  if (run === before && stage === other.stage) {
    const switches = pack.ideas.some(idea => !isIdeaHidden(view, idea));
    const asked = switches ? ' Switch an idea on to see what it changes.' : '';
    const alone = ` is what the others are compared with.${asked}`;
    ui.sentence.replaceChildren(h('b', {}, title), state.A === null ? alone : ' is on both sides.');
    return;
  }
  const parts = partsOf(changesOf(view, run, before, other.stage), view.ap);
  const told = parts.flatMap((part, i) => (i ? ['; ', ...part] : part));
  const nothing = `no object changes by more than ${LEAST_CHANGE} ${view.ap ? 'IoU' : 'in score'}`;
  const lead = state.A === null ? title : `B, ${title},`;
  ui.sentence.replaceChildren(h('b', {}, lead), ' against ', h('b', {}, other.words), ': ',
    ...(told.length ? told : [nothing]), '.');
}

// Names of objects by what happened to them; those that moved with by how much.
function changesOf(view, run, before, stageBefore) {
  const { ap } = view, { stage } = view.state;
  const all = { found: [], lost: [], gone: [], come: [], named: [], up: [], down: [] };
  for (const thing of new Set([...run.things, ...before.things])) {
    const [[, , row], [, , old]] = pairOf(view, run, stage, before, stageBefore, thing);
    if (row < 0 && old < 0) continue;
    const name = className(view, row >= 0 ? run.labels[row] : before.labels[old]);
    const good = row >= 0 && matchAt(run, row, stage) >= 0, was = old >= 0 && matchAt(before, old, stageBefore) >= 0;
    if (ap && good && !was) all.found.push(name);
    else if (ap && was && !good) all.lost.push(name);
    if (row >= 0 && old < 0 && !good) all.come.push(name);
    if (old >= 0 && row < 0 && !was) all.gone.push(name);
    if (row < 0 || old < 0) continue;
    if (run.labels[row] !== before.labels[old]) {
      all.named.push(`${name}, called ${className(view, before.labels[old])} before`);
    }
    const by = !ap ? scoreAt(run, row, stage) - scoreAt(before, old, stageBefore)
      : run.truth.reference[row] < 0 ? 0 : maskIou(run, row, stage) - maskIou(before, old, stageBefore);
    if (Math.abs(by) >= LEAST_CHANGE) all[by > 0 ? 'up' : 'down'].push([name, by]);
  }
  return all;
}

// Each part of the sentence as text and elements.
function partsOf({ found, lost, gone, come, named, up, down }, ap) {
  const wrong = ap ? 'false ' : '';
  const parts = [];
  if (found.length) parts.push([`${counted(found)} found`]);
  if (lost.length) parts.push([`${counted(lost)} no longer found`]);
  if (gone.length) parts.push([`${wrong}${counted(gone)} gone`]);
  if (come.length) parts.push([`${wrong}${counted(come)} new`]);
  if (named.length) parts.push([counted(named)]);
  // Of two that moved as far, the one that went up is named first.
  const moved = [...up.sort((a, b) => b[1] - a[1]), ...down.sort((a, b) => a[1] - b[1])]
    .sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  if (moved.length) {
    const most = moved.slice(0, MOST_NAMED).flatMap(([name, by], i) => [i ? `, ${name} ` : `${name} `, change(by, 2)]);
    const more = moved.length > MOST_NAMED ? ` and ${moved.length - MOST_NAMED} more` : '';
    parts.push([ap ? 'mask IoU of ' : 'score of ', ...most, more]);
  }
  return parts;
}
