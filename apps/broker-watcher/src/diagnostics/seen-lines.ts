import type { RecordedLine } from '../recording/recorded-line.js';

/** What kinds of log lines a broker has been seen to write: what is missing among them is its configuration's fault. */
export interface Seen {
  lines: boolean;
  connections: boolean;
  subscriptions: boolean;
  takeovers: boolean;
  checkpoints: boolean;
  /** How the last line said its time. */
  time: 'epoch' | 'other' | undefined;
}

export class SeenLines {
  private readonly kinds: Seen = {
    lines: false,
    connections: false,
    subscriptions: false,
    takeovers: false,
    checkpoints: false,
    time: undefined,
  };

  get now(): Readonly<Seen> {
    return this.kinds;
  }

  note({ line }: RecordedLine): void {
    this.kinds.lines = true;
    this.kinds.time = line.ts === null ? 'other' : 'epoch';
    if (line.action === 'connected' || line.action === 'disconnected') this.kinds.connections = true;
    if (line.action === 'subscribe' || line.action === 'unsubscribe') this.kinds.subscriptions = true;
    if (line.action === 'checkpoint') this.kinds.checkpoints = true;
    if (line.endReason === 'taken_over') this.kinds.takeovers = true;
  }
}
