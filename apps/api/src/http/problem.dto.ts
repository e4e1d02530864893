export class ProblemErrorDto {
  /**
   * Name of the parameter or field.
   * @example 'limit'
   */
  parameter: string;
  /** @example 'must be a whole number from 1 to 500' */
  detail: string;
}

/** RFC 9457 problem document. */
export class ProblemDto {
  /** @example 'urn:tallystick:problem:invalid-parameter' */
  type: string;
  /** @example 'A parameter is not valid' */
  title: string;
  /** @example 400 */
  status: number;
  /** @example 'limit must be a whole number from 1 to 500' */
  detail: string;
  /** @example 'urn:tallystick:request:1f0c1c4e-8f0e-4f6b-9a51-6f3f6ad0b7c1' */
  instance: string;
  /**
   * Stable name of the problem.
   * @example 'INVALID_PARAMETER'
   */
  code: string;
  /**
   * The request's id, as in X-Request-Id and in the log.
   * @example '1f0c1c4e-8f0e-4f6b-9a51-6f3f6ad0b7c1'
   */
  requestId: string;
  /** What is wrong with which parameter; empty when no single one is to blame. */
  errors: ProblemErrorDto[];
}
