// SPDX-License-Identifier: Apache-2.0

// The official OpenAI SDK against the gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';

const baseURL = process.env.GATEWAY_URL + '/v1';
const client = new OpenAI({ baseURL, apiKey: process.env.GATEWAY_KEY, maxRetries: 0 });
const messages = [{ role: 'user', content: 'Tell me a story' }];
const tools = [{
  type: 'function',
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}];
const story = /^the quick brown fox/;

test('plain chat', async () => {
  const answer = await client.chat.completions.create({ model: 'gpt-4o', messages });
  assert.match(answer.choices[0].message.content, story);
  assert.equal(answer.choices[0].finish_reason, 'stop');
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
});

test('comments in the pauses of a stream are skipped', async () => {
  let text = '';
  for await (const chunk of await client.chat.completions.create({ model: 'pausing-model', messages, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? '';
  }
  assert.match(text, /^the quick brown/);
});

test('streamed chat, with usage', async () => {
  const stream = await client.chat.completions.create({
    model: 'gpt-4o', messages, stream: true, stream_options: { include_usage: true },
  });
  let text = '', chunks = 0, usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta?.content ?? '';
    usage = chunk.usage ?? usage;
    chunks++;
  }
  assert.match(text, story);
  assert.ok(chunks > 10);
  assert.ok(usage.completion_tokens > 0);
});

test('tool call, plain and streamed', async () => {
  const answer = await client.chat.completions.create({ model: 'gpt-4o', messages, tools });
  assert.deepEqual(JSON.parse(answer.choices[0].message.tool_calls[0].function.arguments), { city: 'sample' });

  const final = await client.chat.completions.stream({ model: 'gpt-4o', messages, tools }).finalChatCompletion();
  assert.equal(final.choices[0].finish_reason, 'tool_calls');
  assert.deepEqual(JSON.parse(final.choices[0].message.tool_calls[0].function.arguments), { city: 'sample' });
});

test('responses, plain and streamed', async () => {
  const answer = await client.responses.create({ model: 'gpt-4o', input: 'Tell me a story' });
  assert.match(answer.output_text, story);
  assert.equal(answer.status, 'completed');

  const stream = await client.responses.create({ model: 'gpt-4o', input: 'Tell me a story', stream: true });
  let text = '', last;
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') text += event.delta;
    last = event;
  }
  assert.match(text, story);
  assert.equal(last.type, 'response.completed');
  assert.ok(last.response.usage.output_tokens > 0);
});

test('responses with a tool', async () => {
  const answer = await client.responses.create({
    model: 'gpt-4o', input: 'weather?', tools: [{ type: 'function', ...tools[0].function }],
  });
  assert.equal(answer.output[0].type, 'function_call');
});

test('embeddings', async () => {
  const answer = await client.embeddings.create({ model: 'text-embedding-3-small', input: ['a', 'b'] });
  assert.equal(answer.data.length, 2);
  assert.deepEqual(answer.data[0].embedding, [0.25, -0.5, 0.125, 0.75]);
});

test('list of models', async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  assert.ok(ids.includes('gpt-4o'));
});

test('a wrong client key is an authentication error', async () => {
  const stranger = new OpenAI({ baseURL, apiKey: 'wrong', maxRetries: 0 });
  await assert.rejects(stranger.chat.completions.create({ model: 'gpt-4o', messages }), (err) => {
    assert.ok(err instanceof OpenAI.AuthenticationError);
    assert.equal(err.code, 'invalid_api_key');
    return true;
  });
});

test('an unknown model is not found', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'nobody-knows-it', messages }), (err) => {
    assert.ok(err instanceof OpenAI.NotFoundError);
    assert.match(err.message, /nobody-knows-it/);
    return true;
  });
});

test('an exhausted pool is a rate limit error that says when to come back', async () => {
  await assert.rejects(client.chat.completions.create({ model: 'exhausted-model', messages }), (err) => {
    assert.ok(err instanceof OpenAI.RateLimitError);
    assert.ok(Number(err.headers.get('retry-after')) > 0);
    return true;
  });
});

test('a bad request is one', async () => {
  await assert.rejects(client.chat.completions.create({ messages }), OpenAI.BadRequestError);
});

test('a stream that is cut does not look whole', async () => {
  const stream = await client.chat.completions.create({ model: 'cut-model', messages, stream: true });
  let chunks = 0;
  await assert.rejects(async () => {
    for await (const _ of stream) chunks++;
  });
  assert.ok(chunks > 0);
});

test('an aborted stream harms nobody', async () => {
  const stream = await client.chat.completions.create({ model: 'slow-model', messages, stream: true });
  for await (const _ of stream) {
    stream.controller.abort();
    break;
  }
  const answer = await client.chat.completions.create({ model: 'gpt-4o', messages });
  assert.match(answer.choices[0].message.content, story);
});

test('an upload passes through', async () => {
  const file = new File(['RIFF'], 'speech.wav', { type: 'audio/wav' });
  const answer = await client.audio.transcriptions.create({ model: 'whisper-1', file });
  assert.match(answer.text, story);
});
