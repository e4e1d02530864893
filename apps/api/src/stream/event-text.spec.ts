import { JsonText } from '../http/json-text.js';
import { eventText } from './event-text.js';

describe('eventText', () => {
  it('is one event, whatever line breaks a payload has', () => {
    const text = eventText('id-1', 'message', { rawData: new JsonText('{\r\n"a":\r1,\n"b": "x\\ny"}') });
    expect(text).toBe('id: id-1\nevent: message\ndata: {"rawData":{\ndata: "a":\ndata: 1,\ndata: "b": "x\\ny"}}\n\n');
    const data = text.split('\n').flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []));
    expect(JSON.parse(data.join('\n'))).toEqual({ rawData: { a: 1, b: 'x\ny' } });
  });
});
