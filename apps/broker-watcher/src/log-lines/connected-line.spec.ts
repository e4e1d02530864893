import fc from 'fast-check';
import { isOtherId, otherIds } from './connected-line.js';

const parts = fc.constantFrom('a', ':1 as ', ' as ', ":22 as b (p2, c1, k60, u'", " (p2, c1, k60, u'", ' ', '9', ':');
const text = fc.array(parts, { maxLength: 12 }).map((all) => all.join(''));

describe('isOtherId', () => {
  it('is told of each of the other ids, and of nothing else', () => {
    let others = 0;
    fc.assert(
      fc.property(text, fc.boolean(), text, fc.nat(), fc.nat(), (read, hasUser, any, one, another) => {
        const ids = otherIds(read, hasUser, Infinity);
        others += ids.length;
        const slice = read.slice(Math.min(one, another) % (read.length + 1), Math.max(one, another) % (read.length + 1));
        for (const id of [...ids, any, slice, read, ''])
          expect([read, id, isOtherId(read, hasUser, id)]).toEqual([read, id, ids.includes(id)]);
      }),
      { numRuns: 2_000 },
    );
    expect(others).toBeGreaterThan(1_000);
  });

  it('takes no longer for an id of 60,000 characters that was made for it', () => {
    const unit = ":1 as b (p2, c1, k60, u'";
    const read = unit.repeat(2_500);
    const asked = [`${unit.repeat(1_249)}${unit.slice(0, -1)}x`, 'victim', read.slice(0, -1), unit.slice(6).repeat(3)];
    const startMs = performance.now();
    for (let round = 0; round < 10; round++) expect(asked.map((id) => isOtherId(read, true, id))).toEqual([false, false, false, false]);
    const tookMs = performance.now() - startMs;
    console.info(`40 ids, one of 60,000 characters: ${tookMs.toFixed(0)} ms`);
    expect(tookMs).toBeLessThan(5_000);
  });
});
