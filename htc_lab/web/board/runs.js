// Who trains, with the buttons that stop and start it; and the list of runs.

import { h, icon, s, setAttribute, setText } from '../common/elements.js';
import { two } from '../common/format.js';
import { lasting, points } from './figures.js';
import { runColour, runDashes } from './looks.js';

const STATES = { running: 'training', finished: 'done', stopped: 'stopped', failed: 'failed', waiting: 'not begun' };
const UNKNOWN = 'How it was started is not known here: give dashboard(…, command="train --data …")';

const actor = (act, d, ...text) => h('button', { type: 'button', class: 'btn line', 'data-act': act },
  icon(10, 10, d, { fill: 'currentColor' }), ...text);
const newPlace = () => h('div', { class: 'place' }, h('b', {}), h('span', { class: 'state' }), h('span', { class: 'words' }),
  h('span', { class: 'grow' }), actor('stop', 'M1 1h8v8H1z', 'Stop'), actor('start', 'M2 .5 9 5 2 9.5z', h('span', {})));

export function showPlaces({ ui, report, wanted }) {
  const rows = report.places.map((place, i) => {
    const row = ui.places.children[i] ?? newPlace();
    const [name, state, words, , stop, start] = row.children, verb = place.begun ? 'Resume' : 'Start';
    setText(name, place.name);
    setText(state, STATES[place.state]);
    setAttribute(state, 'data-state', place.state);
    setText(words, place.words);
    setAttribute(words, 'title', place.command ?? '');
    stop.hidden = !place.stoppable;
    stop.disabled = wanted === `stop ${i}`;
    stop.dataset.place = start.dataset.place = String(i);
    setAttribute(stop, 'aria-label', `Stop the training of ${place.name}`);
    start.hidden = place.state === 'running' || place.state === 'finished';
    start.disabled = !place.startable || wanted === `start ${i}`;
    setText(start.lastChild, verb);
    setAttribute(start, 'aria-label', `${verb} the training of ${place.name}`);
    start.title = place.startable ? place.command : UNKNOWN;
    return row;
  });
  ui.places.replaceChildren(...rows);
}

const newRun = name => h('button', { type: 'button', class: 'run', role: 'radio', 'data-run': name },
  s('svg', { class: 'key', width: 30, height: 10, 'aria-hidden': 'true' },
    s('path', { d: 'M1 5H29', 'stroke-width': 2.6, fill: 'none' })),
  h('b', {}), h('span', { class: 'bar' }, h('i', {})), h('span', { class: 'step' }), h('span', {}), h('span', {}));

export function showRuns(board) {
  const { ui, report, shown } = board, there = ui.table.children;
  const rows = report.runs.map((run, i) => {
    const row = there[i]?.dataset.run === run.name ? there[i] : newRun(run.name);
    const [key, name, bar, step, loss, ap] = row.children;
    setAttribute(key.firstChild, 'stroke', runColour(board, i));
    setAttribute(key.firstChild, 'stroke-dasharray', runDashes(board, i));
    setText(name, run.name);
    bar.firstChild.style.width = `${100 * (run.steps ? Math.min(1, run.step / run.steps) : 0)}%`;
    bar.firstChild.style.background = runColour(board, i);
    const left = run.seconds_left !== null ? `, ${lasting(run.seconds_left)} left` : '';
    setText(step, `step ${run.step}${run.steps ? ` of ${run.steps}` : ''}${left}`);
    const last = run.curves[1]?.at(-1), measured = run.evaluations.at(-1), chosen = run.name === shown.run;
    setText(loss, last === undefined ? '' : `loss ${two(last)}`);
    setText(ap, measured ? `mask AP ${points(measured.mask)}` : '');
    setAttribute(row, 'aria-checked', chosen);
    row.tabIndex = chosen ? 0 : -1;
    const told = [run.name, STATES[run.state], step.textContent, loss.textContent, ap.textContent];
    setAttribute(row, 'aria-label', told.join(', '));
    return row;
  });
  if (rows.length !== there.length || rows.some((row, i) => row !== there[i])) ui.table.replaceChildren(...rows);
}
