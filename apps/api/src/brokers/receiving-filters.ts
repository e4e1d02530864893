/** Mosquitto takes no topic of more levels (TOPIC_HIERARCHY_LIMIT in lib/util_topic.c). */
export const MOST_TOPIC_LEVELS = 200;

const SHARED = '$share/';

/** The first levels of the filters with a wildcard, or of a shared subscription, that can match a topic. */
export function firstLevelsOf(topic: string): string[] {
  const [first] = topic.split('/', 1) as [string];
  // Wildcards in the first level do not match `$…` topics (MQTT 5 section 4.7.2).
  return topic.startsWith('$') ? [first, '$share'] : [first, '+', '#', '$share'];
}

/**
 * Whether a valid topic filter matches a topic name (MQTT 5 section 4.7), also behind `$share/<group>/` (section 4.8.2). Both are
 * read once, side by side, so the time it takes grows with their length and no faster.
 */
export function receives(filter: string, topic: string): boolean {
  let at = filter.startsWith(SHARED) ? filter.indexOf('/', SHARED.length) + 1 : 0;
  if (topic.startsWith('$') && isWildcard(filter.charCodeAt(at))) return false;
  let read = 0;
  for (; at < filter.length; at++) {
    const code = filter.charCodeAt(at);
    if (code === HASH) return true;
    if (code === PLUS) {
      const slash = topic.indexOf('/', read);
      read = slash === -1 ? topic.length : slash;
      continue;
    }
    // Where the topic is at its end, only `/#` may be left: it matches the level above too.
    if (read === topic.length) return filter.length - at === 2 && filter.endsWith('/#');
    if (code !== topic.charCodeAt(read)) return false;
    read++;
  }
  return read === topic.length;
}

const PLUS = '+'.charCodeAt(0);
const HASH = '#'.charCodeAt(0);

function isWildcard(code: number): boolean {
  return code === PLUS || code === HASH;
}
