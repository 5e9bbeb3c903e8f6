import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';

import { PageConfig } from '@jupyterlab/coreutils';

import { isRelayInUse, LEFT_MS, onReturn } from '../src/page.js';
import { Tab } from './fixtures.js';

beforeEach(() => {
  mock.timers.enable({ apis: ['Date'] });
});

afterEach(() => {
  mock.timers.reset();
});

test('the relay is in use where the page is configured so', () => {
  assert.equal(isRelayInUse(), false);
  PageConfig.setOption('jupyterRelay', 'true');
  assert.equal(isRelayInUse(), true);
});

test('a return after a minute is noticed, each time', () => {
  const tab = new Tab();
  let returns = 0;
  onReturn(tab, () => (returns += 1));
  tab.hideFor(LEFT_MS);
  assert.equal(returns, 1);
  tab.hideFor(LEFT_MS);
  assert.equal(returns, 2);
});

test('a look at another tab is no absence', () => {
  const tab = new Tab();
  let returns = 0;
  onReturn(tab, () => (returns += 1));
  for (let times = 0; times < 3; times += 1) {
    tab.hideFor(LEFT_MS - 1);
    mock.timers.tick(LEFT_MS);
  }
  assert.equal(returns, 0);
});

test('a page that was opened in the background is returned to when it is first seen', () => {
  const tab = new Tab();
  tab.visibilityState = 'hidden';
  let returns = 0;
  onReturn(tab, () => (returns += 1));
  mock.timers.tick(LEFT_MS);
  tab.change('visible');
  assert.equal(returns, 1);
});
