// The training dashboard: what run folders say of trainings, as the kernel reads them every second.
//
// The kernel sends a report (htc_lab/board/report.py); what a person chose to look at stays here.

const APS = [['mask', 'mask AP'], ['box', 'box AP']];
const LOSSES = { loss: 'all', boxes: 'boxes', masks: 'masks', proposals: 'proposals', semantic: 'semantic' };
const STATES = { running: 'training', finished: 'done', stopped: 'stopped', failed: 'failed', waiting: 'not begun' };
// Darker than the objects' colours where those would be lost on white paper, and told apart by dashes as well.
const RUN_COLOURS = ['#2b7bc4', '#d55e00', '#00855f', '#a8508a', '#8a6d00', '#56b4e9', '#5c6670', '#b03a4a'];
const RUN_COLOURS_DARK = ['#6fb6ee', '#ff9a57', '#3fc79c', '#dd9cc4', '#f0e442', '#a9d6f5', '#aab4bd', '#f08a98'];
const DASHES = ['', '7 4', '2 3', '9 3 2 3', '12 3', '4 2', '1 2'];
const MOST_NAMES = 10;
const NAME_ROOM = 15;

const lasting = seconds => (seconds < 90 ? `${Math.round(seconds)} s` : seconds < 5400 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);
const points = x => (x === null || x === undefined ? '–' : x.toFixed(1));
const mean = values => values.reduce((a, b) => a + b, 0) / values.length;
const short = x => (x >= 1000 ? `${+(x / 1000).toFixed(1)}k` : String(+x.toPrecision(3)));

// Round numbers from 0, about so many of them, that reach `top`.
function ticksTo(top, about) {
  const rough = top / about, size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find(factor => factor * size >= rough) * size;
  return Array.from({ length: Math.ceil(top / step - 1e-9) + 1 }, (_, i) => i * step);
}

// Each value with a share of those before it: what the eye would draw through a jagged line.
function smoothed(values) {
  const weight = Math.min(0.9, Math.max(0, 1 - 12 / values.length));
  let kept = values[0];
  return values.map(value => (kept = weight * kept + (1 - weight) * value));
}

export function createBoard(root, host) {
  let report = { places: [], runs: [], curves: [] }, newest = {};
  const view = { loss: 'loss', ap: 'mask', run: '', sample: null };
  const ended = new AbortController();
  let width = 0, wanted = '', shownUrl = '', asked = new Map();
  const ui = build();

  function build() {
    const parts = {};
    parts.sub = h('span', { class: 'sub' });
    parts.places = h('div', { class: 'places' });
    parts.said = h('p', { class: 'said', role: 'status' });
    parts.table = h('div', { class: 'runs', role: 'radiogroup', 'aria-label': 'Run whose pictures are shown' });
    parts.loss = segments(null, 'Losses of', 'loss', Object.entries(LOSSES));
    parts.ap = segments(null, 'AP of', 'ap', APS.map(([name, text]) => [name, text]));
    parts.losses = s('svg', { class: 'plot', role: 'img' });
    parts.aps = s('svg', { class: 'plot', role: 'img' });
    parts.stages = s('svg', { class: 'plot low', role: 'img' });
    parts.lossNote = h('p', { class: 'small' });
    parts.apNote = h('p', { class: 'small' });
    parts.stageNote = h('p', { class: 'small' });
    parts.picture = h('img', { class: 'sample', alt: '' });
    parts.sampleName = h('span', { class: 'small' });
    parts.slider = h('input', { type: 'range', min: '0', step: '1', 'aria-label': 'Step of the sample pictures' });
    parts.none = h('p', { class: 'small' }, 'No sample pictures: train with --eval-every N to have some.');
    const panel = (title, extra, ...rest) => h('section', { class: 'panel', 'aria-label': title }, h('div', { class: 'line' }, h('h3', {}, title), h('span', { class: 'grow' }), extra), ...rest);
    root.replaceChildren(
      h('header', { class: 'head' }, h('h2', {}, 'Training Dashboard'), parts.sub), parts.places, parts.said, parts.table,
      h('div', { class: 'plots' }, panel('Loss', parts.loss, parts.losses, parts.lossNote), parts.apPanel = panel('AP on the way', parts.ap, parts.aps, parts.apNote),
        panel('Mask AP by stage', null, parts.stages, parts.stageNote),
        parts.samples = panel('What it finds', parts.sampleName, parts.picture, parts.slider, parts.none)));
    return parts;
  }

  // Seeds of one rung (htc_seed0, htc_seed1) share a colour and differ in their dashes; else each run has its own of both.
  const rungOf = run => run.name.replace(/_seed\d+$/, '');
  const rungs = () => [...new Set(report.runs.map(rungOf))];
  const seedsOf = rung => report.runs.filter(run => rungOf(run) === rung);
  const colours = () => (root.dataset.dark === 'true' ? RUN_COLOURS_DARK : RUN_COLOURS);
  const colourOf = i => colours()[rungs().indexOf(rungOf(report.runs[i])) % RUN_COLOURS.length];
  const dashOf = i => {
    const rung = rungOf(report.runs[i]);
    return DASHES[(rungs().length < report.runs.length ? seedsOf(rung).indexOf(report.runs[i]) : i) % DASHES.length];
  };
  // Text in a run's colour: dark enough to be read on paper, light enough on black.
  const inkOf = i => `color-mix(in srgb, ${colourOf(i)} 62%, var(--ink))`;
  const chosen = () => report.runs.find(run => run.name === view.run);

  // ---- who trains, and the buttons ----

  function showPlaces() {
    const rows = report.places.map((place, i) => {
      const row = ui.places.children[i] ?? h('div', { class: 'place' }, h('b', {}), h('span', { class: 'state' }), h('span', { class: 'words' }), h('span', { class: 'grow' }),
        h('button', { type: 'button', class: 'btn line', 'data-act': 'stop' }, icon(10, 10, 'M1 1h8v8H1z', { fill: 'currentColor' }), 'Stop'),
        h('button', { type: 'button', class: 'btn line', 'data-act': 'start' }, icon(10, 10, 'M2 .5 9 5 2 9.5z', { fill: 'currentColor' }), h('span', {})));
      const [name, state, words, , stop, start] = row.children;
      setText(name, place.name);
      setText(state, STATES[place.state]);
      setAttribute(state, 'data-state', place.state);
      setText(words, place.words);
      setAttribute(words, 'title', place.command ?? '');
      stop.hidden = !place.stoppable;
      stop.disabled = wanted === `stop ${i}`;
      stop.dataset.place = start.dataset.place = String(i);
      setAttribute(stop, 'aria-label', `Stop the training of ${place.name}`);
      start.hidden = place.state === 'running' || place.state === 'finished';
      start.disabled = !place.startable || wanted === `start ${i}`;
      setText(start.lastChild, place.begun ? 'Resume' : 'Start');
      setAttribute(start, 'aria-label', `${place.begun ? 'Resume' : 'Start'} the training of ${place.name}`);
      start.title = place.startable ? place.command : 'How it was started is not known here: give dashboard(…, command="train --data …")';
      return row;
    });
    ui.places.replaceChildren(...rows);
  }

  // ---- the runs ----

  function showRuns() {
    const rows = report.runs.map((run, i) => {
      const old = ui.table.children[i];
      const row = old?.dataset.run === run.name ? old : h('button', { type: 'button', class: 'run', role: 'radio', 'data-run': run.name },
        s('svg', { class: 'key', width: 30, height: 10, 'aria-hidden': 'true' }, s('path', { d: 'M1 5H29', 'stroke-width': 2.6, fill: 'none' })),
        h('b', {}), h('span', { class: 'bar' }, h('i', {})), h('span', { class: 'step' }), h('span', {}), h('span', {}));
      const [key, name, bar, step, loss, ap] = row.children;
      setAttribute(key.firstChild, 'stroke', colourOf(i));
      setAttribute(key.firstChild, 'stroke-dasharray', dashOf(i));
      setText(name, run.name);
      const share = run.steps ? Math.min(1, run.step / run.steps) : 0;
      bar.firstChild.style.width = `${100 * share}%`;
      bar.firstChild.style.background = colourOf(i);
      setText(step, `step ${run.step}${run.steps ? ` of ${run.steps}` : ''}${run.seconds_left !== null ? `, ${lasting(run.seconds_left)} left` : ''}`);
      const last = run.curves[1]?.at(-1), measured = run.evaluations.at(-1);
      setText(loss, last === undefined ? '' : `loss ${two(last)}`);
      setText(ap, measured ? `mask AP ${points(measured.mask)}` : '');
      setAttribute(row, 'aria-checked', run.name === view.run);
      row.tabIndex = run.name === view.run ? 0 : -1;
      setAttribute(row, 'aria-label', `${run.name}, ${STATES[run.state]}, ${step.textContent}, ${loss.textContent}, ${ap.textContent}`);
      return row;
    });
    if (rows.length !== ui.table.children.length || rows.some((row, i) => row !== ui.table.children[i])) ui.table.replaceChildren(...rows);
  }

  // ---- plots ----

  // Axes for steps across and values up; gives the places of both.
  function axes(svg, nodes, most, top, tall) {
    const w = svg.clientWidth || 400, left = 34, right = w - 44, low = tall - 22, high = 12;
    const across = ticksTo(Math.max(most, 1), Math.max(3, Math.min(8, (right - left) / 90))), up = ticksTo(top, 4);
    const x = step => left + (right - left) * step / Math.max(most, 1), y = value => low - (low - high) * value / up.at(-1);
    for (const value of up) nodes.push(s('path', { d: `M${left} ${y(value)}H${right}`, stroke: 'var(--rule)' }), s('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end', fill: 'var(--ink2)' }, short(value)));
    for (const step of across) if (step <= most) nodes.push(s('text', { x: x(step), y: tall - 4, 'text-anchor': 'middle', fill: 'var(--ink2)' }, short(step)));
    setAttribute(svg, 'viewBox', `0 0 ${w} ${tall}`);
    return { x, y, right, low };
  }
  const line = (xs, ys, place) => xs.map((step, i) => (ys[i] === null ? '' : `${i && ys[i - 1] !== null ? 'L' : 'M'}${place.x(step).toFixed(1)} ${place.y(ys[i]).toFixed(1)}`)).join('');
  // Names at the lines' ends. Those that would touch move apart around the middle of their places.
  function names(nodes, all, tall) {
    const ends = all.length > MOST_NAMES ? all.filter(({ i }) => report.runs[i].name === view.run) : all;
    ends.sort((a, b) => a.y - b.y);
    // With the room of those above it taken off, no name may stand above the one before: where one does, both take their mean.
    const groups = [];
    ends.forEach(({ y }, i) => {
      let group = { sum: y - NAME_ROOM * i, many: 1 };
      while (groups.length && groups.at(-1).sum / groups.at(-1).many > group.sum / group.many) {
        const above = groups.pop();
        group = { sum: above.sum + group.sum, many: above.many + group.many };
      }
      groups.push(group);
    });
    const places = groups.flatMap(({ sum, many }) => Array(many).fill(sum / many)).map((y, i) => y + NAME_ROOM * i);
    const over = Math.max(0, (places.at(-1) ?? 0) - (tall - 26));
    ends.forEach((end, i) => nodes.push(s('text', { x: end.x + 9, y: places[i] - over + 4, fill: inkOf(end.i), 'font-weight': 600, class: 'end' }, end.text)));
  }
  const mostSteps = () => Math.max(1, ...report.runs.map(run => run.steps ?? run.step));

  function showLosses() {
    const tall = 210, nodes = [], which = 1 + Math.max(0, report.curves.indexOf(view.loss));
    const drawn = report.runs.map((run, i) => ({ i, xs: run.curves[0] ?? [], ys: run.curves[which] ?? [] })).filter(each => each.xs.length && each.ys.some(y => y > 0));
    // The first steps stand so high that the rest would lie flat below them.
    const calm = drawn.map(({ ys }) => Math.max(...smoothed(ys).slice(Math.floor(ys.length / 12))));
    const place = axes(ui.losses, nodes, mostSteps(), Math.max(0.01, ...calm) * 1.15, tall);
    const told = [], ends = [];
    for (const { i, xs, ys } of drawn) {
      const capped = ys.map(y => Math.min(y, Math.max(...calm) * 1.3)), smooth = smoothed(capped);
      if (ys.length > 12) nodes.push(s('path', { d: line(xs, capped, place), fill: 'none', stroke: colourOf(i), 'stroke-width': 1, opacity: 0.28 }));
      nodes.push(s('path', { d: line(xs, smooth, place), fill: 'none', stroke: colourOf(i), 'stroke-width': 2, 'stroke-dasharray': dashOf(i) }));
      ends.push({ x: place.x(xs.at(-1)), y: place.y(smooth.at(-1)), i, text: two(smooth.at(-1)) });
      told.push(`${report.runs[i].name} ${two(smooth.at(-1))} at step ${xs.at(-1)}`);
    }
    names(nodes, ends, tall);
    setText(ui.lossNote, drawn.length ? 'Thick: smoothed over the steps; thin: each step. The list above has the last step’s.' : '');
    if (!drawn.length) nodes.push(s('text', { x: '50%', y: tall / 2, 'text-anchor': 'middle', fill: 'var(--ink2)' }, 'no steps yet'));
    setAttribute(ui.losses, 'aria-label', `Loss (${LOSSES[view.loss]}) over the steps: ${told.join('; ') || 'no steps yet'}`);
    ui.losses.replaceChildren(...nodes);
  }

  function showAps() {
    const nodes = [], told = [], ends = [];
    const drawn = report.runs.map((run, i) => ({ i, found: run.evaluations.filter(each => each[view.ap] !== null) })).filter(({ found }) => found.length);
    const measured = drawn.some(({ found }) => found.some(each => !each.final)), only = drawn.length > 0 && !measured;
    const title = only ? 'AP after the training' : 'AP on the way';
    setText(ui.apPanel.firstChild.firstChild, title);
    setAttribute(ui.apPanel, 'aria-label', title);
    const bars = new Set(drawn.map(({ i }) => rungOf(report.runs[i]))).size;
    const tall = only ? 12 + bars * (bars > 5 ? 26 : 36) : 210;
    ui.aps.style.height = `${tall}px`;
    if (only) { showFinalAps(drawn, tall); return; }
    const best = Math.max(1, ...drawn.flatMap(({ found }) => found.map(each => each[view.ap])));
    const place = axes(ui.aps, nodes, mostSteps(), best * 1.08, tall);
    for (const { i, found } of drawn) {
      const way = found.filter(each => !each.final);
      nodes.push(s('path', { d: line(way.map(each => each.step), way.map(each => each[view.ap]), place), fill: 'none', stroke: colourOf(i), 'stroke-width': 2, 'stroke-dasharray': dashOf(i) }));
      for (const each of found) {
        const [x, y] = [place.x(each.step), place.y(each[view.ap])];
        nodes.push(each.final ? s('path', { d: `M${x} ${y - 6}l6 6-6 6-6-6z`, fill: colourOf(i), stroke: 'var(--bg)', 'stroke-width': 1.5 }) : s('circle', { cx: x, cy: y, r: 3.4, fill: 'var(--bg)', stroke: colourOf(i), 'stroke-width': 2 }));
      }
      const last = found.at(-1);
      ends.push({ x: place.x(last.step), y: place.y(last[view.ap]), i, text: points(last[view.ap]) });
      told.push(`${report.runs[i].name} ${found.map(each => `${points(each[view.ap])} at step ${each.step}`).join(', ')}`);
    }
    names(nodes, ends, tall);
    if (!drawn.length) nodes.push(s('text', { x: '50%', y: tall / 2, 'text-anchor': 'middle', fill: 'var(--ink2)' }, 'not measured yet'));
    const way = drawn.flatMap(({ found }) => found.filter(each => !each.final)), ends2 = drawn.flatMap(({ found }) => found.filter(each => each.final));
    setText(ui.apNote, [way.length ? `○ on ${plural(way[0].images, 'val picture')}: so few move by chance` : '', ends2.length ? `◆ after the training, on ${plural(ends2[0].images, 'test picture')}` : '',
      drawn.length ? '' : 'Train with --eval-every N to measure on the way.'].filter(Boolean).join(' · '));
    setAttribute(ui.aps, 'aria-label', `${view.ap === 'mask' ? 'Mask' : 'Box'} AP over the steps: ${told.join('; ') || 'not measured yet'}`);
    ui.aps.replaceChildren(...nodes);
  }

  // Nothing was measured on the way: a bar for each rung, the mean over its seeds, and a mark for each of several seeds.
  function showFinalAps(drawn, tall) {
    const w = ui.aps.clientWidth || 400, nodes = [], told = [];
    const bars = rungs().map(rung => ({ rung, found: drawn.filter(({ i }) => rungOf(report.runs[i]) === rung) })).filter(({ found }) => found.length);
    const values = found => found.map(({ found: all }) => all.at(-1)[view.ap]);
    const top = Math.max(1, ...bars.flatMap(({ found }) => values(found)));
    const left = Math.min(0.45 * w, 14 + 7 * Math.max(...bars.map(({ rung }) => rung.length))), row = Math.min(36, (tall - 12) / bars.length), x = value => left + (w - left - 44) * value / top;
    bars.forEach(({ rung, found }, k) => {
      const y = 6 + row * (k + 0.5), each = values(found), value = mean(each), { i } = found[0];
      nodes.push(s('text', { x: left - 10, y: y + 4, 'text-anchor': 'end', fill: 'var(--ink)' }, rung),
        s('rect', { x: left, y: y - row * 0.3, width: x(value) - left, height: row * 0.6, fill: colourOf(i) }),
        s('text', { x: Math.max(x(value), ...each.map(x)) + 8, y: y + 4, fill: inkOf(i), class: 'end' }, points(value)));
      if (each.length > 1) for (const one of each) nodes.push(s('circle', { cx: x(one), cy: y, r: 3.4, fill: 'var(--bg)', stroke: 'var(--ink)', 'stroke-width': 1.5 }));
      told.push(`${rung} ${each.map(points).join(', ')}`);
    });
    const several = bars.some(({ found }) => found.length > 1);
    setText(ui.apNote, `After the training, on ${plural(drawn[0].found.at(-1).images, 'test picture')}${several ? '; mean of the seeds, ○ each seed' : ''}. Curves on the way need --eval-every N.`);
    setAttribute(ui.aps, 'viewBox', `0 0 ${w} ${tall}`);
    setAttribute(ui.aps, 'aria-label', `${view.ap === 'mask' ? 'Mask' : 'Box'} AP after the training: ${told.join('; ')}`);
    ui.aps.replaceChildren(...nodes);
  }

  // The last evaluation of each run, stage beside stage; of several seeds their mean.
  function showStages() {
    const tall = 170, nodes = [], told = [], w = ui.stages.clientWidth || 400;
    const drawn = rungs().map(rung => {
      const found = seedsOf(rung).map(run => run.evaluations.findLast(each => each.stages.length > 0)).filter(Boolean);
      const stages = (found[0]?.stages ?? []).map((_, stage) => found.map(each => each.stages[stage]).filter(ap => ap !== null && ap !== undefined));
      return { rung, i: report.runs.indexOf(seedsOf(rung)[0]), steps: found.map(each => each.step), seeds: found.length, stages: stages.map(aps => (aps.length ? mean(aps) : null)) };
    }).filter(({ seeds }) => seeds);
    const columns = Math.max(0, ...drawn.map(({ stages }) => stages.length));
    if (!columns) nodes.push(s('text', { x: '50%', y: tall / 2, 'text-anchor': 'middle', fill: 'var(--ink2)' }, 'not measured yet'));
    const top = Math.max(1, ...drawn.flatMap(({ stages }) => stages)) * 1.12;
    const lane = (w - 8) / Math.max(columns, 1), thick = Math.min(40, (lane - 18) / Math.max(drawn.length, 1) - 3), y = value => tall - 24 - (tall - 42) * value / top;
    if (columns) nodes.push(s('path', { d: `M4 ${tall - 23.5}H${w - 4}`, stroke: 'var(--rule)' }));
    for (let stage = 0; stage < columns; stage++) {
      const middle = 4 + lane * (stage + 0.5), name = stage === columns - 1 ? 'Mean' : `Stage ${stage + 1}`;
      nodes.push(s('text', { x: middle, y: tall - 6, 'text-anchor': 'middle', fill: 'var(--ink)' }, name));
      drawn.forEach(({ rung, i, stages }, place) => {
        const value = stages[stage];
        if (value === null || value === undefined) return;
        const x = middle + (place - drawn.length / 2) * (thick + 3) + 1.5;
        nodes.push(s('rect', { x, y: y(value), width: thick, height: tall - 24 - y(value), fill: colourOf(i), opacity: stage === columns - 1 ? 1 : 0.62 }));
        if (thick > 25) nodes.push(s('text', { x: x + thick / 2, y: y(value) - 4, 'text-anchor': 'middle', fill: 'var(--ink)' }, value.toFixed(1)));
        told.push(`${rung}, ${name}: ${points(value)}`);
      });
    }
    const after = [...new Set(drawn.flatMap(({ steps }) => steps))].map(step => `step ${step}`).join(', ');
    const seeds = Math.max(0, ...drawn.map(each => each.seeds));
    setText(ui.stageNote, drawn.length ? `Masks of each stage alone on the final boxes, and their mean; ${after}${seeds > 1 ? '; of several seeds, their mean' : ''}.` : '');
    setAttribute(ui.stages, 'viewBox', `0 0 ${w} ${tall}`);
    setAttribute(ui.stages, 'aria-label', `Mask AP by stage: ${told.join('; ') || 'not measured yet'}`);
    ui.stages.replaceChildren(...nodes);
  }

  // ---- sample pictures: the newest of the chosen run, or the one the slider stands at ----

  function showSample() {
    const run = chosen(), steps = run?.samples ?? [];
    ui.samples.hidden = !run;
    ui.none.hidden = steps.length > 0;
    ui.picture.hidden = ui.slider.hidden = ui.sampleName.hidden = steps.length === 0;
    if (!steps.length) return;
    const step = view.sample !== null && steps.includes(view.sample) ? view.sample : steps.at(-1);
    setAttribute(ui.slider, 'max', steps.length - 1);
    ui.slider.value = String(steps.indexOf(step));
    ui.slider.hidden = steps.length < 2;
    setAttribute(ui.slider, 'aria-valuetext', `step ${step}`);
    setText(ui.sampleName, `${run.name}, step ${step}${step === steps.at(-1) ? ', the newest' : ''}`);
    const key = `${run.name} ${step}`;
    if (newest[run.name]?.step === step) showPng(key, newest[run.name].png);
    else if (asked.get(key)) showPng(key, asked.get(key));
    else if (!asked.has(key)) {
      asked.set(key, null);
      host.send({ kind: 'sample', run: run.name, step });
    }
  }
  function showPng(key, bytes) {
    if (ui.picture.dataset.key === key) return;
    ui.picture.dataset.key = key;
    URL.revokeObjectURL(shownUrl);
    shownUrl = URL.createObjectURL(new Blob([bytes], { type: 'image/png' }));
    ui.picture.src = shownUrl;
    ui.picture.alt = `What ${key.replace(/ (\d+)$/, ' found after step $1')} in sample pictures; the truth in white dashes`;
  }

  // ---- all of it ----

  function show() {
    if (!report.runs.some(run => run.name === view.run)) view.run = (report.runs.find(run => run.state === 'running') ?? report.runs.at(-1))?.name ?? '';
    setText(ui.sub, report.runs.length ? plural(report.runs.length, 'run') : 'no run yet');
    checkSegments(ui.loss, view.loss);
    checkSegments(ui.ap, view.ap);
    showPlaces();
    showRuns();
    showLosses();
    showAps();
    showStages();
    showSample();
  }
  function say(text) {
    setText(ui.said, text);
    ui.said.hidden = text === '';
  }

  function choose(node) {
    const { act, place, run, set: name, value } = node.dataset;
    if (act) {
      wanted = `${act} ${place}`;
      say(act === 'stop' ? 'Stopping after this step; its checkpoint is written.' : 'Starting…');
      host.send({ kind: act, place: Number(place) });
    } else if (run) {
      view.run = run;
      view.sample = null;
    } else if (name) {
      view[name] = value;
    }
    show();
  }

  function listen() {
    const on = (node, type, act) => node.addEventListener(type, act, { signal: ended.signal });
    on(root, 'click', event => {
      const node = event.target.closest('button');
      if (node && root.contains(node) && !node.disabled) choose(node);
    });
    on(root, 'keydown', event => {
      const group = event.target.closest('[role=radiogroup]');
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      if (!group || !by) return;
      const all = [...group.children], to = all[(all.indexOf(event.target) + by + all.length) % all.length];
      event.preventDefault();
      event.stopPropagation();
      choose(to);
      to.focus();
    });
    on(ui.slider, 'input', () => {
      const steps = chosen().samples, step = steps[Number(ui.slider.value)];
      view.sample = step === steps.at(-1) ? null : step;
      showSample();
    });
    const resized = new ResizeObserver(() => {
      if (root.clientWidth === width) return;
      width = root.clientWidth;
      show();
    });
    resized.observe(root);
    const themed = watchTheme(root, ended.signal, show);
    // Not by `on`: a listener that hangs on a signal is gone before the signal's own event.
    ended.signal.addEventListener('abort', () => { resized.disconnect(); themed(); });
  }

  say('');
  listen();
  show();
  return {
    // A stop or a start is answered by the report that shows it.
    setReport(next) {
      const before = JSON.stringify(report.places.map(place => place.state));
      report = next;
      if (before !== JSON.stringify(report.places.map(place => place.state))) {
        wanted = '';
        say('');
      }
      show();
    },
    setPictures(next) {
      newest = next;
      showSample();
    },
    said(text) {
      wanted = '';
      say(text);
      show();
    },
    took(run, step, bytes) {
      asked.set(`${run} ${step}`, bytes);
      showSample();
    },
    end() {
      ended.abort();
      URL.revokeObjectURL(shownUrl);
      root.replaceChildren();
    },
  };
}

function render({ model, el }) {
  const root = h('section', { class: 'htc-lab htc-board', 'aria-label': 'Training Dashboard', 'data-lm-suppress-shortcuts': 'true', tabindex: '-1' });
  el.append(h('div', { class: 'htc-board-cell' }, root));
  const board = createBoard(root, { send: message => model.send(message) });
  const onReport = () => board.setReport(model.get('report'));
  const onPictures = () => board.setPictures(model.get('pictures'));
  const onMessage = (message, buffers) => {
    if (message.kind === 'sample') board.took(message.run, message.step, buffers[0]);
    else if (message.kind === 'said') board.said(message.text);
  };
  const heard = [['change:report', onReport], ['change:pictures', onPictures], ['msg:custom', onMessage]];
  for (const [type, act] of heard) model.on(type, act);
  onPictures();
  onReport();
  return () => {
    for (const [type, act] of heard) model.off(type, act);
    board.end();
  };
}

export default { render };
