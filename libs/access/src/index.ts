export { newApiKey, newSetupToken, parseApiKey, parseSetupToken, type PresentedKey } from './api-key.js';
export { type KeyKind, PLATFORM_SCOPES, type Scope, SCOPES } from './scopes.js';
export { hashOfSecret, newSecret } from './secret-text.js';
export { issueSetupToken, useSetupToken } from './setup-token.js';
export {
  type Actor,
  createApiKey,
  type IssuedApiKey,
  listApiKeys,
  type NewApiKey,
  recordAct,
  revokeApiKey,
  scopesBeyondTenant,
  type Statements,
  type StoredApiKey,
  WORKING_KEY,
} from './stored-keys.js';
