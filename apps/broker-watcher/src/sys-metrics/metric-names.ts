/** More than ten times what a Mosquitto publishes. */
const MOST_NAMES = 1_000;

/**
 * The metrics that are stored. Without an ACL every client may make up names: Mosquitto lets all publish to
 * `$SYS/broker/connection/+/state`. Beyond the bound new ones are turned away until the next start of the process, at which the broker's
 * own come first, since retained values come in the order of the subscriptions.
 */
export class MetricNames {
  private readonly names = new Set<string>();

  constructor(private readonly most = MOST_NAMES) {}

  admits(name: string): boolean {
    if (this.names.has(name)) return true;
    if (this.names.size >= this.most) return false;
    this.names.add(name);
    return true;
  }
}
