// Elements of a page, made and kept up to date. Text from data only ever becomes a text node.

import { signed } from './format.js';

const SVG = 'http://www.w3.org/2000/svg';

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter(child => child !== null && child !== undefined));
  return node;
}
export const h = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
export const s = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
export const icon = (width, height, d, more = {}) => s('svg',
  { width, height, viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' },
  s('path', { d, fill: 'none', stroke: 'currentColor', 'stroke-width': 1.5, ...more }));

// A number that is better or worse is coloured, and always carries its sign.
export function change(x, digits) {
  const rounded = Number(x.toFixed(digits));
  return h('b', { class: rounded > 0 ? 'up' : rounded < 0 ? 'down' : '' }, signed(x, digits));
}

// Touch the document only where something differs: most of a toggle's answers leave most of the panel as it is.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
// Written anew, an attribute like this has its element styled again, changed or not.
export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}
export function setAttribute(node, name, value) {
  const text = String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

export function segments(knob, label, name, options) {
  const group = h('span', { class: 'seg', role: 'radiogroup', 'aria-label': label, 'data-name': name },
    ...options.map(([value, text, title]) => h('button',
      { type: 'button', role: 'radio', 'data-set': name, 'data-value': value, title }, text)));
  if (knob === null) return group;
  return h('span', { class: 'pair', 'data-knob': knob }, h('span', { class: 'cap' }, label), group);
}

export function checkSegments(group, value) {
  const buttons = [...group.children];
  const checked = buttons.find(button => button.dataset.value === value) ?? null;
  for (const button of buttons) {
    setAttribute(button, 'aria-checked', button === checked);
    setAttribute(button, 'tabindex', button === (checked ?? buttons.find(each => !each.hidden)) ? 0 : -1);
  }
}
