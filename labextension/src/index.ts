import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Notification, showDialog, Dialog } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { askWhyUnavailable, KernelspecWatch } from './kernelspecs.js';
import { OutageNotice } from './notice.js';

/** Shows why the kernelspecs of a gateway are unavailable. */
const kernelspecs: JupyterFrontEndPlugin<void> = {
  id: '@jupyter-relay/labextension:kernelspecs',
  description: 'Shows why the kernels of a gateway are unavailable.',
  autoStart: true,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null) => {
    const text = (translator ?? nullTranslator).load('jupyter_relay');
    const services = app.serviceManager;
    const notice = new OutageNotice(
      Notification.manager,
      text.__('Read all'),
      reason => {
        void showDialog({
          title: text.__('Kernels are unavailable'),
          body: reason,
          buttons: [Dialog.okButton()]
        });
      }
    );
    const watch = new KernelspecWatch(notice, {
      ask: () => askWhyUnavailable(services.serverSettings),
      refresh: () => services.kernelspecs.refreshSpecs(),
      userName: () => services.user.identity?.username ?? null,
      debug: (message, error) => {
        console.debug(`${kernelspecs.id}: ${message}`, error);
      }
    });
    services.events.stream.connect((_, event) => {
      watch.take(event);
    });
    // JupyterLab's own question first: once it is answered, ours is at once.
    void services.kernelspecs.ready.then(() => {
      const look = (): void => {
        void watch.look();
      };
      look();
      // Events are not repeated: whoever had no connection, or slept, may have missed one.
      services.kernelspecs.specsChanged.connect(look);
      document.addEventListener('visibilitychange', () => {
        if (document.visibilityState === 'visible') {
          look();
        }
      });
    });
  }
};

export default [kernelspecs];
