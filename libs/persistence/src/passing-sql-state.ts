/** Connection exceptions, insufficient resources, operator intervention, system errors (PostgreSQL manual, appendix A). */
const PASSING_CLASSES = ['08', '53', '57', '58'];
const PASSING_CODES = ['40001', '40P01', '25006', '55P03'];

/** Whether an SQLSTATE says that the database is away, busy or out of space: the same statement may succeed later. */
export function isPassingSqlState(code: string): boolean {
  return PASSING_CLASSES.includes(code.slice(0, 2)) || PASSING_CODES.includes(code);
}
