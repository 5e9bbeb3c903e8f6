import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, test } from 'node:test';

import { ServerConnection } from '@jupyterlab/services';

import {
  askWhyUnavailable,
  KERNELSPEC_EVENTS,
  KernelspecWatch
} from '../src/kernelspecs.js';
import { Page } from './fixtures.js';

/** A server's event about its kernelspecs, as pages get it. */
function event(
  availability: 'unavailable' | 'available',
  msg: string,
  user?: string
): object {
  return {
    schema_id: KERNELSPEC_EVENTS,
    schema_version: '1',
    availability,
    gateway: 'gpu',
    msg,
    ...(user === undefined ? {} : { user })
  };
}

/** A watch whose questions wait until they are answered. */
class Watched extends Page {
  readonly questions: {
    answer: (reason: string | null) => void;
    fail: (error: Error) => void;
  }[] = [];
  readonly debugged: string[] = [];
  refreshed = 0;
  userName: string | null = null;
  readonly watch = new KernelspecWatch(this.notice, {
    ask: () =>
      new Promise<string | null>((answer, fail) => {
        this.questions.push({ answer, fail });
      }),
    refresh: () => {
      this.refreshed += 1;
      return Promise.reject(new Error('The server has stopped.'));
    },
    userName: () => this.userName,
    debug: text => {
      this.debugged.push(text);
    }
  });
}

test('look shows why kernelspecs are unavailable', async () => {
  const page = new Watched();
  const looked = page.watch.look();
  page.questions[0]?.answer('gpu is silent.');
  await looked;
  assert.deepEqual(page.shown, ['warning: gpu is silent.']);
});

test('look shows nothing when all is well', async () => {
  const page = new Watched();
  const looked = page.watch.look();
  page.questions[0]?.answer(null);
  await looked;
  assert.deepEqual(page.shown, []);
});

test('look withdraws a warning of an outage whose end was not heard', async () => {
  const page = new Watched();
  page.watch.take(event('unavailable', 'gpu is silent.'));
  const looked = page.watch.look();
  page.questions[0]?.answer(null);
  await looked;
  assert.deepEqual(page.shown, []);
});

test('look while the server is being asked asks once more, behind it', async () => {
  const page = new Watched();
  const looked = [page.watch.look(), page.watch.look(), page.watch.look()];
  assert.equal(page.questions.length, 1);
  page.questions[0]?.answer('gpu is silent.');
  await new Promise(setImmediate);
  assert.equal(page.questions.length, 2);
  page.questions[1]?.answer(null);
  await Promise.all(looked);
  assert.equal(page.questions.length, 2);
  assert.deepEqual(page.shown, []);
});

test('an event counts more than the answer to a question from before it', async () => {
  const page = new Watched();
  const looked = page.watch.look();
  page.watch.take(event('available', 'gpu answers again.'));
  page.questions[0]?.answer('gpu is silent.');
  await looked;
  assert.deepEqual(page.shown, []);
});

test('events show an outage and its end, with the words of the server', () => {
  const page = new Watched();
  page.watch.take(event('unavailable', 'gpu is silent.'));
  assert.deepEqual(page.shown, ['warning: gpu is silent.']);
  page.watch.take(event('available', 'gpu answers again.'));
  assert.deepEqual(page.shown, ['success: gpu answers again.']);
});

test('JupyterLab asks anew when kernelspecs are available again, and then only', async () => {
  const page = new Watched();
  page.watch.take(event('unavailable', 'gpu is silent.'));
  const looked = page.watch.look();
  page.questions[0]?.answer(null);
  await looked;
  assert.equal(page.refreshed, 0);
  page.watch.take(event('available', 'gpu answers again.'));
  assert.equal(page.refreshed, 1);
  await new Promise(setImmediate);
  assert.equal(page.debugged.length, 1);
});

test('events for another user are not shown', () => {
  const page = new Watched();
  page.watch.take(event('unavailable', 'Not for you.', 'ann'));
  page.userName = 'bob';
  page.watch.take(event('unavailable', 'Not for you.', 'ann'));
  assert.deepEqual(page.shown, []);
  page.userName = 'ann';
  page.watch.take(event('unavailable', 'Not for you.', 'ann'));
  assert.deepEqual(page.shown, ['warning: Not for you.']);
});

test('events of other schemas, and what is none, are left alone', () => {
  const page = new Watched();
  const other = { ...event('unavailable', 'No.'), schema_id: 'another' };
  for (const value of [other, {}, null, 'text']) {
    page.watch.take(value);
  }
  assert.deepEqual(page.shown, []);
});

test('questions that fail show nothing, and are noted once', async () => {
  const page = new Watched();
  for (const number of [0, 1]) {
    const looked = page.watch.look();
    page.questions[number]?.fail(new Error('403'));
    await looked;
  }
  assert.deepEqual(page.shown, []);
  assert.equal(page.debugged.length, 1);
});

let server: Server;
let answer: { status: number; body: string };

beforeEach(async () => {
  server = createServer((request, response) => {
    const found = request.url?.startsWith('/base/api/kernelspecs') === true;
    response.writeHead(found ? answer.status : 404);
    response.end(answer.body);
  });
  await new Promise<void>(listening => {
    server.listen(0, '127.0.0.1', listening);
  });
});

afterEach(async () => {
  await new Promise(closed => {
    server.close(closed);
    server.closeAllConnections();
  });
});

async function ask(status: number, body: string): Promise<string | null> {
  answer = { status, body };
  const { port } = server.address() as AddressInfo;
  const baseUrl = `http://127.0.0.1:${String(port)}/base/`;
  return askWhyUnavailable(ServerConnection.makeSettings({ baseUrl }));
}

test('the server is asked below its base URL', async () => {
  const body = '{"kernelspecs": {}, "unavailable": "gpu is silent."}';
  assert.equal(await ask(200, body), 'gpu is silent.');
});

test('a server that says nothing of it has its kernelspecs', async () => {
  for (const body of ['{"kernelspecs": {}}', '{"unavailable": 1}', 'null']) {
    assert.equal(await ask(200, body), null);
  }
});

test('a refusal is an error', async () => {
  await assert.rejects(ask(403, '{"message": "Forbidden"}'));
});
