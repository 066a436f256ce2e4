// The objects, and the life of the selected one over the stages.

import { h, setAttribute, setHidden, setText } from '../common/elements.js';
import { two } from '../common/format.js';
import { showChart, showLostChart } from './chart.js';
import {
  className, colourOf, currentBits, errorAt, isDashed, isShown, isTrue, listed, otherSide, rowOf, runOf, thingName,
} from './lookups.js';
import { statusOf, whyLost } from './status.js';
import { showTiles } from './tiles.js';

export function showObjects(view) {
  const { ui, state } = view, things = listed(view), run = runOf(view, currentBits(view));
  if (!things.includes(state.obj) && things.length) state.obj = things[0];
  const nodes = new Map([...ui.swatches.children].map(node => [Number(node.dataset.thing), node]));
  const wanted = things.map(thing => {
    const node = nodes.get(thing)
      ?? h('button', { type: 'button', class: 'swatch', role: 'radio', 'data-thing': String(thing) }, h('i', {}));
    const row = rowOf(run, thing), shown = row >= 0 && isShown(view, run, row, state.stage);
    const name = shown ? className(view, run.labels[row]) : thingName(view, thing);
    const label = `${name}, ${statusOf(view, thing, run, row, state.stage)}`;
    const wrong = shown && errorAt(run, row, state.stage);
    setAttribute(node, 'aria-label', label);
    setAttribute(node, 'title', label);
    setAttribute(node, 'aria-checked', thing === state.obj);
    node.tabIndex = thing === state.obj ? 0 : -1;
    node.firstChild.style.setProperty('--hue', colourOf(view, thing));
    const look = `${shown ? '' : 'gone'} ${wrong ? 'wrong' : ''} ${isDashed(view, thing) ? 'again' : ''}`;
    setAttribute(node.firstChild, 'class', look);
    return node;
  });
  const there = ui.swatches.children;
  if (wanted.length !== there.length || wanted.some((node, i) => there[i] !== node)) ui.swatches.replaceChildren(...wanted);
}

export function showLife(view) {
  const { ui, state, pack } = view, thing = state.obj, run = runOf(view, currentBits(view));
  const other = otherSide(view), before = runOf(view, other.bits), row = rowOf(run, thing), old = rowOf(before, thing);
  const any = thing < pack.things.labels.length;
  setText(ui.name, !any ? 'No object' : row >= 0 ? className(view, run.labels[row]) : thingName(view, thing));
  setText(ui.status, any ? statusOf(view, thing, run, row, state.stage) : `score from ${two(state.thr)}: nothing here`);
  const place = row < 0 && run.lost ? run.lost.things.indexOf(thing) : -1;
  const why = place >= 0 ? whyLost(view, run, place)
    : row >= 0 && isTrue(view, thing) && !isShown(view, run, row, state.stage)
      ? `Its score is under the threshold of ${two(state.thr)}: lower that to see it.` : '';
  setText(ui.why, why);
  setHidden(ui.why, why === '');
  setText(ui.roiTitle, place >= 0 ? 'The RoI that came nearest' : 'What each stage looks at (RoI)');
  showTiles(view, run, row, thing, place);
  if (place >= 0) {
    showLostChart(view, run, place, thing);
    ui.scores.replaceChildren(...lostScores(view, run, place, thing));
  } else {
    showChart(view, run, row, before, old, other.name, thing);
    ui.scores.replaceChildren(...scoresOf(view, run, row));
  }
}

function scoreCell(score, top) {
  const bar = h('s', {});
  bar.style.width = `${100 * score}%`;
  return h('div', { class: `score${top ? ' top' : ''}` }, two(score), h('u', {}, bar));
}
const classCell = (name, top) => h('div', { class: `class${top ? ' top' : ''}` }, name);

// A line for each of the detection's likeliest classes, its own in bold.
function scoresOf(view, run, row) {
  const nodes = [];
  for (let j = 0; row >= 0 && j < run.top; j++) {
    const place = row * run.top + j, label = run.classes[place], mine = label === run.labels[row];
    nodes.push(classCell(className(view, label), mine));
    for (let stage = 1; stage <= view.pack.last; stage++) nodes.push(scoreCell(run.classScores[stage - 1][place], mine));
  }
  return nodes;
}
function lostScores(view, run, place, thing) {
  const { scores, things } = run.lost, nodes = [classCell(thingName(view, thing), true)];
  for (let stage = 0; stage < view.pack.last; stage++) nodes.push(scoreCell(scores[stage * things.length + place], true));
  return nodes;
}
