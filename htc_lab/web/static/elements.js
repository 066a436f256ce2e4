// What the stage explorer and the training dashboard share: the first part of both ES modules.
// Text from data only ever becomes a text node.

// Okabe and Ito's colours (see htc_lab/plots/palette.py); the grey is for what the truth does not know.
const COLOURS = ['#56B4E9', '#E69F00', '#CC79A7', '#F0E442', '#D55E00', '#009E73', '#3B8EDB', '#E3E3E3'];

const two = x => x.toFixed(2);
const signed = (x, digits) => {
  const text = Math.abs(x).toFixed(digits);
  return (Number(text) === 0 ? '±' : x > 0 ? '+' : '−') + text;
};
const plural = (n, word) => `${n} ${word}${n === 1 ? '' : 's'}`;
const clamp = (x, low, high) => Math.max(low, Math.min(high, x));

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}
const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
const icon = (width, height, d, more = {}) => s('svg', { width, height, viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' },
  s('path', { d, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.5, ...more }));

// A number that is better or worse is coloured, and always carries its sign.
const change = (x, digits) => h('b', { class: Number(x.toFixed(digits)) > 0 ? 'up' : Number(x.toFixed(digits)) < 0 ? 'down' : '' }, signed(x, digits));

// Touch the document only where something differs: most of a toggle's answers leave most of the panel as it is.
function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
// Written anew, an attribute like this has its element styled again, changed or not.
function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}
function setAttribute(node, name, value) {
  const text = String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

function luminance(colour) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16) / 255)
    .map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
const textOn = colour => (luminance(colour) > 0.179 ? '#0b0d0f' : '#ffffff');

function segments(knob, label, name, options) {
  const group = h('span', { class: 'seg', role: 'radiogroup', 'aria-label': label, 'data-name': name },
    ...options.map(([value, text, title]) => h('button', { type: 'button', role: 'radio', 'data-set': name, 'data-value': value, title }, text)));
  return knob === null ? group : h('span', { class: 'pair', 'data-knob': knob }, h('span', { class: 'cap' }, label), group);
}

function checkSegments(group, value) {
  const buttons = [...group.children];
  const checked = buttons.find(button => button.dataset.value === value) ?? null;
  for (const button of buttons) {
    setAttribute(button, 'aria-checked', button === checked);
    setAttribute(button, 'tabindex', button === (checked ?? buttons.find(each => !each.hidden)) ? 0 : -1);
  }
}

// Keeps `data-dark` on the root as the paper under it is, and says when that may have changed; gives what ends it.
function watchTheme(root, signal, changed) {
  const look = () => {
    const paper = getComputedStyle(root).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [255, 255, 255];
    setAttribute(root, 'data-dark', (paper[0] + paper[1] + paper[2]) / 3 < 110);
    changed();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', look, { signal });
  const themed = new MutationObserver(look);
  themed.observe(document.body, { attributes: true, attributeFilter: ['data-jp-theme-light', 'data-jp-theme-name', 'class'] });
  themed.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme', 'class'] });
  look();
  return () => themed.disconnect();
}
