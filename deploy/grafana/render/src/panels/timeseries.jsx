import { FieldType } from '@grafana/data';
import { TimeSeries } from '@grafana/ui';
import { annotationMarks } from './annotations.js';

const custom = {
  drawStyle: 'line',
  lineInterpolation: 'linear',
  lineWidth: 1,
  fillOpacity: 0,
  gradientMode: 'none',
  showPoints: 'auto',
  pointSize: 5,
  spanNulls: false,
  axisPlacement: 'auto',
  axisGridShow: true,
  scaleDistribution: { type: 'linear' },
  stacking: { mode: 'none', group: 'A' },
  thresholdsStyle: { mode: 'off' },
};

export const defaults = { color: 'palette-classic', custom };

// Grafana leaves a gap where a value is not a number.
const graphable = (frame) => ({
  ...frame,
  fields: frame.fields.map((field) =>
    field.type === FieldType.number
      ? { ...field, values: field.values.map((value) => (Number.isFinite(value) ? value : null)) }
      : field
  ),
});

export function Panel({ panel, frames, width, height, timeRange, annotations, theme }) {
  const legend = { displayMode: 'list', placement: 'bottom', calcs: [], showLegend: true, ...panel.options.legend };
  return (
    <TimeSeries
      frames={frames.map(graphable)}
      structureRev={1}
      timeRange={timeRange}
      timeZone="utc"
      width={width}
      height={height}
      legend={legend}
      options={panel.options}
      renderers={[annotationMarks(annotations, theme)]}
    />
  );
}
