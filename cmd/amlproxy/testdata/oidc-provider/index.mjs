// An identity provider for the browser tests: npm's oidc-provider with one
// client and one user, over https. Everything comes from the environment, and
// what it keeps is in its memory. It prints "ready" and, for each grant that it
// gave, "granted" and its type; what the client answered to a back-channel
// logout, if it did not like it.
import { generateKeyPairSync } from 'node:crypto';
import { lookup } from 'node:dns';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';

import Provider from 'oidc-provider';

const {
  ISSUER, PORT, CERT_FILE, KEY_FILE,
  CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, POST_LOGOUT_URI, BACKCHANNEL_LOGOUT_URI,
  USER_NAME, USER_PASSWORD, USER_EMAIL, USER_GROUPS,
} = process.env;

// RS256, as Entra signs; the demo's provider signs with ES256.
const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });

const provider = new Provider(ISSUER, {
  jwks: { keys: [{ ...privateKey.export({ format: 'jwk' }), use: 'sig', alg: 'RS256' }] },
  cookies: { keys: [CLIENT_SECRET] },
  clients: [{
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    redirect_uris: [REDIRECT_URI],
    post_logout_redirect_uris: [POST_LOGOUT_URI],
    backchannel_logout_uri: BACKCHANNEL_LOGOUT_URI,
    backchannel_logout_session_required: true,
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
  }],
  // With a code, these are in userinfo alone (OpenID Connect Core 1.0 section 5.4).
  claims: { openid: ['sub'], email: ['email', 'email_verified'], profile: ['name', 'preferred_username', 'groups'] },
  findAccount: (_, sub) => (sub !== `sub-${USER_NAME}` ? undefined : {
    accountId: sub,
    claims: () => ({
      sub,
      name: USER_NAME,
      preferred_username: USER_NAME,
      email: USER_EMAIL,
      email_verified: true,
      groups: USER_GROUPS.split(','),
    }),
  }),
  pkce: { required: () => true },
  rotateRefreshToken: true, // each works once
  features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
  httpOptions: () => ({ dnsLookup: (_, options, done) => lookup('127.0.0.1', options, done) }), // for names of the tests
  interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
  loadExistingGrant: grantFor,
});
provider.on('grant.success', (ctx) => console.log('granted', ctx.oidc.params.grant_type));
provider.on('backchannel.error', (_, error) => console.error(error));
provider.on('server_error', (_, error) => console.error(error));

// grantFor gives the client what it asks for: its users were asked at work.
async function grantFor(ctx) {
  const { client, session, result } = ctx.oidc;
  const known = result?.consent?.grantId ?? session.grantIdFor(client.clientId);
  if (known) {
    return provider.Grant.find(known);
  }
  const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
  grant.addOIDCScope('openid email profile offline_access');
  await grant.save();
  return grant;
}

const page = (form) => `<!doctype html><title>Sign in</title><form method="post">${form}</form>`;
const pages = {
  login: page('<input name="username"><input name="password" type="password"><button>Sign in</button>'),
  consent: page('<button name="consent">Continue</button>'),
};

async function body(request) {
  let text = '';
  for await (const chunk of request) {
    text += chunk;
  }
  return new URLSearchParams(text);
}

async function interact(request, response) {
  const { prompt } = await provider.interactionDetails(request, response);
  if (request.method === 'POST') {
    const form = await body(request);
    if (prompt.name === 'consent') {
      return provider.interactionFinished(request, response, { consent: {} });
    }
    if (form.get('username') === USER_NAME && form.get('password') === USER_PASSWORD) {
      return provider.interactionFinished(request, response, { login: { accountId: `sub-${USER_NAME}` } });
    }
  }
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  return response.end(pages[prompt.name]);
}

const handle = provider.callback();
createServer({ cert: readFileSync(CERT_FILE), key: readFileSync(KEY_FILE) }, (request, response) => {
  if (!request.url.startsWith('/interaction/')) {
    handle(request, response);
    return;
  }
  interact(request, response).catch((error) => {
    response.statusCode = 400;
    response.end(String(error.error_description ?? error));
  });
}).listen(Number(PORT), '127.0.0.1', () => console.log('ready'));
