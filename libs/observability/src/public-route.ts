import { SetMetadata, type Type } from '@nestjs/common';

const PUBLIC_ROUTE = Symbol('PUBLIC_ROUTE');

/** Probes and metrics: whoever reaches the port may ask. An app that guards its routes lets these through. */
export const PublicRoute = () => SetMetadata(PUBLIC_ROUTE, true);

export function isPublicRoute(controller: Type): boolean {
  return Reflect.getMetadata(PUBLIC_ROUTE, controller) === true;
}
