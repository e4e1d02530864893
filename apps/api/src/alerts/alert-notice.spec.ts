import { alertNotice, type DueAlert } from './alert-notice.js';

const ALERT: DueAlert = {
  alertId: '019ab5e8-2c00-7000-8000-0000000000c1',
  kind: 'broker_dropping',
  severity: 'critical',
  state: 'firing',
  subject: 'broker/local',
  summary: 'The broker local dropped 12 messages within five minutes.',
  details: { broker: 'local', dropped: 12 },
  path: '/api/v1/brokers/local/diagnostics',
  openedAt: new Date('2026-11-21T08:00:05Z'),
  resolvedAt: null,
  notices: 0,
};

describe('the notice of an alert', () => {
  it('says all that docs/alerts.md promises', () => {
    const { id, body } = alertNotice(ALERT, 'https://tallystick.example/base/');
    expect(id).toBe(`${ALERT.alertId}_firing_1`);
    expect(JSON.parse(body)).toEqual({
      version: 1,
      id: ALERT.alertId,
      kind: 'broker_dropping',
      severity: 'critical',
      state: 'firing',
      subject: 'broker/local',
      summary: ALERT.summary,
      text: `[critical] ${ALERT.summary}`,
      since: '2026-11-21T08:00:05.000Z',
      resolvedAt: null,
      details: { broker: 'local', dropped: 12 },
      link: 'https://tallystick.example/base/api/v1/brokers/local/diagnostics',
    });
  });

  it('says that it is over, and that what is told first is not over yet', () => {
    const ended = { ...ALERT, resolvedAt: new Date('2026-11-21T08:10:00Z') };
    expect(JSON.parse(alertNotice(ended).body)).toMatchObject({ state: 'firing', resolvedAt: null, link: ALERT.path });
    const { id, body } = alertNotice({ ...ended, state: 'resolved', notices: 1 });
    expect(id).toBe(`${ALERT.alertId}_resolved_2`);
    expect(JSON.parse(body)).toMatchObject({
      state: 'resolved',
      summary: `Over: ${ALERT.summary}`,
      text: `[resolved] Over: ${ALERT.summary}`,
      resolvedAt: '2026-11-21T08:10:00.000Z',
    });
  });
});
