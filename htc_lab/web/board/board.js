// The training dashboard: what run folders say of trainings, as the kernel reads them every second.
//
// The kernel sends a report (htc_lab/board/report.py); what a person chose to look at stays here.

import { checkSegments, h, setText } from '../common/elements.js';
import { plural } from '../common/format.js';
import { watchTheme } from '../common/theme.js';
import { showAps } from './aps.js';
import { buildBoard } from './layout.js';
import { showLosses } from './losses.js';
import { showPlaces, showRuns } from './runs.js';
import { moveTo, showSample } from './samples.js';
import { showStages } from './stages.js';

// What the parts of one dashboard share:
//   root, host   the element, and what takes messages for the kernel: send(message)
//   ui           the elements by name (layout.js)
//   report       the newest from the kernel
//   newest       by run: its newest sample picture, {step, png}
//   asked        sample pictures the kernel was asked for, by run and step; null until they come
//   shown        what a person looks at: loss and ap by name, the run, the sample's step or null for the newest
//   wanted       the button whose answer has not come yet: "stop 0"
//   width        of the root, px, when it was drawn
//   shownUrl     of the sample picture
//   ended        aborts when the dashboard ends: listeners hang on its signal
function makeBoard(root, host) {
  return {
    root, host, ui: buildBoard(root), report: { places: [], runs: [], curves: [] }, newest: {}, asked: new Map(),
    shown: { loss: 'loss', ap: 'mask', run: '', sample: null }, wanted: '', width: 0, shownUrl: '',
    ended: new AbortController(),
  };
}

function show(board) {
  const { ui, report, shown } = board, { runs } = report;
  if (!runs.some(run => run.name === shown.run)) {
    shown.run = (runs.find(run => run.state === 'running') ?? runs.at(-1))?.name ?? '';
  }
  setText(ui.sub, runs.length ? plural(runs.length, 'run') : 'no run yet');
  checkSegments(ui.loss, shown.loss);
  checkSegments(ui.ap, shown.ap);
  showPlaces(board);
  showRuns(board);
  showLosses(board);
  showAps(board);
  showStages(board);
  showSample(board);
}
function say({ ui }, text) {
  setText(ui.said, text);
  ui.said.hidden = text === '';
}

function choose(board, node) {
  const { act, place, run, set: name, value } = node.dataset;
  if (act) {
    board.wanted = `${act} ${place}`;
    say(board, act === 'stop' ? 'Stopping after this step; its checkpoint is written.' : 'Starting…');
    board.host.send({ kind: act, place: Number(place) });
  } else if (run) {
    Object.assign(board.shown, { run, sample: null });
  } else if (name) {
    board.shown[name] = value;
  }
  show(board);
}

function onClick(board, event) {
  const node = event.target.closest('button');
  if (node && board.root.contains(node) && !node.disabled) choose(board, node);
}
function onKey(board, event) {
  const group = event.target.closest('[role=radiogroup]');
  const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!group || !by) return;
  const all = [...group.children], to = all[(all.indexOf(event.target) + by + all.length) % all.length];
  event.preventDefault();
  event.stopPropagation();
  choose(board, to);
  to.focus();
}
function listen(board) {
  const { root, ui, ended } = board;
  const on = (node, type, act) => node.addEventListener(type, act, { signal: ended.signal });
  on(root, 'click', event => onClick(board, event));
  on(root, 'keydown', event => onKey(board, event));
  on(ui.slider, 'input', () => moveTo(board, Number(ui.slider.value)));
  const resized = new ResizeObserver(() => {
    if (root.clientWidth === board.width) return;
    board.width = root.clientWidth;
    show(board);
  });
  resized.observe(root);
  const themed = watchTheme(root, ended.signal, () => show(board));
  // Not by `on`: a listener that hangs on a signal is gone before the signal's own event.
  ended.signal.addEventListener('abort', () => { resized.disconnect(); themed(); });
}

function createBoard(root, host) {
  const board = makeBoard(root, host);
  const states = () => JSON.stringify(board.report.places.map(place => place.state));
  say(board, '');
  listen(board);
  show(board);
  return {
    // A stop or a start is answered by the report that shows it.
    setReport(next) {
      const before = states();
      board.report = next;
      if (before !== states()) {
        board.wanted = '';
        say(board, '');
      }
      show(board);
    },
    setPictures(next) {
      board.newest = next;
      showSample(board);
    },
    said(text) {
      board.wanted = '';
      say(board, text);
      show(board);
    },
    took(run, step, bytes) {
      board.asked.set(`${run} ${step}`, bytes);
      showSample(board);
    },
    end() {
      board.ended.abort();
      URL.revokeObjectURL(board.shownUrl);
      root.replaceChildren();
    },
  };
}

function render({ model, el }) {
  const root = h('section', {
    class: 'htc-lab htc-board', 'aria-label': 'Training Dashboard', 'data-lm-suppress-shortcuts': 'true', tabindex: '-1',
  });
  el.append(h('div', { class: 'htc-board-cell' }, root));
  const board = createBoard(root, { send: message => model.send(message) });
  const onReport = () => board.setReport(model.get('report'));
  const onPictures = () => board.setPictures(model.get('pictures'));
  const onMessage = (message, buffers) => {
    if (message.kind === 'sample') board.took(message.run, message.step, buffers[0]);
    else if (message.kind === 'said') board.said(message.text);
  };
  const heard = [['change:report', onReport], ['change:pictures', onPictures], ['msg:custom', onMessage]];
  for (const [type, act] of heard) model.on(type, act);
  onPictures();
  onReport();
  return () => {
    for (const [type, act] of heard) model.off(type, act);
    board.end();
  };
}

export default { render };
