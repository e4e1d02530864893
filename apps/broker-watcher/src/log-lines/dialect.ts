/** How a broker words its log lines: `1.6` without ports, `2.0` with them, `2.1` (and later) with the peer in every end of a session. */
export const DIALECTS = ['1.6', '2.0', '2.1'] as const;
export type Dialect = (typeof DIALECTS)[number];

/** Of a broker that has not said its version yet. */
export const USUAL_DIALECT: Dialect = '2.0';

/**
 * The dialect of `$SYS/broker/version`, such as `mosquitto version 2.0.11`; undefined for a text without a version. What is newer
 * than we know is read like the newest that we know.
 */
export function dialectOf(versionText: string): Dialect | undefined {
  // The embedded broker of machines without Mosquitto writes Mosquitto 2.0's lines; its own number says nothing of them.
  if (versionText.startsWith('aedes ')) return '2.0';
  const version = /(?:^|\s)(\d{1,4})\.(\d{1,4})/.exec(versionText.slice(0, 200));
  if (!version) return undefined;
  const [major, minor] = [Number(version[1]), Number(version[2])];
  if (major < 2) return '1.6';
  return major === 2 && minor === 0 ? '2.0' : '2.1';
}
