// What the explorer calls things. Ideas and rungs bring their own words with the pack (`ideas` and `rungs` of its index).

export const LAYERS = [['masks', 'Masks'], ['boxes', 'Boxes'], ['labels', 'Labels'], ['truth', 'Truth'],
  ['semantic', 'Semantic'], ['difference', 'Difference']];
export const ERRORS = ['', 'duplicate', 'wrong class', 'poor mask', 'background'];
// Why a true object was lost, as htc_lab/explorer/lost.py numbers it.
export const LOST = { NO_PROPOSAL: 0, MOVED_AWAY: 1, LOW_SCORE: 2, SUPPRESSED: 3, CROWDED_OUT: 4 };
export const MEANS = { t: 'trained_without', s: 'switched_off' };

// Bits are a character for each of the pack's ideas, in their order: "1" on, "0" off.
export const plainBits = pack => '0'.repeat(pack.ideas.length);
export const richestRung = pack => pack.rungs.at(-1);
export const withBit = (bits, i, bit) => bits.slice(0, i) + bit + bits.slice(i + 1);
export const flipped = (bits, i) => withBit(bits, i, bits[i] === '1' ? '0' : '1');

// Knobs that hide an idea's switch, each of them alone.
export const knobsOf = idea => idea.knob.split(' ');

export const counted = names => [...new Set(names)].map(name => {
  const n = names.filter(each => each === name).length;
  return n > 1 ? `${n} × ${name}` : name;
}).join(', ');

// The rung of these bits, or else the ideas that are on. Ideas that say what they reach by an arrow are one word where
// all of their kind are on: "Semantic → boxes" and "Semantic → masks" are "Semantic".
export function titleOf(pack, bits) {
  const rung = pack.rungs.find(each => each.bits === bits);
  if (rung) return rung.title;
  const kindOf = idea => idea.short.split(' → ')[0];
  const on = pack.ideas.filter((_, i) => bits[i] === '1');
  const whole = kind => {
    const all = [...pack.ideas.keys()].filter(i => kindOf(pack.ideas[i]) === kind);
    return all.length > 1 && all.every(i => bits[i] === '1');
  };
  const words = on.map(idea => (whole(kindOf(idea)) ? kindOf(idea) : idea.short));
  return [...new Set(words)].join(' + ');
}

// Keys and what they do, for the help.
export const keysOf = ({ ideas, rungs, stages }) => [
  [['←', '→'], 'stage before, next'],
  [['0', '…', String(stages + 1)], `proposals, stages 1 to ${stages}, mean`],
  [ideas.map(idea => idea.key), ideas.map(idea => idea.short.replace(' → ', ' to ').toLowerCase()).join(', ')],
  [['P', 'H'], `plain cascade, ${rungs.at(-1).title}`],
  [['[', ']'], 'object before, next'],
  [['C', 'X'], 'compare A|B, swap sides'],
  [['T', 'S', 'D'], 'truth, semantic map, difference'],
  [[',', '.'], 'score threshold down, up'],
];
