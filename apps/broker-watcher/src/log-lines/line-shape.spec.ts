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
