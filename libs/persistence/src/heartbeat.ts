/** Every broker publishes `uptime` in every round of $SYS, though only changed values of the rest. */
export const HEARTBEAT = 'uptime';

/** How long a heartbeat may be missing, in SQL: three times the usual time between two (Mosquitto's is 10 s), and 30 s. */
export function heartbeatTolerance(usualSilence: string): string {
  return `greatest(interval '30 seconds', 3 * ${usualSilence})`;
}
