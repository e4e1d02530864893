/**
 * The WHERE of a list, of the filters that are given alone: an optional filter as `$1 IS NULL OR …` leaves a plan that is made once
 * without its index. One text for each combination of filters; values are parameters always.
 */
export class Conditions {
  readonly values: unknown[] = [];
  private readonly conditions: string[] = [];

  /** `sql` with a `?` for each value; left out when the first is undefined. */
  and(sql: string, ...values: unknown[]): this {
    if (values[0] === undefined) return this;
    const [first, ...rest] = sql.split('?');
    this.conditions.push(rest.reduce((text, part, at) => text + this.value(values[at]) + part, first!));
    return this;
  }

  /** Conditions without values: they stand in the statement itself, and so in a plan that is made once. */
  always(...conditions: string[]): this {
    this.conditions.push(...conditions);
    return this;
  }

  /** Adds a value and gives its parameter. */
  value(value: unknown): string {
    return `$${this.values.push(value)}`;
  }

  get sql(): string {
    return this.conditions.length === 0 ? '' : `WHERE ${this.conditions.join(' AND ')}`;
  }
}
