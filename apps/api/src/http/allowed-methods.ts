import type { Express, NextFunction, Request, Response } from 'express';

/** Answers OPTIONS with what an address takes. Nest would say that there is no such route. */
export function answerOptions(express: Express) {
  return (request: Request, response: Response, next: NextFunction): void => {
    const allowed = request.method === 'OPTIONS' ? allowedMethods(express, request.path) : [];
    if (allowed.length === 0) return next();
    response.set('Allow', allowed.join(', ')).status(204).end();
  };
}

/** The methods that a path answers, by asking each route that Express knows; empty when there is no such path. */
export function allowedMethods(express: Express, path: string): string[] {
  const methods = new Set<string>();
  for (const layer of express.router.stack) {
    if (!layer.route || !(layer as unknown as { match(path: string): boolean }).match(path)) continue;
    for (const { method } of layer.route.stack) methods.add(method.toUpperCase());
  }
  if (methods.has('GET')) methods.add('HEAD');
  if (methods.size > 0) methods.add('OPTIONS');
  return [...methods].sort();
}
