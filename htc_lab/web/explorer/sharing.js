// What can be taken away: Python code, the state, the picture, the page; and a picture of one's own brought in.

import { h } from '../common/elements.js';
import { two } from '../common/format.js';
import { hasLayer } from './lookups.js';
import { paintMaps, paintPhoto } from './photo.js';
import { paintMarks } from './picture.js';
import { formatState } from './state.js';
import { LAYERS, MEANS } from './words.js';

const FORBIDDEN = 'This place forbids copying; here it is to select:';
const SAID_MS = 8000;
const KEEP_LINK_MS = 10000;

function say(view, words, more = '') {
  const { said } = view.ui;
  said.replaceChildren(words, ...(more ? [h('pre', { tabindex: '0' }, more)] : []));
  said.classList.add('on');
  clearTimeout(view.said);
  view.said = more ? 0 : setTimeout(() => said.classList.remove('on'), SAID_MS);
}
async function copy(view, text, done) {
  try {
    await navigator.clipboard.writeText(text);
    say(view, done, text);
  } catch {
    say(view, FORBIDDEN, text);
  }
}
function download(blob, name) {
  const link = h('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEEP_LINK_MS);
}
function fileName({ pack }, ending) {
  return `${pack.title.replace(/\.[a-z0-9]+$/i, '').replace(/[^\w-]+/g, '_') || 'picture'}.${ending}`;
}

export function copyPython(view) {
  return copy(view, pythonCode(view), 'Copied. Pasted in a cell, this gives the same picture:');
}
export function copyState(view) {
  return copy(view, formatState(view.state),
    'Copied. Give it to the class; it goes into state="…" or, in an exported page, after # in its address:');
}

function togglesCode({ rungs, ideas }, bits) {
  const rung = rungs.find(each => each.bits === bits);
  if (rung) return `htc_lab.${rung.constant}`;
  return `htc_lab.Toggles(${ideas.map(({ field }, i) => `${field}=${bits[i] === '1' ? 'True' : 'False'}`).join(', ')})`;
}
export function pythonCode(view) {
  const { state, pack, hide } = view, { image = 'image', models = 'models' } = pack.code;
  const stage = state.stage === 0 ? '"proposals"' : state.stage === pack.last ? '"mean"' : state.stage;
  const tuple = names => `(${names.map(name => `"${name}"`).join(', ')}${names.length === 1 ? ',' : ''})`;
  const parts = [
    image,
    ...(models === '' ? [] : [`models=${models}`]),
    `toggles=${togglesCode(pack, state.B)}`,
    ...(state.A === null ? [] : [`compare=${togglesCode(pack, state.A)}`, `split=${two(state.split)}`]),
    `off_means="${MEANS[state.off]}"`,
    `stage=${stage}`,
    `threshold=${two(state.thr)}`,
    `selected=${state.obj}`,
    `show=${tuple(LAYERS.map(([name]) => name).filter(name => hasLayer(view, name)))}`,
    ...(state.ref === 'prev' ? ['against="prev"'] : []),
    ...(state.life === 'box' ? ['curve="box"'] : []),
    ...(hide.length ? [`hide=${tuple(hide)}`] : []),
  ];
  return ['import htc_lab', '', 'htc_lab.explore(', ...parts.map(part => `    ${part},`), ')'].join('\n');
}

// The picture as it stands, at twice its size on screen or its own, whichever is larger.
export function savePicture(view) {
  const { pack, cssWidth } = view, { width, height } = pack, scale = Math.max(2 * cssWidth / width, 1);
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext('2d'), name = fileName(view, 'png');
  paintPhoto(view, context, scale);
  if (hasLayer(view, 'semantic')) paintMaps(view, context, scale);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  paintMarks(view, context, width / cssWidth);
  canvas.toBlob(blob => {
    download(blob, name);
    say(view, `Saved ${name}, ${canvas.width} × ${canvas.height} px.`);
  }, 'image/png');
}

export async function exportPage(view) {
  say(view, 'Writing one HTML file…');
  try {
    const blob = await view.host.exportHTML(formatState(view.state)), name = fileName(view, 'html');
    download(blob, name);
    const size = `${(blob.size / 1024 / 1024).toFixed(1)} MiB`;
    say(view, `Saved ${name}, ${size}: opens from disk, without a kernel and without a network.`);
  } catch (error) {
    say(view, `Not exported: ${error.message}`);
  }
}

export async function takeFile(view, file) {
  if (!file || !view.host.openPicture) return;
  showBusy(view, `Reading ${file.name}…`);
  view.host.openPicture(file.name, await file.arrayBuffer());
}
export function showBusy({ ui }, text, failed = false) {
  ui.busy.hidden = text === '';
  ui.busy.classList.toggle('failed', failed);
  const back = h('button', { type: 'button', class: 'btn line', 'data-do': 'dismiss' }, 'Back to the picture');
  ui.busy.replaceChildren(text, ...(failed ? [back] : []));
}
