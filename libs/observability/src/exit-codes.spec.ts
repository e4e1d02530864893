import { exitCodeOf } from './exit-codes.js';
import { FatalError } from './fatal-error.js';

describe('exitCodeOf', () => {
  it.each([
    [new FatalError('x', { exitCode: 65 }), 65],
    [new FatalError('x'), 70],
    [new Error('x'), 70],
    [Object.assign(new Error('x'), { exitCode: 0 }), 70],
    [Object.assign(new Error('x'), { exitCode: 256 }), 70],
    [Object.assign(new Error('x'), { exitCode: 'abc' }), 70],
    [{ exitCode: 65 }, 70],
    [undefined, 70],
  ])('of %p is %i', (error, code) => expect(exitCodeOf(error)).toBe(code));
});
