/** Injection token of the list of tokens under which the app provides its readiness checks. */
export const READINESS_CHECKS = Symbol('READINESS_CHECKS');
