// Sample pictures: the newest of the chosen run, or the one the slider stands at.

import { setAttribute, setText } from '../common/elements.js';
import { evaluatedEvery } from './figures.js';

const chosenRun = ({ report, shown }) => report.runs.find(run => run.name === shown.run);

export function showSample(board) {
  const { ui, shown, newest, asked, host } = board, run = chosenRun(board), steps = run?.samples ?? [];
  ui.samples.hidden = !run;
  ui.none.hidden = steps.length > 0;
  ui.picture.hidden = ui.slider.hidden = ui.sampleName.hidden = steps.length === 0;
  if (!steps.length) {
    setText(ui.none, run ? noneYet(evaluatedEvery([board.report.places[run.place]])) : '');
    return;
  }
  const step = shown.sample !== null && steps.includes(shown.sample) ? shown.sample : steps.at(-1);
  setAttribute(ui.slider, 'max', steps.length - 1);
  ui.slider.value = String(steps.indexOf(step));
  ui.slider.hidden = steps.length < 2;
  setAttribute(ui.slider, 'aria-valuetext', `step ${step}`);
  setText(ui.sampleName, `${run.name}, step ${step}${step === steps.at(-1) ? ', the newest' : ''}`);
  const key = `${run.name} ${step}`;
  if (newest[run.name]?.step === step) showPng(board, key, newest[run.name].png);
  else if (asked.get(key)) showPng(board, key, asked.get(key));
  else if (!asked.has(key)) {
    asked.set(key, null);
    host.send({ kind: 'sample', run: run.name, step });
  }
}
const noneYet = every => (every ? `No sample pictures yet: they are made ${every}.`
  : 'No sample pictures: a training makes them if it is started with --eval-every N.');
function showPng(board, key, bytes) {
  const { picture } = board.ui;
  if (picture.dataset.key === key) return;
  picture.dataset.key = key;
  URL.revokeObjectURL(board.shownUrl);
  board.shownUrl = URL.createObjectURL(new Blob([bytes], { type: 'image/png' }));
  picture.src = board.shownUrl;
  picture.alt = `What ${key.replace(/ (\d+)$/, ' found after step $1')} in sample pictures; the truth in white dashes`;
}
// The slider was moved: to the newest means to follow it.
export function moveTo(board, place) {
  const steps = chosenRun(board).samples, step = steps[place];
  board.shown.sample = step === steps.at(-1) ? null : step;
  showSample(board);
}
