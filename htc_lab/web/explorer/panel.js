// All that follows the frame that shows the switches and the picture.

import { showCounts } from './difference.js';
import { showWords } from './explain.js';
import { showBars, showFigure } from './figures.js';
import { warmUp } from './layers.js';
import { showLife, showObjects } from './life.js';
import { showSentence } from './sentence.js';
import { showWiring } from './wiring.js';

// Not while that frame is still being drawn: on two cores the panel would keep it from the screen.
export function laterPanel(view) {
  if (view.panelFrame) return;
  view.panelFrame = requestAnimationFrame(() => {
    view.panelFrame = requestAnimationFrame(() => { view.panelTimer = setTimeout(() => showPanel(view)); });
  });
}
function showPanel(view) {
  view.panelFrame = 0;
  showWords(view);
  showObjects(view);
  showSentence(view);
  showCounts(view);
  showWiring(view);
  showFigure(view);
  showBars(view);
  showLife(view);
  warmUp(view);
}
