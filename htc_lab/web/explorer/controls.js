// Switches, layers, scrubber: what must answer at once.

import { checkSegments, icon, setAttribute, setHidden, setText } from '../common/elements.js';
import { two } from '../common/format.js';
import { answerOf, currentBits, hasLayer, isCut, isHidden, isPossible, modelOf, setBitsOf } from './lookups.js';

export function showControls(view) {
  const { ui, state } = view, bits = currentBits(view);
  ui.ideas.forEach(({ node }, i) => {
    setAttribute(node, 'aria-checked', bits[i] === '1');
    setAttribute(node, 'aria-disabled', !isPossible(view, bits, i));
    setAttribute(node, 'data-cut', isCut(view, bits, i));
  });
  checkSegments(ui.presets.lastChild, bits);
  for (const button of ui.presets.lastChild.children) button.disabled = answerOf(view, button.dataset.value) === null;
  checkSegments(ui.off.lastChild, state.off);
  checkSegments(ui.side, view.side);
  checkSegments(ui.ref, state.ref);
  checkSegments(ui.life, state.life);
  setHidden(ui.sides, state.A === null);
  showLayers(view);
  setAttribute(ui.compare, 'aria-pressed', state.A !== null);
  for (const node of [ui.divider, ui.tagA, ui.tagB]) setHidden(node, state.A === null);
  if (state.A !== null) {
    ui.divider.style.left = `${100 * state.split}%`;
    setAttribute(ui.divider, 'aria-valuenow', Math.round(100 * state.split));
  }
  setHidden(ui.legend, !(hasLayer(view, 'difference') && state.stage > 0));
  setHidden(ui.ref, state.A !== null);
  ui.threshold.value = String(state.thr);
  setText(ui.thresholdText, two(state.thr));
  ui.scrubber.value = String(state.stage);
  setAttribute(ui.scrubber, 'aria-valuetext', ui.names[state.stage]);
  ui.stops.forEach(([, stop], stage) => setAttribute(stop, 'aria-current', stage === state.stage));
  ui.heads.forEach((lane, stage) => setAttribute(lane, 'aria-current', stage === state.stage));
  ui.band.style.transform = `translateX(${100 * state.stage}%)`;
}

function showLayers(view) {
  const { ui, state, pack } = view;
  const masks = state.stage ? '' : 'No masks before stage 1';
  const semantic = setBitsOf(view).some(bits => modelOf(view, bits).semantic);
  const why = {
    masks, difference: masks,
    semantic: semantic ? '' : 'This model was trained without a semantic branch',
    truth: pack.truth ? '' : 'The truth of this picture is not known',
  };
  for (const chip of ui.layers) {
    const reason = why[chip.dataset.layer] ?? '';
    setAttribute(chip, 'aria-pressed', hasLayer(view, chip.dataset.layer));
    if (chip.disabled !== (reason !== '')) chip.disabled = reason !== '';
    if (chip.title !== reason) chip.title = reason;
  }
}

export function showPlay({ ui, playing }) {
  setAttribute(ui.play, 'aria-label', playing ? 'Pause' : 'Play the stages');
  ui.play.replaceChildren(playing ? icon(12, 12, 'M3.5 1.5v9M8.5 1.5v9', { 'stroke-width': 2.4 })
    : icon(12, 12, 'M3 1l8 5-8 5z', { fill: 'currentColor' }));
}

// Knobs that a teacher hides, and what would give away that they are there.
export function hideKnobs(view) {
  const { ui, root, pack, host } = view;
  for (const node of root.querySelectorAll('[data-knob]')) {
    node.hidden = node.dataset.knob.split(' ').some(knob => isHidden(view, knob)) || (node === ui.open && !host.openPicture);
  }
  const many = ui.ideas.filter(({ node }) => !node.hidden).length;
  ui.switches.hidden = many === 0;
  ui.switches.style.setProperty('--switches', String(many));
  for (const button of ui.presets.lastChild.children) {
    button.hidden = ui.ideas.some(({ node }, i) => node.hidden && button.dataset.value[i] === '1');
  }
  if (!view.ap) ui.ref.parentNode.classList.add('alone');
  if (pack.models.length === 1) {
    const [trained] = ui.off.lastChild.children;
    trained.disabled = true;
    trained.title = 'There is one model here: compare with others by giving them too';
    view.state.off = 's';
  }
}
