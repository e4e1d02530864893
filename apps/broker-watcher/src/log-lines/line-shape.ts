const LONGEST_SHAPE = 60;
const MOST_SHAPES = 50;

/** The first words of a line, numbers as `0`: the same for lines that one place in the broker's source writes. */
export function shapeOf(raw: string): string {
  return textOf(raw).replace(/\d+/g, '0').slice(0, LONGEST_SHAPE);
}

function textOf(raw: string): string {
  return raw.slice(0, 200).replace(/^(\d{1,12}|\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d): /, '');
}

/** How lines begin that every broker writes of itself, at its start or when it reads its configuration: known, and of nobody's session. */
const OF_THE_BROKER = [
  'Config loaded from ',
  'Using default config.',
  'Loading config file ',
  'Reloading config.',
  'Opening ',
  'Creating default listener ',
  'Loading plugin: ',
  'Plugin ',
  ' ├── ',
  ' └── ',
  'Restored ',
  'Bridge support ',
  'Persistence support ',
  'TLS support ',
  'TLS-PSK support ',
  'Websockets support ',
  'Info: running mosquitto as user',
  'Warning: Mosquitto should not be run as root/administrator.',
  'OpenSSL Error',
];

/** How often lines of which shape were not understood: a new version of the broker shows here first. Bounded; the rest is summed up. */
export class UnknownShapes {
  private readonly counts = new Map<string, number>();

  /** Whether the shape is new; a line that is known to say nothing of clients counts for none. */
  count(raw: string): boolean {
    const text = textOf(raw);
    if (OF_THE_BROKER.some((beginning) => text.startsWith(beginning))) return false;
    const shape = shapeOf(raw);
    const known = this.counts.get(shape);
    if (known === undefined && this.counts.size >= MOST_SHAPES) {
      this.counts.set(OTHERS, (this.counts.get(OTHERS) ?? 0) + 1);
      return false;
    }
    this.counts.set(shape, (known ?? 0) + 1);
    return known === undefined;
  }

  get all(): Record<string, number> {
    return Object.fromEntries(this.counts);
  }
}

const OTHERS = '(others)';
