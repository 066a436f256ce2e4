// The stage explorer: one picture, the ideas as switches, every answer looked up in a pack.
//
// A pack (htc_lab/explorer/pack.py) holds what the models said of a picture under every setting of the switches, so
// nothing here computes a detection: state -> lookup -> draw. Switches and picture are drawn in the event that
// changed them, without a text that the browser would have to lay out anew; words and panel follow once those are on
// screen. Text from data only ever becomes a text node.

import { plural } from '../common/format.js';
import { setHide, setState } from './change.js';
import { hideKnobs, showPlay } from './controls.js';
import { showWords } from './explain.js';
import { listen } from './input.js';
import { pixelsOf } from './kept.js';
import { coolDown, forgetLayers } from './layers.js';
import { fit } from './room.js';
import { pythonCode, showBusy } from './sharing.js';
import { formatState } from './state.js';
import { makeView } from './view.js';

// Builds an explorer in `root`. The host tells what the place can do: openPicture(name, bytes) or null, exportHTML(state),
// changed(state).
export function createExplorer(root, pack, host, { state = '', hide = [] } = {}) {
  const view = makeView(root, pack, host, state, hide);
  label(view);
  hideKnobs(view);
  showPlay(view);
  listen(view);
  fit(view);
  showWords(view);
  // Again, now that the controls hold what they say.
  view.measured = '';
  fit(view);
  return {
    get state() { return formatState(view.state); },
    setState: text => setState(view, text),
    setHidden: names => setHide(view, names),
    busy: (text, failed) => showBusy(view, text, failed),
    pixels: (run, stage, row) => pixelsOf(view, pack.runs[run], stage, row),
    python: () => pythonCode(view),
    pack,
    end: () => end(view),
  };
}

function label({ root, ui, pack, host, ap }) {
  const { title, width, height } = pack;
  ui.font = getComputedStyle(root).fontFamily || 'sans-serif';
  ui.sub.textContent = `${title}, ${ap ? plural(pack.truth.labels.length, 'labelled object') : `${width} × ${height} px`}`;
  ui.photo.setAttribute('aria-label', `The picture ${title}; its objects are listed under Object`);
  ui.threshold.min = String(pack.floor);
  ui.picture.style.aspectRatio = `${width} / ${height}`;
  ui.picture.style.setProperty('--ratio', String(width / height));
  ui.exportButton.hidden = !host.exportHTML;
}

function end(view) {
  view.ended.abort();
  clearInterval(view.playing);
  cancelAnimationFrame(view.frame);
  cancelAnimationFrame(view.panelFrame);
  clearTimeout(view.panelTimer);
  coolDown(view);
  forgetLayers(view);
  view.root.replaceChildren();
}
