import { createHmac } from 'node:crypto';

// Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

/** The bytes of a symmetric secret as the specification writes it: `whsec_` and 24 to 64 bytes in base64. Undefined for any other text. */
export function signingKeyOf(secret: string): Buffer | undefined {
  const text = /^whsec_((?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?)$/.exec(secret)?.[1];
  if (text === undefined) return undefined;
  const key = Buffer.from(text, 'base64');
  return key.length >= 24 && key.length <= 64 ? key : undefined;
}

/** The value of `webhook-signature`: HMAC-SHA256 over id, time (Unix seconds) and the body's exact bytes. */
export function webhookSignature(key: Buffer, id: string, timestampS: number, body: string): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestampS}.${body}`).digest('base64')}`;
}
