// SPDX-License-Identifier: Apache-2.0

// The official Google Gen AI SDK against the gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError, GoogleGenAI } from '@google/genai';

const connect = (apiKey) => new GoogleGenAI({ apiKey, httpOptions: { baseUrl: process.env.GATEWAY_URL } });
const ai = connect(process.env.GATEWAY_KEY);
const request = { model: 'gemini-2.5-flash', contents: 'Tell me a story' };
const config = {
  tools: [{ functionDeclarations: [{ name: 'weather', parameters: { type: 'OBJECT', properties: { city: { type: 'STRING' } } } }] }],
};
const story = /^the quick brown fox/;

test('plain answer', async () => {
  const answer = await ai.models.generateContent(request);
  assert.match(answer.text, story);
  assert.ok(answer.usageMetadata.candidatesTokenCount > 0);
});

test('streamed answer', async () => {
  let text = '', chunks = 0, last;
  for await (const chunk of await ai.models.generateContentStream(request)) {
    text += chunk.text ?? '';
    chunks++;
    last = chunk;
  }
  assert.match(text, story);
  assert.ok(chunks > 10);
  assert.equal(last.candidates[0].finishReason, 'STOP');
});

test('a stream that pauses', async () => {
  let text = '';
  for await (const chunk of await ai.models.generateContentStream({ ...request, model: 'pausing-model' })) text += chunk.text ?? '';
  assert.match(text, /^the quick brown/);
});

test('function call, plain and streamed', async () => {
  const answer = await ai.models.generateContent({ ...request, config });
  assert.deepEqual(answer.functionCalls[0].args, { city: 'sample' });

  // The last chunk has the finish reason, and no call.
  const calls = [];
  for await (const chunk of await ai.models.generateContentStream({ ...request, config })) {
    calls.push(...(chunk.functionCalls ?? []));
  }
  assert.deepEqual(calls.map(({ name, args }) => ({ name, args })), [{ name: 'weather', args: { city: 'sample' } }]);
});

test('embedding and counting', async () => {
  const embedded = await ai.models.embedContent({ model: 'text-embedding-004', contents: ['a', 'b'] });
  assert.deepEqual(embedded.embeddings[0].values, [0.25, -0.5, 0.125, 0.75]);
  const counted = await ai.models.countTokens(request);
  assert.equal(counted.totalTokens, 4);
});

test('errors carry their status', async () => {
  const status = (wanted) => (err) => {
    assert.ok(err instanceof ApiError);
    assert.equal(err.status, wanted);
    return true;
  };
  await assert.rejects(connect('wrong').models.generateContent(request), status(401));
  await assert.rejects(ai.models.generateContent({ ...request, model: 'nobody-knows-it' }), status(404));
  await assert.rejects(ai.models.generateContent({ ...request, model: 'exhausted-model' }), status(429));
});

test('an aborted stream harms nobody', async () => {
  const abort = new AbortController();
  await assert.rejects(async () => {
    const stream = await ai.models.generateContentStream({
      ...request, model: 'slow-model', config: { abortSignal: abort.signal },
    });
    for await (const _ of stream) abort.abort();
  });
  assert.match((await ai.models.generateContent(request)).text, story);
});
