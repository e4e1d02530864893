import { ValidationPipe } from '@nestjs/common';
import type { ValidationError } from 'class-validator';
import { Problem, type ProblemError } from './problem.js';

/** Names that may be repeated to whoever sent them; others could carry anything. */
const PRINTABLE_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

/** Queries, paths and bodies become their classes; what a class does not declare is refused, so that a typo never widens a list. */
export function inputPipe(): ValidationPipe {
  return new ValidationPipe({
    transform: true,
    whitelist: true,
    forbidNonWhitelisted: true,
    stopAtFirstError: true,
    exceptionFactory: (errors) => invalidInput(errors),
  });
}

function invalidInput(failures: ValidationError[]): Problem {
  const errors = failures.slice(0, 20).map(problemError);
  const code = failures.every(isUuidFailure) ? 'INVALID_UUID' : 'INVALID_PARAMETER';
  return new Problem(code, errors.map(({ parameter, detail }) => `${parameter || 'A parameter'} ${detail}`).join('; '), { errors });
}

function problemError({ property, constraints = {} }: ValidationError): ProblemError {
  const parameter = PRINTABLE_NAME.test(property) ? property : '';
  const [[constraint, message]] = Object.entries(constraints) as [[string, string]];
  return { parameter, detail: constraint === 'whitelistValidation' ? 'is not known here' : message };
}

function isUuidFailure({ contexts = {} }: ValidationError): boolean {
  return Object.values(contexts).some(({ code }) => code === 'INVALID_UUID');
}
