// What becomes of an object at a stage, in a few words.

import { two } from '../common/format.js';
import { boxIou, className, errorAt, isShown, isTrue, maskIou, scoreAt, thingName } from './lookups.js';
import { ERRORS, LOST } from './words.js';

export function statusOf(view, thing, run, row, stage) {
  if (row < 0 || !isShown(view, run, row, stage)) {
    const score = row < 0 ? '' : `, score ${two(scoreAt(run, row, stage || view.pack.last))}`;
    return isTrue(view, thing) ? `missed${score}` : `not shown${score}`;
  }
  const error = errorAt(run, row, stage), score = two(scoreAt(run, row, stage));
  if (error) return `false: ${ERRORS[error]}, score ${score}`;
  if (!view.ap) return `score ${score}`;
  return stage ? `mask IoU ${two(maskIou(run, row, stage))}` : `box IoU ${two(boxIou(view, run, row, 0))}`;
}

// Of a true object that nothing stands for: where the RoI that came nearest was given up.
export function whyLost(view, run, place) {
  const { why, nearest, boxIou: iou, scores, called, calledScore, by, things } = run.lost, many = things.length;
  const stages = view.pack.last - 1, end = stages * many + place;
  const name = thingName(view, things[place]), final = two(iou[end]), score = two(scores[end]);
  const named = called[place] < 0 ? 'background' : className(view, called[place]);
  const overlap = two(nearest[place]);
  const better = by[place] < 0 ? `a better-scored ${name}` : by[place] === things[place] ? 'another box'
    : `the better-scored ${thingName(view, by[place])} (object ${by[place] + 1})`;
  switch (why[place]) {
    case LOST.NO_PROPOSAL:
      return `Lost before stage 1: no proposal lies on it. `
        + `The nearest overlaps it by IoU ${overlap}, and stages refine boxes, they find no new ones.`;
    case LOST.MOVED_AWAY:
      return `Lost in the stages: a proposal lay on it (IoU ${overlap}), but no box after stage ${stages} does; `
        + `the nearest has IoU ${final}.`;
    case LOST.LOW_SCORE:
      return `Lost to a low score: the RoI lies on it (box IoU ${final}) but scores ${score} as ${name}; `
        + `it was taken for ${named} (${two(calledScore[place])}).`;
    case LOST.SUPPRESSED:
      return `Suppressed: the RoI scores ${score} as ${name}, but ${better} overlaps it too much, `
        + `and of two such boxes only the better one stays (NMS).`;
    case LOST.CROWDED_OUT:
      return `Left out: it scores ${score} as ${name}, below the detections a picture may have at most.`;
    default:
      return `The box on it (IoU ${final}) stands for another object, or scores too low to be kept here (${score} as ${name}).`;
  }
}
