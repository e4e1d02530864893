/** The SQL of a time as JSON has it: RFC 3339 in UTC with milliseconds, as `Date` writes it. */
export function jsonTime(sql: string): string {
  return `to_char(${sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}

/** The SELECT list of an object's members, each with its SQL. */
export function selected(members: Record<string, string>): string {
  return Object.entries(members)
    .map(([name, sql]) => `${sql} AS "${name}"`)
    .join(', ');
}
