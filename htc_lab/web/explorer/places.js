// Where an explorer stands: in a notebook's cell, or in a page of its own.

import { h } from '../common/elements.js';
import { createExplorer } from './explorer.js';
import { openPack } from './pack.js';

// A box for an explorer in `parent`; the explorer's handle is kept on it for scripts.
function makeRoot(parent) {
  const root = h('section', {
    class: 'htc-lab htc-explorer', 'aria-label': 'Stage Explorer', 'data-lm-suppress-shortcuts': 'true', tabindex: '-1',
  });
  parent.append(h('div', { class: 'htc-explorer-cell' }, root));
  return root;
}
function showError(root, error) {
  root.replaceChildren(h('p', { class: 'error', role: 'alert' }, `The stage explorer can’t show this: ${error.message}`));
}

// In a notebook: anywidget calls this with the widget's model.
function render({ model, el }) {
  const root = makeRoot(el);
  let explorer = null, generation = 0, waiting = null;
  const host = {
    openPicture(name, data) { model.send({ kind: 'picture', name }, undefined, [data]); },
    exportHTML: state => new Promise((resolve, reject) => {
      waiting = { resolve, reject };
      setTimeout(() => reject(new Error('the kernel does not answer; is it running?')), 20000);
      model.send({ kind: 'export', state });
    }),
    changed(state) {
      if (!saving && model.get('state') === state) return;
      clearTimeout(saving);
      saving = setTimeout(() => save(state), 150);
      model.set('state', state);
    },
  };
  // The kernel need not hear of every step of a drag. What it says meanwhile is an echo of an earlier step: it must not
  // take back what the person has done since.
  let saving = 0;
  const save = state => {
    model.set('state', state);
    saving = 0;
    model.save_changes();
  };
  async function load() {
    const mine = ++generation;
    const data = model.get('pack');
    if (!data?.byteLength) return;
    try {
      const pack = await openPack(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      if (mine !== generation) return;
      explorer?.end();
      explorer = createExplorer(root, pack, host, { state: model.get('state'), hide: model.get('hide') });
      root.htcExplorer = explorer;
    } catch (error) {
      showError(root, error);
    }
  }
  const onStatus = () => {
    const { text = '', failed = false } = model.get('status');
    explorer?.busy(text, failed);
  };
  const onMessage = (message, buffers) => {
    if (message.kind === 'html') waiting?.resolve(new Blob(buffers, { type: 'text/html' }));
  };
  const onState = () => saving || explorer?.setState(model.get('state'));
  const onHide = () => explorer?.setHidden(model.get('hide'));
  const heard = [['change:pack', load], ['change:status', onStatus], ['change:state', onState], ['change:hide', onHide],
    ['msg:custom', onMessage]];
  for (const [type, act] of heard) model.on(type, act);
  load();
  return () => {
    for (const [type, act] of heard) model.off(type, act);
    generation++;
    clearTimeout(saving);
    explorer?.end();
  };
}

// In an exported page: everything is in the page itself, the state in its address.
export async function start() {
  const place = document.querySelector('.htc-page');
  const settings = JSON.parse(document.querySelector('.htc-settings').textContent);
  const root = makeRoot(place);
  let naming = 0;
  try {
    const data = Uint8Array.from(atob(document.querySelector('.htc-pack').textContent.trim()), c => c.charCodeAt(0));
    const explorer = createExplorer(root, await openPack(data), {
      openPicture: null,
      // A copy of this page with the state of now in it.
      async exportHTML(state) {
        const page = document.documentElement.cloneNode(true);
        page.querySelector('.htc-page').replaceChildren();
        page.querySelector('.htc-settings').textContent = JSON.stringify({ ...settings, state });
        return new Blob([`<!doctype html>\n${page.outerHTML}`], { type: 'text/html' });
      },
      // A browser takes its time to change an address, and refuses to do so too often.
      changed(state) {
        clearTimeout(naming);
        naming = setTimeout(() => history.replaceState(null, '', `#${state}`), 200);
      },
    }, { state: location.hash.length > 1 ? location.hash : settings.state, hide: settings.hide });
    root.htcExplorer = explorer;
    addEventListener('hashchange', () => explorer.setState(location.hash));
  } catch (error) {
    showError(root, error);
  }
}

export default { render };
