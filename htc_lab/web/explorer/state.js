// All that is set, and the string it is shared as.

import { clamp, two } from '../common/format.js';
import { LAYERS, MEANS, richestRung } from './words.js';

// What is set where a string says nothing of it.
const startOf = pack => ({
  B: richestRung(pack).bits, A: null, split: 0.5, off: 't', stage: pack.last, thr: 0.3, obj: 0,
  show: ['masks', 'boxes', 'labels'], ref: 'plain', life: 'mask',
});

// The same format as ExplorerState in htc_lab/explorer/state.py.
export function formatState(state) {
  const compare = state.A === null ? '' : `&A=${state.A}&split=${two(state.split)}`;
  const show = LAYERS.map(([name]) => name).filter(name => state.show.includes(name)).join('.');
  return `B=${state.B}${compare}&off=${state.off}&stage=${state.stage}&thr=${two(state.thr)}&obj=${state.obj}&show=${show}`
    + (state.ref === 'prev' ? '&ref=prev' : '') + (state.life === 'box' ? '&life=box' : '');
}

// What makes no sense is left out. A string of a time that knew fewer ideas has fewer bits: the others are off.
export function parseState(text, pack) {
  const given = new URLSearchParams(text.replace(/^#/, ''));
  const state = startOf(pack), many = pack.ideas.length;
  const number = (name, low, high) => {
    const value = Number(given.get(name));
    if (given.get(name) && Number.isFinite(value)) state[name] = clamp(value, low, high);
  };
  for (const side of ['A', 'B']) {
    const bits = given.get(side) ?? '';
    if (/^[01]+$/.test(bits) && bits.length <= many) state[side] = bits.padEnd(many, '0');
  }
  number('split', 0, 1);
  number('stage', 0, pack.last);
  number('thr', 0, 1);
  number('obj', 0, Infinity);
  if (Object.hasOwn(MEANS, given.get('off') ?? '')) state.off = given.get('off');
  if (given.has('show')) {
    state.show = given.get('show').split('.').filter(name => LAYERS.some(([known]) => known === name));
  }
  if (given.get('ref') === 'prev') state.ref = 'prev';
  if (given.get('life') === 'box') state.life = 'box';
  return { ...state, stage: Math.round(state.stage), obj: Math.round(state.obj) };
}
