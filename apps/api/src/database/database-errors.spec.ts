import { databaseUnavailable, DatabaseUnavailableError, isDataException, statementGivenUp } from './database-errors.js';

const coded = (code: string) => Object.assign(new Error('x'), { code });

describe('databaseUnavailable', () => {
  it.each([
    ['not connected yet', new DatabaseUnavailableError('not connected yet')],
    ['refused', coded('ECONNREFUSED')],
    ['refused at every address', Object.assign(new AggregateError([coded('ECONNREFUSED')]), { code: 'ECONNREFUSED' })],
    ['no such host', coded('ENOTFOUND')],
    ['shut down by the administrator', coded('57P01')],
    ['starting up', coded('57P03')],
    ['too many connections', coded('53300')],
    ['disk full', coded('53100')],
    ['connection failure', coded('08006')],
    ['password changed', coded('28P01')],
    ['pool exhausted', new Error('timeout exceeded when trying to connect')],
    ['connection lost', new Error('Connection terminated unexpectedly')],
    ['no answer', new Error('Query read timeout')],
  ])('%s', (_, error) => expect(databaseUnavailable(error)).toBe(true));

  it.each([
    ['syntax error', coded('42601')],
    ['too few parameters', coded('08P01')],
    ['missing table', coded('42P01')],
    ['bad text', coded('22P02')],
    ['over its time limit', coded('57014')],
    ['a bug', new TypeError('x is undefined')],
    ['another code', coded('ERR_INVALID_ARG_TYPE')],
    ['no error', 'ECONNREFUSED'],
    ['nothing', undefined],
  ])('not: %s', (_, error) => expect(databaseUnavailable(error)).toBe(false));
});

describe('statementGivenUp', () => {
  it.each([
    [coded('57014'), true],
    [coded('57P01'), false],
    [new Error('Query read timeout'), false],
    ['57014', false],
  ])('%s: %s', (error, expected) => expect(statementGivenUp(error)).toBe(expected));
});

describe('isDataException', () => {
  it.each([
    [coded('22P05'), true],
    [coded('22003'), true],
    [coded('42601'), false],
    [new Error('22P05'), false],
  ])('%j', (error, is) => expect(isDataException(error)).toBe(is));
});
