// What the controls say of themselves: one frame after what they show.

import { change, setAttribute, setText } from '../common/elements.js';
import { signed } from '../common/format.js';
import { answerOf, apOf, currentBits, isCut, isPossible, modelOf } from './lookups.js';
import { titleOf, withBit } from './words.js';

export function showWords(view) {
  const { ui, state, pack } = view, bits = currentBits(view), stage = state.stage || pack.last;
  const title = !view.ap ? '' : `Mask AP on this picture, ${ui.names[stage].toLowerCase()}: `
    + 'with the idea minus without it, the other switches as they are';
  ui.ideas.forEach(({ node, says, gives }, i) => {
    setText(says, wordsOf(view, bits, i));
    showGain(gives, gainOf(view, bits, i, stage), bits[i] === '1');
    setAttribute(node, 'title', title);
  });
  if (state.A !== null) {
    for (const [tag, each] of [[ui.tagA, state.A], [ui.tagB, state.B]]) {
      setText(tag.children[1], titleOf(pack, each));
      setText(tag.lastChild, `, ${meaningOf(view, each).short}`);
    }
  }
  setText(ui.badge, meaningOf(view, bits).long);
  setAttribute(ui.badge, 'data-trained', answerOf(view, bits)?.[1] === 1);
}

function wordsOf(view, bits, i) {
  const idea = view.pack.ideas[i];
  if (!isPossible(view, bits, i)) return 'No weights for it: no model here was trained with it';
  if (!isCut(view, bits, i)) return idea.says;
  return idea.cut || `Cut out of ${modelOf(view, bits).title}, which was trained with it`;
}

// Mask AP with the idea minus that without it; null where one of them is not known.
function gainOf(view, bits, i, stage) {
  if (!view.ap || !isPossible(view, bits, i)) return null;
  const [withIt, without] = ['1', '0'].map(bit => apOf(view, withBit(bits, i, bit), stage));
  return withIt === null ? null : withIt - without;
}
function showGain(node, gain, on) {
  const before = on ? 'gives ' : 'would give ', after = ' AP';
  const text = gain === null ? '' : before + signed(gain, 1) + after;
  if (node.textContent === text) return;
  node.replaceChildren(...(gain === null ? [] : [before, change(gain, 1), after]));
}

// Which of a toggle's two meanings is on screen.
function meaningOf(view, bits) {
  const { pack, state } = view, model = modelOf(view, bits);
  if (answerOf(view, bits)?.[1]) return { short: 'trained so', long: 'trained so' };
  const cut = pack.ideas.filter((_, i) => model.bits[i] === '1' && bits[i] === '0').map(idea => idea.short);
  const off = `${cut.join(', ')} switched off in ${model.title}`;
  return { short: 'switched off', long: state.off === 't' ? `no model was trained so: ${off}` : off };
}
