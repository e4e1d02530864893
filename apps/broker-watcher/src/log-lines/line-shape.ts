const LONGEST_SHAPE = 60;
const MOST_SHAPES = 50;

/** The first words of a line, numbers as `0`: the same for lines that one place in the broker's source writes. */
export function shapeOf(raw: string): string {
  const text = raw.slice(0, 200).replace(/^\d{1,12}: /, '');
  return text.replace(/\d+/g, '0').slice(0, LONGEST_SHAPE);
}

/** How often lines of which shape were not understood: a new version of the broker shows here first. Bounded; the rest is summed up. */
export class UnknownShapes {
  private readonly counts = new Map<string, number>();

  /** Whether the shape is new. */
  count(raw: string): boolean {
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
