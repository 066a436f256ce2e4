// The explorer's elements, without what they say of a picture.

import { h, icon, s, segments } from '../common/elements.js';
import { LAYERS, keysOf } from './words.js';

// Stages are named by number: 0 the proposals, then the stages, last the mean.
export function build(root, pack) {
  const { stages } = pack, numbers = Array.from({ length: stages }, (_, t) => String(t + 1));
  const ui = {
    names: ['Proposals', ...numbers.map(number => `Stage ${number}`), 'Mean'],
    short: ['RPN', ...numbers, 'Mean'],
  };
  root.replaceChildren(buildHead(ui), buildIdeas(ui, pack), buildMain(ui, stages + 1), buildSide(ui),
    buildFoot(ui, pack), buildHelp(ui, pack));
  return ui;
}

// A button that does what `what` names (actions.js).
const doer = (what, attributes, ...children) => h('button',
  { type: 'button', class: 'btn', 'data-do': what, ...attributes }, ...children);

function buildHead(ui) {
  ui.sub = h('span', { class: 'sub' });
  ui.file = h('input', { type: 'file', accept: 'image/*', class: 'sr', tabindex: '-1', 'aria-hidden': 'true' });
  ui.open = doer('open', { 'data-knob': 'open', title: 'Or drop a file on the picture' },
    icon(14, 14, 'M7 10V2M3.5 5.5 7 2l3.5 3.5M1.5 9v3.2h11V9'), 'Your own picture');
  return h('header', { class: 'head' }, h('h2', {}, 'Stage Explorer'), ui.sub, h('span', { class: 'grow' }), ui.file, ui.open,
    doer('help', { 'aria-label': 'Keyboard and help', 'aria-keyshortcuts': '?' }, h('kbd', {}, '?')));
}

function buildIdeas(ui, pack) {
  ui.side = segments(null, 'Side that the switches set', 'side', [['A', 'A'], ['B', 'B']]);
  ui.sides = h('span', { class: 'pair' }, h('span', { class: 'cap' }, 'Switches of'), ui.side,
    doer('swap', { 'aria-label': 'Swap A and B', 'aria-keyshortcuts': 'X', title: 'Swap A and B' },
      icon(16, 14, 'M1 4h12M10 1l3 3-3 3M15 10H3M6 7l-3 3 3 3')));
  ui.presets = segments('presets', 'Preset', 'preset', pack.rungs.map(({ bits, title }) => [bits, title]));
  ui.off = segments('off_means', 'Off means', 'off', [
    ['t', 'trained without it', 'Another checkpoint, trained without the idea'],
    ['s', 'switched off in this model', 'The richest checkpoint with the idea cut out at test time']]);
  ui.ideas = pack.ideas.map((idea, i) => {
    const says = h('span', { class: 'says' }), gives = h('span', {});
    const node = h('button', {
      type: 'button', class: 'idea', role: 'switch', 'data-idea': String(i), 'data-knob': idea.knob,
      'aria-keyshortcuts': idea.key,
    }, h('span', { class: 'track', 'aria-hidden': 'true' }),
    h('span', { class: 'words' }, h('span', { class: 'name' }, idea.name), says,
      h('span', { class: 'gives' }, gives, h('i', { 'aria-hidden': 'true' }, idea.equation))));
    return { node, says, gives };
  });
  ui.switches = h('div', { class: 'switches' }, ui.ideas.map(({ node }) => node));
  return h('section', { class: 'ideas', 'aria-label': 'The ideas' },
    h('div', { class: 'bar' }, ui.sides, ui.presets, h('span', { class: 'grow' }), ui.off), ui.switches);
}

function buildMain(ui, last) {
  ui.layers = LAYERS.map(([name, text]) => h('button', {
    type: 'button', class: 'chip', 'data-layer': name, 'data-knob': name === 'semantic' ? 'semantic semantic_map' : name,
  }, text));
  ui.threshold = h('input', {
    type: 'range', max: '0.95', step: '0.05', 'aria-label': 'Score threshold', 'aria-keyshortcuts': ', .',
  });
  ui.thresholdText = h('output', {});
  ui.compare = doer('compare', { class: 'btn line', 'data-knob': 'compare', 'aria-keyshortcuts': 'C' },
    icon(14, 12, 'M.7.7h12.6v10.6H.7zM7 0v12'), 'Compare A|B');
  ui.badge = h('span', { class: 'badge' });
  ui.sentence = h('span', {});
  ui.wires = s('svg', { role: 'img' });
  ui.play = h('button', { type: 'button', class: 'play', 'data-do': 'play' });
  ui.stops = ui.names.map((name, stage) => [
    h('i', {}), h('button', { type: 'button', class: 'stop', 'data-stage': String(stage), tabindex: '-1' }, name)]);
  ui.scrubber = h('input', { type: 'range', min: '0', max: String(last), step: '1', 'aria-label': 'Stage' });
  ui.scrub = h('div', { class: 'scrub' }, ui.play, ui.stops.flat(), ui.scrubber);
  ui.wiring = h('div', { class: 'wiring' }, ui.wires, ui.scrub);
  return h('section', { class: 'main', 'aria-label': 'Picture' },
    h('div', { class: 'tools' },
      h('span', { class: 'layers', role: 'group', 'aria-label': 'Layers' }, ui.layers), h('span', { class: 'grow' }),
      h('label', { class: 'threshold', 'data-knob': 'threshold' }, 'score ≥ ', ui.thresholdText, ui.threshold), ui.compare),
    h('div', { class: 'frame' }, buildPicture(ui)),
    h('p', { class: 'note', 'aria-live': 'polite' }, ui.badge, ui.sentence), ui.wiring);
}

function buildPicture(ui) {
  ui.photo = h('canvas', { class: 'photo', role: 'img' });
  ui.map = h('canvas', { class: 'map', 'aria-hidden': 'true' });
  ui.marks = h('canvas', { class: 'marks', 'aria-hidden': 'true' });
  [ui.tagA, ui.tagB] = [['left', 'A'], ['right', 'B']].map(([place, name]) => h('span', { class: `tag ${place}` },
    h('b', {}, name), h('span', { class: 'title' }), h('span', {})));
  ui.gained = h('span', {});
  ui.lost = h('span', {});
  const key = (kind, words) => h('span', {}, h('i', { class: `patch ${kind}`, 'aria-hidden': 'true' }), words);
  ui.ref = segments(null, 'Difference against', 'ref',
    [['plain', 'against plain cascade'], ['prev', 'against the stage before']]);
  ui.legend = h('div', { class: 'legend' },
    h('span', { class: 'counts' }, key('gain', ui.gained), key('loss', ui.lost)), ui.ref);
  ui.divider = h('div', {
    class: 'divider', role: 'slider', tabindex: '0', 'aria-label': 'Divider between A and B',
    'aria-valuemin': '0', 'aria-valuemax': '100',
  }, h('span', {}, icon(16, 12, 'M5 1 1 6l4 5M11 1l4 5-4 5', { stroke: '#111' })));
  ui.busy = h('div', { class: 'busy', role: 'status', hidden: true });
  ui.picture = h('div', { class: 'picture' }, ui.photo, ui.map, ui.marks, ui.tagA, ui.tagB, ui.legend, ui.divider, ui.busy);
  return ui.picture;
}

// One grid of stage columns, all the way down.
function buildSide(ui) {
  const { names, short } = ui;
  ui.big = h('div', { class: 'big' });
  ui.figure = h('div', { class: 'text' });
  ui.band = h('div', { class: 'band', 'aria-hidden': 'true' });
  ui.heads = short.map((text, stage) => h('button',
    { type: 'button', class: 'lane', 'data-stage': String(stage), 'aria-label': `Go to ${names[stage]}` }, text));
  ui.bars = s('svg', { class: 'bars', role: 'img' });
  ui.swatches = h('span', { class: 'swatches', role: 'radiogroup', 'aria-label': 'Object' });
  ui.name = h('h3', {});
  ui.status = h('span', { class: 'status' });
  ui.why = h('p', { class: 'all why' });
  ui.roiTitle = h('span', {});
  // What is drawn of all tiles is one canvas: the browser handles every canvas as a layer of its own, in each frame.
  ui.crops = names.map(() => h('div', { class: 'tile', role: 'img' }));
  ui.softs = names.slice(1).map(() => h('div', { class: 'tile', role: 'img' }));
  ui.softTitle = h('span', {});
  ui.drawn = h('canvas', { 'aria-hidden': 'true' });
  ui.lifeTitle = h('span', {});
  ui.life = segments(null, 'IoU of', 'life', [['mask', 'mask'], ['box', 'box']]);
  ui.chart = s('svg', { class: 'chart', role: 'img' });
  ui.scores = h('div', { class: 'all scores' });
  const step = (what, label, key, d) => h('button',
    { type: 'button', 'data-do': what, 'aria-label': label, 'aria-keyshortcuts': key }, icon(12, 12, d));
  const lanes = h('div', { class: 'lanes' }, ui.band, ui.heads, h('div', { class: 'all' }, ui.bars),
    h('div', { class: 'all objects' }, ui.swatches, h('span', { class: 'walk' },
      step('previous', 'Previous object', '[', 'M8 2 4 6l4 4'), step('next', 'Next object', ']', 'm4 2 4 4-4 4'))),
    h('div', { class: 'all object' }, ui.name, ui.status), ui.why,
    h('div', { class: 'all row' }, ui.roiTitle),
    h('div', { class: 'all tiles' }, ui.drawn, ui.crops, h('div', { class: 'aside' }, ui.softTitle), ui.softs),
    h('div', { class: 'all row' }, ui.lifeTitle, ui.life), h('div', { class: 'all' }, ui.chart),
    h('div', { class: 'all row' }, 'Class scores'), ui.scores);
  lanes.style.setProperty('--lanes', String(names.length));
  return h('section', { class: 'side', 'aria-label': 'This picture and the life of the selected object' },
    h('div', { class: 'figure' }, ui.big, ui.figure), lanes);
}

function buildFoot(ui, pack) {
  ui.said = h('div', { class: 'said', role: 'status' });
  ui.exportButton = doer('export', { 'data-knob': 'export' }, 'Export HTML');
  const keys = (list, text, optional) => h('span', { class: optional ? 'optional' : '' },
    list.map(key => h('kbd', {}, key)), ` ${text}`);
  return h('footer', { class: 'foot' }, doer('python', { 'data-knob': 'python' }, 'Copy as Python'),
    doer('share', { 'data-knob': 'share' }, 'Share state'), doer('png', { 'data-knob': 'png' }, 'Save PNG'),
    ui.exportButton, h('span', { class: 'grow' }),
    h('span', { class: 'keys', 'aria-hidden': 'true' }, keys(['←', '→'], 'stage'),
      keys(pack.ideas.map(idea => idea.key), 'ideas'), keys(['[', ']'], 'object', true), keys(['C'], 'compare', true),
      keys(['D'], 'difference', true), keys(['?'], 'all')), ui.said);
}

function buildHelp(ui, pack) {
  const cap = key => (key === '…' ? key : h('kbd', {}, key));
  ui.dialog = h('dialog', { 'aria-label': 'Keyboard' }, h('h3', {}, 'Keyboard, while the focus is in the explorer'),
    h('dl', {}, keysOf(pack).flatMap(([list, text]) => [h('dt', {}, list.map(cap)), h('dd', {}, text)])),
    h('form', { method: 'dialog' }, h('button', { class: 'btn line' }, 'Close')));
  return ui.dialog;
}
