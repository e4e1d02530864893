/** What the command line gives: text, and undefined for what has no default. */
export interface SimulateArguments {
  devices: string;
  rate: string;
  tenants: string;
  count: string;
  topicRoot: string;
  seed: string;
  qos: string;
  broker?: string;
  api?: string;
}

export interface SimulationPlan {
  devices: number;
  /** Messages per second, of all devices together; 0 = as fast as the broker acknowledges. */
  rate: number;
  tenants: number;
  /** Messages to publish; 0 = until stopped. */
  count: number;
  topicRoot: string;
  /** 32 bits. */
  seed: number;
  qos: 1 | 2;
}

export const MAX_DEVICES = 100_000;
const MAX_RATE = 1_000_000;
const MAX_SEED = 2 ** 32 - 1;
/** Leaves room for the other levels: a stored topic has at most 255 characters. */
const MAX_TOPIC_ROOT_LENGTH = 100;
const BROKER_PROTOCOLS = ['mqtt:', 'mqtts:', 'tcp:', 'ssl:', 'ws:', 'wss:'];

/** Checks what was typed; every problem at once, by the name of its option. */
export function parseSimulation(
  typed: SimulateArguments,
): { kind: 'plan'; plan: SimulationPlan } | { kind: 'invalid'; problems: readonly string[] } {
  const problems: string[] = [];
  const whole = (option: string, text: string, min: number, max: number) => {
    const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
    if (!(value >= min && value <= max)) problems.push(`--${option} must be a whole number from ${min} to ${max} (got "${text}")`);
    return value;
  };
  const devices = whole('devices', typed.devices, 1, MAX_DEVICES);
  const rate = /^\d+(\.\d+)?$/.test(typed.rate) ? Number(typed.rate) : NaN;
  if (!(rate <= MAX_RATE))
    problems.push(`--rate must be a number of messages per second from 0 to ${MAX_RATE}, such as 0.5 (got "${typed.rate}")`);
  const tenants = whole('tenants', typed.tenants, 1, MAX_DEVICES);
  if (devices >= 1 && tenants > devices)
    problems.push(`--tenants must not be greater than --devices: ${devices} devices cannot belong to ${tenants} tenants`);
  const count = whole('count', typed.count, 0, Number.MAX_SAFE_INTEGER);
  const seed = whole('seed', typed.seed, 0, MAX_SEED);
  const topicRoot = typed.topicRoot;
  const rootProblem = topicRootProblem(topicRoot);
  if (rootProblem) problems.push(`--topic-root ${rootProblem} (got "${topicRoot}")`);
  if (typed.qos !== '1' && typed.qos !== '2') {
    problems.push(`--qos must be 1 or 2 (got "${typed.qos}"): with 0 the broker acknowledges nothing, and there would be nothing to count`);
  }
  if (typed.broker !== undefined && !isUrl(typed.broker, BROKER_PROTOCOLS)) {
    problems.push('--broker must be a URL such as mqtt://127.0.0.1:1883');
  }
  if (typed.api !== undefined && !isUrl(typed.api, ['http:', 'https:'])) problems.push('--api must be a URL such as http://127.0.0.1:3000');
  if (problems.length > 0) return { kind: 'invalid', problems };
  return { kind: 'plan', plan: { devices, rate, tenants, count, topicRoot, seed, qos: typed.qos === '2' ? 2 : 1 } };
}

function topicRootProblem(root: string): string | undefined {
  if (root.split('/').includes('')) return 'must be one or more levels that are not empty, such as veep';
  if (/[+#\0]/.test(root)) return 'must not hold + or #';
  if (root.startsWith('$')) return 'must not begin with $, which belongs to the broker';
  if (root.length > MAX_TOPIC_ROOT_LENGTH) return `must have at most ${MAX_TOPIC_ROOT_LENGTH} characters`;
  return root.isWellFormed() ? undefined : 'must be well-formed Unicode';
}

function isUrl(text: string, protocols: readonly string[]): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  return protocols.includes(protocol) && hostname !== '';
}
