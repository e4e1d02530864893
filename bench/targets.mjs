// What the product must reach, beside what it did.
import { decimal, whole } from './report.mjs';

const MB = 1e6;

/** @param {{ results: any[], live: any[] }} measured */
export function targetsOf({ results, live }) {
  const byId = new Map(results.map((result) => [result.id, result]));
  const rate = (id) => byId.get(id)?.summary?.rate.median;
  const best = (...ids) =>
    ids
      .map((id) => byId.get(id))
      .filter((result) => result?.summary)
      .toSorted(byRate)[0];
  const bestOf = (index) => best(`product-${index}`, `product-${index}-2-lanes`);
  const fastestLossy = (index) => best(`insert-per-message-${index}`, `nest-typeorm-save-${index}`);
  const p99 = (lanes, ratePerS) =>
    live.find(({ id }) => id === `product-live${lanes}`)?.phases?.find((phase) => phase.ratePerS === ratePerS)?.p99Ms;
  const rss = Math.max(...results.filter(isProduct).map((result) => result.summary?.peakRssBytes?.median ?? NaN));
  return [
    ...[
      ['live', 0.75, 3],
      ['off', 0.6, 6],
    ].flatMap(([index, ofCopy, timesLossless]) => [
      atLeast(`of COPY alone, JSON index ${index}${by(bestOf(index))}`, ofCopy, bestOf(index)?.ofCopy),
      atLeast(`× the lossless peer, JSON index ${index}${by(bestOf(index))}`, timesLossless, bestOf(index)?.timesLossless),
      moreThan(
        `× the fastest lossy peer, JSON index ${index}`,
        1,
        ratio(bestOf(index)?.summary.rate.median, fastestLossy(index)?.summary.rate.median),
      ),
      atLeast(`500 tenants of one tenant, JSON index ${index}`, 0.7, ratio(rate(`tenants-${index}`), rate(`product-${index}`))),
      moreThan(`two replicas of one, JSON index ${index}`, 1, ratio(rate(`replicas-${index}`), rate(`product-${index}`))),
    ]),
    none('messages lost or doubled by a kill -9', results.filter(isProduct)),
    ...[
      ['', '1 lane'],
      ['-2-lanes', '2 lanes'],
    ].flatMap(([lanes, words]) => [
      below(`p99 ms from receipt to commit at 100/s, ${words}`, 50, p99(lanes, 100)),
      below(`p99 ms from receipt to commit at 5,000/s, ${words}`, 150, p99(lanes, 5_000)),
    ]),
    below('MB of memory at full rate', 250, Number.isFinite(rss) ? rss / MB : undefined),
  ];
}

function isProduct({ group }) {
  return ['product', 'tenants', 'replicas'].includes(group);
}

function byRate(a, b) {
  return b.summary.rate.median - a.summary.rate.median;
}

function by(result) {
  return result ? ` (${result.label})` : '';
}

function ratio(a, b) {
  return a === undefined || b === undefined ? undefined : a / b;
}

function target(text, wanted, value, show, holds) {
  return { text, wanted, value: show(value), isMet: value === undefined ? undefined : holds(value) };
}

export const atLeast = (text, limit, value) => target(text, `≥ ${limit}`, value, decimal, (found) => found >= limit);
const moreThan = (text, limit, value) => target(text, `> ${limit}`, value, decimal, (found) => found > limit);
export const below = (text, limit, value) =>
  target(
    text,
    `< ${limit}`,
    value,
    (found) => decimal(found, 1),
    (found) => found < limit,
  );

function none(text, products) {
  const kills = products.map(({ kill }) => kill).filter(Boolean);
  // One that failed leaves the question open.
  const isOpen = kills.length === 0 || kills.some(({ failure }) => failure !== undefined);
  const sum = isOpen ? undefined : kills.reduce((total, { lost, doubled }) => total + lost + doubled, 0);
  return target(text, '0', sum, whole, (found) => found === 0);
}
