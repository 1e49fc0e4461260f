// SPDX-License-Identifier: Apache-2.0

// The official Anthropic SDK against the gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';

const baseURL = process.env.GATEWAY_URL;
const client = new Anthropic({ baseURL, apiKey: process.env.GATEWAY_KEY, maxRetries: 0 });
const request = { model: 'claude-sonnet-4-5', max_tokens: 100, messages: [{ role: 'user', content: 'Tell me a story' }] };
const tools = [{ name: 'weather', input_schema: { type: 'object', properties: { city: { type: 'string' } } } }];
const story = /^the quick brown fox/;

test('plain message', async () => {
  const answer = await client.messages.create(request);
  assert.match(answer.content[0].text, story);
  assert.equal(answer.stop_reason, 'end_turn');
  assert.ok(answer.usage.output_tokens > 0);
});

test('streamed message', async () => {
  let deltas = 0;
  const stream = client.messages.stream(request).on('text', () => deltas++);
  const final = await stream.finalMessage();
  assert.match(final.content[0].text, story);
  assert.ok(deltas > 10);
  assert.equal(final.usage.output_tokens, deltas);
});

test('comments in the pauses of a stream are skipped', async () => {
  const final = await client.messages.stream({ ...request, model: 'pausing-model' }).finalMessage();
  assert.match(final.content[0].text, /^the quick brown/);
});

test('tool use, plain and streamed', async () => {
  const answer = await client.messages.create({ ...request, tools });
  assert.equal(answer.stop_reason, 'tool_use');
  assert.deepEqual(answer.content[0].input, { city: 'sample' });

  const final = await client.messages.stream({ ...request, tools }).finalMessage();
  assert.deepEqual(final.content[0].input, { city: 'sample' });
});

test('a bearer token is taken, too', async () => {
  const bearer = new Anthropic({ baseURL, authToken: process.env.GATEWAY_KEY, apiKey: null, maxRetries: 0 });
  const answer = await bearer.messages.create(request);
  assert.match(answer.content[0].text, story);
});

test('counting tokens', async () => {
  const { max_tokens, ...rest } = request;
  const answer = await client.messages.countTokens(rest);
  assert.equal(answer.input_tokens, 4);
});

test('list of models', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes('claude-sonnet-4-5'));
});

test('errors are of the proper kind', async () => {
  const stranger = new Anthropic({ baseURL, apiKey: 'wrong', maxRetries: 0 });
  await assert.rejects(stranger.messages.create(request), Anthropic.AuthenticationError);
  await assert.rejects(client.messages.create({ ...request, model: 'nobody-knows-it' }), Anthropic.NotFoundError);
  await assert.rejects(client.messages.create({ ...request, model: 'exhausted-model' }), (err) => {
    assert.ok(err instanceof Anthropic.RateLimitError);
    assert.ok(Number(err.headers.get('retry-after')) > 0);
    return true;
  });
});

test('an aborted stream harms nobody', async () => {
  const stream = await client.messages.create({ ...request, model: 'slow-model', stream: true });
  for await (const _ of stream) {
    stream.controller.abort();
    break;
  }
  assert.match((await client.messages.create(request)).content[0].text, story);
});
