const SHARED = '$share/';
/** MQTT 5 section 1.5.4: a UTF-8 string is at most 65,535 bytes. */
const MAX_TOPIC_BYTES = 65_535;

/** Why a text is no topic filter (MQTT 5 section 4.7, with `$share/<group>/` of section 4.8.2), or undefined when it is one. */
export function topicFilterProblem(filter: string): string | undefined {
  if (filter.startsWith(SHARED)) {
    const [, group, ...levels] = filter.split('/');
    if (!group || /[+#]/.test(group)) return 'the share name must not be empty nor hold + or #';
    return topicFilterProblem(levels.join('/'));
  }
  if (filter === '') return 'it is empty';
  if (filter.includes('\0')) return 'it holds U+0000';
  if (Buffer.byteLength(filter) > MAX_TOPIC_BYTES) return `it is longer than ${MAX_TOPIC_BYTES} bytes`;
  const levels = filter.split('/');
  if (levels.some((level) => level.includes('+') && level !== '+')) return '+ must be a whole level';
  if (levels.some((level, index) => level.includes('#') && (level !== '#' || index !== levels.length - 1)))
    return '# must be the whole last level';
  return undefined;
}

/** Whether a topic matches a valid filter. Wildcards in the first level do not match `$…` topics (MQTT 5 section 4.7.2). */
export function topicMatches(filter: string, topic: string): boolean {
  if (!filter.startsWith(SHARED) && !/[+#]/.test(filter)) return filter === topic;
  const levels = (filter.startsWith(SHARED) ? filter.split('/').slice(2).join('/') : filter).split('/');
  const topicLevels = topic.split('/');
  if (topic.startsWith('$') && (levels[0] === '+' || levels[0] === '#')) return false;
  for (const [index, level] of levels.entries()) {
    if (level === '#') return true; // also the parent level: a/# matches a
    if (index >= topicLevels.length) return false;
    if (level !== '+' && level !== topicLevels[index]) return false;
  }
  return levels.length === topicLevels.length;
}
