// How large things are on the screen. Only a resize changes the picture's size, no toggle does.

import { update } from './change.js';
import { forgetLayers } from './layers.js';
import { laterPanel } from './panel.js';
import { showWiring } from './wiring.js';

const LEAST_ROOM = 220;
const NARROW = 760;
const SPACIOUS = 1480;
const MOST_RATIO = 2;
// Of the screen, a picture in a narrow cell takes this much; and a page in a frame is taken to be this high.
const NARROW_SHARE = 0.7;
const FRAME_SHARE = 0.75;

export const notebookOf = node => node.closest('.jp-WindowedPanel-outer, .jp-LinkedOutputView');

// How much of a page's height can be seen at once around a node: of the notebook that scrolls it, or of the window. A
// frame that is made as tall as its page knows nothing of the screen.
function heightSeen(node) {
  if (window.parent !== window) return Math.floor(screen.availHeight * FRAME_SHARE);
  return Math.min(notebookOf(node)?.clientHeight ?? innerHeight, innerHeight);
}

// The height left for the picture where everything from the head to the scrubber is to be on screen at once.
function makeRoom(view) {
  const { root, ui } = view, seen = heightSeen(root), key = [root.clientWidth, seen, view.hide.join()].join('|');
  if (key === view.measured || !root.clientWidth) return;
  view.measured = key;
  view.widths.wiring = ui.wiring.clientWidth;
  showWiring(view);
  const end = ui.scrub.getBoundingClientRect().bottom - root.getBoundingClientRect().top;
  const around = end - ui.picture.clientHeight + view.spare;
  // In a narrow cell the switches stand above the picture, and no height is left: it takes the width instead.
  const least = root.clientWidth < NARROW ? NARROW_SHARE * seen : LEAST_ROOM;
  root.style.setProperty('--room', `${Math.floor(Math.max(least, seen - around - 4))}px`);
}

// Canvases have as many pixels as the screen gives them.
export function fit(view) {
  const { root, ui, widths, pack } = view;
  const spacious = root.clientWidth >= SPACIOUS && !view.lowScreen.matches, relaid = spacious !== view.wide;
  view.wide = spacious;
  makeRoom(view);
  const width = ui.picture.clientWidth;
  if (!width) return;
  Object.assign(widths, {
    wiring: ui.wiring.clientWidth, panel: ui.chart.clientWidth || widths.panel, chart: ui.chart.clientHeight || widths.chart,
    bars: ui.bars.clientHeight || widths.bars, tile: ui.crops[0].clientWidth || widths.tile,
  });
  const ratio = Math.min(devicePixelRatio || 1, MOST_RATIO), pixels = Math.round(width * ratio);
  if (pixels === ui.marks.width && !relaid) { laterPanel(view); return; }
  Object.assign(ui.marks, { width: pixels, height: Math.round(pixels * pack.height / pack.width) });
  Object.assign(view, { cssWidth: width, ratio, under: '' });
  view.paths.clear();
  forgetLayers(view);
  update(view, { shared: false });
}
