// Colours of data, and whether the paper under them is light or dark.

import { setAttribute } from './elements.js';

// Okabe and Ito's colours (see htc_lab/plots/palette.py); the grey is for what the truth does not know.
export const COLOURS = ['#56B4E9', '#E69F00', '#CC79A7', '#F0E442', '#D55E00', '#009E73', '#3B8EDB', '#E3E3E3'];

function luminance(colour) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(colour.slice(i, i + 2), 16) / 255)
    .map(v => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
export const textOn = colour => (luminance(colour) > 0.179 ? '#0b0d0f' : '#ffffff');

// Keeps `data-dark` on the root as the paper under it is, and says when that may have changed; gives what ends it.
export function watchTheme(root, signal, changed) {
  const look = () => {
    const paper = getComputedStyle(root).backgroundColor.match(/[\d.]+/g)?.map(Number) ?? [255, 255, 255];
    setAttribute(root, 'data-dark', (paper[0] + paper[1] + paper[2]) / 3 < 110);
    changed();
  };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', look, { signal });
  const themed = new MutationObserver(look);
  const attributeFilter = ['data-jp-theme-light', 'data-jp-theme-name', 'class'];
  themed.observe(document.body, { attributes: true, attributeFilter });
  themed.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme', 'class'] });
  look();
  return () => themed.disconnect();
}
