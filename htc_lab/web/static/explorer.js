// The stage explorer: one picture, the four ideas as switches, every answer looked up in a pack.
//
// A pack (htc_lab/explorer/pack.py) holds what the models said of a picture under every setting of the switches, so
// nothing here computes a detection: state -> lookup -> draw. Switches and picture are drawn in the event that
// changed them, without a text that the browser would have to lay out anew; words and panel follow once those are on
// screen. Text from data only ever becomes a text node.
//
// Its parts are files of their own, and one module in the browser: htc_lab/web/export.py joins them.

const GREY = COLOURS[7];
const MAP_COLOURS = ['#bd8fb0', '#d8c25a', '#8fb7d6', '#c88a5a', '#a9a6d8', '#d79aa6',
  '#9fc4dd', '#4f7fa6', '#7f9f5f', '#77777f', '#d3bd8d', '#a8755c'];
const GLIDE_MS = 220;
const PLAY_MS = 900;
const MOST_LABELS = 12;
const LEAST_ROOM = 220;
const NARROW = 760;
const TILE_GAP = 8;
// Kept pictures of masks: those of a click's neighbours at least, and more where they are small.
const LEAST_LAYERS = 10;
const MOST_LAYERS = 24;
const LAYER_BYTES = 96 * 1024 ** 2;
const SLICE_MS = 3;

let instances = 0;

// Builds an explorer in `root`. The host tells what the place can do: openPicture(file), exportHTML(state), changed(state).
export function createExplorer(root, pack, host, { state: text = '', hide = [] } = {}) {
  const serial = ++instances;
  const { last, width: W, height: H } = pack;
  let state = parseState(text, last);
  let side = 'B';
  let hovered = -1, hotIdea = -1;
  let playing = 0, frame = 0, panelFrame = 0, panelTimer = 0, said = 0, idle = 0;
  let cssWidth = 0, ratio = 1, wide = false, dark = false, measured = '';
  // Widths are read where they change: asked for between two writes they would cost a layout each.
  const widths = { wiring: 0, panel: 330, tile: 56, chart: 146, bars: 96 };
  const paths = new Map(), pasted = new Map(), texts = new Map(), layers = new Map();
  // `since` is null from a change to the first frame after it.
  const glide = { A: new Map(), B: new Map(), since: null };
  const ended = new AbortController();
  const stillness = matchMedia('(prefers-reduced-motion: reduce)');
  const lowScreen = matchMedia('(max-height: 900px)');
  const ui = build(root, pack.stages);
  const ap = pack.truth !== null && pack.truth.labels.length > 0;
  const hidden = name => hide.includes(name);

  // ---- lookups ----

  const answer = (bits, off = state.off) => pack.answers[MEANS[off]][bits] ?? null;
  const runOf = bits => pack.runs[(answer(bits) ?? answer(bits, 's') ?? pack.answers.switched_off[pack.models[pack.base].bits])[0]];
  const boxAt = (run, row, stage) => rowBox(run.boxes[Math.min(stage, last - 1)], row);
  const scoreAt = (run, row, stage) => run.scores[stage][row];
  // Proposals have no class; those that become shown objects are told apart from the rest.
  const isShown = (run, row, stage) => scoreAt(run, row, stage || last) >= state.thr - 1e-6;
  const errorAt = (run, row, stage) => (run.truth && stage ? run.truth.error[(stage - 1) * run.count + row] : 0);
  const matchAt = (run, row, stage) => (run.truth && stage ? run.truth.match[(stage - 1) * run.count + row] : -1);
  const maskIou = (run, row, stage) => run.truth.maskIou[(stage - 1) * run.count + row];
  const boxIou = (run, row, stage) => run.truth.boxIou[Math.min(stage, last - 1) * run.count + row];
  const className = label => pack.classes[label] ?? `class ${label}`;
  const thingName = thing => className(pack.things.labels[thing]);
  const rowOf = (run, thing) => run.things.indexOf(thing);
  const shownRows = (run, stage) => [...run.things.keys()].filter(row => isShown(run, row, stage));
  const isTrue = thing => thing < pack.things.true;
  const hues = () => (ap ? 7 : 8);
  const colourOf = thing => (ap && !isTrue(thing) ? GREY : COLOURS[thing % hues()]);
  const isDashed = thing => (!ap || isTrue(thing)) && Math.floor(thing / hues()) % 2 === 1;
  // One scale for all settings of this picture, so that bars can be compared; low APs get a lower top.
  const mostAp = ap ? Math.max(...pack.runs.flatMap(run => run.truth.ap)) : 0;
  const topAp = [25, 50, 75, 100].find(top => mostAp <= top * 0.98) ?? 100;
  const apOf = (bits, stage) => (ap && stage ? runOf(bits).truth.ap[stage - 1] : null);

  // What the other side of every comparison is: A, the stage before, or plain cascade.
  function reference() {
    if (state.A !== null) return { bits: state.A, stage: state.stage, words: `A, ${titleOf(state.A)}`, short: 'A' };
    if (state.ref === 'prev' && has('difference') && state.stage > 1) {
      return { bits: state.B, stage: state.stage - 1, words: ui.names[state.stage - 1].toLowerCase(), short: ui.short[state.stage - 1] };
    }
    return { bits: PLAIN, stage: state.stage, words: 'plain cascade', short: 'plain' };
  }
  const has = layer => state.show.includes(layer);
  const currentBits = () => (side === 'A' && state.A !== null ? state.A : state.B);

  // ---- masks, kept once made ----

  function remember(store, key, make) {
    if (!store.has(key)) {
      if (store.size > 3000) store.clear();
      store.set(key, make());
    }
    return store.get(key);
  }
  function pathOf(run, stage, row) {
    return remember(paths, `${run.number}.${stage}.${row}`, () => {
      const box = rowBox(run.maskBoxes[stage - 1], row);
      const cell = Math.max(box[2] - box[0], box[3] - box[1]) * cssWidth / W / run.side;
      return outline(rowMask(run, stage, row), run.side, run.side, box, 255, clamp(Math.round(cell / 3), 1, 4));
    });
  }
  const pixelsOf = (run, stage, row) => remember(pasted, `${run.number}.${stage}.${row}`,
    () => paste(rowMask(run, stage, row), run.side, rowBox(run.maskBoxes[stage - 1], row), W, H));
  const truthPath = k => remember(paths, `truth.${k}`, () => outline(truthMask(pack, k), W, H, [0, 0, W, H], 1, 1));

  // ---- the picture ----

  function widthOf(context, text) {
    return remember(texts, `${context.font}|${text}`, () => context.measureText(text).width);
  }

  // Everything over the photo, in the picture's own px; `unit` is one CSS px in those.
  function paintMarks(context, unit) {
    const split = state.split * W;
    const sides = state.A === null ? [['B', state.B, 0, W]] : [['B', state.B, split, W], ['A', state.A, 0, split]];
    context.lineJoin = 'round';
    context.font = `600 ${(wide ? 15 : 12.5) * unit}px ${ui.font}`;
    context.textBaseline = 'middle';
    const items = [];
    for (const [name, bits, from, to] of sides) {
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, H);
      context.clip();
      const run = runOf(bits);
      if (state.stage === 0 && has('boxes')) paintProposals(context, run, unit);
      if (has('difference') && state.stage && name === 'B') paintDifference(context, run, unit);
      const shown = itemsOf(name, run);
      if (state.stage && has('masks')) paintMasks(context, run, shown, unit);
      if (has('boxes')) for (const item of shown) paintBox(context, item, unit);
      context.restore();
      items.push([shown, from, to]);
    }
    if (has('truth') && pack.truth) paintTruth(context, unit);
    if (has('semantic')) for (const [, bits, from, to] of sides) paintMapNames(context, pack.models[runOf(bits).model], from, to, unit);
    if (has('labels')) for (const [shown, from, to] of items) paintLabels(context, shown, from, to, unit);
    if (state.A !== null) {
      context.fillStyle = '#fff';
      context.fillRect(split - unit, 0, 2 * unit, H);
    }
  }

  const area = box => (box[2] - box[0]) * (box[3] - box[1]);
  // Shown objects, large ones first so that small ones lie on top.
  function itemsOf(name, run) {
    return shownRows(run, state.stage).map(row => {
      const thing = run.things[row];
      const target = boxAt(run, row, state.stage);
      return {
        run, row, thing, target, box: glide[name]?.get(thing)?.drawn ?? target, error: errorAt(run, row, state.stage),
        colour: colourOf(thing), chosen: thing === state.obj || thing === hovered,
      };
    }).sort((a, b) => area(b.target) - area(a.target));
  }

  function paintProposals(context, run, unit) {
    const boxes = pack.models[run.model].proposals;
    context.strokeStyle = 'rgba(255,255,255,.42)';
    context.lineWidth = unit;
    context.beginPath();
    for (let i = 0; i < boxes.length; i += 4) context.rect(boxes[i], boxes[i + 1], boxes[i + 2] - boxes[i], boxes[i + 3] - boxes[i + 1]);
    context.stroke();
  }

  let hatch = null;
  // Diagonal lines, drawn at the size of CSS px whatever the picture's own.
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
  function hatches(context, unit) {
    if (hatch?.unit !== unit) {
      hatch = { unit, wrong: hatching(context, unit, 'rgba(34,34,34,.22)', 'rgba(20,20,20,.72)'), lost: hatching(context, unit, 'rgba(213,94,0,.62)', '#ffb27a') };
    }
    return hatch;
  }

  // All masks of a side. On the screen they are one picture, kept: a toggle back, and each frame of a glide, only lays
  // it down again.
  function paintMasks(context, run, items, unit) {
    if (context.canvas !== ui.marks) {
      for (const item of items) paintMask(context, item, unit);
      return;
    }
    const layer = layerOf(run, items, unit);
    context.save();
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.drawImage(layer, 0, 0);
    context.restore();
  }
  const layerKey = run => [ui.marks.width, run.number, state.stage, state.thr, state.obj, hovered, has('difference'), has('semantic')].join('|');
  function layerOf(run, items, unit) {
    const key = layerKey(run);
    if (layers.has(key)) {
      // The last used is the last in the map, so the first is the one to give up.
      const layer = layers.get(key);
      layers.delete(key);
      layers.set(key, layer);
    } else {
      const drawing = drawLayer(key, items, unit);
      while (!drawing.next().done);
    }
    return layers.get(key);
  }
  // A mask a step; the layer is there after the last.
  function* drawLayer(key, items, unit) {
    const canvas = new OffscreenCanvas(ui.marks.width, ui.marks.height), context = canvas.getContext('2d');
    context.scale(canvas.width / W, canvas.width / W);
    context.lineJoin = 'round';
    for (const item of items) {
      paintMask(context, item, unit);
      yield;
    }
    const most = clamp(Math.floor(LAYER_BYTES / (4 * canvas.width * canvas.height)), LEAST_LAYERS, MOST_LAYERS);
    if (layers.size >= most) forgetLayer(layers.keys().next().value);
    layers.set(key, canvas.transferToImageBitmap());
  }
  function forgetLayer(key) {
    layers.get(key).close();
    layers.delete(key);
  }

  // What one more click on a switch or a preset would show is drawn while nothing else is to be done, in slices so
  // short that a click does not wait for one.
  function warmUp() {
    (window.cancelIdleCallback ?? clearTimeout)(idle);
    const near = new Set([...IDEAS.map((_, i) => flipped(currentBits(), i)), ...RUNGS.map(([bits]) => bits)]);
    const wanted = [...near].filter(bits => answer(bits) !== null);
    let drawing = null, key = '';
    const step = () => {
      const run = runOf(wanted[0]);
      // What is set may have changed since the slice before.
      if (drawing === null || key !== layerKey(run)) {
        key = layerKey(run);
        drawing = layers.has(key) ? null : drawLayer(key, itemsOf('', run), W / cssWidth);
      }
      if (drawing === null || drawing.next().done) {
        drawing = null;
        wanted.shift();
      }
    };
    const slice = () => {
      if (!state.stage || !has('masks')) return;
      const end = performance.now() + SLICE_MS;
      while (wanted.length && performance.now() < end) step();
      if (wanted.length) later();
    };
    const later = () => { idle = window.requestIdleCallback ? requestIdleCallback(slice, { timeout: 2000 }) : setTimeout(slice, 60); };
    later();
  }

  function paintMask(context, item, unit) {
    const { run, row, colour, chosen } = item;
    const thick = (chosen ? 2.6 : 1.6) * unit, path = pathOf(run, state.stage, row);
    const strength = has('difference') ? 0 : has('semantic') ? 0.14 : chosen ? 0.49 : 0.36;
    context.setLineDash(isDashed(item.thing) ? [6 * unit, 3 * unit] : []);
    if (strength) {
      context.globalAlpha = strength;
      context.fillStyle = colour;
      context.fill(path, 'evenodd');
      context.globalAlpha = 1;
      if (item.error) {
        context.fillStyle = hatches(context, unit).wrong;
        context.fill(path, 'evenodd');
      }
    }
    context.strokeStyle = 'rgba(0,0,0,.55)';
    context.lineWidth = thick + 1.6 * unit;
    context.stroke(path);
    context.strokeStyle = colour;
    context.lineWidth = thick;
    context.stroke(path);
    context.setLineDash([]);
  }
  function paintBox(context, { box: [x1, y1, x2, y2], thing, colour, chosen }, unit) {
    context.setLineDash(isDashed(thing) ? [6 * unit, 3 * unit] : []);
    context.strokeStyle = 'rgba(0,0,0,.5)';
    context.lineWidth = (chosen ? 3.6 : 2.6) * unit;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.strokeStyle = colour;
    context.lineWidth = (chosen ? 2 : 1.2) * unit;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.setLineDash([]);
  }

  // Object by object: pixels that the other side's mask of the same object does not have, and the reverse.
  function paintDifference(context, run, unit) {
    const other = reference(), before = runOf(other.bits);
    const whole = () => { const path = new Path2D(); path.rect(-W, -H, 3 * W, 3 * H); return path; };
    const only = (path, without, style) => {
      context.save();
      if (without) {
        const outside = whole();
        outside.addPath(without);
        context.clip(outside, 'evenodd');
      }
      context.fillStyle = style;
      context.fill(path, 'evenodd');
      context.restore();
    };
    for (const thing of new Set([...run.things, ...before.things])) {
      const [mine, theirs] = pairOf(run, state.stage, before, other.stage, thing).map(([r, st, row]) => (row < 0 ? null : pathOf(r, st, row)));
      if (mine && mine !== theirs) only(mine, theirs, 'rgba(86,180,233,.9)');
      if (theirs && mine !== theirs) only(theirs, mine, hatches(context, unit).lost);
    }
  }
  // The rows of a thing on both sides, -1 where it is not shown.
  function pairOf(run, stage, before, stageBefore, thing) {
    const row = rowOf(run, thing), old = rowOf(before, thing);
    return [[run, stage, row >= 0 && isShown(run, row, stage) ? row : -1],
      [before, stageBefore, old >= 0 && stageBefore > 0 && isShown(before, old, stageBefore) ? old : -1]];
  }

  function missed(run) {
    const found = new Set(shownRows(run, state.stage).map(row => matchAt(run, row, state.stage)));
    return [...Array(pack.things.true).keys()].filter(k => !found.has(k));
  }

  function paintTruth(context, unit) {
    for (let k = 0; k < pack.things.true; k++) {
      const path = truthPath(k);
      context.strokeStyle = 'rgba(0,0,0,.75)';
      context.lineWidth = 3 * unit;
      context.stroke(path);
      context.setLineDash([5 * unit, 3 * unit]);
      context.strokeStyle = '#fff';
      context.lineWidth = 1.5 * unit;
      context.stroke(path);
      context.setLineDash([]);
    }
  }

  function labelOf({ run, row, thing, error }) {
    const score = two(scoreAt(run, row, state.stage));
    if (state.stage === 0) return `RoI ${score}`;
    const name = className(run.labels[row]);
    if (has('difference')) {
      const other = reference(), before = runOf(other.bits), old = rowOf(before, thing);
      if (old >= 0 && before.labels[old] !== run.labels[row]) return `${name}, was ${className(before.labels[old])}`;
    }
    return `${name} ${score}${error ? (thing === state.obj ? ` · false: ${ERRORS[error]}` : ' · false') : ''}`;
  }

  function paintLabels(context, items, from, to, unit) {
    const tall = (wide ? 22 : 18) * unit, used = [];
    const few = items.length <= MOST_LABELS ? items : items.filter(item => item.chosen);
    const wanted = few.map(item => ({ box: item.box, text: labelOf(item), colour: item.colour, ink: textOn(item.colour), chosen: item.thing === state.obj }));
    if (has('truth') && pack.truth && state.stage && state.A === null) {
      for (const k of missed(runOf(state.B))) wanted.push({ box: rowBox(pack.truth.boxes, k), text: `missed: ${thingName(k)}`, colour: '#0b0d0f', ink: '#ffffff', chosen: k === state.obj });
    }
    wanted.sort((a, b) => b.chosen - a.chosen);
    for (const label of wanted) {
      const long = widthOf(context, label.text) + 11 * unit;
      const left = Math.max(label.box[0], from), right = Math.min(label.box[2], to);
      if (right - left < 10 * unit) continue;
      const fit = x => Math.max(from, Math.min(x, to - long));
      const [, y1, , y2] = label.box;
      const spots = [[left, y1 - tall], [right - long, y1 - tall], [left, y1], [left, y2], [right - long, y2], [right - long, y2 - tall], [left, y1 - 2 * tall], [left, y2 + tall], [left, (y1 + y2) / 2]]
        .map(([x, y]) => [fit(x), y]);
      const top = state.A === null ? 0 : 38 * unit;
      const free = spots.find(([x, y]) => y >= top && y + tall <= H && !used.some(u => x < u[0] + u[2] && x + long > u[0] && y < u[1] + tall && y + tall > u[1]));
      const [x, y] = free ?? [spots[0][0], clamp(spots[0][1], 0, H - tall)];
      used.push([x, y, long]);
      context.fillStyle = label.colour;
      context.beginPath();
      context.roundRect(x, y, long, tall, 2 * unit);
      context.fill();
      if (label.chosen) {
        context.strokeStyle = '#fff';
        context.lineWidth = 1.5 * unit;
        context.stroke();
      }
      context.fillStyle = label.ink;
      context.fillText(label.text, x + 5.5 * unit, y + tall * 0.53);
    }
  }

  function paint() {
    const context = ui.marks.getContext('2d');
    const scale = ui.marks.width / W;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, ui.marks.width, ui.marks.height);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    paintMarks(context, W / cssWidth);
  }

  // Boxes start from where they are drawn now; a change while they glide needs no queue.
  function aim(animate) {
    const moving = animate && !stillness.matches;
    glide.since = null;
    for (const [name, bits] of [['A', state.A], ['B', state.B]]) {
      const old = glide[name], next = new Map();
      if (bits !== null) {
        const run = runOf(bits);
        for (const row of shownRows(run, state.stage)) {
          const thing = run.things[row], to = boxAt(run, row, state.stage), from = moving ? old.get(thing)?.drawn ?? to : to;
          next.set(thing, { from, to, drawn: from });
        }
      }
      glide[name] = next;
    }
    if (moving && !frame) frame = requestAnimationFrame(step);
  }
  // The first frame shows what the change itself has painted: a glide begins there, and paints from the second frame on.
  function step(now) {
    if (glide.since === null) {
      glide.since = now;
      frame = requestAnimationFrame(step);
      return;
    }
    const share = clamp((now - glide.since) / GLIDE_MS, 0, 1), eased = 1 - (1 - share) ** 3;
    for (const name of ['A', 'B']) for (const each of glide[name].values()) each.drawn = Array.from(each.from, (x, i) => x + (each.to[i] - x) * eased);
    paint();
    frame = share < 1 ? requestAnimationFrame(step) : 0;
  }

  // ---- the layers under the marks: only where size, theme, map or sides changed ----

  let under = '', photographed = '';
  function paintUnder() {
    const maps = [['B', state.B], ['A', state.A]].filter(([, bits]) => bits !== null).map(([, bits]) => pack.models[runOf(bits).model]);
    const key = [ui.marks.width, has('semantic'), ...maps.map(model => model.name), state.A === null ? '' : two(state.split)].join('|');
    const photoKey = [ui.marks.width, ...tone()].join('|');
    if (key === under && photoKey === photographed) return;
    under = key;
    for (const canvas of [ui.photo, ui.map]) if (canvas.width !== ui.marks.width || canvas.height !== ui.marks.height) Object.assign(canvas, { width: ui.marks.width, height: ui.marks.height });
    if (photoKey !== photographed) paintPhoto(ui.photo.getContext('2d'), ui.photo.width / W);
    photographed = photoKey;
    // An empty canvas costs a frame as much as a full one.
    setHidden(ui.map, !has('semantic'));
    if (ui.map.hidden) return;
    const context = ui.map.getContext('2d');
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, ui.map.width, ui.map.height);
    paintMaps(context, ui.map.width / W);
  }
  // How grey and how dim the photo is under what lies on it. Painted once: a filter would cost every frame anew.
  const tone = () => (has('difference') && state.stage ? [0.85, 0.28] : has('semantic') ? [0.4, 0] : [0, 0]);
  function paintPhoto(context, scale) {
    const [grey, dim] = tone();
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.imageSmoothingQuality = 'high';
    context.drawImage(pack.photo, 0, 0, W, H);
    context.save();
    for (const [blend, colour, share] of [['saturation', '#808080', grey], ['source-over', '#000000', dim]]) {
      context.globalCompositeOperation = blend;
      context.globalAlpha = share;
      context.fillStyle = colour;
      context.fillRect(0, 0, W, H);
    }
    context.restore();
  }
  function paintMaps(context, scale) {
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const split = state.split * W;
    const sides = state.A === null ? [[state.B, 0, W]] : [[state.A, 0, split], [state.B, split, W]];
    for (const [bits, from, to] of sides) {
      const map = mapOf(pack.models[runOf(bits).model]);
      if (!map) continue;
      context.save();
      context.beginPath();
      context.rect(from, 0, to - from, H);
      context.clip();
      context.drawImage(map.picture, 0, 0, W, H);
      context.restore();
    }
  }
  function paintMapNames(context, model, from, to, unit) {
    const map = mapOf(model);
    if (!map) return;
    context.save();
    context.textAlign = 'center';
    context.strokeStyle = 'rgba(0,0,0,.75)';
    context.fillStyle = '#fff';
    context.lineWidth = 3 * unit;
    for (const { name, x, y } of map.labels) {
      if (x * W < from || x * W > to) continue;
      context.strokeText(name, x * W, y * H);
      context.fillText(name, x * W, y * H);
    }
    context.restore();
  }
  // A model's semantic map as a picture, and where each large class can be named.
  function mapOf(model) {
    if (!model.semantic) return null;
    return remember(paths, `map.${model.name}`, () => {
      const [rows, columns] = model.semantic.shape, values = model.semantic.values;
      const canvas = document.createElement('canvas');
      canvas.width = columns;
      canvas.height = rows;
      const context = canvas.getContext('2d'), image = context.createImageData(columns, rows);
      const sums = new Map();
      values.forEach((value, i) => {
        const colour = MAP_COLOURS[value % MAP_COLOURS.length], x = i % columns, y = Math.floor(i / columns);
        const edge = (x + 1 < columns && values[i + 1] !== value) || (y + 1 < rows && values[i + columns] !== value);
        image.data.set(edge ? [255, 255, 255, 150] : [1, 3, 5].map(k => parseInt(colour.slice(k, k + 2), 16)).concat(185), 4 * i);
        const sum = sums.get(value) ?? { n: 0, x: 0, y: 0 };
        sums.set(value, { n: sum.n + 1, x: sum.x + x, y: sum.y + y });
      });
      context.putImageData(image, 0, 0);
      const labels = [];
      for (const [value, sum] of sums) {
        const name = pack.semantic_classes[value];
        if (!name || sum.n < 0.012 * values.length) continue;
        // The class's own pixel nearest its middle: the middle itself may lie outside.
        let best = Infinity, spot = 0;
        values.forEach((other, i) => {
          const d = (i % columns - sum.x / sum.n) ** 2 + (Math.floor(i / columns) - sum.y / sum.n) ** 2;
          if (other === value && d < best) { best = d; spot = i; }
        });
        labels.push({ name, x: (spot % columns + 0.5) / columns, y: (Math.floor(spot / columns) + 0.5) / rows });
      }
      return { picture: canvas, labels };
    });
  }

  // ---- switches, layers, scrubber: what must answer at once ----

  function showControls() {
    const bits = currentBits();
    ui.ideas.forEach(({ node }, i) => {
      setAttribute(node, 'aria-checked', bits[i] === '1');
      setAttribute(node, 'aria-disabled', !isPossible(bits, i));
      setAttribute(node, 'data-cut', isCut(bits, i));
    });
    checkSegments(ui.presets.lastChild, bits);
    for (const button of ui.presets.lastChild.children) button.disabled = answer(button.dataset.value) === null;
    checkSegments(ui.off.lastChild, state.off);
    checkSegments(ui.side, side);
    checkSegments(ui.ref, state.ref);
    checkSegments(ui.life, state.life);
    setHidden(ui.sides, state.A === null);
    const semantic = [state.B, state.A].some(each => each !== null && pack.models[runOf(each).model].semantic);
    const why = {
      masks: state.stage ? '' : 'No masks before stage 1', difference: state.stage ? '' : 'No masks before stage 1',
      semantic: semantic ? '' : 'This model was trained without a semantic branch', truth: pack.truth ? '' : 'The truth of this picture is not known',
    };
    for (const chip of ui.layers) {
      const reason = why[chip.dataset.layer] ?? '';
      setAttribute(chip, 'aria-pressed', has(chip.dataset.layer));
      if (chip.disabled !== (reason !== '')) chip.disabled = reason !== '';
      if (chip.title !== reason) chip.title = reason;
    }
    setAttribute(ui.compare, 'aria-pressed', state.A !== null);
    for (const node of [ui.divider, ui.tagA, ui.tagB]) setHidden(node, state.A === null);
    if (state.A !== null) {
      ui.divider.style.left = `${100 * state.split}%`;
      setAttribute(ui.divider, 'aria-valuenow', Math.round(100 * state.split));
    }
    setHidden(ui.legend, !(has('difference') && state.stage > 0));
    setHidden(ui.ref, state.A !== null);
    ui.threshold.value = String(state.thr);
    setText(ui.thresholdText, two(state.thr));
    ui.scrubber.value = String(state.stage);
    setAttribute(ui.scrubber, 'aria-valuetext', ui.names[state.stage]);
    ui.stops.forEach(([, stop], stage) => setAttribute(stop, 'aria-current', stage === state.stage));
    ui.heads.forEach((lane, stage) => setAttribute(lane, 'aria-current', stage === state.stage));
    ui.band.style.transform = `translateX(${100 * state.stage}%)`;
  }
  const isPossible = (bits, i) => answer(flipped(bits, i)) !== null;
  const isCut = (bits, i) => bits[i] === '0' && pack.models[runOf(bits).model].bits[i] === '1';

  // What the controls say of themselves: one frame after what they show.
  function showWords() {
    const bits = currentBits(), model = pack.models[runOf(bits).model], stage = state.stage || last;
    const title = ap ? `Mask AP on this picture, ${ui.names[stage].toLowerCase()}: with the idea less without it, the other switches as they are` : '';
    ui.ideas.forEach(({ node, says, gives }, i) => {
      const idea = IDEAS[i], possible = isPossible(bits, i);
      setText(says, !possible ? 'No weights for it: no model here was trained with it' : isCut(bits, i) ? idea.cut ?? `Cut out of ${model.title}, which was trained with it` : idea.says);
      const withIt = apOf(withBit(bits, i, '1'), stage), without = apOf(withBit(bits, i, '0'), stage);
      const gain = ap && possible && withIt !== null ? [bits[i] === '1' ? 'gives ' : 'would give ', signed(withIt - without, 1), ' AP'] : [];
      if (gives.textContent !== gain.join('')) gives.replaceChildren(...gain.map((part, k) => (k === 1 ? change(withIt - without, 1) : part)));
      setAttribute(node, 'title', title);
    });
    if (state.A !== null) {
      for (const [tag, each] of [[ui.tagA, state.A], [ui.tagB, state.B]]) {
        setText(tag.children[1], titleOf(each));
        setText(tag.lastChild, `, ${meaning(each).short}`);
      }
    }
    setText(ui.badge, meaning(bits).long);
    setAttribute(ui.badge, 'data-trained', answer(bits)?.[1] === 1);
  }

  // Which of a toggle's two meanings is on screen.
  function meaning(bits) {
    const given = answer(bits), run = runOf(bits), model = pack.models[run.model];
    if (given?.[1]) return { short: 'trained so', long: 'trained so' };
    const cut = IDEAS.filter((_, i) => model.bits[i] === '1' && bits[i] === '0').map(idea => idea.short);
    const off = `${cut.join(', ')} switched off in ${model.title}`;
    return { short: 'switched off', long: state.off === 't' ? `no model was trained so: ${off}` : off };
  }

  // ---- the sentence: what changed, in words ----

  function showSentence() {
    const { stage } = state, run = runOf(state.B), other = reference(), before = runOf(other.bits);
    if (stage === 0) {
      ui.sentence.replaceChildren('Proposals are boxes with an objectness score: no class, no mask. Each coloured box is the one that will become that object.');
      return;
    }
    if (run === before && stage === other.stage) {
      const switches = ['interleaved', 'mask_flow', 'semantic'].some(name => !hidden(name));
      const asked = switches ? ' Switch an idea on to see what it changes.' : '';
      ui.sentence.replaceChildren(h('b', {}, titleOf(state.B)), state.A === null ? ` is what the others are compared with.${asked}` : ' is on both sides.');
      return;
    }
    const gains = { found: [], lost: [], gone: [], come: [], named: [], up: [], down: [] };
    for (const thing of new Set([...run.things, ...before.things])) {
      const [[, , row], [, , old]] = pairOf(run, stage, before, other.stage, thing);
      const name = row >= 0 ? className(run.labels[row]) : old >= 0 ? className(before.labels[old]) : '';
      if (row < 0 && old < 0) continue;
      const good = row >= 0 && matchAt(run, row, stage) >= 0, was = old >= 0 && matchAt(before, old, other.stage) >= 0;
      if (ap && good && !was) gains.found.push(name);
      else if (ap && was && !good) gains.lost.push(name);
      if (row >= 0 && old < 0 && !good) gains.come.push(name);
      if (old >= 0 && row < 0 && !was) gains.gone.push(name);
      if (row < 0 || old < 0) continue;
      if (run.labels[row] !== before.labels[old]) gains.named.push(`${name}, called ${className(before.labels[old])} before`);
      const by = ap ? (run.truth.reference[row] < 0 ? 0 : maskIou(run, row, stage) - maskIou(before, old, other.stage)) : scoreAt(run, row, stage) - scoreAt(before, old, other.stage);
      if (Math.abs(by) >= 0.03) gains[by > 0 ? 'up' : 'down'].push([name, by]);
    }
    const wrong = ap ? 'false ' : '';
    const parts = [];
    if (gains.found.length) parts.push([`${counted(gains.found)} found`]);
    if (gains.lost.length) parts.push([`${counted(gains.lost)} no longer found`]);
    if (gains.gone.length) parts.push([`${wrong}${counted(gains.gone)} gone`]);
    if (gains.come.length) parts.push([`${wrong}${counted(gains.come)} new`]);
    if (gains.named.length) parts.push([counted(gains.named)]);
    const moved = [...gains.up.sort((a, b) => b[1] - a[1]), ...gains.down.sort((a, b) => a[1] - b[1])].sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
    if (moved.length) {
      const most = moved.slice(0, 3).flatMap(([name, by], i) => [i ? `, ${name} ` : `${name} `, change(by, 2)]);
      parts.push([ap ? 'mask IoU of ' : 'score of ', ...most, moved.length > 3 ? ` and ${moved.length - 3} more` : '']);
    }
    const told = parts.flatMap((part, i) => (i ? ['; ', ...part] : part));
    const lead = state.A === null ? titleOf(state.B) : `B, ${titleOf(state.B)},`;
    ui.sentence.replaceChildren(h('b', {}, lead), ' against ', h('b', {}, other.words), ': ', ...(told.length ? told : [`no object changes by more than 0.03 ${ap ? 'IoU' : 'in score'}`]), '.');
  }

  function showCounts() {
    if (ui.legend.hidden) return;
    const run = runOf(state.B), other = reference(), before = runOf(other.bits);
    let gained = 0, lost = 0;
    for (const thing of new Set([...run.things, ...before.things])) {
      const [mine, theirs] = pairOf(run, state.stage, before, other.stage, thing).map(([r, st, row]) => (row < 0 ? null : pixelsOf(r, st, row)));
      if (mine) gained += less(mine, theirs);
      if (theirs) lost += less(theirs, mine);
    }
    setText(ui.gained, `gained ${gained.toLocaleString('en')} px`);
    setText(ui.lost, `lost ${lost.toLocaleString('en')} px`);
  }

  // ---- wiring: the model itself is the scrubber's scale ----

  let wired = '', spare = 0;
  function showWiring() {
    const w = widths.wiring, bits = currentBits(), key = [w, bits, state.stage, hotIdea, wide, lowScreen.matches, hide.join()].join('|');
    if (!w || key === wired) return;
    wired = key;
    const [interleaved, flow, toBox, toMask] = [...bits].map(bit => bit === '1');
    const semantic = (toBox || toMask) && !hidden('semantic');
    const pad = Math.min(56, w * 0.09), X = k => pad + k * (w - 2 * pad) / last;
    const nw = Math.min(wide ? 72 : 64, (w - 2 * pad) / last - 26), nh = wide ? 28 : lowScreen.matches ? 20 : 24;
    const yS = lowScreen.matches ? 10 : 14, yB = yS + (lowScreen.matches ? 25 : 32), yM = yB + (wide ? 50 : lowScreen.matches ? 32 : 46), yR = yM + nh / 2 + (lowScreen.matches ? 8 : 12);
    const nodes = [], lines = [];
    const marker = `arrow-${serial}`;
    nodes.push(s('defs', {}, s('marker', { id: marker, viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, markerUnits: 'userSpaceOnUse', orient: 'auto' }, s('path', { d: 'M0 .6 8 4 0 7.4z', fill: 'var(--ink)' }))));
    const wire = (d, stage, { idea = -1, arrow = true, over = false } = {}) => {
      if (over) lines.push(s('path', { d, fill: 'none', stroke: 'var(--bg)', 'stroke-width': 6 }));
      lines.push(s('path', { d, fill: 'none', stroke: 'var(--ink)', 'stroke-width': idea >= 0 && idea === hotIdea ? 2.8 : 1.3, opacity: stage <= state.stage ? 1 : 0.28, 'marker-end': arrow ? `url(#${marker})` : null }));
    };
    if (semantic) wire(`M${X(0) + 38} ${yS}H${X(last - 1) + (toMask ? nw / 2 + 13 : 0)}`, 1, { arrow: false });
    for (let t = 1; t < last; t++) {
      if (semantic && toMask) wire(`M${X(t) + nw / 2 + 13} ${yS}V${yM - 5}H${X(t) + nw / 2 + 1}`, t, { idea: 3 });
      wire(`M${X(t - 1) + nw / 2 + 1} ${yB}H${X(t) - nw / 2 - 1}`, t, { over: true });
      if (semantic && toBox) wire(`M${X(t)} ${yS}V${yB - nh / 2 - 1}`, t, { idea: 2 });
      if (interleaved) {
        wire(`M${X(t)} ${yB + nh / 2}V${yM - nh / 2 - 1}`, t, { idea: 0 });
      } else {
        const from = X(t) - nw / 2 - 17, y = yM - (flow && t > 1 ? 5 : 0);
        wire(`M${from} ${yB}V${y - 8}q0 8 8 8H${X(t) - nw / 2 - 1}`, t, { idea: 0 });
        lines.push(s('circle', { cx: from, cy: yB, r: 2.6, fill: 'var(--ink)', opacity: t <= state.stage ? 1 : 0.28 }));
      }
      if (flow && t > 1) wire(`M${X(t - 1) + nw / 2} ${yM + 5}H${X(t) - nw / 2 - 1}`, t, { idea: 1 });
      wire(`M${X(t)} ${yM + nh / 2}V${yR}`, last, { arrow: false });
    }
    wire(`M${X(1)} ${yR}H${X(last)}V${yM + nh / 2 + 1}`, last);
    wire(`M${X(last - 1) + nw / 2 + 1} ${yB}H${X(last)}V${yM - nh / 2 - 1}`, last, { over: true });
    const node = (x, y, text, stage) => {
      const now = stage === state.stage, done = stage <= state.stage;
      nodes.push(s('rect', { x: x - nw / 2, y: y - nh / 2, width: nw, height: nh, rx: 4, fill: now ? 'var(--ink)' : 'var(--bg)', stroke: done ? 'var(--ink)' : 'var(--edge)', 'stroke-width': 1.3 }),
        s('text', { x, y: y + 4.3, 'text-anchor': 'middle', fill: now ? 'var(--bg)' : done ? 'var(--ink)' : 'var(--ink2)' }, text));
    };
    const room = nw > 50;
    node(X(0), yB, 'RPN', 0);
    for (let t = 1; t < last; t++) { node(X(t), yB, room ? `Box ${t}` : `B${t}`, t); node(X(t), yM, room ? `Mask ${t}` : `M${t}`, t); }
    node(X(last), yM, 'Mean', last);
    if (semantic) nodes.push(s('text', { x: X(0) - nw / 2, y: yS + 4.3, fill: 'var(--ink)' }, 'Semantic'));
    const top = semantic ? 0 : yB - nh / 2 - 8;
    // A switch may bring the semantic row: the picture leaves it its place.
    spare = hidden('semantic') ? 0 : top;
    const height = yR + (lowScreen.matches ? 5 : 8) - top;
    setAttribute(ui.wires, 'viewBox', `0 ${top} ${w} ${height}`);
    setAttribute(ui.wires, 'height', height);
    ui.wires.replaceChildren(nodes[0], ...lines, ...nodes.slice(1));
    setAttribute(ui.wires, 'aria-label', `Wiring, ${titleOf(bits)}: masks of a stage use ${interleaved ? 'the boxes it has just refined' : 'the boxes it was given'}`
      + (flow ? '; each mask head also sees the one before' : '') + (toBox ? '; semantic features enter the box heads' : '') + (toMask ? '; semantic features enter the mask heads' : ''));
    ui.scrubber.style.left = `${pad - 11}px`;
    ui.scrubber.style.width = `${w - 2 * pad + 22}px`;
    ui.stops.forEach(([tick, stop], stage) => { tick.style.left = stop.style.left = `${X(stage)}px`; });
    ui.stops.forEach(([, stop], stage) => setText(stop, w < 460 ? ui.short[stage] : ui.names[stage]));
  }

  // ---- the panel ----

  function otherSide() {
    if (state.A === null) return { bits: PLAIN, stage: null, name: 'plain' };
    return side === 'A' ? { bits: state.B, name: 'B' } : { bits: state.A, name: 'A' };
  }

  function showFigure() {
    const { stage } = state, bits = currentBits(), run = runOf(bits), other = otherSide();
    const rows = shownRows(run, stage);
    const mine = apOf(bits, stage), theirs = apOf(other.bits, stage);
    if (!stage) {
      ui.big.replaceChildren(String(pack.models[run.model].proposals.length / 4));
      ui.figure.replaceChildren('proposals, no class yet,', h('br'), 'no masks before stage 1');
    } else if (!ap) {
      ui.big.replaceChildren(String(rows.length));
      ui.figure.replaceChildren(`object${rows.length === 1 ? '' : 's'} with a score from ${two(state.thr)};`, h('br'), 'no truth for this picture: no AP, no IoU');
    } else {
      const gone = missed(run).length, wrong = rows.filter(row => matchAt(run, row, stage) < 0).length;
      const compared = runOf(other.bits) === run ? [] : [', ', change(mine - theirs, 1), ` over ${other.name}`];
      ui.big.replaceChildren(mine.toFixed(1));
      ui.figure.replaceChildren('mask AP on this picture', ...compared, h('br'),
        h('b', {}, String(pack.things.true - gone)), ` of ${pack.things.true} found, `, h('b', {}, String(wrong)), ' false, ', h('b', {}, String(gone)), ' missed');
    }
  }

  function showBars() {
    ui.bars.style.display = ap ? '' : 'none';
    if (!ap) return;
    const w = widths.panel, tall = widths.bars, lane = w / (last + 1), thick = Math.min(34, lane * 0.4), thin = Math.max(7, thick * 0.3);
    const bits = currentBits(), other = otherSide(), y = ap => tall - 1 - (tall - 22) * ap / topAp;
    const nodes = [s('path', { d: `M${lane * 0.95} ${tall - 0.5}H${w}`, stroke: 'var(--rule)' }),
      s('text', { x: 0, y: tall - 40, fill: 'var(--ink2)' }, 'mask AP'),
      s('rect', { x: 0.7, y: tall - 28, width: 9, height: 9, fill: 'var(--ink)' }), s('text', { x: 15, y: tall - 19.5, fill: 'var(--ink2)' }, state.A === null ? 'this' : side),
      s('rect', { x: 1.2, y: tall - 11.5, width: 8, height: 8, fill: 'none', stroke: 'var(--edge)', 'stroke-width': 1.3 }), s('text', { x: 15, y: tall - 4, fill: 'var(--ink2)' }, other.name)];
    const told = [];
    for (let stage = 1; stage <= last; stage++) {
      const x = lane * (stage + 0.5) - (thick + thin + 3) / 2, mine = apOf(bits, stage), theirs = apOf(other.bits, stage);
      nodes.push(s('rect', { x, y: y(mine), width: thick, height: tall - 1 - y(mine), fill: 'var(--ink)', opacity: stage === state.stage ? 1 : 0.52 }),
        s('rect', { x: x + thick + 3, y: y(theirs), width: thin, height: tall - 1 - y(theirs), fill: 'var(--bg)', stroke: 'var(--edge)', 'stroke-width': 1.3 }),
        s('text', { x: x + thick / 2, y: y(mine) - 5, 'text-anchor': 'middle', fill: 'var(--ink)', 'font-weight': stage === state.stage ? 650 : 500 }, mine.toFixed(0)));
      told.push(`${ui.names[stage]} ${mine.toFixed(1)}, ${other.name} ${theirs.toFixed(1)}`);
    }
    setAttribute(ui.bars, 'viewBox', `0 0 ${w} ${tall}`);
    setAttribute(ui.bars, 'aria-label', `Mask AP on this picture by stage: ${told.join('; ')}`);
    ui.bars.replaceChildren(...nodes);
  }

  // True objects, and whatever else is shown on either side.
  function listed() {
    const things = new Set(Array(pack.things.true).keys());
    for (const bits of [state.B, state.A]) if (bits !== null) for (const row of shownRows(runOf(bits), state.stage)) things.add(runOf(bits).things[row]);
    return [...things].sort((a, b) => a - b);
  }

  function statusOf(thing, run, row, stage) {
    if (row < 0 || !isShown(run, row, stage)) {
      const score = row < 0 ? '' : `, score ${two(scoreAt(run, row, stage || last))}`;
      return isTrue(thing) ? `missed${score}` : `not shown${score}`;
    }
    const error = errorAt(run, row, stage);
    if (error) return `false: ${ERRORS[error]}, score ${two(scoreAt(run, row, stage))}`;
    if (!ap) return `score ${two(scoreAt(run, row, stage))}`;
    return stage ? `mask IoU ${two(maskIou(run, row, stage))}` : `box IoU ${two(boxIou(run, row, 0))}`;
  }

  function showObjects() {
    const things = listed(), run = runOf(currentBits());
    if (!things.includes(state.obj) && things.length) state.obj = things[0];
    const nodes = new Map([...ui.swatches.children].map(node => [Number(node.dataset.thing), node]));
    const wanted = things.map(thing => {
      const node = nodes.get(thing) ?? h('button', { type: 'button', class: 'swatch', role: 'radio', 'data-thing': String(thing) }, h('i', {}));
      const row = rowOf(run, thing), shown = row >= 0 && isShown(run, row, state.stage);
      const label = `${shown && row >= 0 ? className(run.labels[row]) : thingName(thing)}, ${statusOf(thing, run, row, state.stage)}`;
      setAttribute(node, 'aria-label', label);
      setAttribute(node, 'title', label);
      setAttribute(node, 'aria-checked', thing === state.obj);
      node.tabIndex = thing === state.obj ? 0 : -1;
      node.firstChild.style.setProperty('--hue', colourOf(thing));
      setAttribute(node.firstChild, 'class', `${shown ? '' : 'gone'} ${shown && errorAt(run, row, state.stage) ? 'wrong' : ''} ${isDashed(thing) ? 'again' : ''}`);
      return node;
    });
    if (wanted.length !== ui.swatches.children.length || wanted.some((node, i) => ui.swatches.children[i] !== node)) ui.swatches.replaceChildren(...wanted);
  }

  function showLife() {
    const thing = state.obj, bits = currentBits(), run = runOf(bits), other = otherSide(), before = runOf(other.bits);
    const row = rowOf(run, thing), old = rowOf(before, thing);
    const any = thing < pack.things.labels.length;
    setText(ui.name, !any ? 'No object' : row >= 0 ? className(run.labels[row]) : thingName(thing));
    setText(ui.status, any ? statusOf(thing, run, row, state.stage) : `score from ${two(state.thr)}: nothing here`);
    const place = row < 0 && run.lost ? run.lost.things.indexOf(thing) : -1;
    const why = place >= 0 ? whyLost(run, place) : row >= 0 && isTrue(thing) && !isShown(run, row, state.stage) ? `Its score is under the threshold of ${two(state.thr)}: lower that to see it.` : '';
    setText(ui.why, why);
    setHidden(ui.why, why === '');
    setText(ui.roiTitle, place >= 0 ? 'The RoI that came nearest' : 'What each stage looks at (RoI)');
    showTiles(run, row, thing, place);
    if (place >= 0) showLostChart(run, place, thing);
    else showChart(run, row, before, old, other.name, thing);
    if (place >= 0) showLostScores(run, place, thing);
    else showScores(run, row);
  }

  // Two rows of tiles, a tile a stage: the RoI, and from stage 1 on the soft mask.
  function showTiles(run, row, thing, place) {
    const found = row >= 0 || place >= 0, lane = widths.panel / (last + 1);
    const wide = Math.round(widths.panel * ratio), tall = Math.round((2 * widths.tile + TILE_GAP) * ratio);
    if (ui.drawn.width !== wide || ui.drawn.height !== tall) Object.assign(ui.drawn, { width: wide, height: tall });
    const context = ui.drawn.getContext('2d');
    const at = (stage, top) => [(lane * (stage + 0.5) - widths.tile / 2) * ratio, top * ratio].map(Math.round);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, wide, tall);
    ui.crops.forEach((tile, stage) => {
      setAttribute(tile, 'aria-label', found ? `RoI at ${ui.names[stage]}` : `No RoI at ${ui.names[stage]}`);
      setAttribute(tile, 'data-empty', !found);
      if (found) paintCrop(context, at(stage, 0), run, row, stage, thing, place);
    });
    setText(ui.softTitle, `${run.side} × ${run.side} soft mask`);
    ui.softs.forEach((tile, i) => {
      setAttribute(tile, 'aria-label', row < 0 ? `No mask at ${ui.names[i + 1]}` : `${run.side} by ${run.side} soft mask, ${ui.names[i + 1]}`);
      setAttribute(tile, 'data-empty', row < 0);
      if (row >= 0) paintSoft(context, at(i + 1, widths.tile + TILE_GAP), run, row, i + 1);
    });
  }

  // What a stage looks at: the box its RoI features were taken from, and what it said of it.
  function paintCrop(context, [left, top], run, row, stage, thing, place) {
    const size = Math.round(widths.tile * ratio);
    const box = row < 0 ? rowBox(run.lost.boxes[Math.min(stage, last - 1)], place) : stage ? rowBox(run.maskBoxes[stage - 1], row) : boxAt(run, row, 0);
    const [x1, y1, x2, y2] = box, reach = Math.max(x2 - x1, y2 - y1, 4) * 1.2, scale = size / reach, unit = ratio / scale;
    context.save();
    context.beginPath();
    context.rect(left, top, size, size);
    context.clip();
    context.fillStyle = '#3a3f44';
    context.fillRect(left, top, size, size);
    context.setTransform(scale, 0, 0, scale, left - ((x1 + x2) / 2 - reach / 2) * scale, top - ((y1 + y2) / 2 - reach / 2) * scale);
    context.imageSmoothingQuality = 'high';
    context.drawImage(pack.photo, 0, 0, W, H);
    context.fillStyle = 'rgba(0,0,0,.45)';
    context.beginPath();
    context.rect(-W, -H, 3 * W, 3 * H);
    context.rect(x1, y1, x2 - x1, y2 - y1);
    context.fill('evenodd');
    if (stage && row >= 0) {
      const path = pathOf(run, stage, row), colour = colourOf(thing);
      context.globalAlpha = 0.3;
      context.fillStyle = colour;
      context.fill(path, 'evenodd');
      context.globalAlpha = 1;
      context.strokeStyle = 'rgba(0,0,0,.55)';
      context.lineWidth = 2.6 * unit;
      context.stroke(path);
      context.strokeStyle = colour;
      context.lineWidth = 1.5 * unit;
      context.stroke(path);
    }
    context.strokeStyle = '#fff';
    context.lineWidth = 1.2 * unit;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    context.restore();
  }

  function paintSoft(context, [left, top], run, row, stage) {
    const image = new ImageData(run.side, run.side), cells = new OffscreenCanvas(run.side, run.side), size = Math.round(widths.tile * ratio);
    rowMask(run, stage, row).forEach((q, i) => {
      const grey = dark ? 15 + q * 240 / 255 : 255 - q * 245 / 255;
      image.data.set([grey, grey, grey, 255], 4 * i);
    });
    cells.getContext('2d').putImageData(image, 0, 0);
    context.imageSmoothingEnabled = false;
    context.drawImage(cells, left, top, size, size);
    context.imageSmoothingEnabled = true;
  }

  // The empty chart: 0 to 1 upwards, the stages across.
  function chartFrame() {
    const w = widths.panel, tall = widths.chart, lane = w / (last + 1);
    const y = value => tall - 12 - (tall - 26) * value, x = stage => lane * (stage + 0.5), nodes = [];
    for (const level of [0, 0.5, 1]) nodes.push(s('path', { d: `M30 ${y(level)}H${w}`, stroke: 'var(--rule)' }), s('text', { x: 0, y: y(level) + 4, fill: 'var(--ink2)' }, level === 0.5 ? '.50' : String(level)));
    return { w, tall, x, y, nodes };
  }

  // IoU with the truth over the stages; without a truth, the score.
  function showChart(run, row, before, old, name, thing) {
    const followed = ap && row >= 0 && run.truth.reference[row] >= 0, byScore = !ap;
    setHidden(ui.life, byScore);
    setText(ui.lifeTitle, byScore ? 'Score' : 'IoU with the truth');
    const { w, tall, x, y, nodes } = chartFrame();
    const first = !byScore && state.life === 'box' ? 0 : 1;
    const value = (r, i, stage) => (byScore ? scoreAt(r, i, stage) : state.life === 'mask' ? maskIou(r, i, stage) : boxIou(r, i, stage));
    const stages = [...Array(last + 1 - first).keys()].map(i => i + first);
    const told = [];
    if (row < 0 || !(followed || byScore)) {
      nodes.push(s('text', { x: w / 2 + 14, y: y(0.25), 'text-anchor': 'middle', fill: 'var(--ink2)' }, row < 0 ? 'nothing was found here' : 'no true object to compare with'));
    } else {
      const line = (r, i) => stages.map((stage, n) => `${n ? 'L' : 'M'}${x(stage)} ${y(value(r, i, stage))}`).join('');
      const compare = old >= 0 && before !== run && (byScore || before.truth.reference[old] >= 0);
      if (compare) {
        nodes.push(s('path', { d: line(before, old), fill: 'none', stroke: 'var(--edge)', 'stroke-width': 1.6, 'stroke-dasharray': '4 3' }));
        for (const stage of stages) nodes.push(s('circle', { cx: x(stage), cy: y(value(before, old, stage)), r: 3, fill: 'var(--bg)', stroke: 'var(--edge)', 'stroke-width': 1.6 }));
      }
      nodes.push(s('path', { d: line(run, row), fill: 'none', stroke: 'var(--ink)', 'stroke-width': 2 }));
      for (const stage of stages) nodes.push(s('circle', { cx: x(stage), cy: y(value(run, row, stage)), r: stage === state.stage ? 5.5 : 4, fill: colourOf(thing), stroke: 'var(--ink)', 'stroke-width': 1.6 }));
      const mine = value(run, row, last), theirs = compare ? value(before, old, last) : mine, high = mine >= theirs;
      nodes.push(s('text', { x: w - 3, y: y(mine) + (high ? -10 : 19), 'text-anchor': 'end', fill: 'var(--ink)', 'font-weight': 650, class: 'end' }, two(mine)));
      if (compare && Math.abs(mine - theirs) >= 0.005) nodes.push(s('text', { x: w - 3, y: y(theirs) + (high ? 19 : -10), 'text-anchor': 'end', fill: 'var(--ink2)', class: 'end' }, `${name} ${two(theirs)}`));
      for (const stage of stages) told.push(`${ui.names[stage]} ${two(value(run, row, stage))}`);
    }
    setAttribute(ui.chart, 'viewBox', `0 0 ${w} ${tall}`);
    setAttribute(ui.chart, 'aria-label', `${byScore ? 'Score' : `${state.life === 'mask' ? 'Mask' : 'Box'} IoU`} by stage: ${told.join(', ') || 'none'}`);
    ui.chart.replaceChildren(...nodes);
  }

  // A true object that nothing stands for: where the RoI that came nearest was given up.
  function whyLost(run, place) {
    const { why, nearest, boxIou, scores, called, calledScore, by, things } = run.lost, many = things.length;
    const name = thingName(things[place]), final = two(boxIou[(last - 1) * many + place]), score = two(scores[(last - 1) * many + place]);
    const named = called[place] < 0 ? 'background' : className(called[place]);
    if (why[place] === NO_PROPOSAL) return `Lost before stage 1: no proposal lies on it. The nearest overlaps it by IoU ${two(nearest[place])}, and stages refine boxes, they find no new ones.`;
    if (why[place] === MOVED_AWAY) return `Lost in the stages: a proposal lay on it (IoU ${two(nearest[place])}), but no box after stage ${last - 1} does; the nearest has IoU ${final}.`;
    if (why[place] === LOW_SCORE) return `Lost to a low score: the RoI lies on it (box IoU ${final}) but scores ${score} as ${name}; it was taken for ${named} (${two(calledScore[place])}).`;
    if (why[place] === SUPPRESSED) return `Suppressed: the RoI scores ${score} as ${name}, but ${by[place] < 0 ? `a better-scored ${name}` : by[place] === things[place] ? 'another box' : `the better-scored ${thingName(by[place])} (object ${by[place] + 1})`} overlaps it too much, and of two such boxes only the better one stays (NMS).`;
    if (why[place] === CROWDED_OUT) return `Left out: it scores ${score} as ${name}, below the detections a picture may have at most.`;
    return `The box on it (IoU ${final}) stands for another object, or scores too low to be kept here (${score} as ${name}).`;
  }
  function showLostChart(run, place, thing) {
    const { boxIou, things } = run.lost, many = things.length;
    setHidden(ui.life, true);
    setText(ui.lifeTitle, 'Box IoU with the truth; no mask was made');
    const { w, tall, x, y, nodes } = chartFrame();
    const values = Array.from({ length: last }, (_, stage) => boxIou[stage * many + place]);
    nodes.push(s('path', { d: values.map((value, stage) => `${stage ? 'L' : 'M'}${x(stage)} ${y(value)}`).join(''), fill: 'none', stroke: 'var(--ink)', 'stroke-width': 2, 'stroke-dasharray': '2 3' }));
    values.forEach((value, stage) => nodes.push(s('circle', { cx: x(stage), cy: y(value), r: stage === state.stage ? 5.5 : 4, fill: colourOf(thing), stroke: 'var(--ink)', 'stroke-width': 1.6 })));
    nodes.push(s('text', { x: x(last - 1) + 9, y: y(values[last - 1]) + 4, fill: 'var(--ink)', 'font-weight': 650 }, two(values[last - 1])));
    setAttribute(ui.chart, 'viewBox', `0 0 ${w} ${tall}`);
    setAttribute(ui.chart, 'aria-label', `Box IoU of the nearest RoI by stage: ${values.map((value, stage) => `${ui.names[stage]} ${two(value)}`).join(', ')}`);
    ui.chart.replaceChildren(...nodes);
  }
  function showLostScores(run, place, thing) {
    const nodes = [h('div', { class: 'class top' }, thingName(thing))];
    for (let stage = 0; stage < last; stage++) nodes.push(scoreCell(run.lost.scores[stage * run.lost.things.length + place], true));
    ui.scores.replaceChildren(...nodes);
  }
  function scoreCell(score, top) {
    const bar = h('s', {});
    bar.style.width = `${100 * score}%`;
    return h('div', { class: `score${top ? ' top' : ''}` }, two(score), h('u', {}, bar));
  }

  function showScores(run, row) {
    if (row < 0) { ui.scores.replaceChildren(); return; }
    const nodes = [];
    for (let j = 0; j < run.top; j++) {
      const label = run.classes[row * run.top + j], mine = label === run.labels[row];
      nodes.push(h('div', { class: `class${mine ? ' top' : ''}` }, className(label)));
      for (let stage = 1; stage <= last; stage++) {
        nodes.push(scoreCell(run.classScores[stage - 1][row * run.top + j], mine));
      }
    }
    ui.scores.replaceChildren(...nodes);
  }

  // After the frame that shows the switches and the picture, and not while that is still being drawn: on two cores the
  // panel would keep it from the screen.
  function laterPanel() {
    if (panelFrame) return;
    panelFrame = requestAnimationFrame(() => {
      panelFrame = requestAnimationFrame(() => { panelTimer = setTimeout(showPanel); });
    });
  }
  function showPanel() {
    panelFrame = 0;
    showWords();
    showObjects();
    showSentence();
    showCounts();
    showWiring();
    showFigure();
    showBars();
    showLife();
    warmUp();
  }

  // ---- state -> screen ----

  // `glides`: boxes move to their new places. The picture and the switches are drawn now, the rest in the next frame.
  function update({ glides = false, shared = true } = {}) {
    if (answer(state.B) === null) state.B = pack.models[pack.base].bits;
    if (state.A !== null && answer(state.A) === null) state.A = null;
    if (state.A === null) side = 'B';
    aim(glides);
    paintUnder();
    paint();
    showControls();
    laterPanel();
    if (shared) host.changed(formatState(state));
  }
  function set(changes, glides = false) {
    Object.assign(state, changes);
    update({ glides });
  }
  const setBits = bits => { if (answer(bits) !== null) set(side === 'A' && state.A !== null ? { A: bits } : { B: bits }, true); };
  const flip = i => { if (isThere(ui.ideas[i].node)) setBits(flipped(currentBits(), i)); };
  const go = stage => set({ stage: clamp(stage, 0, last) }, true);
  const isThere = node => !node.closest('[hidden]') && !node.disabled;
  function toggleLayer(name) {
    const chip = ui.layers.find(each => each.dataset.layer === name);
    if (isThere(chip)) set({ show: has(name) ? state.show.filter(each => each !== name) : [...state.show, name] });
  }
  function walk(by) {
    const things = listed();
    if (things.length) set({ obj: things[(things.indexOf(state.obj) + by + things.length) % things.length] });
  }
  function threshold(value) {
    set({ thr: clamp(Math.round(value * 100) / 100, pack.floor, 0.95) }, true);
  }
  function stop() {
    clearInterval(playing);
    playing = 0;
    showPlay();
  }
  function play() {
    if (playing) { stop(); return; }
    go(0);
    playing = setInterval(() => {
      if (state.stage >= last) stop(); else go(state.stage + 1);
    }, PLAY_MS);
    showPlay();
  }
  function showPlay() {
    setAttribute(ui.play, 'aria-label', playing ? 'Pause' : 'Play the stages');
    ui.play.replaceChildren(playing ? icon(12, 12, 'M3.5 1.5v9M8.5 1.5v9', { 'stroke-width': 2.4 }) : icon(12, 12, 'M3 1l8 5-8 5z', { fill: 'currentColor' }));
  }

  function hideKnobs() {
    for (const node of root.querySelectorAll('[data-knob]')) node.hidden = node.dataset.knob.split(' ').some(hidden) || (node === ui.open && !host.openPicture);
    const switches = ui.ideas.filter(({ node }) => !node.hidden).length;
    ui.four.hidden = switches === 0;
    ui.four.style.setProperty('--switches', String(switches));
    // A preset that sets an idea whose switch is hidden would give it away.
    for (const button of ui.presets.lastChild.children) button.hidden = IDEAS.some((_, i) => button.dataset.value[i] === '1' && ui.ideas[i].node.hidden);
    if (!ap) ui.ref.parentNode.classList.add('alone');
    if (pack.models.length === 1) {
      ui.off.lastChild.children[0].disabled = true;
      ui.off.lastChild.children[0].title = 'There is one model here: compare with others by giving them too';
      state.off = 's';
    }
  }

  // ---- sharing ----

  function say(words, more = '') {
    ui.said.replaceChildren(words, ...(more ? [h('pre', { tabindex: '0' }, more)] : []));
    ui.said.classList.add('on');
    clearTimeout(said);
    said = more ? 0 : setTimeout(() => ui.said.classList.remove('on'), 8000);
  }
  async function copy(text, done, failed) {
    try {
      await navigator.clipboard.writeText(text);
      say(done, text);
    } catch {
      say(failed, text);
    }
  }
  function download(blob, name) {
    const link = h('a', { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  const fileName = ending => `${pack.title.replace(/\.[a-z0-9]+$/i, '').replace(/[^\w-]+/g, '_') || 'picture'}.${ending}`;

  function pythonCode() {
    const toggles = bits => {
      const rung = { '0000': 'PLAIN_CASCADE', 1000: 'INTERLEAVED', 1100: 'MASK_FLOW', 1111: 'HTC' }[bits];
      if (rung) return `htc_lab.${rung}`;
      const [i, f, b, m] = [...bits].map(bit => (bit === '1' ? 'True' : 'False'));
      return `htc_lab.Toggles(interleaved=${i}, mask_flow=${f}, semantic_box=${b}, semantic_mask=${m})`;
    };
    const stage = state.stage === 0 ? '"proposals"' : state.stage === last ? '"mean"' : state.stage;
    const shown = LAYERS.map(([name]) => name).filter(has).map(name => `"${name}"`);
    return ['import htc_lab', '', 'htc_lab.explore(', `    ${pack.code.image ?? 'image'},`, ...(pack.code.models === '' ? [] : [`    models=${pack.code.models ?? 'models'},`]), `    toggles=${toggles(state.B)},`,
      ...(state.A === null ? [] : [`    compare=${toggles(state.A)},`, `    split=${two(state.split)},`]),
      `    off_means="${MEANS[state.off]}",`, `    stage=${stage},`, `    threshold=${two(state.thr)},`, `    selected=${state.obj},`,
      `    show=(${shown.join(', ')}${shown.length === 1 ? ',' : ''}),`,
      ...(state.ref === 'prev' ? ['    against="prev",'] : []), ...(state.life === 'box' ? ['    curve="box",'] : []),
      ...(hide.length ? [`    hide=(${hide.map(name => `"${name}",`).join(' ')}),`] : []), ')'].join('\n');
  }

  // The picture as it stands, at twice its size on screen or its own, whichever is larger.
  function savePicture() {
    const scale = Math.max(2 * cssWidth / W, 1);
    const canvas = document.createElement('canvas');
    canvas.width = Math.round(W * scale);
    canvas.height = Math.round(H * scale);
    const context = canvas.getContext('2d'), unit = W / cssWidth;
    paintPhoto(context, scale);
    if (has('semantic')) paintMaps(context, scale);
    context.setTransform(scale, 0, 0, scale, 0, 0);
    paintMarks(context, unit);
    canvas.toBlob(blob => {
      download(blob, fileName('png'));
      say(`Saved ${fileName('png')}, ${canvas.width} × ${canvas.height} px.`);
    }, 'image/png');
  }

  async function exportHTML() {
    say('Writing one HTML file…');
    try {
      const blob = await host.exportHTML(formatState(state));
      download(blob, fileName('html'));
      say(`Saved ${fileName('html')}, ${(blob.size / 1024 / 1024).toFixed(1)} MiB: opens from disk, without a kernel and without a network.`);
    } catch (error) {
      say(`Not exported: ${error.message}`);
    }
  }

  async function takeFile(file) {
    if (!file || !host.openPicture) return;
    showBusy(`Reading ${file.name}…`);
    host.openPicture(file.name, await file.arrayBuffer());
  }
  function showBusy(text, failed = false) {
    ui.busy.hidden = text === '';
    ui.busy.classList.toggle('failed', failed);
    ui.busy.replaceChildren(text, ...(failed ? [h('button', { type: 'button', class: 'btn line', 'data-do': 'dismiss' }, 'Back to the picture')] : []));
  }

  const DO = {
    open: () => ui.file.click(),
    help: () => ui.dialog.showModal(),
    swap: () => state.A !== null && set({ A: state.B, B: state.A, split: 1 - state.split }, true),
    compare: () => isThere(ui.compare) && set({ A: state.A === null ? PLAIN : null }),
    play,
    previous: () => walk(-1),
    next: () => walk(1),
    python: () => copy(pythonCode(), 'Copied. Pasted in a cell, this gives the same picture:', 'This place forbids copying; here it is to select:'),
    share: () => copy(formatState(state), 'Copied. Give it to the class; it goes into state="…" or, in an exported page, after # in its address:', 'This place forbids copying; here it is to select:'),
    png: savePicture,
    export: exportHTML,
    dismiss: () => showBusy(''),
  };
  const SETS = {
    side: value => { side = value; update(); },
    preset: setBits,
    off: value => pack.models.length > 1 && set({ off: value }, true),
    ref: value => set({ ref: value }),
    life: value => set({ life: value }),
  };

  // ---- input ----

  function onClick(event) {
    const node = event.target.closest('button');
    if (!node || !root.contains(node) || node.disabled) return;
    const { idea, stage, layer, thing, set: name, value, do: what } = node.dataset;
    if (idea !== undefined) flip(Number(idea));
    else if (stage !== undefined) { stop(); go(Number(stage)); }
    else if (layer) toggleLayer(layer);
    else if (thing !== undefined) set({ obj: Number(thing) });
    else if (name) SETS[name](value);
    else if (what) DO[what]();
  }

  const SHORTCUTS = {
    i: () => flip(0), f: () => flip(1), b: () => flip(2), m: () => flip(3),
    p: () => isThere(ui.presets) && setBits('0000'), h: () => isThere(ui.presets) && isThere(ui.presets.lastChild.lastChild) && setBits('1111'),
    ArrowLeft: () => { stop(); go(state.stage - 1); }, ArrowRight: () => { stop(); go(state.stage + 1); },
    '[': () => walk(-1), ']': () => walk(1), c: DO.compare, x: DO.swap, '?': DO.help,
    t: () => toggleLayer('truth'), s: () => toggleLayer('semantic'), d: () => toggleLayer('difference'),
    ',': () => !hidden('threshold') && threshold(state.thr - 0.05), '.': () => !hidden('threshold') && threshold(state.thr + 0.05),
  };

  function onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || ui.dialog.open) return;
    const { target, key } = event;
    const group = target.closest?.('[role=radiogroup]');
    let act = null;
    if (group && key.startsWith('Arrow')) act = () => moveInGroup(group, target, key === 'ArrowRight' || key === 'ArrowDown' ? 1 : -1);
    else if (target === ui.divider) act = dividerKey(key);
    else if (target.type === 'range' && /^(Arrow|Home|End|Page)/.test(key)) return;
    else if (target.tagName === 'PRE') return;
    if (!act && /^[0-9]$/.test(key) && Number(key) <= last) act = () => { stop(); go(Number(key)); };
    act ??= SHORTCUTS[key.length === 1 ? key.toLowerCase() : key];
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
    const again = [...group.children].find(button => button.dataset.thing === thing && button.dataset.value === value);
    (again ?? to).focus();
  }
  function dividerKey(key) {
    const by = { ArrowLeft: -0.02, ArrowRight: 0.02, PageUp: 0.1, PageDown: -0.1 }[key];
    if (by) return () => split(state.split + by);
    return { Home: () => split(0.02), End: () => split(0.98) }[key] ?? null;
  }
  const split = share => set({ split: clamp(share, 0.02, 0.98) });

  function pictureAt(event) {
    const place = ui.marks.getBoundingClientRect();
    return [(event.clientX - place.left) / place.width * W, (event.clientY - place.top) / place.height * H];
  }
  // The topmost shown object there: the smallest mask that holds the point, else the smallest box.
  function thingAt([x, y]) {
    const name = state.A !== null && x < state.split * W ? 'A' : 'B';
    const items = itemsOf(name, runOf(state[name])).reverse();
    const context = ui.marks.getContext('2d');
    context.setTransform(1, 0, 0, 1, 0, 0);
    const inMask = state.stage ? items.find(({ run, row }) => context.isPointInPath(pathOf(run, state.stage, row), x, y, 'evenodd')) : undefined;
    const inBox = items.find(({ target: [x1, y1, x2, y2] }) => x >= x1 && x <= x2 && y >= y1 && y <= y2);
    return (inMask ?? inBox)?.thing ?? -1;
  }
  function onHover(event) {
    const thing = event.type === 'pointerleave' ? -1 : thingAt(pictureAt(event));
    if (thing === hovered) return;
    hovered = thing;
    ui.marks.style.cursor = thing < 0 ? '' : 'pointer';
    if (!frame) paint();
    warmUp();
  }

  function listen() {
    const on = (node, type, act, options = {}) => node.addEventListener(type, act, { signal: ended.signal, ...options });
    on(root, 'click', onClick);
    on(root, 'keydown', onKey);
    on(ui.scrubber, 'input', () => { stop(); go(Number(ui.scrubber.value)); });
    on(ui.threshold, 'input', () => threshold(Number(ui.threshold.value)));
    on(ui.marks, 'pointermove', onHover);
    on(ui.marks, 'pointerleave', onHover);
    on(ui.marks, 'click', event => {
      const thing = thingAt(pictureAt(event));
      if (thing >= 0) set({ obj: thing });
    });
    on(ui.divider, 'pointerdown', event => {
      ui.divider.setPointerCapture(event.pointerId);
      ui.divider.focus();
      event.preventDefault();
    });
    on(ui.divider, 'pointermove', event => { if (ui.divider.hasPointerCapture(event.pointerId)) split(pictureAt(event)[0] / W); });
    ui.ideas.forEach(({ node }, i) => {
      on(node, 'pointerenter', () => { hotIdea = i; showWiring(); });
      on(node, 'pointerleave', () => { hotIdea = -1; showWiring(); });
    });
    on(window, 'resize', fit);
    on(ui.file, 'change', () => takeFile(ui.file.files[0]));
    on(ui.picture, 'dragover', event => { if (host.openPicture && !hidden('open')) { event.preventDefault(); ui.picture.classList.add('over'); } });
    on(ui.picture, 'dragleave', () => ui.picture.classList.remove('over'));
    on(ui.picture, 'drop', event => {
      ui.picture.classList.remove('over');
      if (!host.openPicture || hidden('open')) return;
      event.preventDefault();
      takeFile(event.dataTransfer.files[0]);
    });
    const themed = watchTheme(root, ended.signal, restyle);
    const resized = new ResizeObserver(fit);
    // A notebook takes its new height some time after the window has.
    for (const node of [root, ui.picture, notebookOf(root)]) if (node) resized.observe(node);
    // Not by `on`: a listener that hangs on a signal is gone before the signal's own event.
    ended.signal.addEventListener('abort', () => { themed(); resized.disconnect(); });
  }

  function restyle() {
    dark = root.dataset.dark === 'true';
    wired = '';
    laterPanel();
  }

  // The height left for the picture where everything from the head to the scrubber is to be on screen at once. Only a
  // resize changes it: the picture must not change its size with a toggle.
  function makeRoom() {
    const seen = heightSeen(root), key = [root.clientWidth, seen, hide.join()].join('|');
    if (key === measured || !root.clientWidth) return;
    measured = key;
    widths.wiring = ui.wiring.clientWidth;
    showWiring();
    const around = ui.scrub.getBoundingClientRect().bottom - root.getBoundingClientRect().top - ui.picture.clientHeight + spare;
    // In a narrow cell the switches stand above the picture, and no height is left: it takes the width instead.
    const least = root.clientWidth < NARROW ? 0.7 * seen : LEAST_ROOM;
    root.style.setProperty('--room', `${Math.floor(Math.max(least, seen - around - 4))}px`);
  }

  // Canvases have as many pixels as the screen gives them.
  function fit() {
    const spacious = root.clientWidth >= 1480 && !lowScreen.matches, relaid = spacious !== wide;
    wide = spacious;
    makeRoom();
    const width = ui.picture.clientWidth;
    if (!width) return;
    Object.assign(widths, { wiring: ui.wiring.clientWidth, panel: ui.chart.clientWidth || widths.panel, chart: ui.chart.clientHeight || widths.chart, bars: ui.bars.clientHeight || widths.bars, tile: ui.crops[0].clientWidth || widths.tile });
    const now = Math.min(devicePixelRatio || 1, 2);
    const pixels = Math.round(width * now);
    if (pixels === ui.marks.width && !relaid) { laterPanel(); return; }
    Object.assign(ui.marks, { width: pixels, height: Math.round(pixels * H / W) });
    [cssWidth, ratio, under] = [width, now, ''];
    paths.clear();
    for (const key of [...layers.keys()]) forgetLayer(key);
    update({ shared: false });
  }

  // ---- begin ----

  ui.font = getComputedStyle(root).fontFamily || 'sans-serif';
  ui.sub.textContent = `${pack.title}, ${ap ? plural(pack.truth.labels.length, 'labelled object') : `${W} × ${H} px`}`;
  ui.photo.setAttribute('aria-label', `The picture ${pack.title}; its objects are listed under Object`);
  ui.threshold.min = String(pack.floor);
  ui.picture.style.aspectRatio = `${W} / ${H}`;
  ui.picture.style.setProperty('--ratio', String(W / H));
  ui.exportButton.hidden = !host.exportHTML;
  hideKnobs();
  showPlay();
  listen();
  fit();
  showWords();
  // Again, now that the controls hold what they say.
  measured = '';
  fit();

  return {
    get state() { return formatState(state); },
    setState(text) {
      if (text === formatState(state)) return;
      state = parseState(text, last);
      hideKnobs();
      update({ glides: true, shared: false });
    },
    setHidden(names) {
      hide = names;
      hideKnobs();
      update({ shared: false });
    },
    busy: showBusy,
    pixels: (run, stage, row) => pixelsOf(pack.runs[run], stage, row),
    python: pythonCode,
    pack,
    end() {
      ended.abort();
      clearInterval(playing);
      cancelAnimationFrame(frame);
      cancelAnimationFrame(panelFrame);
      clearTimeout(panelTimer);
      (window.cancelIdleCallback ?? clearTimeout)(idle);
      for (const key of [...layers.keys()]) forgetLayer(key);
      root.replaceChildren();
    },
  };
}
