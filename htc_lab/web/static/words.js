// What the explorer calls things: the ideas, the rungs, the layers, the keys.

const IDEAS = [
  { key: 'I', knob: 'interleaved', short: 'Interleaved', name: 'Interleaved', eq: 'eq. 2',
    says: 'Masks use this stage’s refined boxes',
    cut: 'Per-stage view only: final masks always use the final boxes' },
  { key: 'F', knob: 'mask_flow', short: 'Mask flow', name: 'Mask information flow', eq: 'eqs. 3–5',
    says: 'Each mask head also sees the one before' },
  { key: 'B', knob: 'semantic semantic_box', short: 'Semantic → boxes', name: 'Semantic → boxes', eq: 'eq. 6',
    says: 'Scene context feeds the box heads' },
  { key: 'M', knob: 'semantic semantic_mask', short: 'Semantic → masks', name: 'Semantic → masks', eq: 'eq. 6',
    says: 'Scene context feeds the mask heads' },
];
const RUNGS = [['0000', 'Plain cascade'], ['1000', '+ Interleaved'], ['1100', '+ Mask flow'], ['1111', 'HTC']];
const PLAIN = '0000';
const LAYERS = [['masks', 'Masks'], ['boxes', 'Boxes'], ['labels', 'Labels'], ['truth', 'Truth'],
  ['semantic', 'Semantic'], ['difference', 'Difference']];
const ERRORS = ['', 'duplicate', 'wrong class', 'poor mask', 'background'];
// Why a true object was lost, in the order of htc_lab/explorer/lost.py.
const [NO_PROPOSAL, MOVED_AWAY, LOW_SCORE, SUPPRESSED, CROWDED_OUT] = [0, 1, 2, 3, 4];
const MEANS = { t: 'trained_without', s: 'switched_off' };
const KEYS = [
  [['←', '→'], 'stage before, next'], [['0', '…', '4'], 'proposals, stages 1 to 3, mean'],
  [['I', 'F', 'B', 'M'], 'interleaved, mask flow, semantic to boxes, to masks'],
  [['P', 'H'], 'plain cascade, HTC'], [['[', ']'], 'object before, next'], [['C', 'X'], 'compare A|B, swap sides'],
  [['T', 'S', 'D'], 'truth, semantic map, difference'], [[',', '.'], 'score threshold down, up'],
];

const counted = names => [...new Set(names)].map(name => {
  const n = names.filter(each => each === name).length;
  return n > 1 ? `${n} × ${name}` : name;
}).join(', ');
const flipped = (bits, i) => bits.slice(0, i) + (bits[i] === '1' ? '0' : '1') + bits.slice(i + 1);
const withBit = (bits, i, bit) => bits.slice(0, i) + bit + bits.slice(i + 1);
// The same titles as htc_lab/explorer/bits.py.
const titleOf = bits => RUNGS.find(([b]) => b === bits)?.[1]
  ?? IDEAS.filter((_, i) => bits[i] === '1').map(idea => idea.short).join(' + ').replace('Semantic → boxes + Semantic → masks', 'Semantic');
