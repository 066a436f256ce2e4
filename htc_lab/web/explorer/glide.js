// Boxes glide from stage to stage; masks change at once.

import { clamp } from '../common/format.js';
import { boxAt, runOf, shownRows } from './lookups.js';
import { paint } from './picture.js';

const GLIDE_MS = 220;

// Boxes start from where they are drawn now; a change while they glide needs no queue.
export function aim(view, animate) {
  const { state, glide } = view, moving = animate && !view.stillness.matches;
  glide.since = null;
  for (const name of ['A', 'B']) {
    const old = glide[name], next = new Map();
    if (state[name] !== null) {
      const run = runOf(view, state[name]);
      for (const row of shownRows(view, run, state.stage)) {
        const thing = run.things[row], to = boxAt(view, run, row, state.stage);
        const from = moving ? old.get(thing)?.drawn ?? to : to;
        next.set(thing, { from, to, drawn: from });
      }
    }
    glide[name] = next;
  }
  if (moving && !view.frame) view.frame = requestAnimationFrame(now => step(view, now));
}

// The first frame shows what the change itself has painted: a glide begins there, and paints from the second frame on.
function step(view, now) {
  const { glide } = view, again = () => requestAnimationFrame(next => step(view, next));
  if (glide.since === null) {
    glide.since = now;
    view.frame = again();
    return;
  }
  const share = clamp((now - glide.since) / GLIDE_MS, 0, 1), eased = 1 - (1 - share) ** 3;
  for (const name of ['A', 'B']) {
    for (const each of glide[name].values()) each.drawn = Array.from(each.from, (x, i) => x + (each.to[i] - x) * eased);
  }
  paint(view);
  view.frame = share < 1 ? again() : 0;
}
