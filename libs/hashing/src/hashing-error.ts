export type HashingErrorCode =
  'hash_length' | 'out_of_range' | 'not_finite' | 'lone_surrogate' | 'not_json' | 'cycle' | 'too_deep' | 'invalid_entry';

/** A caller's mistake. Bad input from outside is a return value of the verifiers and decoders instead. */
export class HashingError extends Error {
  override readonly name = 'HashingError';

  constructor(
    readonly code: HashingErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
