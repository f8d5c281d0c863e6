// What stat and bar gauge share: each field reduced to the value that is shown.
import { getFieldDisplayValues } from '@grafana/data';

export const reducedValues = ({ panel, frames, theme }, sparkline) => () =>
  getFieldDisplayValues({
    data: frames,
    fieldConfig: panel.fieldConfig,
    reduceOptions: { calcs: ['lastNotNull'], values: false, ...panel.options.reduceOptions },
    replaceVariables: (text) => text,
    sparkline,
    theme,
    timeZone: 'utc',
  });
