// Logs in, refreshes and is refused with the client that @hey-api/openapi-ts wrote: log_in.js URL CONSOLE.
import assert from 'node:assert';
import { readFileSync } from 'node:fs';

import { client } from './hey/client.gen';
import {
  listSessions, logout, refreshTokens, status, testingRequestCode, testingVerifyCode,
} from './hey/sdk.gen';

const [url, console_] = process.argv.slice(2) as [string, string];
const phone_number = '+12025550125';

async function main(): Promise<void> {
  client.setConfig({ baseUrl: url });
  const sent = await testingRequestCode({ body: { phone_number } });
  assert.equal(sent.data?.is_new_user, true, JSON.stringify(sent.error));
  const codes = [...readFileSync(console_, 'utf8').matchAll(/code is (\d+)/g)];
  const code = codes.at(-1)?.[1] ?? '';

  const wrong = String((Number(code) + 1) % 10 ** code.length).padStart(code.length, '0');
  const refused = await testingVerifyCode({ body: { phone_number, otp: wrong } });
  assert.equal(refused.error?.code, 'invalid_otp');

  const headers = { 'Idempotency-Key': 'a-key-of-a-generated-client', 'X-Device-Name': 'TypeScript' };
  const login = await testingVerifyCode({ body: { phone_number, otp: code }, headers });
  assert.equal(login.data?.user.phone_number, phone_number, JSON.stringify(login.error));

  const pair = await refreshTokens({ body: { refresh: login.data!.refresh } });
  assert.ok(pair.data, JSON.stringify(pair.error));
  const auth = (): string => pair.data!.access;
  const known = await status({ auth });
  assert.equal(known.data?.user.id, login.data?.user.id, JSON.stringify(known.error));
  const devices = await listSessions({ auth });
  assert.deepEqual(devices.data?.sessions.map((session) => session.device), ['TypeScript']);
  assert.ok((await logout({ body: { refresh: pair.data!.refresh } })).data);
  assert.equal((await status({ auth })).error?.code, 'token_invalid');
  console.log('@hey-api/openapi-ts: logged in, refreshed, logged out');
}

void main();
