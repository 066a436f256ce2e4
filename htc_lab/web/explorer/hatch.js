// Patterns of diagonal lines: false objects, and pixels that were lost.

// Drawn at the size of CSS px whatever the picture's own.
function hatching(context, unit, paper, line) {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 16;
  const pen = tile.getContext('2d');
  pen.fillStyle = paper;
  pen.fillRect(0, 0, 16, 16);
  pen.strokeStyle = line;
  pen.lineWidth = 4;
  pen.beginPath();
  for (const x of [-16, 0, 16]) { pen.moveTo(x - 2, 18); pen.lineTo(x + 18, -2); }
  pen.stroke();
  const pattern = context.createPattern(tile, 'repeat');
  pattern.setTransform(new DOMMatrix().scale(unit / 2));
  return pattern;
}
export function hatches(view, context, unit) {
  if (view.hatch?.unit !== unit) {
    view.hatch = {
      unit,
      wrong: hatching(context, unit, 'rgba(34,34,34,.22)', 'rgba(20,20,20,.72)'),
      lost: hatching(context, unit, 'rgba(213,94,0,.62)', '#ffb27a'),
    };
  }
  return view.hatch;
}
