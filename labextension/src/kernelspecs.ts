import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';

import type { OutageNotice } from './notice.js';
import { onReturn } from './page.js';

/** The schema of the server's events about its kernelspecs (`events/kernelspecs.v1.yaml`). */
export const KERNELSPEC_EVENTS =
  'https://events.jupyter.org/jupyter_relay/kernelspecs/v1';

/** For how many milliseconds the server is not asked again because of an event. */
export const EVENT_PAUSE_MS = 30_000;

/** Why the kernelspecs of the server are unavailable; null where they are not. */
export async function askWhyUnavailable(
  settings: ServerConnection.ISettings
): Promise<string | null> {
  const url = URLExt.join(settings.baseUrl, 'api/kernelspecs');
  const answer = await ServerConnection.makeRequest(url, {}, settings);
  if (!answer.ok) {
    throw await ServerConnection.ResponseError.create(answer);
  }
  const listed: unknown = await answer.json();
  return (
    (isObject(listed) ? textOf(listed, 'unavailable') : undefined) ?? null
  );
}

/** What a watch needs of the page it is in. */
export interface IPage {
  /** Asks the server; see `askWhyUnavailable`. */
  ask: () => Promise<string | null>;

  /** Has JupyterLab ask for the kernelspecs once more. */
  refresh: () => Promise<void>;

  /** Called with what a developer may want to know. */
  debug: (text: string, error: unknown) => void;
}

/**
 * Shows that the kernelspecs are unavailable, for as long as they are.
 *
 * The server is asked at the beginning. Then its events tell of each change; when it is asked once
 * more, an event that comes meanwhile counts more than the answer, which may be older.
 *
 * An event without words is about some of the server's users. Then the server is asked, since it
 * may be this one, at most twice a minute: a question that fails may be an event again.
 *
 * When they are available again JupyterLab is to ask for them at once, and not a minute later. That
 * question is no event if it is answered, and has none of its kind behind it if it fails.
 */
export class KernelspecWatch {
  /**
   * @param notice what shows it
   * @param page the page it is in
   */
  constructor(notice: OutageNotice, page: IPage) {
    this._notice = notice;
    this._page = page;
  }

  /** Take an event of the server, of any schema. */
  take(event: unknown): void {
    if (!isObject(event) || event['schema_id'] !== KERNELSPEC_EVENTS) {
      return;
    }
    const words = textOf(event, 'msg');
    if (words === undefined) {
      this._lookAtMostTwiceAMinute();
      return;
    }
    this._events += 1;
    if (event['availability'] === 'unavailable') {
      this._notice.begin(words);
    } else {
      this._notice.end(words);
      this._refresh();
    }
  }

  /** Ask the server, once more if that is being done, and show what it says. */
  async look(): Promise<void> {
    this._askAgain = true;
    this._looking ??= this._look().finally(() => {
      this._looking = null;
    });
    await this._looking;
  }

  private async _look(): Promise<void> {
    while (this._askAgain) {
      this._askAgain = false;
      const events = this._events;
      try {
        const reason = await this._page.ask();
        if (events !== this._events) {
          continue;
        }
        if (reason !== null) {
          this._notice.begin(reason);
        } else if (this._notice.withdraw()) {
          this._refresh();
        }
      } catch (error) {
        this._debugOnce(error);
      }
    }
  }

  private _lookAtMostTwiceAMinute(): void {
    if (this._pausing) {
      this._lookAfterPause = true;
      return;
    }
    this._pausing = true;
    setTimeout(() => {
      this._pausing = false;
      if (this._lookAfterPause) {
        this._lookAfterPause = false;
        this._lookAtMostTwiceAMinute();
      }
    }, EVENT_PAUSE_MS);
    void this.look();
  }

  private _refresh(): void {
    this._page.refresh().catch((error: unknown) => {
      this._debugOnce(error);
    });
  }

  private _debugOnce(error: unknown): void {
    if (!this._debugged) {
      this._debugged = true;
      this._page.debug('The kernelspecs could not be asked for.', error);
    }
  }

  private readonly _notice: OutageNotice;
  private readonly _page: IPage;
  private _events = 0;
  private _looking: Promise<void> | null = null;
  private _askAgain = false;
  private _debugged = false;
  private _pausing = false;
  private _lookAfterPause = false;
}

/** What of JupyterLab's services a watch is connected with. */
export interface IServices {
  events: {
    stream: {
      connect: (slot: (sender: unknown, event: unknown) => void) => unknown;
    };
  };
  kernelspecs: {
    ready: Promise<void>;
    specsChanged: { connect: (slot: () => void) => unknown };
  };
}

/** Have a watch take the server's events, and look when something may have been missed. */
export function connect(
  watch: KernelspecWatch,
  services: IServices,
  page: Parameters<typeof onReturn>[0]
): void {
  services.events.stream.connect((_, event) => {
    watch.take(event);
  });
  const look = (): void => {
    void watch.look();
  };
  const begin = (): void => {
    look();
    // Events are not repeated: a page without a connection, or asleep, may have missed one.
    services.kernelspecs.specsChanged.connect(look);
    onReturn(page, look);
  };
  // JupyterLab's own question first: once it is answered, ours is at once.
  services.kernelspecs.ready.then(begin, begin);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function textOf(
  value: Record<string, unknown>,
  key: string
): string | undefined {
  const text = value[key];
  return typeof text === 'string' ? text : undefined;
}
