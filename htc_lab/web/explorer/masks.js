// Soft masks as pixels and as outlines: numbers alone, nothing of the page.

// The library's pasting (htc_lab/layers/pasting.py): a pixel takes the bilinear value of the soft mask at its centre,
// 0 outside the cells, and belongs to the object from the threshold on. Gives the window it lies in and its pixels.
export function paste(soft, side, box, width, height, threshold = 0.5) {
  const [x1, y1, x2, y2] = box;
  const empty = { left: 0, top: 0, wide: 0, tall: 0, inside: new Uint8Array(0), count: 0 };
  if (x2 <= x1 || y2 <= y1) return empty;
  const beside = 1 + Math.trunc((x2 - x1) / (2 * side));
  const above = 1 + Math.trunc((y2 - y1) / (2 * side));
  const left = Math.max(Math.trunc(x1) - beside, 0);
  const top = Math.max(Math.trunc(y1) - above, 0);
  const wide = Math.min(Math.trunc(x2) + 1 + beside, width) - left;
  const tall = Math.min(Math.trunc(y2) + 1 + above, height) - top;
  if (wide <= 0 || tall <= 0) return empty;
  const at = (x, y) => (x < 0 || y < 0 || x >= side || y >= side ? 0 : soft[y * side + x]);
  const inside = new Uint8Array(wide * tall);
  let count = 0;
  for (let j = 0; j < tall; j++) {
    const v = (top + j + 0.5 - y1) / (y2 - y1) * side - 0.5;
    const row = Math.floor(v), fv = v - row;
    for (let i = 0; i < wide; i++) {
      const u = (left + i + 0.5 - x1) / (x2 - x1) * side - 0.5;
      const column = Math.floor(u), fu = u - column;
      const value = (at(column, row) * (1 - fu) + at(column + 1, row) * fu) * (1 - fv)
        + (at(column, row + 1) * (1 - fu) + at(column + 1, row + 1) * fu) * fv;
      if (value >= threshold * 255) { inside[j * wide + i] = 1; count++; }
    }
  }
  return { left, top, wide, tall, inside, count };
}

// Pixels of a that are not in b.
export function less(a, b) {
  let count = 0;
  for (let j = 0; j < a.tall; j++) {
    for (let i = 0; i < a.wide; i++) {
      if (!a.inside[j * a.wide + i]) continue;
      const x = a.left + i - (b?.left ?? 0), y = a.top + j - (b?.top ?? 0);
      if (!b || x < 0 || y < 0 || x >= b.wide || y >= b.tall || !b.inside[y * b.wide + x]) count++;
    }
  }
  return count;
}

// For each of the 16 ways a square's corners can lie in or out (1 top left, 2 top right, 4 bottom right, 8 bottom
// left): pairs of sides (0 top, 1 right, 2 bottom, 3 left) an outline enters and leaves by, the inside on its right.
const SIDES = [[], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2], [2, 3], [2, 0], [0, 1, 2, 3], [2, 1],
  [1, 3], [1, 0], [0, 3], []];

// The outline of a soft mask at half of `full`, as a path in the picture's px. Between the cells' centres the mask is
// bilinear, `fine` steps a cell; around the cells it is 0.
export function outline(soft, columns, rows, box, full, fine) {
  const wide = (columns + 1) * fine + 1, tall = (rows + 1) * fine + 1;
  const grid = new Float32Array(wide * tall);
  const at = (x, y) => (x < 0 || y < 0 || x >= columns || y >= rows ? 0 : soft[y * columns + x]);
  for (let j = 0; j < tall; j++) {
    const row = Math.floor(j / fine) - 1, fv = (j % fine) / fine;
    for (let i = 0; i < wide; i++) {
      const column = Math.floor(i / fine) - 1, fu = (i % fine) / fine;
      grid[j * wide + i] = (at(column, row) * (1 - fu) + at(column + 1, row) * fu) * (1 - fv)
        + (at(column, row + 1) * (1 - fu) + at(column + 1, row + 1) * fu) * fv;
    }
  }
  const half = full / 2;
  // A side is named by the point it starts from: twice its place, plus 1 if it goes down.
  const next = new Int32Array(2 * wide * tall).fill(-1);
  const starts = [];
  for (let j = 0; j + 1 < tall; j++) {
    for (let i = 0; i + 1 < wide; i++) {
      const p = j * wide + i;
      const which = (grid[p] >= half) | (grid[p + 1] >= half) << 1
        | (grid[p + wide + 1] >= half) << 2 | (grid[p + wide] >= half) << 3;
      if (which === 0 || which === 15) continue;
      const names = [2 * p, 2 * (p + 1) + 1, 2 * (p + wide), 2 * p + 1];
      const sides = SIDES[which];
      for (let k = 0; k < sides.length; k += 2) {
        next[names[sides[k]]] = names[sides[k + 1]];
        starts.push(names[sides[k]]);
      }
    }
  }
  const [x1, y1, x2, y2] = box;
  const sx = (x2 - x1) / columns, sy = (y2 - y1) / rows;
  const path = new Path2D();
  for (const begin of starts) {
    let side = begin, first = true;
    while (next[side] >= 0) {
      const p = side >> 1, q = p + (side & 1 ? wide : 1);
      const share = (half - grid[p]) / (grid[q] - grid[p]);
      const gx = p % wide + (side & 1 ? 0 : share), gy = Math.floor(p / wide) + (side & 1 ? share : 0);
      const x = x1 + (gx / fine - 0.5) * sx, y = y1 + (gy / fine - 0.5) * sy;
      if (first) path.moveTo(x, y); else path.lineTo(x, y);
      first = false;
      const following = next[side];
      next[side] = -1;
      side = following;
    }
    if (!first) path.closePath();
  }
  return path;
}
