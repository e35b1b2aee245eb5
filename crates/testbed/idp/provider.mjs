// An identity provider for tests, over TLS: `node provider.mjs PORT CERT KEY REDIRECT`. Anybody may sign in as anybody.
import fs from 'node:fs';
import https from 'node:https';
import Provider from 'oidc-provider';

const [port, certificate, key, redirect] = process.argv.slice(2);
const issuer = `https://localhost:${port}`;
const claims = JSON.parse(process.env.CLAIMS ?? '{}');

const provider = new Provider(issuer, {
  clients: [{
    client_id: 'wardline',
    token_endpoint_auth_method: 'none',
    redirect_uris: [redirect],
    grant_types: ['authorization_code', 'urn:ietf:params:oauth:grant-type:device_code'],
  }],
  claims: { openid: ['sub'], profile: ['name', 'preferred_username'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'groups'],
  conformIdTokenClaims: false,
  features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
  findAccount: (_, sub) => ({ accountId: sub, claims: async () => ({ sub, ...(claims[sub] ?? {}) }) }),
  cookies: { keys: ['a key for tests'] },
});
https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, provider.callback())
  .listen(Number(port), '127.0.0.1', () => console.log('ready'));
