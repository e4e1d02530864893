import type { AlertNotice } from './alert-notice.js';
import { webhookSignature } from './webhook-signature.js';

export const ANSWER_LIMIT_MS = 5_000;

export type Delivery = { kind: 'delivered' } | { kind: 'failed'; problem: string };

export interface Webhook {
  url: string;
  /** Undefined: notices are not signed. */
  signingKey: Buffer | undefined;
}

/**
 * POSTs a notice, with the headers of Standard Webhooks. Delivered is what is answered with 2xx within 5 s; redirects are not followed,
 * because whom the URL names was decided by the operator. Never throws. No problem names the URL, which may hold a secret, nor what
 * the network says of it.
 */
export async function postNotice({ url, signingKey }: Webhook, { id, body }: AlertNotice, stop: AbortSignal): Promise<Delivery> {
  const timestampS = Math.floor(Date.now() / 1000);
  const headers = {
    'content-type': 'application/json',
    'user-agent': 'tallystick',
    'webhook-id': id,
    'webhook-timestamp': String(timestampS),
    ...(signingKey && { 'webhook-signature': webhookSignature(signingKey, id, timestampS, body) }),
  };
  const limit = AbortSignal.timeout(ANSWER_LIMIT_MS);
  try {
    const answer = await fetch(url, { method: 'POST', headers, body, redirect: 'manual', signal: AbortSignal.any([limit, stop]) });
    // Nobody reads what it says; kept open, the connection would stay taken.
    await answer.body?.cancel();
    if (answer.ok) return { kind: 'delivered' };
    const isRedirect = answer.status >= 300 && answer.status < 400;
    return { kind: 'failed', problem: isRedirect ? `it redirects (${answer.status})` : `it answered ${answer.status}` };
  } catch (error) {
    return { kind: 'failed', problem: limit.aborted ? `no answer within ${ANSWER_LIMIT_MS} ms` : networkProblem(error) };
  }
}

function networkProblem(error: unknown): string {
  const { cause } = error as { cause?: { code?: unknown } };
  return typeof cause?.code === 'string' ? cause.code : 'no connection';
}
