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
