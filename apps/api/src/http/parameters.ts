import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsBoolean, IsDate, IsIn, IsInt, IsOptional, IsString, Length, Matches, Max, Min } from 'class-validator';
import { parseInstant } from './instant.js';

// The kinds of parameter, each with its reading, its check, its schema and an example. All are optional unless they say `required`.
// Every example is sent by examples.e2e-spec.ts, all of a route at once, to an API with simulated devices, and must succeed.

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SHA256_HEX = /^[0-9a-f]{64}$/;
const EXAMPLE_SHA256 = 'b4c5d6e7f8a9b0c1d2e3f4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5';

/** A whole number in decimal digits; anything else, such as `10abc`, `1e3` or a repeated parameter, is refused. */
export function WholeNumber({ min, max, default: value }: { min: number; max: number; default?: number }): PropertyDecorator {
  const options = { message: `must be a whole number from ${min} to ${max}` };
  return applyDecorators(
    ApiProperty({
      required: false,
      type: 'integer',
      minimum: min,
      maximum: max,
      ...(value === undefined ? {} : { default: value, example: value }),
    }),
    ...(value === undefined ? [IsOptional()] : []),
    Transform(({ value: text }: { value: unknown }) => (typeof text === 'string' ? (/^\d{1,15}$/.test(text) ? Number(text) : NaN) : text)),
    IsInt(options),
    Min(min, options),
    Max(max, options),
  );
}

/** A time as `parseInstant` reads it; the property holds a Date. */
export function Instant({ example = '2026-11-21T08:00:00Z' } = {}): PropertyDecorator {
  const message = 'must be an RFC 3339 time with offset, such as 2026-11-21T08:00:00Z or 2026-11-21T09:00:00%2B01:00';
  return applyDecorators(
    ApiProperty({ required: false, type: String, format: 'date-time', example }),
    IsOptional(),
    Transform(({ value: text }: { value: unknown }) => (typeof text === 'string' ? (parseInstant(text) ?? 'invalid') : text)),
    IsDate({ message }),
  );
}

/** A UUID of any version, read into lower case; wrong ones alone make the problem INVALID_UUID. */
export function Uuid({ required = false }: { required?: boolean } = {}): PropertyDecorator {
  return applyDecorators(
    ApiProperty({ required, type: String, format: 'uuid', example: '019ab5e8-2c00-7000-8000-000000000001' }),
    ...(required ? [] : [IsOptional()]),
    Transform(lowerCase),
    Matches(UUID, { message: 'must be a UUID', context: { code: 'INVALID_UUID' } }),
  );
}

/** A SHA-256 in hex, read into lower case. */
export function Sha256Hex(): PropertyDecorator {
  return applyDecorators(
    ApiProperty({ required: false, type: String, pattern: '^[0-9a-fA-F]{64}$', example: EXAMPLE_SHA256 }),
    IsOptional(),
    Transform(lowerCase),
    Matches(SHA256_HEX, { message: 'must be a SHA-256 in 64 hexadecimal digits' }),
  );
}

/** A tenant, site or device as its topic level spells it. */
export function Identifier(options: { required?: boolean } = {}): PropertyDecorator {
  return Text({ max: 100, ...options });
}

/** A text of 1 to `max` characters, taken as it is. PostgreSQL has no U+0000 in text, and no half of a surrogate pair, which JSON can spell. */
export function Text({ max, required = false }: { max: number; required?: boolean }): PropertyDecorator {
  const options = { message: `must have 1 to ${max} characters, and be given once` };
  return applyDecorators(
    ApiProperty({ required, type: String, minLength: 1, maxLength: max }),
    ...(required ? [] : [IsOptional()]),
    IsString(options),
    Length(1, max, options),
    // eslint-disable-next-line no-control-regex
    Matches(/^[^\u0000\p{Surrogate}]*$/u, options),
  );
}

/** `true` or `false`, and nothing else that languages take for it. */
export function Flag({ default: value }: { default?: boolean } = {}): PropertyDecorator {
  return applyDecorators(
    ApiProperty({ required: false, type: Boolean, example: value ?? true, ...(value === undefined ? {} : { default: value }) }),
    IsOptional(),
    Transform(({ value: text }: { value: unknown }) => (text === 'true' ? true : text === 'false' ? false : text)),
    IsBoolean({ message: 'must be true or false' }),
  );
}

/** One of a few words. */
export function OneOf(words: readonly string[], { default: value }: { default?: string } = {}): PropertyDecorator {
  return applyDecorators(
    ApiProperty({ required: false, enum: words, example: value ?? words[0], ...(value === undefined ? {} : { default: value }) }),
    IsOptional(),
    IsIn(words, { message: `must be one of ${words.join(', ')}` }),
  );
}

function lowerCase({ value }: { value: unknown }): unknown {
  return typeof value === 'string' ? value.toLowerCase() : value;
}
