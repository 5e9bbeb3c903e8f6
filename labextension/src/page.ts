import { PageConfig } from '@jupyterlab/coreutils';

/** For how many milliseconds a page has to be hidden to count as left. */
export const LEFT_MS = 60_000;

/**
 * Whether the kernelspecs of the page's server are those of a gateway. The server extension says so
 * in the page's configuration, under the same name (`server/extension.py`).
 */
export function isRelayInUse(): boolean {
  return PageConfig.getOption('jupyterRelay') === 'true';
}

/** Call back each time that somebody returns to a page that was hidden for a minute or more. */
export function onReturn(
  page: Pick<Document, 'visibilityState' | 'addEventListener'>,
  back: () => void
): void {
  const isVisible = (): boolean => page.visibilityState === 'visible';
  let hiddenAt = isVisible() ? Infinity : Date.now();
  page.addEventListener('visibilitychange', () => {
    if (!isVisible()) {
      hiddenAt = Date.now();
    } else if (Date.now() - hiddenAt >= LEFT_MS) {
      back();
    }
  });
}
