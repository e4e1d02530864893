import { createHmac } from 'node:crypto';
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { onCleanUp } from '@tallystick/testing';

export interface ReceivedNotice {
  headers: IncomingHttpHeaders;
  /** Path and query of the request. */
  url: string;
  text: string;
  body: { id: string; kind: string; state: string; [field: string]: unknown };
}

/** A real HTTP server that takes notices and answers as the spec says. Ended after the file. */
export class WebhookReceiver {
  readonly notices: ReceivedNotice[] = [];
  answer: (response: ServerResponse) => void = (response) => response.writeHead(204).end();
  port = 0;
  private server = this.make();

  static async start(): Promise<WebhookReceiver> {
    const receiver = new WebhookReceiver();
    await receiver.open();
    onCleanUp(() => receiver.close());
    return receiver;
  }

  url(path = '/'): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** Of one kind, in order of arrival: `firing`, `resolved`. */
  states(kind: string): string[] {
    return this.notices.filter((notice) => notice.body.kind === kind).map((notice) => notice.body.state);
  }

  async open(): Promise<void> {
    this.server = this.make();
    await new Promise<void>((listening) => this.server.listen(this.port, '127.0.0.1', listening));
    this.port = (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((closed) => this.server.close(closed));
  }

  private make() {
    return createServer((request, response) => void this.take(request, response));
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    this.notices.push({ headers: request.headers, url: request.url!, text: body, body: JSON.parse(body) as ReceivedNotice['body'] });
    this.answer(response);
  }
}

/** What docs/alerts.md tells receivers to compute, from the specification alone. */
export function expectedSignature(secret: string, { headers, text: body }: ReceivedNotice): string {
  const key = Buffer.from(secret.replace('whsec_', ''), 'base64');
  const signed = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  return `v1,${createHmac('sha256', key).update(signed).digest('base64')}`;
}
