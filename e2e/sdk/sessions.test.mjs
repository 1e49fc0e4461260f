// SPDX-License-Identifier: Apache-2.0

// Sessions over a WebSocket: the official OpenAI and Google Gen AI SDKs
// against the gateway.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { GoogleGenAI } from '@google/genai';
import { WebSocket } from 'ws';

const story = /^the quick brown fox/;
const connect = (apiKey) => new OpenAIRealtimeWS(
  { model: 'gpt-realtime' }, new OpenAI({ baseURL: process.env.GATEWAY_URL + '/v1', apiKey }),
);
const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'Tell me a story' }] };

test('realtime, two turns', async () => {
  const session = connect(process.env.GATEWAY_KEY);
  let text = '', turns = 0;
  await new Promise((resolve, reject) => {
    session.on('error', reject);
    session.on('session.created', (event) => {
      assert.equal(event.session.model, 'gpt-realtime');
      session.send({ type: 'conversation.item.create', item });
      session.send({ type: 'response.create' });
    });
    session.on('response.output_text.delta', (event) => { text += event.delta; });
    session.on('response.done', (event) => {
      assert.equal(event.response.status, 'completed');
      assert.ok(event.response.usage.output_tokens > 0);
      if (++turns === 2) return resolve();
      session.send({ type: 'response.create' });
    });
  });
  assert.match(text, story);
  const closed = new Promise((resolve) => session.socket.on('close', resolve));
  session.close();
  assert.equal(await closed, 1000);
});

test('live, two turns', async () => {
  const ai = new GoogleGenAI({ apiKey: process.env.GATEWAY_KEY, httpOptions: { baseUrl: process.env.GATEWAY_URL } });
  let text = '', turns = 0, done, failed;
  const over = new Promise((resolve, reject) => { done = resolve; failed = reject; });
  const session = await ai.live.connect({
    model: 'gemini-live-2.5-flash',
    callbacks: {
      onmessage(message) {
        text += message.serverContent?.modelTurn?.parts?.[0]?.text ?? '';
        if (!message.serverContent?.turnComplete) return;
        assert.ok(message.usageMetadata.responseTokenCount > 0);
        if (++turns === 2) return done();
        session.sendClientContent({ turns: 'Go on' });
      },
      onerror: failed,
      onclose() {},
    },
  });
  session.sendClientContent({ turns: 'Tell me a story' });
  await over;
  assert.match(text, story);
  session.close();
});

test('a wrong client key is not let in', async () => {
  const session = connect('wrong');
  const error = await new Promise((resolve) => session.on('error', resolve));
  assert.match(String(error.cause ?? error), /401/);
});

test('a browser puts its key among the subprotocols', async () => {
  const url = new URL(process.env.GATEWAY_URL.replace('https', 'wss') + '/v1/realtime?model=gpt-realtime');
  const socket = new WebSocket(url, ['realtime', 'openai-insecure-api-key.' + process.env.GATEWAY_KEY], { origin: 'https://app.example' });
  const message = await new Promise((resolve, reject) => { socket.on('message', resolve); socket.on('error', reject); });
  assert.equal(JSON.parse(message).type, 'session.created');
  assert.equal(socket.protocol, 'realtime');
  socket.close();
});
