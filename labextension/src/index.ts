import type {
  JupyterFrontEnd,
  JupyterFrontEndPlugin
} from '@jupyterlab/application';
import { Notification, showDialog, Dialog } from '@jupyterlab/apputils';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';

import { askWhyUnavailable, connect, KernelspecWatch } from './kernelspecs.js';
import { OutageNotice } from './notice.js';
import { isRelayInUse } from './page.js';

/** Shows why the kernelspecs of a gateway are unavailable; nothing where there is no gateway. */
const kernelspecs: JupyterFrontEndPlugin<void> = {
  id: '@jupyter-relay/labextension:kernelspecs',
  description: 'Shows why the kernels of a gateway are unavailable.',
  autoStart: true,
  optional: [ITranslator],
  activate: (app: JupyterFrontEnd, translator: ITranslator | null) => {
    if (!isRelayInUse()) {
      return;
    }
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
      debug: (message, error) => {
        console.debug(`${kernelspecs.id}: ${message}`, error);
      }
    });
    connect(watch, services, document);
  }
};

export default [kernelspecs];
