// The dashboard's elements, without what they say of a training.

import { h, s, segments } from '../common/elements.js';

export const LOSSES = { loss: 'all', boxes: 'boxes', masks: 'masks', proposals: 'proposals', semantic: 'semantic' };
const APS = [['mask', 'mask AP'], ['box', 'box AP']];

const panel = (title, extra, ...rest) => h('section', { class: 'panel', 'aria-label': title },
  h('div', { class: 'line' }, h('h3', {}, title), h('span', { class: 'grow' }), extra), ...rest);

export function buildBoard(root) {
  const note = () => h('p', { class: 'small' }), plot = (more = '') => s('svg', { class: `plot${more}`, role: 'img' });
  const ui = {
    sub: h('span', { class: 'sub' }),
    places: h('div', { class: 'places' }),
    said: h('p', { class: 'said', role: 'status' }),
    table: h('div', { class: 'runs', role: 'radiogroup', 'aria-label': 'Run whose pictures are shown' }),
    loss: segments(null, 'Losses of', 'loss', Object.entries(LOSSES)),
    ap: segments(null, 'AP of', 'ap', APS),
    losses: plot(), aps: plot(), stages: plot(' low'),
    lossNote: note(), apNote: note(), stageNote: note(),
    picture: h('img', { class: 'sample', alt: '' }),
    sampleName: h('span', { class: 'small' }),
    slider: h('input', { type: 'range', min: '0', step: '1', 'aria-label': 'Step of the sample pictures' }),
    none: note(),
  };
  ui.apPanel = panel('AP during training', ui.ap, ui.aps, ui.apNote);
  ui.samples = panel('What it finds', ui.sampleName, ui.picture, ui.slider, ui.none);
  root.replaceChildren(
    h('header', { class: 'head' }, h('h2', {}, 'Training Dashboard'), ui.sub), ui.places, ui.said, ui.table,
    h('div', { class: 'plots' }, panel('Loss', ui.loss, ui.losses, ui.lossNote), ui.apPanel,
      panel('Mask AP by stage', null, ui.stages, ui.stageNote), ui.samples));
  return ui;
}
