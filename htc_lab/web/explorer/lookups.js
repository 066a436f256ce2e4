// What the pack says of what is set. Nothing here computes a detection: every answer is looked up.
//
// A run is a model's answer under some bits; a row is one of its detections; a thing is an object, the same over all
// runs. Stage 0 is the proposals, then come the stages, and last the mean of their masks.

import { COLOURS } from '../common/theme.js';
import { rowBox } from './pack.js';
import { MEANS, flipped, knobsOf, plainBits, titleOf } from './words.js';

const GREY = COLOURS[7];

// ---- what is set ----

export const isHidden = (view, knob) => view.hide.includes(knob);
export const isIdeaHidden = (view, idea) => knobsOf(idea).some(knob => isHidden(view, knob));
export const hasLayer = (view, layer) => view.state.show.includes(layer);
export const currentBits = ({ side, state }) => (side === 'A' && state.A !== null ? state.A : state.B);
// Both sides where two are compared.
export const setBitsOf = ({ state }) => [state.B, state.A].filter(bits => bits !== null);

// ---- models and runs ----

export const answerOf = ({ pack, state }, bits, off = state.off) => pack.answers[MEANS[off]][bits] ?? null;
export function runOf(view, bits) {
  const { pack } = view;
  const found = answerOf(view, bits) ?? answerOf(view, bits, 's') ?? pack.answers.switched_off[pack.models[pack.base].bits];
  return pack.runs[found[0]];
}
export const modelOf = (view, bits) => view.pack.models[runOf(view, bits).model];
// Whether any model can answer with this idea the other way round.
export const isPossible = (view, bits, i) => answerOf(view, flipped(bits, i)) !== null;
// Whether the idea is off in a model that was trained with it.
export const isCut = (view, bits, i) => bits[i] === '0' && modelOf(view, bits).bits[i] === '1';
export const apOf = (view, bits, stage) => (view.ap && stage ? runOf(view, bits).truth.ap[stage - 1] : null);

// ---- detections ----

export const boxAt = (view, run, row, stage) => rowBox(run.boxes[Math.min(stage, view.pack.last - 1)], row);
export const scoreAt = (run, row, stage) => run.scores[stage][row];
// Proposals have no class; those that become shown objects are told apart from the rest.
export const isShown = (view, run, row, stage) => scoreAt(run, row, stage || view.pack.last) >= view.state.thr - 1e-6;
export const shownRows = (view, run, stage) => [...run.things.keys()].filter(row => isShown(view, run, row, stage));
export const errorAt = (run, row, stage) => (run.truth && stage ? run.truth.error[(stage - 1) * run.count + row] : 0);
export const matchAt = (run, row, stage) => (run.truth && stage ? run.truth.match[(stage - 1) * run.count + row] : -1);
export const maskIou = (run, row, stage) => run.truth.maskIou[(stage - 1) * run.count + row];
export const boxIou = (view, run, row, stage) => run.truth.boxIou[Math.min(stage, view.pack.last - 1) * run.count + row];

// ---- objects ----

export const className = ({ pack }, label) => pack.classes[label] ?? `class ${label}`;
export const thingName = (view, thing) => className(view, view.pack.things.labels[thing]);
export const rowOf = (run, thing) => run.things.indexOf(thing);
export const isTrue = ({ pack }, thing) => thing < pack.things.true;
const hues = view => (view.ap ? 7 : 8);
export const colourOf = (view, thing) => (view.ap && !isTrue(view, thing) ? GREY : COLOURS[thing % hues(view)]);
export const isDashed = (view, thing) => (!view.ap || isTrue(view, thing)) && Math.floor(thing / hues(view)) % 2 === 1;
// True objects that nothing shown stands for.
export function missed(view, run) {
  const { stage } = view.state;
  const found = new Set(shownRows(view, run, stage).map(row => matchAt(run, row, stage)));
  return [...Array(view.pack.things.true).keys()].filter(k => !found.has(k));
}
// True objects, and whatever else is shown on either side.
export function listed(view) {
  const things = new Set(Array(view.pack.things.true).keys());
  for (const bits of setBitsOf(view)) {
    const run = runOf(view, bits);
    for (const row of shownRows(view, run, view.state.stage)) things.add(run.things[row]);
  }
  return [...things].sort((a, b) => a - b);
}

// ---- the other side of a comparison ----

// Of the picture and the sentence under it: A, the stage before, or plain cascade.
export function reference(view) {
  const { state, ui, pack } = view, { stage } = state;
  if (state.A !== null) return { bits: state.A, stage, words: `A, ${titleOf(pack, state.A)}` };
  if (state.ref === 'prev' && hasLayer(view, 'difference') && stage > 1) {
    return { bits: state.B, stage: stage - 1, words: ui.names[stage - 1].toLowerCase() };
  }
  return { bits: plainBits(pack), stage, words: 'plain cascade' };
}
// Of the panel: the side that the switches do not set, or plain cascade.
export function otherSide({ state, side, pack }) {
  if (state.A === null) return { bits: plainBits(pack), name: 'plain' };
  return side === 'A' ? { bits: state.B, name: 'B' } : { bits: state.A, name: 'A' };
}
// The run, stage and row of a thing on both sides; the row is -1 where it is not shown.
export function pairOf(view, run, stage, before, stageBefore, thing) {
  const row = rowOf(run, thing), old = rowOf(before, thing);
  return [[run, stage, row >= 0 && isShown(view, run, row, stage) ? row : -1],
    [before, stageBefore, old >= 0 && stageBefore > 0 && isShown(view, before, old, stageBefore) ? old : -1]];
}
