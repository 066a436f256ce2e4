// Numbers of trainings as text.

export function lasting(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
}
export const points = x => (x === null || x === undefined ? '–' : x.toFixed(1));
export const shortly = x => (x >= 1000 ? `${+(x / 1000).toFixed(1)}k` : String(+x.toPrecision(3)));
export const meanOf = values => values.reduce((a, b) => a + b, 0) / values.length;
// When the trainings of some places are evaluated, in words; '' if none of them says.
export function evaluatedEvery(places) {
  const every = [...new Set(places.map(place => place.eval_every).filter(Boolean))];
  if (!every.length) return '';
  return `every ${every.map(steps => (steps === 1 ? 'step' : `${steps} steps`)).join(' or ')} and at the end`;
}
