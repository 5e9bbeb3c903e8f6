import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { ServerConnection } from '@jupyterlab/services';

import {
  askWhyUnavailable,
  connect,
  EVENT_PAUSE_MS,
  KERNELSPEC_EVENTS,
  KernelspecWatch
} from '../src/kernelspecs.js';
import { LEFT_MS } from '../src/page.js';
import { Page, Tab } from './fixtures.js';

/** A server's event about its kernelspecs, as pages get it; without words, about some users. */
function event(
  availability: 'unavailable' | 'available',
  msg?: string
): object {
  return {
    schema_id: KERNELSPEC_EVENTS,
    schema_version: '1',
    availability,
    gateway: 'gpu',
    ...(msg === undefined ? {} : { msg })
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
  readonly watch = new KernelspecWatch(this.notice, {
    ask: () =>
      new Promise<string | null>((answer, fail) => {
        this.questions.push({ answer, fail });
      }),
    refresh: () => {
      this.refreshed += 1;
      return Promise.reject(new Error('The server has stopped.'));
    },
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

test('look withdraws a warning of an outage whose end was not heard, and JupyterLab asks anew', async () => {
  const page = new Watched();
  page.watch.take(event('unavailable', 'gpu is silent.'));
  for (const number of [0, 1]) {
    const looked = page.watch.look();
    page.questions[number]?.answer(null);
    await looked;
    assert.deepEqual(page.shown, []);
    assert.equal(page.refreshed, 1);
  }
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
  page.questions[0]?.answer('gpu is silent.');
  await looked;
  assert.equal(page.refreshed, 0);
  page.watch.take(event('available', 'gpu answers again.'));
  assert.equal(page.refreshed, 1);
  await new Promise(setImmediate);
  assert.equal(page.debugged.length, 1);
});

test('an event about some users has the server asked, at most twice a minute', async () => {
  mock.timers.enable({ apis: ['setTimeout'] });
  const page = new Watched();
  const answer = async (reason: string | null): Promise<void> => {
    page.questions.at(-1)?.answer(reason);
    await new Promise(setImmediate);
  };
  page.watch.take(event('unavailable'));
  assert.deepEqual(page.shown, []);
  await answer('Not for you, ann.');
  assert.deepEqual(page.shown, ['warning: Not for you, ann.']);
  page.watch.take(event('unavailable'));
  page.watch.take(event('available'));
  await new Promise(setImmediate);
  assert.equal(page.questions.length, 1);
  mock.timers.tick(EVENT_PAUSE_MS);
  assert.equal(page.questions.length, 2);
  await answer(null);
  assert.deepEqual(page.shown, []);
  mock.timers.tick(EVENT_PAUSE_MS);
  assert.equal(page.questions.length, 2);
  page.watch.take(event('unavailable'));
  assert.equal(page.questions.length, 3);
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

/** JupyterLab's services, of which the question for kernelspecs is not answered yet. */
class Services {
  readonly listeners: ((sender: unknown, event: unknown) => void)[] = [];
  readonly lookers: (() => void)[] = [];
  succeed!: () => void;
  fail!: (error: Error) => void;
  readonly events = {
    stream: {
      connect: (slot: (sender: unknown, event: unknown) => void) =>
        this.listeners.push(slot)
    }
  };
  readonly kernelspecs = {
    ready: new Promise<void>((succeed, fail) => {
      this.succeed = succeed;
      this.fail = fail;
    }),
    specsChanged: { connect: (slot: () => void) => this.lookers.push(slot) }
  };
}

for (const outcome of ['answered', 'failed'] as const) {
  test(`a page that is connected asks when JupyterLab's question was ${outcome}`, async () => {
    mock.timers.enable({ apis: ['Date'] });
    const page = new Watched();
    const services = new Services();
    const tab = new Tab();
    connect(page.watch, services, tab);
    services.listeners[0]?.(null, event('unavailable', 'gpu is silent.'));
    assert.deepEqual(page.shown, ['warning: gpu is silent.']);
    await new Promise(setImmediate);
    assert.equal(page.questions.length, 0);
    if (outcome === 'answered') {
      services.succeed();
    } else {
      services.fail(new Error('502'));
    }
    const questions = async (): Promise<number> => {
      await new Promise(setImmediate);
      page.questions.at(-1)?.answer('gpu is silent.');
      await new Promise(setImmediate);
      return page.questions.length;
    };
    assert.equal(await questions(), 1);
    services.lookers[0]?.();
    assert.equal(await questions(), 2);
    tab.hideFor(LEFT_MS);
    assert.equal(await questions(), 3);
  });
}

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
  mock.timers.reset();
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
