// What buttons and keys do.

import {
  flip, go, isThere, play, set, setBits, setThreshold, stopPlaying, toggleLayer, update, walk,
} from './change.js';
import { isHidden } from './lookups.js';
import { copyPython, copyState, exportPage, savePicture, showBusy } from './sharing.js';
import { plainBits, richestRung } from './words.js';

const STEP = 0.05;

// By `data-do` of a button.
const DO = {
  open: ({ ui }) => ui.file.click(),
  help: ({ ui }) => ui.dialog.showModal(),
  swap: view => {
    const { A, B, split } = view.state;
    if (A !== null) set(view, { A: B, B: A, split: 1 - split }, true);
  },
  compare: view => {
    if (isThere(view.ui.compare)) set(view, { A: view.state.A === null ? plainBits(view.pack) : null });
  },
  play,
  previous: view => walk(view, -1),
  next: view => walk(view, 1),
  python: copyPython,
  share: copyState,
  png: savePicture,
  export: exportPage,
  dismiss: view => showBusy(view, ''),
};

// By `data-set` of a group of buttons.
const SETS = {
  side: (view, value) => {
    view.side = value;
    update(view);
  },
  preset: setBits,
  off: (view, value) => {
    if (view.pack.models.length > 1) set(view, { off: value }, true);
  },
  ref: (view, value) => set(view, { ref: value }),
  life: (view, value) => set(view, { life: value }),
};

export function goTo(view, stage) {
  stopPlaying(view);
  go(view, stage);
}

export function onButton(view, button) {
  const { idea, stage, layer, thing, set: name, value, do: what } = button.dataset;
  if (idea !== undefined) flip(view, Number(idea));
  else if (stage !== undefined) goTo(view, Number(stage));
  else if (layer) toggleLayer(view, layer);
  else if (thing !== undefined) set(view, { obj: Number(thing) });
  else if (name) SETS[name](view, value);
  else if (what) DO[what](view);
}

const shift = (view, by) => {
  if (!isHidden(view, 'threshold')) setThreshold(view, view.state.thr + by);
};
const presets = ({ ui }) => ui.presets.lastChild;
const KEYS = {
  p: view => {
    if (isThere(view.ui.presets)) setBits(view, plainBits(view.pack));
  },
  h: view => {
    if (isThere(view.ui.presets) && isThere(presets(view).lastChild)) setBits(view, richestRung(view.pack).bits);
  },
  ArrowLeft: view => goTo(view, view.state.stage - 1),
  ArrowRight: view => goTo(view, view.state.stage + 1),
  '[': DO.previous,
  ']': DO.next,
  c: DO.compare,
  x: DO.swap,
  '?': DO.help,
  t: view => toggleLayer(view, 'truth'),
  s: view => toggleLayer(view, 'semantic'),
  d: view => toggleLayer(view, 'difference'),
  ',': view => shift(view, -STEP),
  '.': view => shift(view, STEP),
};

// What a key does, as a function; undefined where it does nothing. Ideas bring their own keys.
export function actionOf(view, key) {
  if (/^[0-9]$/.test(key) && Number(key) <= view.pack.last) return () => goTo(view, Number(key));
  const name = key.length === 1 ? key.toLowerCase() : key;
  const i = view.pack.ideas.findIndex(idea => idea.key.toLowerCase() === name);
  if (i >= 0) return () => flip(view, i);
  return Object.hasOwn(KEYS, name) ? () => KEYS[name](view) : undefined;
}
