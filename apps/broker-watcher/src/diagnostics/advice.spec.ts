import { adviceFor, type Observed } from './advice.js';

const WELL: Observed = {
  lines: true,
  connections: true,
  subscriptions: true,
  takeovers: true,
  checkpoints: true,
  time: 'epoch',
  watchedMs: 7_200_000,
  metrics: true,
  dropping: false,
};

const codes = (observed: Partial<Observed>) => adviceFor({ ...WELL, ...observed }).map(({ code }) => code);

describe('advice', () => {
  it.each([
    ['nothing while all is well', {}, []],
    ['nothing yet', { lines: false, metrics: false, connections: false, subscriptions: false, watchedMs: 1_000, time: undefined }, []],
    ['no log lines at all', { lines: false, connections: false, subscriptions: false, time: undefined }, ['no_log_lines']],
    ['no subscribe lines', { subscriptions: false }, ['no_subscribe_lines']],
    ['no connection lines', { connections: false }, ['no_connection_lines']],
    ['a format of its own for times', { time: 'other' as const }, ['no_epoch_time']],
    ['no persistence', { checkpoints: false }, ['no_persistence']],
    ['dropped messages', { dropping: true }, ['messages_dropped']],
    ['no $SYS values', { metrics: false }, ['no_metrics']],
  ])('%s', (_, observed, expected) => expect(codes(observed)).toEqual(expected));

  it('names lines for mosquitto.conf', () => {
    expect(adviceFor({ ...WELL, subscriptions: false })[0]!.lines).toEqual(['log_type subscribe', 'log_type unsubscribe']);
  });
});
