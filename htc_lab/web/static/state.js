// All that is set, and the string it is shared as.

const START = {
  B: '1111', A: null, split: 0.5, off: 't', stage: 4, thr: 0.3, obj: 0, show: ['masks', 'boxes', 'labels'], ref: 'plain', life: 'mask',
};

// The same format as ExplorerState in htc_lab/explorer/state.py.
export function formatState(state) {
  const compare = state.A === null ? '' : `&A=${state.A}&split=${two(state.split)}`;
  const show = LAYERS.map(([name]) => name).filter(name => state.show.includes(name)).join('.');
  return `B=${state.B}${compare}&off=${state.off}&stage=${state.stage}&thr=${two(state.thr)}&obj=${state.obj}&show=${show}`
    + (state.ref === 'prev' ? '&ref=prev' : '') + (state.life === 'box' ? '&life=box' : '');
}

export function parseState(text, last) {
  const given = new URLSearchParams(text.replace(/^#/, ''));
  const state = { ...START, stage: last };
  const number = (name, low, high) => {
    const value = Number(given.get(name));
    if (given.get(name) && Number.isFinite(value)) state[name] = clamp(value, low, high);
  };
  for (const side of ['A', 'B']) if (/^[01]{4}$/.test(given.get(side) ?? '')) state[side] = given.get(side);
  number('split', 0, 1);
  number('stage', 0, last);
  number('thr', 0, 1);
  number('obj', 0, Infinity);
  if (given.get('off') in MEANS) state.off = given.get('off');
  if (given.has('show')) state.show = given.get('show').split('.').filter(name => LAYERS.some(([known]) => known === name));
  if (given.get('ref') === 'prev') state.ref = 'prev';
  if (given.get('life') === 'box') state.life = 'box';
  return { ...state, stage: Math.round(state.stage), obj: Math.round(state.obj) };
}
