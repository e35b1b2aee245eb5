// An identity provider that says what it is told to say: `node forger.mjs PORT CERT KEY`. `POST /control` with a JSON object
// changes the next tokens: `claims` are said in place of the usual ones, `late` after signing, `alg: "none"` without a signature,
// `key: "another"` with a key that is not shown, `key: "rotated"` with one that replaces the keys shown so far.
import fs from 'node:fs';
import https from 'node:https';
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

const [port, certificate, key] = process.argv.slice(2);
const url = `https://localhost:${port}`;
let told = {};

async function made() {
  const issuer = new OAuth2Issuer();
  issuer.url = url;
  await issuer.keys.generate('RS256');
  const service = new OAuth2Service(issuer);
  service.on('beforeTokenSigning', (token) => {
    Object.assign(token.payload, { sub: 'u-1', preferred_username: 'ann', groups: ['ward-3'] }, told.claims ?? {});
  });
  service.on('beforeResponse', (response) => {
    const { body } = response;
    if (!body.id_token) return;
    const [header, payload, signature] = body.id_token.split('.');
    const read = (part) => JSON.parse(Buffer.from(part, 'base64url'));
    const written = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    if (told.alg === 'none') body.id_token = `${written({ alg: 'none' })}.${payload}.`;
    if (told.late) body.id_token = `${header}.${written({ ...read(payload), ...told.late })}.${signature}`;
  });
  return service;
}

let shown = await made();
const hidden = await made();
// Codes are remembered by the service that gave them.
let answering = shown;

async function control(request, response) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  told = JSON.parse(Buffer.concat(chunks));
  if (told.key === 'rotated') shown = await made();
  answering = told.key === 'another' ? hidden : shown;
  response.end('{}');
}

https.createServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) }, (request, response) => {
  if (request.url === '/control') control(request, response).catch((error) => response.destroy(error));
  else if (request.url.startsWith('/jwks')) shown.requestHandler(request, response);
  else answering.requestHandler(request, response);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
