// What the plots over the steps share: axes, lines, names at the lines' ends.

import { s, setAttribute } from '../common/elements.js';
import { shortly } from './figures.js';
import { runInk } from './looks.js';

const MOST_NAMES = 10;
const NAME_ROOM = 15;

// Round numbers from 0, about as many as asked for, that reach `top`.
function ticksTo(top, about) {
  const rough = top / about, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find(factor => factor * size >= rough) * size;
  return Array.from({ length: Math.ceil(top / step - 1e-9) + 1 }, (_, i) => i * step);
}

export const mostSteps = ({ report }) => Math.max(1, ...report.runs.map(run => run.steps ?? run.step));

// Axes for steps across and values up; gives the places of both.
export function axesOf(svg, nodes, most, top, tall) {
  const w = svg.clientWidth || 400, left = 34, right = w - 44, low = tall - 22, high = 12;
  const across = ticksTo(Math.max(most, 1), Math.max(3, Math.min(8, (right - left) / 90))), up = ticksTo(top, 4);
  const x = step => left + (right - left) * step / Math.max(most, 1), y = value => low - (low - high) * value / up.at(-1);
  for (const value of up) {
    nodes.push(s('path', { d: `M${left} ${y(value)}H${right}`, stroke: 'var(--rule)' }),
      s('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end', fill: 'var(--ink2)' }, shortly(value)));
  }
  for (const step of across) {
    if (step > most) continue;
    nodes.push(s('text', { x: x(step), y: tall - 4, 'text-anchor': 'middle', fill: 'var(--ink2)' }, shortly(step)));
  }
  setAttribute(svg, 'viewBox', `0 0 ${w} ${tall}`);
  return { x, y };
}
// The path through those points; where a value is null it is broken.
export const lineOf = (xs, ys, place) => xs.map((step, i) => (ys[i] === null ? ''
  : `${i && ys[i - 1] !== null ? 'L' : 'M'}${place.x(step).toFixed(1)} ${place.y(ys[i]).toFixed(1)}`)).join('');

// Names at the lines' ends. Those that would touch move apart around the middle of their places.
export function nameEnds(board, nodes, all, tall) {
  const ends = all.length > MOST_NAMES ? all.filter(({ i }) => board.report.runs[i].name === board.shown.run) : all;
  ends.sort((a, b) => a.y - b.y);
  // With the room of those above it taken off, no name may stand above the one before: where one does, both take their mean.
  const groups = [];
  ends.forEach(({ y }, i) => {
    let group = { sum: y - NAME_ROOM * i, many: 1 };
    while (groups.length && groups.at(-1).sum / groups.at(-1).many > group.sum / group.many) {
      const above = groups.pop();
      group = { sum: above.sum + group.sum, many: above.many + group.many };
    }
    groups.push(group);
  });
  const places = groups.flatMap(({ sum, many }) => Array(many).fill(sum / many)).map((y, i) => y + NAME_ROOM * i);
  const over = Math.max(0, (places.at(-1) ?? 0) - (tall - 26));
  ends.forEach((end, i) => nodes.push(s('text',
    { x: end.x + 9, y: places[i] - over + 4, fill: runInk(board, end.i), 'font-weight': 600, class: 'end' }, end.text)));
}
export const nothingYet = (tall, words) => s('text',
  { x: '50%', y: tall / 2, 'text-anchor': 'middle', fill: 'var(--ink2)' }, words);
