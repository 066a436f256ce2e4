// A pack, opened: htc_lab/explorer/pack.py writes them.

// "HTCX".
const MAGIC = 0x48544358;
const VERSION = 3;
const KINDS = { f4: Float32Array, u1: Uint8Array, i2: Int16Array };

export async function openPack(bytes) {
  const head = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 12 || head.getUint32(0, false) !== MAGIC) throw new Error('This is not a pack of the stage explorer.');
  if (head.getUint32(4, true) !== VERSION) throw new Error('This pack is of another version of the lab. Make it again.');
  const end = 12 + head.getUint32(8, true);
  const index = JSON.parse(new TextDecoder().decode(bytes.subarray(12, end)));
  const inflated = new Blob([bytes.subarray(end)]).stream().pipeThrough(new DecompressionStream('deflate'));
  const body = await new Response(inflated).arrayBuffer();
  const block = number => {
    const [offset, kind, shape] = index.blocks[number];
    return new KINDS[kind](body, offset, shape.reduce((a, b) => a * b, 1));
  };
  const map = number => (number === null ? null : { shape: index.blocks[number][2], values: block(number) });
  const [height, width] = index.size;
  const photo = await createImageBitmap(new Blob([block(index.image.block)], { type: index.image.mime }));
  const runs = index.runs.map((run, number) => ({
    ...run,
    number,
    things: block(run.things),
    labels: block(run.labels),
    boxes: run.boxes.map(block),
    scores: run.scores.map(block),
    masks: run.masks.map(block),
    maskBoxes: run.mask_boxes.map(block),
    classes: block(run.classes),
    classScores: run.class_scores.map(block),
    side: index.blocks[run.masks[0]][2][1],
    top: index.blocks[run.classes][2][1],
    lost: run.lost && {
      things: block(run.lost.things), why: block(run.lost.why), nearest: block(run.lost.nearest),
      boxes: run.lost.boxes.map(block),
      boxIou: block(run.lost.box_iou), scores: block(run.lost.scores), called: block(run.lost.called),
      calledScore: block(run.lost.called_score), by: block(run.lost.by),
    },
    truth: run.truth && {
      match: block(run.truth.match), error: block(run.truth.error), reference: block(run.truth.reference),
      maskIou: block(run.truth.mask_iou), boxIou: block(run.truth.box_iou), ap: run.truth.ap,
    },
  }));
  const truth = index.truth && {
    boxes: block(index.truth.boxes), labels: block(index.truth.labels), packed: block(index.truth.masks),
  };
  const models = index.models.map(model => ({
    ...model, semantic: map(model.semantic), proposals: block(model.proposals), objectness: block(model.objectness),
  }));
  return { ...index, width, height, photo, runs, truth, models, last: index.stages + 1 };
}

export const rowMask = (run, view, row) => run.masks[view - 1].subarray(row * run.side ** 2, (row + 1) * run.side ** 2);
export const rowBox = (boxes, row) => boxes.subarray(4 * row, 4 * row + 4);

export function truthMask(pack, k) {
  const size = pack.width * pack.height;
  const out = new Uint8Array(size);
  for (let i = 0, bit = k * size; i < size; i++, bit++) out[i] = pack.truth.packed[bit >> 3] >> (7 - (bit & 7)) & 1;
  return out;
}
