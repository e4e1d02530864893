import { bytesOf, corpusLines, VERSIONS } from '../../test/corpus.js';
import { shapeOf, UnknownShapes } from './line-shape.js';

describe('unknown shapes', () => {
  it('are the first words, numbers alike', () => {
    expect(shapeOf('1700000001: Opening ipv4 listen socket on port 1883.')).toBe('Opening ipv0 listen socket on port 0.');
    expect(shapeOf('x'.repeat(1_000))).toHaveLength(60);
  });

  it('are counted, and bounded', () => {
    const shapes = new UnknownShapes();
    expect(shapes.count('1: a 1')).toBe(true);
    expect(shapes.count('2: a 2')).toBe(false);
    for (let i = 0; i < 1_000; i++) shapes.count(`1: ${'x'.repeat(i % 60)}${i}`);
    expect(shapes.all['a 0']).toBe(2);
    expect(Object.keys(shapes.all).length).toBeLessThanOrEqual(51);
  });
});

describe('UnknownShapes', () => {
  it.each(VERSIONS)('has none of a Mosquitto %s that starts, reads its configuration and stops', (version) => {
    const shapes = new UnknownShapes();
    const unknown = corpusLines(version).filter(({ expect: label }) => label?.action === 'unknown');
    const raws = unknown.map((line) => bytesOf(line).toString()).filter((raw) => !raw.includes(': mosquitto version '));
    expect(raws.length).toBeGreaterThan(5);
    for (const raw of raws) shapes.count(raw);
    expect(shapes.all).toEqual({});
  });

  it('has what a newer broker may say, however it writes its time', () => {
    const shapes = new UnknownShapes();
    expect(shapes.count('2026-11-21T21:59:52: Opening ipv4 listen socket on port 1883.')).toBe(false);
    expect(shapes.count('1700000001: Client 7 was sent to another node.')).toBe(true);
    expect(shapes.all).toEqual({ 'Client 0 was sent to another node.': 1 });
  });
});
