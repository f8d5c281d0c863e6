// What the Grafana application does at its start and its packages leave to the host.
import { FieldConfigOptionsRegistry, standardTransformers, standardTransformersRegistry } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';

const STANDARD = ['unit', 'min', 'max', 'decimals', 'displayName', 'color', 'thresholds', 'mappings', 'noValue', 'links', 'fieldMinMax'];

const property = (path, isCustom) => ({
  id: isCustom ? `custom.${path}` : path,
  name: path,
  path,
  isCustom,
  process: (value) => value,
  shouldApply: () => true,
});

// Grafana's panels register each option that they know. Here the registry follows from what the dashboard sets.
export function fieldOptions(fieldConfig) {
  const custom = new Set(Object.keys(fieldConfig.defaults.custom ?? {}));
  for (const { properties } of fieldConfig.overrides) {
    for (const { id } of properties) {
      if (id.startsWith('custom.')) {
        custom.add(id.slice('custom.'.length));
      }
    }
  }
  return new FieldConfigOptionsRegistry(() => [
    ...STANDARD.map((path) => property(path, false)),
    ...[...custom].map((path) => property(path, true)),
  ]);
}

export async function setup() {
  standardTransformersRegistry.setInit(() =>
    // One transformer stands there under two names.
    [...new Map(Object.values(standardTransformers).map((one) => [one.id, one])).values()].map((transformation) => ({
      id: transformation.id,
      name: transformation.name,
      transformation: async () => transformation,
    }))
  );
  await initPluginTranslations('grafana');
}
