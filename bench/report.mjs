// Medians and tables.
const MB = 1e6;

export function median(/** @type {number[]} */ values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median, least and most of a property over all runs; undefined when a run has none. */
export function spread(runs, of) {
  const values = runs.map(of);
  if (values.length === 0 || values.some((value) => value === undefined)) return undefined;
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** Columns padded to their widest cell, as a Markdown table. */
export function table(/** @type {string[]} */ head, /** @type {string[][]} */ rows) {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)));
  const line = (cells) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

export const whole = (value) => (value === undefined ? '-' : Math.round(value).toLocaleString('en-US'));
export const decimal = (value, digits = 2) => (value === undefined ? '-' : value.toFixed(digits));
export const megabytes = (bytes) => (bytes === undefined ? '-' : whole(bytes / MB));
export function withSpread(value) {
  if (!value) return '-';
  return value.min === value.max ? whole(value.median) : `${whole(value.median)} (${whole(value.min)}–${whole(value.max)})`;
}

export function machineLines({ date, cpu, cores, memoryGiB, loadBefore, syncMs, versions }) {
  const { node, postgresql, mosquitto, mqtt } = versions;
  return [
    `${date} · ${cpu}, ${cores} cores, ${memoryGiB} GiB · load before ${decimal(loadBefore)} · 8 KiB synced in ${decimal(syncMs)} ms`,
    `Node ${node}${postgresql ? ` · PostgreSQL ${postgresql}` : ''} · Mosquitto ${mosquitto} · MQTT.js ${mqtt}`,
  ].join('\n');
}

export function throughputTable(results) {
  const head = ['contestant', 'JSON index', 'messages/s (min–max)', 'of COPY', '× lossless', 'B/row', 'WAL B/row'];
  head.push('CPU µs consumer', 'postgres', 'broker', 'peak RSS MB', 'lost/doubled', 'after kill -9');
  const rows = results.map(({ label, jsonIndex, failure, summary, ofCopy, timesLossless, kill }) => {
    const measured = summary
      ? [
          withSpread(summary.rate),
          decimal(ofCopy),
          decimal(timesLossless),
          whole(summary.bytesPerRow.median),
          whole(summary.walBytesPerRow.median),
          ...['consumer', 'postgres', 'broker'].map((group) => decimal(summary.cpuMicros?.[group].median, 1)),
          megabytes(summary.peakRssBytes?.median),
          '0/0', // a run with any is a failure
        ]
      : [failure === undefined ? '-' : 'failed', ...Array(9).fill('-')];
    return [label, jsonIndex, ...measured, killCell(kill)];
  });
  const failures = results.flatMap(({ id, failure, kill }) => [
    ...(failure === undefined ? [] : [`failed: ${id}: ${failure}`]),
    ...(kill?.failure === undefined ? [] : [`failed: ${id}, kill -9: ${kill.failure}`]),
  ]);
  return [table(head, rows), ...failures].join('\n');
}

function killCell(kill) {
  if (!kill) return '-';
  return kill.failure === undefined ? `${kill.lost}/${kill.doubled} of ${kill.messages}` : 'failed';
}

export function liveTable(live) {
  const head = ['contestant', 'JSON index', 'wanted/s', 'published/s', 'p50 ms', 'p99 ms', 'max ms', 'RSS MB', 'peak RSS MB'];
  const rows = live.flatMap(({ label, jsonIndex, failure, phases }) =>
    failure === undefined
      ? phases.map((phase) => [
          label,
          jsonIndex,
          whole(phase.ratePerS),
          whole(phase.publishedPerS),
          ...[phase.p50Ms, phase.p99Ms, phase.maxMs].map((ms) => decimal(ms, 1)),
          megabytes(phase.rssBytes),
          megabytes(phase.peakRssBytes),
        ])
      : [[label, jsonIndex, 'failed', ...Array(6).fill('-')]],
  );
  const failures = live.filter(({ failure }) => failure !== undefined).map(({ id, failure }) => `failed: ${id}, live: ${failure}`);
  return [table(head, rows), ...failures].join('\n');
}

export function targetTable(targets) {
  const rows = targets.map(({ text, value, wanted, isMet }) => [
    text,
    wanted,
    value,
    isMet === undefined ? 'not measured' : isMet ? 'yes' : 'NO',
  ]);
  return table(['the product must reach', 'wanted', 'measured', 'reached'], rows);
}
