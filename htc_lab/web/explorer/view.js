// What the parts of one explorer share: one object for each explorer, which every part is handed first.

import { build } from './layout.js';
import { parseState } from './state.js';

let instances = 0;

// Fields, by who writes them:
//
// given, and the same from beginning to end
//   root, pack, host   the element, the opened pack, and what the place can do (see explorer.js)
//   ui                 the elements by name (layout.js)
//   serial             a number no other explorer of the page has
//   ap                 whether the truth of the picture is known, and with it AP and IoU
//   topAp              where the scale of AP ends, one for all settings of this picture
//   ended              aborts when the explorer ends: listeners hang on its signal
//   stillness, lowScreen   media queries: a person wants no motion; a screen of little height
// what a person has set (change.js)
//   state              see state.js
//   side               'A' or 'B': the side that the switches set
//   hide               knobs that are not shown
//   playing            the timer that runs through the stages, or 0
// where the pointer is (input.js)
//   hovered            the object under it, or -1
//   hotIdea            the place in the pack of the idea whose switch is under it, or -1
// how large things are on the screen (room.js); widths are read where they change: asked for between two writes they
// would cost a layout each
//   cssWidth, ratio    of the picture, in CSS px, and canvas px to a CSS px
//   widths             in CSS px: of wiring and panel; a side of a tile; heights of chart and bars
//   wide, dark         there is room for large type; the paper is dark
//   measured           what the height of the picture was worked out for
//   spare              height kept free for the row of wires that a switch may bring
// what is drawn, kept to be drawn again (kept.js, layers.js, hatch.js, photo.js, wiring.js)
//   paths, pasted, texts, layers   outlines, pixels, widths of texts, pictures of all masks of a side
//   hatch              patterns of lines
//   under, photographed, wired     what the canvases under the marks, the photo and the wiring were drawn for
// what moves (glide.js)
//   glide              by side: boxes by object. `since` is null from a change to the first frame after it
// what the browser will call (whoever asks it to)
//   frame, panelFrame, panelTimer, idle, said
export function makeView(root, pack, host, text, hide) {
  const ap = pack.truth !== null && pack.truth.labels.length > 0;
  // Low APs get a lower top.
  const most = ap ? Math.max(...pack.runs.flatMap(run => run.truth.ap)) : 0;
  return {
    root, pack, host, ui: build(root, pack), serial: ++instances,
    ap, topAp: [25, 50, 75, 100].find(top => most <= top * 0.98) ?? 100,
    ended: new AbortController(),
    stillness: matchMedia('(prefers-reduced-motion: reduce)'),
    lowScreen: matchMedia('(max-height: 900px)'),
    state: parseState(text, pack), side: 'B', hide, playing: 0,
    hovered: -1, hotIdea: -1,
    cssWidth: 0, ratio: 1, widths: { wiring: 0, panel: 330, tile: 56, chart: 146, bars: 96 },
    wide: false, dark: false, measured: '', spare: 0,
    paths: new Map(), pasted: new Map(), texts: new Map(), layers: new Map(), hatch: null,
    under: '', photographed: '', wired: '',
    glide: { A: new Map(), B: new Map(), since: null },
    frame: 0, panelFrame: 0, panelTimer: 0, idle: 0, said: 0,
  };
}
