import type { Notification, NotificationManager } from '@jupyterlab/apputils';

/** The most characters that JupyterLab shows of a notification. */
const SHOWN = 140;

/** For how many milliseconds the end of an outage is shown. */
const END_SHOWN_FOR = 5000;

/** What a notice needs of JupyterLab's notifications. */
export type Notifications = Pick<
  NotificationManager,
  'notify' | 'update' | 'dismiss' | 'has'
>;

/**
 * The one notification about an outage: why there is one, for as long as it lasts, and that it has
 * ended.
 *
 * Who has dismissed it hears nothing more of that outage.
 */
export class OutageNotice {
  /**
   * @param notifications where it is shown
   * @param readAll what the button to read a reason is called that is too long to be shown
   * @param show shows a text in full
   */
  constructor(
    notifications: Notifications,
    readAll: string,
    show: (text: string) => void
  ) {
    this._notifications = notifications;
    this._readAll = readAll;
    this._show = show;
  }

  /** Show that there is an outage, and why; of one that is shown already, the reason of now. */
  begin(reason: string): void {
    if (!this._lasts) {
      this._lasts = true;
      this._reason = reason;
      this._remove();
      this._id = this._notifications.notify(
        reason,
        'warning',
        this._options(reason)
      );
    } else if (reason !== this._reason) {
      this._reason = reason;
      this._update({ message: reason, ...this._options(reason) });
    }
  }

  /** Say that the outage has ended. Nothing where there was none. */
  end(words: string): void {
    if (this._lasts) {
      this._lasts = false;
      this._update({
        message: words,
        type: 'success',
        autoClose: END_SHOWN_FOR,
        actions: []
      });
    }
  }

  /**
   * Show nothing more of an outage that has ended unseen. Nothing where there is none.
   *
   * @returns whether there was one
   */
  withdraw(): boolean {
    if (!this._lasts) {
      return false;
    }
    this._lasts = false;
    this._remove();
    return true;
  }

  private _options(reason: string): Notification.IOptions<null> {
    const whole: Notification.IAction = {
      label: this._readAll,
      callback: event => {
        // Else the notification would be dismissed.
        event.preventDefault();
        this._show(reason);
      }
    };
    return {
      autoClose: false,
      actions: reason.length > SHOWN ? [whole] : []
    };
  }

  private _update(change: Omit<Notification.IUpdate<null>, 'id'>): void {
    if (this._id !== null) {
      this._notifications.update({ id: this._id, ...change });
    }
  }

  private _remove(): void {
    // Without an id all notifications would go, and so would those of others.
    if (this._id !== null && this._notifications.has(this._id)) {
      this._notifications.dismiss(this._id);
    }
    this._id = null;
  }

  private readonly _notifications: Notifications;
  private readonly _readAll: string;
  private readonly _show: (text: string) => void;
  private _id: string | null = null;
  private _lasts = false;
  private _reason = '';
}
