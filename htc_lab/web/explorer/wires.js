// Which wires the ideas bring, and the ways they take through the diagram (wiring.js).
//
// The pack says of each idea what it wires: from a `source` to a `target` of the same stage, where the idea is on or
// where it is off, from a first stage on. The box heads' row lies above the mask heads', the semantic branch above both.

import { isIdeaHidden } from './lookups.js';

// Between two wires of one route, px.
const LANE = 12;
// How far left of its box head a wire leaves the line of boxes, and right of its mask head the semantic branch's comes down.
const BEFORE = 17;
const AFTER = 13;

// Of each wire that is drawn for these bits: its idea, its words, and how far beside the middle of its route it runs.
// Ideas that may use one route have a lane of it each, whether they are on or not: no toggle moves another one's wire.
export function wiresOf(view, bits) {
  const { ideas } = view.pack;
  const routeOf = wire => `${wire.source} ${wire.target}`;
  const users = new Map();
  ideas.forEach((idea, i) => {
    for (const route of new Set(idea.wires.map(routeOf))) users.set(route, [...users.get(route) ?? [], i]);
  });
  return ideas.flatMap((idea, i) => idea.wires
    // An idea that is not taught yet brings no semantic branch.
    .filter(wire => wire.on === (bits[i] === '1') && !(wire.source === 'semantic' && isIdeaHidden(view, idea)))
    .map(wire => {
      const route = routeOf(wire), lanes = users.get(route);
      return { ...wire, idea: i, route, beside: (lanes.indexOf(i) - (lanes.length - 1) / 2) * LANE };
    }));
}

// Whether some switch that is shown can bring the semantic branch.
export const mayBeSemantic = view => view.pack.ideas.some(
  idea => !isIdeaHidden(view, idea) && idea.wires.some(wire => wire.source === 'semantic'));

// A wire's path at stage t, by its route; `shared`: wires of stage t - 1 enter the mask head from the left as well. The
// places are those of wiring.js.
const ROUTES = {
  'box mask': ({ x, nh, yB, yM }, t, beside) => `M${x(t) + beside} ${yB + nh / 2}V${yM - nh / 2 - 1}`,
  'input mask': ({ x, nw, yB, yM }, t, beside, shared) => {
    const y = yM - (shared ? 5 : 0) + beside;
    return `M${inputX(x(t), nw, beside)} ${yB}V${y - 8}q0 8 8 8H${x(t) - nw / 2 - 1}`;
  },
  'input box': ({ x, nw, yB }, t, beside) => `M${x(t - 1) + nw / 2 + 1} ${yB + 6 + beside}H${x(t) - nw / 2 - 1}`,
  'mask_before mask': ({ x, nw, yM }, t, beside) => `M${x(t - 1) + nw / 2} ${yM + 5 + beside}H${x(t) - nw / 2 - 1}`,
  'mask_before box': ({ x, nw, yB, yM }, t, beside) => `M${x(t - 1) + nw / 2} ${yM + beside}H${x(t) - nw / 2 - 24 + beside}`
    + `V${yB + 6 + beside}H${x(t) - nw / 2 - 1}`,
  'semantic box': ({ x, nh, yS, yB }, t, beside) => `M${x(t) + beside} ${yS}V${yB - nh / 2 - 1}`,
  'semantic mask': ({ x, nw, yS, yM }, t, beside) =>
    `M${semanticX(x(t), nw, beside)} ${yS}V${yM - 5 + beside}H${x(t) + nw / 2 + 1}`,
};
const inputX = (x, nw, beside) => x - nw / 2 - BEFORE + beside;
const semanticX = (x, nw, beside) => x + nw / 2 + AFTER + beside;

// The path at stage t; null where the wire is not there yet, or where there is no such way (its words are told all the same).
export function pathAt(wire, places, t, shared) {
  if (t < wire.first_stage) return null;
  return ROUTES[wire.route]?.(places, t, wire.beside, shared) ?? null;
}
// Where the line of boxes is tapped, to be marked with a dot; null where the wire begins elsewhere.
export const tapAt = (wire, { x, nw }, t) => (wire.route === 'input mask' ? inputX(x(t), nw, wire.beside) : null);
// Where the semantic branch's line must reach to at stage t.
export const semanticEnd = (wire, { x, nw }, t) => (
  wire.target === 'mask' ? semanticX(x(t), nw, wire.beside) : x(t) + wire.beside);
