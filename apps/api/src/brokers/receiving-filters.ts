/** Mosquitto takes no topic of more levels (TOPIC_HIERARCHY_LIMIT in lib/util_topic.c). */
export const MOST_TOPIC_LEVELS = 200;

/**
 * A regular expression for PostgreSQL that fits exactly the valid topic filters that match a topic name (MQTT 5 section 4.7),
 * also behind `$share/<group>/` (section 4.8.2): for `a/b` those are `#`, `a/b`, `+/b`, `a/+`, `+/+`, `a/#`, `a/b/#` and so on.
 * Its size grows with the topic's; what clients chose as filters is only ever the text that it is applied to.
 */
export function receivingFilters(topic: string): string {
  const [first, ...rest] = topic.split('/').map(literal) as [string, ...string[]];
  // `a/#` matches `a` too, so the end may be followed by it.
  const behind = rest.reduceRight((after, level) => `(?:/#|/(?:${level}|[+])${after})`, '(?:/#)?');
  // Wildcards in the first level do not match `$…` topics (section 4.7.2).
  const filter = topic.startsWith('$') ? `${first}${behind}` : `(?:#|(?:${first}|[+])${behind})`;
  return `^(?:[$]share/[^/]+/)?${filter}$`;
}

function literal(level: string): string {
  return level.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
}
