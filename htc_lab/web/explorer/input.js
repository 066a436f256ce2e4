// Mouse, fingers, keys, files that are dropped; and the theme and the size of the place, which change as well.

import { watchTheme } from '../common/theme.js';
import { actionOf, goTo, onButton } from './actions.js';
import { set, setSplit, setThreshold } from './change.js';
import { thingAt } from './items.js';
import { warmUp } from './layers.js';
import { isHidden } from './lookups.js';
import { laterPanel } from './panel.js';
import { paint } from './picture.js';
import { fit, notebookOf } from './room.js';
import { takeFile } from './sharing.js';
import { showWiring } from './wiring.js';

function onClick(view, event) {
  const node = event.target.closest('button');
  if (node && view.root.contains(node) && !node.disabled) onButton(view, node);
}

function onKey(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || view.ui.dialog.open) return;
  const { target, key } = event;
  const group = target.closest?.('[role=radiogroup]');
  let act = null;
  if (group && key.startsWith('Arrow')) {
    act = () => moveInGroup(group, target, key === 'ArrowRight' || key === 'ArrowDown' ? 1 : -1);
  } else if (target === view.ui.divider) act = dividerAction(view, key);
  else if (target.type === 'range' && /^(Arrow|Home|End|Page)/.test(key)) return;
  else if (target.tagName === 'PRE') return;
  act ??= actionOf(view, key);
  if (!act) return;
  event.preventDefault();
  event.stopPropagation();
  act();
}
function moveInGroup(group, from, by) {
  const buttons = [...group.children].filter(button => !button.disabled && !button.hidden);
  const to = buttons[(buttons.indexOf(from) + by + buttons.length) % buttons.length];
  const { thing, value } = to.dataset;
  to.click();
  // The click may have made the buttons anew.
  const again = [...group.children].find(button => button.dataset.thing === thing && button.dataset.value === value);
  (again ?? to).focus();
}
function dividerAction(view, key) {
  const by = { ArrowLeft: -0.02, ArrowRight: 0.02, PageUp: 0.1, PageDown: -0.1 }[key], to = { Home: 0, End: 1 }[key];
  if (by !== undefined) return () => setSplit(view, view.state.split + by);
  return to === undefined ? null : () => setSplit(view, to);
}

function pictureAt({ ui, pack }, event) {
  const place = ui.marks.getBoundingClientRect();
  return [(event.clientX - place.left) / place.width * pack.width, (event.clientY - place.top) / place.height * pack.height];
}
function onHover(view, event) {
  const thing = event.type === 'pointerleave' ? -1 : thingAt(view, pictureAt(view, event));
  if (thing === view.hovered) return;
  view.hovered = thing;
  view.ui.marks.style.cursor = thing < 0 ? '' : 'pointer';
  if (!view.frame) paint(view);
  warmUp(view);
}
function onPicture(view, event) {
  const thing = thingAt(view, pictureAt(view, event));
  if (thing >= 0) set(view, { obj: thing });
}
function setHot(view, i) {
  view.hotIdea = i;
  showWiring(view);
}

function listenToFiles(view, on) {
  const { ui, host } = view, taken = () => host.openPicture && !isHidden(view, 'open');
  on(ui.file, 'change', () => takeFile(view, ui.file.files[0]));
  on(ui.picture, 'dragover', event => {
    if (!taken()) return;
    event.preventDefault();
    ui.picture.classList.add('over');
  });
  on(ui.picture, 'dragleave', () => ui.picture.classList.remove('over'));
  on(ui.picture, 'drop', event => {
    ui.picture.classList.remove('over');
    if (!taken()) return;
    event.preventDefault();
    takeFile(view, event.dataTransfer.files[0]);
  });
}

function watchPlace(view) {
  const { root, ui, ended } = view;
  const themed = watchTheme(root, ended.signal, () => {
    Object.assign(view, { dark: root.dataset.dark === 'true', wired: '' });
    laterPanel(view);
  });
  const resized = new ResizeObserver(() => fit(view));
  // A notebook takes its new height some time after the window has.
  for (const node of [root, ui.picture, notebookOf(root)]) if (node) resized.observe(node);
  // Not hung on the signal: such a listener is gone before the signal's own event.
  ended.signal.addEventListener('abort', () => {
    themed();
    resized.disconnect();
  });
}

// Everything heard hangs on the view's signal, which ends it.
export function listen(view) {
  const { root, ui, ended, pack } = view;
  const on = (node, type, act) => node.addEventListener(type, act, { signal: ended.signal });
  on(root, 'click', event => onClick(view, event));
  on(root, 'keydown', event => onKey(view, event));
  on(ui.scrubber, 'input', () => goTo(view, Number(ui.scrubber.value)));
  on(ui.threshold, 'input', () => setThreshold(view, Number(ui.threshold.value)));
  for (const type of ['pointermove', 'pointerleave']) on(ui.marks, type, event => onHover(view, event));
  on(ui.marks, 'click', event => onPicture(view, event));
  on(ui.divider, 'pointerdown', event => {
    ui.divider.setPointerCapture(event.pointerId);
    ui.divider.focus();
    event.preventDefault();
  });
  on(ui.divider, 'pointermove', event => {
    if (ui.divider.hasPointerCapture(event.pointerId)) setSplit(view, pictureAt(view, event)[0] / pack.width);
  });
  ui.ideas.forEach(({ node }, i) => {
    on(node, 'pointerenter', () => setHot(view, i));
    on(node, 'pointerleave', () => setHot(view, -1));
  });
  on(window, 'resize', () => fit(view));
  listenToFiles(view, on);
  watchPlace(view);
}
