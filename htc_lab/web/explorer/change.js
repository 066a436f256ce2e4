// What a person can change, and state -> screen.

import { clamp } from '../common/format.js';
import { hideKnobs, showControls, showPlay } from './controls.js';
import { aim } from './glide.js';
import { answerOf, currentBits, hasLayer, listed } from './lookups.js';
import { laterPanel } from './panel.js';
import { paintUnder } from './photo.js';
import { paint } from './picture.js';
import { formatState, parseState } from './state.js';
import { flipped } from './words.js';

const PLAY_MS = 900;
const MOST_THRESHOLD = 0.95;
// The divider stays where it can be taken hold of.
const EDGE = 0.02;

// `glides`: boxes move to their new places. `shared`: the host is told. The picture and the switches are drawn now, the
// rest in the next frame.
export function update(view, { glides = false, shared = true } = {}) {
  const { state, pack, host } = view;
  if (answerOf(view, state.B) === null) state.B = pack.models[pack.base].bits;
  if (state.A !== null && answerOf(view, state.A) === null) state.A = null;
  if (state.A === null) view.side = 'B';
  aim(view, glides);
  paintUnder(view);
  paint(view);
  showControls(view);
  laterPanel(view);
  if (shared) host.changed(formatState(state));
}
export function set(view, changes, glides = false) {
  Object.assign(view.state, changes);
  update(view, { glides });
}
export function setState(view, text) {
  if (text === formatState(view.state)) return;
  view.state = parseState(text, view.pack);
  hideKnobs(view);
  update(view, { glides: true, shared: false });
}
export function setHide(view, names) {
  view.hide = names;
  hideKnobs(view);
  update(view, { shared: false });
}

// What is hidden or can't be used can't be used by its key either.
export const isThere = node => !node.closest('[hidden]') && !node.disabled;
export function setBits(view, bits) {
  const compared = view.side === 'A' && view.state.A !== null;
  if (answerOf(view, bits) !== null) set(view, compared ? { A: bits } : { B: bits }, true);
}
export function flip(view, i) {
  if (isThere(view.ui.ideas[i].node)) setBits(view, flipped(currentBits(view), i));
}
export function go(view, stage) {
  set(view, { stage: clamp(stage, 0, view.pack.last) }, true);
}
export function toggleLayer(view, name) {
  const chip = view.ui.layers.find(each => each.dataset.layer === name), { show } = view.state;
  if (isThere(chip)) set(view, { show: hasLayer(view, name) ? show.filter(each => each !== name) : [...show, name] });
}
export function walk(view, by) {
  const things = listed(view), many = things.length;
  if (many) set(view, { obj: things[(things.indexOf(view.state.obj) + by + many) % many] });
}
export function setThreshold(view, value) {
  set(view, { thr: clamp(Math.round(value * 100) / 100, view.pack.floor, MOST_THRESHOLD) }, true);
}
export function setSplit(view, share) {
  set(view, { split: clamp(share, EDGE, 1 - EDGE) });
}

export function stopPlaying(view) {
  clearInterval(view.playing);
  view.playing = 0;
  showPlay(view);
}
export function play(view) {
  if (view.playing) { stopPlaying(view); return; }
  go(view, 0);
  view.playing = setInterval(() => {
    if (view.state.stage >= view.pack.last) stopPlaying(view); else go(view, view.state.stage + 1);
  }, PLAY_MS);
  showPlay(view);
}
