import { clientGone, logPayload, newClient, newConnection, subscribed, unsubscribed } from './broker-log-lines.js';

const peer = { address: '127.0.0.1', port: 44078 };

describe('log lines of the embedded broker', () => {
  it('are those that Mosquitto 2.0.11 writes', () => {
    const client = { id: 'sensor', peer, protocolLevel: 4, clean: true, keepaliveSeconds: 60 };
    expect(newConnection(peer, 1883).text).toBe('New connection from 127.0.0.1:44078 on port 1883.');
    expect(newClient(client).text).toBe('New client connected from 127.0.0.1:44078 as sensor (p2, c1, k60).');
    expect(newClient({ ...client, protocolLevel: 3, clean: false, username: 'alice' }).text).toBe(
      `New client connected from 127.0.0.1:44078 as sensor (p1, c0, k60, u'alice').`,
    );
    expect(newClient({ ...client, username: '' }).text).toContain('k60).');
    expect(clientGone('sensor', 'taken-over')).toEqual({ leaf: 'E', text: 'Client sensor already connected, closing old connection.' });
    expect(subscribed('dev 1', 0, 'x y')).toEqual({ leaf: 'M/subscribe', text: 'dev 1 0 x y' });
    expect(unsubscribed('dev 1', 'x y')).toEqual({ leaf: 'M/unsubscribe', text: 'dev 1 x y' });
  });

  it('begin with whole seconds and are cut at 999 bytes, even inside a character', () => {
    expect(logPayload(subscribed('a', 1, 'b'), 1700000000.9).toString()).toBe('1700000000: a 1 b');
    expect(logPayload(subscribed('a', 1, 'é'.repeat(1000)), 1700000000)).toHaveLength(999);
  });
});
