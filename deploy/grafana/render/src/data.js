// From a panel's targets to the frames that its visualisation draws.
import { applyFieldOverrides, FieldType, rangeUtil, standardTransformersRegistry, transformDataFrame } from '@grafana/data';
import { firstValueFrom } from 'rxjs';
import { heatmapFrames, queryInstant, queryRange, seriesFrames, tableFrame } from './prometheus.js';
import { fieldOptions } from './setup.js';
import { substitute, withIntervals } from './variables.js';

async function runTarget(target, several, variables, step, { from, to }) {
  const expr = substitute(target.expr, variables, 'query');
  const data = target.instant ? await queryInstant(expr, to) : await queryRange(expr, from, to, step);
  if (target.format === 'table') {
    return [tableFrame(data, target, several)];
  }
  const frames = seriesFrames(data, target, expr, step);
  return target.format === 'heatmap' ? heatmapFrames(frames) : frames;
}

const minInterval = (panel, target, scrape) => {
  const text = target?.interval || panel.interval;
  return text ? Math.max(scrape, rangeUtil.intervalToMs(text.replace('>', ''))) : scrape;
};

function interval(panel, target, width, { from, to, scrape }) {
  const points = panel.maxDataPoints ?? Math.round(width);
  const range = { from: { valueOf: () => from }, to: { valueOf: () => to } };
  const text = `${minInterval(panel, target, scrape)}ms`;
  return rangeUtil.calculateInterval(range, points, text).intervalMs;
}

// The frames, and what went wrong; a panel keeps what its other targets gave.
export async function panelFrames(panel, width, view) {
  const targets = (panel.targets ?? []).filter(({ hide }) => !hide);
  const errors = [];
  const answers = await Promise.all(
    targets.map(async (target) => {
      const step = interval(panel, target, width, view);
      const variables = withIntervals(view.variables, step, minInterval(panel, target, view.scrape));
      try {
        return await runTarget(target, targets.length > 1, variables, step, view);
      } catch (error) {
        errors.push(`${target.refId}: ${error.message}`);
        return [];
      }
    })
  );
  const transformations = (panel.transformations ?? []).filter(({ disabled }) => !disabled);
  for (const { id } of transformations) {
    if (!standardTransformersRegistry.getIfExists(id)) {
      errors.push(`transformation “${id}” cannot be done here`);
    }
  }
  const frames = await firstValueFrom(transformDataFrame(transformations, answers.flat()));
  return { frames, errors };
}

// What Grafana takes where a dashboard sets no thresholds.
const THRESHOLDS = { mode: 'absolute', steps: [{ value: null, color: 'green' }, { value: 80, color: 'red' }] };

// In JSON the lowest step's value is null; display processors want it as a number.
const withLowestStep = ({ mode, steps }) => ({
  mode,
  steps: steps.map((step) => ({ ...step, value: step.value ?? -Infinity })),
});

// The panel with Grafana's defaults for its type filled in.
export function withDefaults(panel, { color = 'thresholds', custom = {} }) {
  const { defaults = {}, overrides = [] } = panel.fieldConfig ?? {};
  return {
    ...panel,
    options: panel.options ?? {},
    fieldConfig: {
      defaults: {
        ...defaults,
        color: defaults.color ?? { mode: color },
        thresholds: withLowestStep(defaults.thresholds ?? THRESHOLDS),
        custom: { ...custom, ...defaults.custom },
      },
      overrides: overrides.map(({ matcher, properties }) => ({
        matcher,
        properties: properties.map(({ id, value }) => ({ id, value: id === 'thresholds' ? withLowestStep(value) : value })),
      })),
    },
  };
}

export function withFieldConfig({ fieldConfig }, frames, { variables, theme }) {
  return applyFieldOverrides({
    data: frames,
    fieldConfig,
    fieldConfigRegistry: fieldOptions(fieldConfig),
    replaceVariables: (text) => substitute(text, variables, 'text'),
    theme,
    timeZone: 'utc',
  });
}

export const hasValues = (frames) =>
  frames.some((frame) => frame.fields.some((field) => field.type === FieldType.number && field.values.length > 0));
