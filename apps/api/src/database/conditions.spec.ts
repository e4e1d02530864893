import { Conditions } from './conditions.js';

describe('Conditions', () => {
  it('is of the filters that are given, each value a parameter', () => {
    const where = new Conditions().and('a = ?', 1).and('b = ?', undefined).and('(c, d) < (?, ?::bigint)', 'x', 'y').and('e = ?', null);
    expect([where.sql, `LIMIT ${where.value(51)}`, where.values]).toEqual([
      'WHERE a = $1 AND (c, d) < ($2, $3::bigint) AND e = $4',
      'LIMIT $5',
      [1, 'x', 'y', null, 51],
    ]);
  });

  it('is nothing without any', () => expect(new Conditions().and('a = ?', undefined).sql).toBe(''));
});
