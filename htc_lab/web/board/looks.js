// The colour and the dashes of each run: seeds of one rung (htc_seed0, htc_seed1) share a colour and differ in their
// dashes; else each run has its own of both. A run is known by its place in the report.

// Darker than the objects' colours where those would be lost on white paper, and told apart by dashes as well.
const RUN_COLOURS = ['#2b7bc4', '#d55e00', '#00855f', '#a8508a', '#8a6d00', '#56b4e9', '#5c6670', '#b03a4a'];
const RUN_COLOURS_DARK = ['#6fb6ee', '#ff9a57', '#3fc79c', '#dd9cc4', '#f0e442', '#a9d6f5', '#aab4bd', '#f08a98'];
const DASHES = ['', '7 4', '2 3', '9 3 2 3', '12 3', '4 2', '1 2'];

export const rungOf = run => run.name.replace(/_seed\d+$/, '');
export const rungsOf = ({ report }) => [...new Set(report.runs.map(rungOf))];
export const seedsOf = ({ report }, rung) => report.runs.filter(run => rungOf(run) === rung);
export function runColour(board, i) {
  const colours = board.root.dataset.dark === 'true' ? RUN_COLOURS_DARK : RUN_COLOURS;
  return colours[rungsOf(board).indexOf(rungOf(board.report.runs[i])) % colours.length];
}
export function runDashes(board, i) {
  const { runs } = board.report, seeds = seedsOf(board, rungOf(runs[i]));
  return DASHES[(rungsOf(board).length < runs.length ? seeds.indexOf(runs[i]) : i) % DASHES.length];
}
// Text in a run's colour: dark enough to be read on paper, light enough on black.
export const runInk = (board, i) => `color-mix(in srgb, ${runColour(board, i)} 62%, var(--ink))`;
