import { mock } from 'node:test';

import { NotificationManager } from '@jupyterlab/apputils/lib/notification.js';

import { OutageNotice } from '../src/notice.js';

/** A notice among JupyterLab's own notifications, and what was shown in full. */
export class Page {
  readonly notifications = new NotificationManager();
  readonly readInFull: string[] = [];
  readonly notice = new OutageNotice(this.notifications, 'Read all', text => {
    this.readInFull.push(text);
  });

  /** The texts of all notifications, each behind its type. */
  get shown(): string[] {
    return this.notifications.notifications.map(
      ({ type, message }) => `${type}: ${message}`
    );
  }
}

/** A browser's tab, which is hidden and shown; time has to be mocked. */
export class Tab {
  visibilityState: DocumentVisibilityState = 'visible';

  addEventListener(type: string, listener: unknown): void {
    this._target.addEventListener(type, listener as EventListener);
  }

  /** Show another tab for some milliseconds. */
  hideFor(milliseconds: number): void {
    this.change('hidden');
    mock.timers.tick(milliseconds);
    this.change('visible');
  }

  change(state: DocumentVisibilityState): void {
    this.visibilityState = state;
    this._target.dispatchEvent(new Event('visibilitychange'));
  }

  private readonly _target = new EventTarget();
}
