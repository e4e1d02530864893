import { HeldBack } from './held-back.js';

const T = 1_700_000_000_000;
const S = 1_000;

describe('HeldBack', () => {
  it('is no gap while the broker keeps what it holds back', () => {
    const heldBack = new HeldBack();
    expect(heldBack.note(true, T)).toBeUndefined();
    expect(heldBack.note(false, T + 20 * S)).toBeUndefined();
    // Long afterwards nothing of it is left.
    expect(heldBack.note(false, T + 60 * S)).toBeUndefined();
  });

  it('is a gap when it was for longer, up to what the broker still has', () => {
    const heldBack = new HeldBack();
    heldBack.note(false, T - S);
    heldBack.note(true, T);
    heldBack.note(true, T + 10 * S);
    expect(heldBack.note(false, T + 60 * S)).toEqual({ fromMs: T, toMs: T + 45 * S, reason: 'log_expired' });
    expect(heldBack.note(false, T + 60 * S + 100)).toBeUndefined();
  });

  it('goes on while the broker’s queue is worked off too slowly', () => {
    const heldBack = new HeldBack();
    heldBack.note(true, T);
    const gaps = [];
    for (let ms = T + 30 * S; ms <= T + 42 * S; ms += 200) gaps.push(heldBack.note(false, ms), heldBack.note(true, ms + 100));
    expect(gaps.filter((gap) => gap !== undefined)).toEqual([
      { fromMs: T, toMs: T + 15 * S, reason: 'log_expired' },
      { fromMs: T + 15 * S, toMs: T + 20.2 * S, reason: 'log_expired' },
      { fromMs: T + 20.2 * S, toMs: T + 25.4 * S, reason: 'log_expired' },
    ]);
  });

  it('begins anew when the broker had nothing left in between', () => {
    const heldBack = new HeldBack();
    heldBack.note(true, T);
    heldBack.note(false, T + 15 * S);
    heldBack.note(true, T + 17 * S);
    expect(heldBack.note(false, T + 30 * S)).toBeUndefined();
  });

  it('is a gap, however short, when the broker dropped messages meanwhile, whenever it says so', () => {
    const during = new HeldBack();
    during.note(true, T);
    expect(during.noteDropped(T + S)).toBeUndefined();
    expect(during.note(false, T + 2 * S)).toEqual({ fromMs: T, toMs: T + 2 * S, reason: 'queue_overflow' });
    const afterwards = new HeldBack();
    afterwards.note(true, T);
    expect(afterwards.note(false, T + 2 * S)).toBeUndefined();
    expect(afterwards.noteDropped(T + 10 * S)).toEqual({ fromMs: T, toMs: T + 2 * S, reason: 'queue_overflow' });
  });

  it('has nothing to do with what a broker drops when nothing is held back', () => {
    const heldBack = new HeldBack();
    expect(heldBack.noteDropped(T)).toBeUndefined();
    heldBack.note(true, T);
    heldBack.note(false, T + S);
    expect(heldBack.noteDropped(T + 60 * S)).toBeUndefined();
  });
});
