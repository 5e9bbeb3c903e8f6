import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Page } from './fixtures.js';

test('begin shows one warning that stays', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  const [notification] = page.notifications.notifications;
  assert.equal(notification?.type, 'warning');
  assert.equal(notification.message, 'gpu is silent.');
  assert.equal(notification.options.autoClose, false);
});

test('begin with the same reason changes nothing', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  let changes = 0;
  page.notifications.changed.connect(() => {
    changes += 1;
  });
  page.notice.begin('gpu is silent.');
  assert.equal(changes, 0);
});

test('begin with another reason changes the one notification', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  page.notice.begin('gpu lets nobody in.');
  assert.deepEqual(page.shown, ['warning: gpu lets nobody in.']);
});

test('end makes the notification a success that goes by itself', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  page.notice.end('gpu answers again.');
  assert.deepEqual(page.shown, ['success: gpu answers again.']);
  const [notification] = page.notifications.notifications;
  assert.ok(Number(notification?.options.autoClose) > 0);
});

test('end without an outage shows nothing', () => {
  const page = new Page();
  page.notice.end('gpu answers again.');
  assert.deepEqual(page.shown, []);
});

test('withdraw removes the warning', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  assert.equal(page.notice.withdraw(), true);
  assert.deepEqual(page.shown, []);
  assert.equal(page.notice.withdraw(), false);
});

test('withdraw leaves what tells of the end', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  page.notice.end('gpu answers again.');
  page.notice.withdraw();
  assert.deepEqual(page.shown, ['success: gpu answers again.']);
});

test('begin takes the place of what told of the last end', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  page.notice.end('gpu answers again.');
  page.notice.begin('gpu is silent again.');
  assert.deepEqual(page.shown, ['warning: gpu is silent again.']);
});

test('a notification that was dismissed stays away until the next outage', () => {
  const page = new Page();
  page.notice.begin('gpu is silent.');
  page.notifications.dismiss();
  page.notice.begin('gpu lets nobody in.');
  page.notice.end('gpu answers again.');
  assert.deepEqual(page.shown, []);
  page.notice.begin('gpu is silent.');
  assert.deepEqual(page.shown, ['warning: gpu is silent.']);
});

test('notifications of others stay', () => {
  const page = new Page();
  page.notifications.notify('There is news.', 'info', {});
  page.notice.withdraw();
  page.notice.begin('gpu is silent.');
  page.notifications.dismiss(page.notifications.notifications[0]?.id ?? '');
  page.notice.end('gpu answers again.');
  page.notice.begin('gpu is silent.');
  page.notice.withdraw();
  assert.deepEqual(page.shown, ['info: There is news.']);
});

test('a reason that is too long can be read in full', () => {
  const page = new Page();
  page.notice.begin('short');
  assert.equal(page.notifications.notifications[0]?.options.actions?.length, 0);
  const long = 'long '.repeat(40);
  page.notice.begin(long);
  const [notification] = page.notifications.notifications;
  const action = notification.options.actions?.[0];
  const click = new Event('click', { cancelable: true });
  action?.callback(click as MouseEvent);
  assert.equal(action?.label, 'Read all');
  assert.deepEqual(page.readInFull, [long]);
  assert.ok(click.defaultPrevented);
});
